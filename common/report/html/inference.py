"""The page of an inference run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...tables import read_csv
from ..decision import UNCERTAIN
from .facts import RunFiles, weights_card
from .page import Column, Page, Row, Table
from .scores import table
from .unusual import RULE, far_from_others
from .write import write_page

Record = Mapping[str, Any]
LIKELY = "likely_share"  # column: between which bounds the share of the lung lies
FIRST = ("severity", "share_of_lung", LIKELY, "dice_expected", "diagnosis", "answer", "decided_by")  # columns
UNSURE = 0.5  # highest mean probability
COMPARED = "severity"  # stem of the files of common.report.severity_comparison


def write_inference_page(
    folder: str | Path,
    records: Sequence[Record],
    failures: Mapping[str, str],
    metadata: str | Path | None = None,
    weights: Any = None,
) -> Path:
    """Write ``report.html``: all cases of a run, those of earlier runs that it found done, and those that failed.

    Args:
        folder: output folder of the run.
        records: of the cases that are done, from the ledger.
        failures: message of each case that failed.
        metadata: path of the bundle's ``metadata.json``.
        weights: path of the file, or several.

    Returns:
        Path of the page.
    """
    folder, run = Path(folder), RunFiles(folder)
    records = [record for record in records if str(record["case"]) not in failures]
    measures = [_measures(record) for record in records]
    columns = [_column(name) for name in dict.fromkeys(name for each in measures for name in each)]
    watched = [each for each in columns if each.name in ("lung_ml", "lesion_ml") or each.name.startswith("share_")]
    watched = [each for each in watched if each.name != "share_background"]
    unusual = far_from_others(watched, measures)
    rows = [
        _row(folder, record, cells, [*_own(cells), *words])
        for record, cells, words in zip(records, measures, unusual, strict=True)
    ]
    rows += [Row(name, failed=text.removeprefix(f"{name}: ")) for name, text in failures.items()]
    card = weights_card(metadata, weights)
    page = Page(
        title=f"Inference: {card.get('name', folder.name)}",
        lines=[_summary(rows), *([card["intended use"]] if "intended use" in card else [])],
        figures=[path for path in run.written(f"{COMPARED}.png")],
        tables=[*_comparison(run), *_weights(run)],
        columns=columns,
        rows=sorted(rows, key=lambda row: row.name),
        group=next((each.name for each in columns if each.name in ("severity", "diagnosis")), ""),
        unusual=_rule(watched, columns),
        facts={"Settings": run.settings(), "Weights": card | _hashes(records), "Run": run.facts()},
        lists={"Files that were not read": run.not_read()},
    )
    return write_page(folder, page)


def _measures(record: Record) -> dict[str, Any]:
    """What the table shows of a case."""
    found = {**record.get("volumes", {}), **record.get("means", {})}
    found |= {"lung_from": record["lung_from"]} if "lung_from" in record else {}
    errors = record.get("errors", {})
    if errors.get("dice_expected") is not None:
        found["dice_expected"] = errors["dice_expected"]
    if errors.get("share_low") is not None:
        found[LIKELY] = f"{100 * errors['share_low']:.1f} to {100 * errors['share_high']:.1f} %"
    # The others are in cases.csv and, of a diagnosis, on the overlay
    shown = [name for name in found if not name.startswith(("logit_", "contribution_", "frames_with_"))]
    return {name: found[name] for name in sorted(shown, key=lambda name: name not in FIRST)}


def _column(name: str) -> Column:
    """Heading and format of a measure."""
    if name.endswith("_ml"):
        return Column(name, _words(name.removesuffix("_ml")), ".1f", "ml")
    if name == LIKELY:
        return Column(name, "Share of lung, in 9 of 10 such cases")
    if name == "dice_expected":
        return Column(name, "Expected Dice", ".2f")
    if name == "share_of_lung":
        return Column(name, "Share of lung", ".1f", "%", 100)
    if name.startswith("share_"):
        return Column(name, _words(name.removeprefix("share_")), ".1f", "% of image", 100)
    if name.startswith("probability_"):
        return Column(name, f"Probability of {name.removeprefix('probability_')}", ".2f")
    return Column(name, _words(name), ".0f" if name == "frames" else "")


def _words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _own(cells: Mapping[str, Any]) -> list[str]:
    """What is unusual about a case by itself."""
    found = []
    if "share_of_lung" in cells and cells["share_of_lung"] is None:
        found.append("no lung found")
    probabilities = [value for name, value in cells.items() if name.startswith("probability_")]
    if probabilities and max(probabilities) < UNSURE:
        found.append(f"no diagnosis has a probability of {UNSURE} or more")
    elif cells.get("answer") == UNCERTAIN:
        found.append("the diagnosis is uncertain")
    return found


def _rule(watched: Sequence[Column], columns: Sequence[Column]) -> str:
    """Which cases count as unusual."""
    parts = ["has a warning"]
    if any(each.name == "share_of_lung" for each in columns):
        parts.append("no lung was found in it")
    if any(each.name.startswith("probability_") for each in columns):
        parts.append(f"no diagnosis has a probability of {UNSURE} or more, or it is uncertain")
    if watched:
        names = ", ".join(each.heading for each in watched)
        parts.append(f"one of its numbers ({names}) {RULE}")
    return f"A case counts as unusual if it {', or if '.join(parts)}."


def _row(folder: Path, record: Record, cells: Mapping[str, Any], unusual: Sequence[str]) -> Row:
    name = str(record["case"])
    outputs = [folder / each for each in record.get("outputs", {})]
    overlay = folder / f"{name}_overlay.png"
    frames = {path.parent for path in outputs if path.parent.name.endswith("_masks")}
    files = [*(path for path in outputs if path.parent not in frames), *sorted(frames)]
    picture = overlay if overlay in outputs else None
    return Row(
        name, cells, "", unusual, record.get("warnings", ()), picture, [path for path in files if path != overlay]
    )


def _summary(rows: Sequence[Row]) -> str:
    counts = {state: sum(row.state == state for row in rows) for state in ("unusual", "failed")}
    done = len(rows) - counts["failed"]
    return f"{done} of {len(rows)} cases done, {counts['unusual']} of them unusual. {counts['failed']} failed."


def _comparison(run: RunFiles) -> list[Table]:
    """Severity as the folders of the studies state it and as measured, if this run has compared them."""
    path = run.folder / f"{COMPARED}.csv"
    rows = read_csv(path) if run.new(path) else []
    title = "Severity: class of the folder (rows) and measured class (columns), numbers of studies"
    return [Table(title, list(rows[0]), [list(row.values()) for row in rows])] if rows else []


def _weights(run: RunFiles) -> list[Table]:
    """The weights of the maps, of a network that diagnoses (``common.report.decision``)."""
    path = run.folder / "weights.csv"
    return [table(path)] if run.new(path) else []


def _hashes(records: Sequence[Record]) -> dict[str, str]:
    """SHA-256 of the weights that the cases were done with."""
    hashes = dict.fromkeys(str((record.get("weights") or {}).get("sha256") or "") for record in records)
    found = ", ".join(each for each in hashes if each)
    return {"weights: SHA-256 of the file": found} if found else {}
