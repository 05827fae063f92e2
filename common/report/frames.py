"""Outputs of an ultrasound image or clip: masks, an overlay, rows in two tables."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection

from ..files import complete_file
from ..outliers.monitor import UNUSUAL, Verdict
from .case_report import CaseReport, label_map, printable
from .decision import UNCERTAIN, Decision
from .dicom.save_frames import SaveFramesDicom
from .frame_overlay import draw_frame_overlay
from .ledger import Ledger
from .mask_files import mask_palette, save_picture_mask
from .overlay_clip import Captions, OverlayClip, painted
from .styles import ClassStyle
from .trust import COLUMNS, ERRORS, JudgeTrust, trust_facts, trust_row, verdict_of

logger = logging.getLogger(__name__)

SHOWN = 6  # frames in the figure of a clip
FRAME = ("frame", "seconds")  # columns of a frame in its record, before its measures
VISIBLE = 1e-3  # share of the image that a class must take in a frame to count as seen in it
WITH = "frames_with_"  # columns of cases.csv: share of the frames in which a class is seen
SHARP = 600  # pixels; wider frames are drawn smaller in the figure anyway


class FramesFolder:
    """A folder with a file for each frame, which has its final name only when it is complete.

    Args:
        path: its final path.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(f".{path.name}.part")
        self.discard()
        self.part.mkdir()

    def file(self, frame: int, suffix: str) -> Path:
        """Where the file of a frame is written."""
        return self.part / f"{frame:05d}{suffix}"

    def finish(self) -> None:
        """Give the folder its final name, in place of an earlier one."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.part.rename(self.path)

    def discard(self) -> None:
        """Remove what is not complete."""
        shutil.rmtree(self.part, ignore_errors=True)


class CaseInProgress:
    """Files of one image or clip while its frames come in: bounded memory, and no final name before all is complete.

    Args:
        path: makes the path of an output out of its ending.
        single: an image, not a clip.
        styles: of the classes.
        capture: takes the painted frames, too, of a case that gets them as a DICOM object.
    """

    def __init__(
        self,
        path: Callable[[str], Path],
        single: bool,
        styles: Sequence[ClassStyle],
        capture: Callable[[np.ndarray, float], None] | None = None,
    ) -> None:
        self.path, self.single, self.styles = path, single, styles
        self.palette = mask_palette(styles)
        self.rows: list[dict[str, Any]] = []
        self.kept: list[tuple[np.ndarray, np.ndarray, str]] = []
        self.stride, self.shape = 1, (0, 0)
        self.clip: OverlayClip | None = None
        self.captions: Captions | None = None
        self.capture = capture
        self.figure = path("_overlay.png")
        self.masks = path("_mask.png") if single else FramesFolder(path("_masks"))
        self.maps: FramesFolder | None = None

    def add_probabilities(self, frame: int, values: np.ndarray) -> None:
        """Write the probabilities of a frame, (classes, rows, columns), float16, into an npz file."""
        held: dict[str, Any] = {
            "probabilities": values.astype(np.float16),
            "classes": np.array([style.name for style in self.styles]),
        }
        if self.single:
            with complete_file(self.path("_probabilities.npz")) as part:
                np.savez_compressed(part, **held)
            return
        self.maps = self.maps or FramesFolder(self.path("_probabilities"))
        np.savez_compressed(self.maps.file(frame, ".npz"), **held)

    def add(self, pixels: np.ndarray, mask: np.ndarray, row: dict[str, Any], caption: str) -> None:
        """Add a frame, uint8 (rows, columns), its mask, its row of the table, and the caption of the clip."""
        self.shape = (pixels.shape[0], pixels.shape[1])
        if isinstance(self.masks, Path):
            with complete_file(self.masks) as part:
                save_picture_mask(part, mask, self.palette)
        else:
            save_picture_mask(self.masks.file(row["frame"], ".png"), mask, self.palette)
        if not self.single or self.capture is not None:
            self.captions = self.captions or Captions(self.shape, self.styles)
            picture = self.captions(painted(pixels, mask, self.styles), caption)
            if not self.single:
                self.clip = self.clip or OverlayClip(self.path("_overlay.mp4"), self.captions.shape)
                self.clip.append(picture, row["seconds"])
            if self.capture is not None:
                self.capture(picture, row["seconds"])
        if len(self.rows) % self.stride == 0:
            timed = f"frame {row['frame']}" if np.isnan(row["seconds"]) else f"{row['seconds']:.1f} s"
            step = max(1, pixels.shape[1] // SHARP)
            self.kept.append((pixels[::step, ::step].copy(), mask[::step, ::step].copy(), "" if self.single else timed))
        self.rows.append(row)
        if len(self.kept) >= 2 * SHOWN:  # the length of a clip is known at its end: keep every second, fourth, ...
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def finish(self, title: str, note: str, **below: Any) -> None:
        """Draw the figure, with what is ``below`` (see ``draw_frame_overlay``), give the files their final names."""
        chosen = np.unique(np.linspace(0, len(self.kept) - 1, SHOWN).round().astype(int))
        pixels, masks, titles = zip(*(self.kept[index] for index in chosen), strict=True)
        draw_frame_overlay(self.figure, pixels, masks, self.styles, titles, title=title, note=note, **below)
        if self.clip is not None:
            self.clip.close(complete=True)
        for folder in self.folders():
            folder.finish()

    def discard(self) -> None:
        """Remove the files of a clip that is not complete."""
        if self.clip is not None:
            self.clip.close(complete=False)
        for folder in self.folders():
            folder.discard()

    def folders(self) -> list[FramesFolder]:
        """Folders of a clip that are being written."""
        return [each for each in (self.masks, self.maps) if isinstance(each, FramesFolder)]


class ReportFramesd(CaseReport):
    """Masks, overlay and table rows of images and clips whose frames come in one after the other.

    For an image, ``<case>_mask.png`` and ``<case>_overlay.png`` are written; for a clip ``<case>_masks/<frame>.png``,
    ``<case>_overlay.mp4`` and a figure of six frames, ``<case>_overlay.png``. ``frames.csv`` has one row per frame.
    ``cases.csv`` has one row per file: the means over its frames; the share of frames in which a class is seen, taking
    0.1 % of the image or more; and, for networks that diagnose, the diagnosis from the mean shares and what drove it
    (``common.report.decision``). The case is then recorded in the ledger. Nothing is
    written for a clip that cannot be read to its end. The first case of a run brings the colour tables of the masks
    (``common.report.colour_tables``) and, of networks that diagnose, ``weights.csv``.

    Args:
        keys: mask values (1, rows, columns); the item holds the frame under ``picture``, and ``measures``. If it holds
            ``probability``, (classes, rows, columns), ``<case>_probabilities.npz`` is written, too; for a clip
            ``<case>_probabilities/<frame>.npz``.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``.
        classes: names of the classes in the masks.
        decision: how the network diagnoses, if it does.
        ledger: that of the run; by default ``cases.json`` in ``output_dir``, without knowledge of the input.
        dicom: writes the overlay and the diagnosis of DICOM cases as DICOM objects.
        trust: judges whether the frames are like the training data.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        decision: Decision | None = None,
        ledger: Ledger | None = None,
        dicom: SaveFramesDicom | None = None,
        trust: JudgeTrust | None = None,
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes)
        self.decision, self.dicom, self.trust = decision, dicom, trust
        shares = [f"share_{name}" for name in classes]
        diagnoses = [] if decision is None else decision.diagnoses
        self.columns = [*(["diagnosis"] if diagnoses else []), *(f"probability_{name}" for name in diagnoses), *shares]
        seen = [f"{WITH}{name}" for name in classes if name != "background"]
        of_cases = [*shares, *seen] if decision is None else decision.columns
        self.ledger = Ledger(self.output_dir / "cases.json", settings={}) if ledger is None else ledger
        # Shares can be small, hence five decimals
        frames = ["case", *FRAME, *self.columns]
        self.ledger.add_table(self.output_dir / "frames.csv", frames, self._frame_rows, form=".5f")
        self.ledger.add_table(
            self.output_dir / "cases.csv", ["case", "frames", *of_cases, *COLUMNS], _case_rows, form=".5f"
        )
        self.item: dict[Hashable, Any] = {}
        self.progress: CaseInProgress | None = None

    def _frame_rows(self, case: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        names = [*FRAME, *self.columns]
        return [{"case": case, **dict(zip(names, row, strict=True))} for row in record["frames"]]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take a frame; after the last one of its case, write the case."""
        item = dict(data)
        case, last = str(item["case"]), bool(item["last"])
        if self.progress is None or case != str(self.item["case"]):
            self.discard()
            self.item = {"case": case, "notes": item.get("notes")}
            capture = None if self.dicom is None else self.dicom.start(case)
            self.progress = CaseInProgress(lambda ending: self.path(self.item, ending), last, self.styles, capture)
        row = {"case": case, "frame": int(item["frame"]), "seconds": float(item["seconds"]), **item["measures"]}
        row |= self.diagnosis(row)
        if "probability" in item:
            self.progress.add_probabilities(row["frame"], np.asarray(item["probability"].cpu(), np.float32))
        for key in self.keys:
            self.progress.add(label_map(item["picture"]), label_map(item[key]), row, self.caption(row))
        if last:
            self.finish()
        return item

    def diagnosis(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The most probable diagnosis of a frame, if the network diagnoses."""
        if self.decision is None:
            return {}
        return {"diagnosis": max(self.decision.diagnoses, key=lambda name: row[f"probability_{name}"])}

    def caption(self, row: Mapping[str, Any]) -> str:
        """One line: the diagnosis and what drove it, or the classes that take the largest shares of the image."""
        if self.decision is not None:
            drivers = self.decision.drivers(self.decision.explain(row))
            found = f"{row['diagnosis']} {row['probability_' + row['diagnosis']]:.2f}"
            found = f"{UNCERTAIN}, perhaps {found}" if row.get("answer") == UNCERTAIN else found
            return f"{found}: {drivers}" if drivers else found
        shares = [(row[f"share_{s.name}"], s.name) for s in self.styles if s.name != "background"]
        return ", ".join(f"{name} {100 * share:.1f} %" for share, name in sorted(shares, reverse=True)[:3] if share > 0)

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What ``cases.csv`` holds of a case with these measures of its frames: mean shares, and what they say."""
        shares = {name: [row[name] for row in rows] for name in rows[0] if name.startswith("share_")}
        means = {name: float(np.mean(values)) for name, values in shares.items()}
        if self.decision is not None:
            return self.decision.row(means)
        seen = {
            name.replace("share_", WITH): float(np.mean(np.array(each) >= VISIBLE)) for name, each in shares.items()
        }
        return means | {name: share for name, share in seen.items() if name != f"{WITH}background"}

    def answered(self, mean: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
        """A summary in which an unusual case has no certain answer, whatever its probabilities are."""
        return mean | {"answer": UNCERTAIN} if "answer" in mean and verdict.word == UNUSUAL else mean

    def finish(self) -> None:
        """Write the case whose last frame came in."""
        if self.progress is None:
            return
        rows = self.progress.rows
        if self.trust is not None:
            self.item = self.trust(self.item)
        doubt = verdict_of(self.item).reason
        mean = self.answered(self.summary(rows), verdict_of(self.item))
        line = self.caption(mean) or "nothing found"
        if self.decision is not None and mean["answer"] == UNCERTAIN and not doubt:
            self.item[ERRORS] = f"Uncertain: no diagnosis has a probability of {self.decision.least:.2f} or more."
        case, count = str(self.item["case"]), len(rows)
        below: dict[str, Any] = {}
        if self.decision is not None:
            below = {"below": self.decision.height, "draw_below": partial(self.decision.draw, shares=mean)}
            if not self._values_named:
                self.decision.write(self.output_dir / "weights.csv")
        self.name_values()
        note = [*([f"unusual: {doubt}"] if doubt else []), line, *([f"mean over {count} frames"] if count > 1 else [])]
        self.progress.finish(printable(case), "; ".join(note), **below)
        if self.dicom is not None:
            self.dicom.write(self.item, mean)
        frames = [[_known(row[name]) for name in (*FRAME, *self.columns)] for row in rows]
        grid = {"shape": list(self.progress.shape), "affine": None, "spacing_known": False}
        found = {"grid": grid, "means": {"frames": count, **mean}, "frames": frames, **trust_facts(self.item)}
        self.ledger.record(self.item, found)
        logger.info("%s: %d frame%s, %s.", case, count, "" if count == 1 else "s", line)
        self.progress = None

    def discard(self) -> None:
        """Remove the files of a case that is not complete."""
        if self.progress is not None:
            self.progress.discard()
            self.progress = None


def _case_rows(case: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"case": case, **record["means"], **trust_row(record)}]


def _known(value: Any) -> Any:
    """A value for JSON, which has no NaN."""
    return None if isinstance(value, float) and np.isnan(value) else value
