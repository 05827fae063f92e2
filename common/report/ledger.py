"""What inference has done, case by case: ``lesions.json`` or ``cases.json``, and the tables written from it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..datasets.inference import Refusal
from ..files import complete_file, sha256
from ..run.model_record import weights_files
from ..run.monai_command import running_parser
from ..tables import cell_text
from .html.inference import write_inference_page

logger = logging.getLogger(__name__)

PLACES = ("bundle_root", "dataset_dir", "output_dir", "weights", "lung_masks", "truth", "metadata", "_meta_")
RUNNING = (  # which cases are taken, and how they are computed
    *("imports", "initialize", "run", "inference", "device", "include", "exclude", "again"),
    *("slices_at_once", "frames_at_once", "compile", "isolated", "timeout", "memory"),
)
Rows = Callable[[str, Mapping[str, Any]], Iterable[Mapping[str, Any]]]


class CaseTable:
    """A CSV file with the rows of each case, sorted by case.

    Args:
        path: the file.
        columns: names of the columns.
        rows: makes the rows of a case out of its name and its record.
        form: format of the numbers, see ``common.tables.cell_text``.
        optional: without rows there is no file.
    """

    def __init__(
        self, path: str | Path, columns: Sequence[str], rows: Rows, form: str = "", optional: bool = False
    ) -> None:
        self.path, self.columns, self.rows, self.form = Path(path), list(columns), rows, form
        self.optional = optional

    def text(self, case: str, record: Mapping[str, Any]) -> str:
        """Rows of a case, as they stand in the file.

        Raises:
            ValueError: if a row has other columns.
        """
        rows = list(self.rows(case, record))
        for row in rows:
            if set(row) != set(self.columns):
                raise ValueError(f"{self.path} has the columns {', '.join(self.columns)}; got {', '.join(row)}.")
        return self._csv([row[name] for name in self.columns] for row in rows)

    def refused(self, case: str, reason: str) -> str:
        """Row of a case that was refused: blank, but for ``trust`` and its reason; nothing in a table without these."""
        known = {"case": case, "trust": "refused", "trust_reason": reason}
        return self._csv([[known.get(name) for name in self.columns]]) if "trust" in self.columns else ""

    def write(self, texts: Iterable[str]) -> None:
        """Write heading and rows, completely or not at all."""
        rows = "".join(texts)
        if self.optional and not rows:
            self.path.unlink(missing_ok=True)
        else:
            _write(self.path, self._csv([self.columns]) + rows)

    def _csv(self, rows: Iterable[Sequence[Any]]) -> str:
        file = io.StringIO(newline="")
        csv.writer(file, lineterminator="\n").writerows([cell_text(cell, self.form) for cell in row] for row in rows)
        return file.getvalue()


class Ledger:
    """The record of an inference run, by which an interrupted or repeated run does only what is left to do.

    A case is done if its input files, weights and settings are those of its record (SHA-256 of each), and its outputs
    exist with their sizes. Any other case is done again: first, its record and its earlier outputs are removed. A case
    that failed has no record.

    ``cases`` in the file are the cases of this run, and the tables list them, whether done now or before. ``earlier``
    are cases of earlier runs into the same folder that this run's input does not hold: their files stay, they are in
    no table, and a later run over their input finds them done. The files are written again after each case,
    completely or not at all, so a run that is killed and started again ends as one that was never killed.

    Args:
        path: the file, such as ``lesions.json``; outputs lie in its folder.
        root: folder of the input; names of input files are relative to it.
        weights: the checkpoint, or those of an ensemble.
        metadata: path of the bundle's ``metadata.json``; its version and its classes count as settings.
        again: do all cases again.
        settings: what shapes the outputs; by default the config that is running, without places (``dataset_dir``,
            ``output_dir``, ...), choice of cases (``include``, ``exclude``) and computing (``device``,
            ``slices_at_once``, ``compile``, ...). Masks that are given as files count as input.

    Example:
        >>> ledger = Ledger("out/lesions.json", root="/data/scans", weights="models/model.pt", settings={})
        >>> [case["case"] for case in ledger.start([{"case": "a", "image": ["/data/scans/a.nii.gz"]}])]
        ['a']
    """

    def __init__(
        self,
        path: str | Path,
        root: str | Path = "",
        weights: str | Path | Sequence[str | Path] = "",
        metadata: str | Path = "",
        again: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.root, self.again = Path(path), Path(root), bool(again)
        self.weights = weights_files(weights, several=True) if weights else [Path()]
        self.metadata = Path(metadata)
        self.settings = running_settings() if settings is None else dict(settings)
        self.tables: list[CaseTable] = []
        self.made_with: dict[str, Any] = {}
        self._lock = threading.Lock()  # cases are begun in the thread that reads, and recorded in the main one
        self._started = False
        self._cases: dict[str, dict[str, Any]] = {}
        self._earlier: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, list[str]] = {}  # of each case: its record, then its rows of each table
        self._begun: dict[str, tuple[float, dict[str, Any]]] = {}
        self._last = 0.0

    def __contains__(self, case: str) -> bool:
        return case in self._cases

    def add_table(
        self, path: str | Path, columns: Sequence[str], rows: Rows, form: str = "", optional: bool = False
    ) -> None:
        """Let a table be written with the ledger; see ``CaseTable``."""
        self.tables.append(CaseTable(path, columns, rows, form, optional))

    def start(self, cases: Sequence[Mapping[str, Any]] = ()) -> list[Mapping[str, Any]]:
        """Read what earlier runs have done, write the tables of it, and return the cases that are left to do."""
        self.made_with = {"settings": self._settings_hash(), "weights": self._weights()}
        self._earlier, self._cases, self._started = self._read(), {}, True
        self._texts = {name: [_json(record)] for name, record in self._earlier.items()}
        left = [case for case in cases if self.again or not self._done(case)]
        for name in self._cases:
            del self._earlier[name]
        with self._lock:
            self._write()
        if self._cases:
            was, them = ("was", "it") if len(self._cases) == 1 else ("were", "them")
            done = len(self._cases)
            logger.info("%d of %d cases %s done before; --again True does %s again.", done, len(cases), was, them)
        return left

    def begin(self, case: Mapping[str, Any]) -> None:
        """Note the input of a case that is about to be read; forget what was done for another input or settings."""
        name = str(case["case"])
        with self._lock:
            before = self._earlier.pop(name, None)
            if before is not None:
                self._write()  # first, so that no record stands beside files that change
        if before is not None:
            self._remove(before.get("outputs") or {})
        self._begun[name] = (time.monotonic(), self._input(case))

    def record(self, item: Mapping[Hashable, Any], found: Mapping[str, Any]) -> None:
        """Add a case that is complete, and write all files.

        Args:
            item: with ``case``, and ``outputs``, the paths that were written (files, or folders of files).
            found: what the record and the tables hold of it; numbers, texts, lists and dicts.
        """
        if not self._started:
            self.start()
        name = str(item["case"])
        start, content = self._begun.pop(name, (self._last, {}))
        now = time.monotonic()
        facts = {"case": name, "input": content, **self.made_with, **found, "warnings": warnings_of(item)}
        facts["seconds"] = round(now - max(start, self._last), 3)  # it may have been read while another was computed
        record = json.loads(_json({**facts, "outputs": self._outputs(item.get("outputs", ()))}))
        texts = self._text(record)
        with self._lock:
            self._last = now
            self._cases[name], self._texts[name] = record, texts
            self._earlier.pop(name, None)
            self._write()

    def finish(self, failures: Mapping[str, str]) -> None:
        """Write the rows of refused cases, and ``report.html``, the page on all cases, once all are done or failed."""
        folder, records = self.path.parent, list(self._cases.values())
        refused = {name: text for name, text in failures.items() if isinstance(text, Refusal)}
        try:
            for number, table in enumerate(self.tables, start=1) if refused else ():
                rows = {name: self._texts[name][number] for name in self._cases}
                rows |= {name: table.refused(name, _reason(name, text)) for name, text in refused.items()}
                table.write(rows[name] for name in sorted(rows))
            write_inference_page(folder, records, failures, self.metadata, self.weights[0])
        except OSError as error:  # a full disk must not hide which cases failed
            logger.error("The report was not written: %s", error)

    def files(self, case: Mapping[str, Any]) -> dict[str, list[Path]]:
        """Input files of a case by key: those of its image and of masks that were given."""
        found = {}
        for key, value in case.items():
            several = value if isinstance(value, (list, tuple)) else [value]
            if several and all(isinstance(each, Path) for each in several):
                found[key] = list(several)
        return found

    def _input(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Files of a case and the hash of their content, in which neither their order nor their names count."""
        files = self.files(case)
        digests = sorted(f"{key} {sha256(path)}" for key, paths in files.items() for path in paths)
        facts = {"files": {key: [self._relative(path) for path in paths] for key, paths in files.items()}}
        digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
        return {**facts, "sha256": digest, "kind": case.get("kind"), "series": case.get("series")}

    def _relative(self, path: Path) -> str:
        top = self.root.parent if self.root.is_file() else self.root
        return path.relative_to(top).as_posix() if path.is_relative_to(top) else path.name

    def _done(self, case: Mapping[str, Any]) -> bool:
        """Whether a case is complete, by an earlier run with the same input; if so, take over its record."""
        name = str(case["case"])
        record = self._earlier.get(name)
        if record is None or "error" in case or any(record.get(key) != self.made_with[key] for key in self.made_with):
            return False
        try:
            outputs = record["outputs"]
            if not outputs or any((self.path.parent / each).stat().st_size != size for each, size in outputs.items()):
                return False
            if record["input"]["sha256"] != self._input(case)["sha256"]:
                return False
            texts = self._text(record)
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return False  # of another version, or a file cannot be read: reading the case will say why
        self._cases[name], self._texts[name] = record, texts
        return True

    def _outputs(self, paths: Iterable[Path]) -> dict[str, int]:
        files: list[Path] = []
        for path in dict.fromkeys(paths):
            files += sorted(path.iterdir()) if path.is_dir() else [path]
        return {path.relative_to(self.path.parent).as_posix(): path.stat().st_size for path in files}

    def _remove(self, outputs: Mapping[str, int]) -> None:
        """Remove outputs that are about to be replaced, and folders of frames that they leave empty."""
        folder = self.path.parent
        for path in [
            folder / name for name in outputs if not Path(name).is_absolute() and ".." not in Path(name).parts
        ]:
            path.unlink(missing_ok=True)
            if path.parent != folder and path.parent.name.endswith("_masks"):
                with suppress(OSError):  # not empty
                    path.parent.rmdir()

    def _settings_hash(self) -> str:
        bundle = self._bundle()
        content = {"settings": self.settings, "version": bundle.get("version"), "labels": bundle.get("labels")}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def _bundle(self) -> dict[str, Any]:
        return json.loads(self.metadata.read_text(encoding="utf-8")) if self.metadata.is_file() else {}

    def _weights(self) -> dict[str, Any]:
        digests = [sha256(file) if file.is_file() else None for file in self.weights]
        names = ", ".join(file.name for file in self.weights)
        version = self._bundle().get("version")
        return {"file": names, "sha256": digests[0] if len(digests) == 1 else digests, "version": version}

    def _text(self, record: Mapping[str, Any]) -> list[str]:
        return [_json(record), *(table.text(str(record["case"]), record) for table in self.tables)]

    def _read(self) -> dict[str, dict[str, Any]]:
        """Records of earlier runs, by case."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8", errors="surrogateescape"))
            records = [*content["earlier"], *content["cases"]]
            return {str(record["case"]): dict(record) for record in records}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s cannot be read (%s); all cases are done again.", self.path, error)
            return {}

    def _write(self) -> None:
        """Write the ledger, then the tables: cases are kept as text, because large folders are written often."""
        lists = {"cases": sorted(self._cases), "earlier": sorted(self._earlier)}
        blocks = (f'"{key}": [{_lines([self._texts[name][0] for name in names])}]' for key, names in lists.items())
        _write(self.path, "{\n" + ",\n".join(blocks) + "\n}\n")
        for number, table in enumerate(self.tables, start=1):
            table.write(self._texts[name][number] for name in lists["cases"])


def _reason(case: str, message: str) -> str:
    """The first sentence of why a case was refused."""
    return message.removeprefix(f"{case}: ").removeprefix("refused as unusual: ").split(". ")[0]


def running_settings() -> dict[str, Any]:
    """The config that is running, without what does not shape outputs; empty outside a run."""
    parser = running_parser()
    config = {} if parser is None else parser.get()
    return {name: value for name, value in config.items() if name not in (*PLACES, *RUNNING)}


def warnings_of(item: Mapping[Hashable, Any]) -> list[str]:
    """What a user should know of a case: notes of the reader, and what libraries warned of."""
    found: list[str] = []

    def add(note: Any) -> None:
        if isinstance(note, str):
            found.extend(each for each in note.split("; ") if each and each not in found)
        elif isinstance(note, Iterable):
            for each in note:
                add(each)

    add(item.get("notes"))
    add(getattr(item.get("image"), "meta", {}).get("library_notes"))
    return found


def _json(content: Any) -> str:
    """JSON on one line."""
    return json.dumps(content, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """A number of NumPy, an array or a path as JSON has it."""
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)


def _lines(texts: Sequence[str]) -> str:
    return "\n" + ",\n".join(texts) + "\n" if texts else ""


def _write(path: Path, text: str) -> None:
    with complete_file(path) as part:
        # File names need not be UTF-8
        part.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
