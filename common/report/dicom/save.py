"""DICOM objects of a case, beside its other files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from monai.config import KeysCollection

from ...files import complete_file, sha256
from ...readers.library_notes import collected
from ...run.model_record import weights_files
from ...settings import as_list, check_names
from ..case_report import SEGMENTATION, CaseReport, label_map
from ..styles import ClassStyle
from .secondary_capture import secondary_capture
from .segmentation import KINDS, segmentation, segments
from .source import Algorithm, Source, read_source
from .structured_report import structured_report

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

OUTPUTS = ("nifti", "seg", "sr", "overlay")
ENDINGS = (SEGMENTATION, "_report.dcm", "_overlay.dcm")  # of the objects


class SaveDicomd(CaseReport):
    """Save what a PACS takes back of a DICOM case: ``<case>_mask.dcm``, ``<case>_report.dcm``, ``<case>_overlay.dcm``.

    As a transform it writes the segmentation. ``common.report.case.ReportCased`` calls ``report`` when it has measured
    and drawn the case. Cases of other formats have no such objects. Where the series does not allow one, because its
    slices name no position, say, a note says so and the case goes on.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``, which has the codes of the classes.
        classes: names of the classes in the mask.
        cases: as ``common.datasets.ct.folder.inference_cases`` lists them, for the files of a series.
        weights: whose hash the objects name.
        outputs: some of ``OUTPUTS``: ``seg``, ``sr`` with it, ``overlay`` as a secondary capture.
        kind: of segmentation, see ``segmentation``.
        probabilities: names of the channels of the item's ``probability``, which a ``fractional`` segmentation holds.

    Raises:
        ValueError: for unknown ``outputs``, another ``kind``, or a report without a binary segmentation to refer to.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        cases: Sequence[Mapping[str, Any]],
        weights: str | Path | Sequence[str | Path],
        outputs: Sequence[str] = ("nifti", "seg"),
        kind: str = "binary",
        probabilities: Sequence[str] = (),
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes)
        self.outputs = as_list(outputs)
        check_names("output", self.outputs, OUTPUTS)
        check_names("kind of segmentation", [kind], KINDS)
        if "sr" in self.outputs and ("seg" not in self.outputs or kind != "binary"):
            raise ValueError(
                "A report refers to a binary segmentation: give --outputs with seg, too, and --seg binary."
            )
        self.kind, self.weights, self.channels = kind, weights, list(probabilities)
        self.files = {str(case["case"]): case["image"] for case in cases if case.get("kind") == "dicom"}
        self.name = Path(metadata).parent.parent.name
        self.version = str(json.loads(Path(metadata).read_text(encoding="utf-8"))["version"])
        self._made: tuple[str, Source, pydicom.Dataset | None] | None = None  # of the case at hand

    @cached_property
    def algorithm(self) -> Algorithm:
        """What makes the masks."""
        hashes = "+".join(sha256(path) for path in weights_files(self.weights, several=True))
        return Algorithm(self.name, self.version, hashes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the segmentation, completely or not at all."""
        item, self._made = dict(data), None
        files = self.files.get(str(item["case"]))
        if files is None or set(self.outputs) <= {"nifti"}:
            return item
        for key in self.keys:
            affine = np.asarray(item[key].affine, float)
            what = "SEG and no SR" if "sr" in self.outputs else "SEG" if "seg" in self.outputs else "overlay"
            source = self.attempt(item, what, partial(read_source, files, affine))
            if source is None:
                continue
            made = None
            if "seg" in self.outputs:
                values, styles = self.values(item, key)
                make = partial(segmentation, values, source, styles, kind=self.kind)
                made = self.save(item, what, SEGMENTATION, make)
            self._made = str(item["case"]), source, made
        return item

    def values(self, item: Mapping[Hashable, Any], key: Hashable) -> tuple[np.ndarray, list[ClassStyle]]:
        """What the segmentation of a case holds, and its classes."""
        if self.kind != "fractional":
            return label_map(item[key]), self.styles
        shown = [style for style in segments(self.styles) if style.name in self.channels]
        found = item["probability"].cpu().numpy()
        return found[[self.channels.index(style.name) for style in shown]], shown

    def report(self, item: dict[Hashable, Any], burden: Mapping[str, Any], overlay: Path) -> None:
        """Write report and picture of the case whose segmentation was made last.

        Args:
            item: the case; notes and outputs are added.
            burden: from ``common.report.burden.lesion_burden``.
            overlay: the picture.
        """
        if self._made is None or self._made[0] != str(item["case"]):
            return
        _, source, made = self._made
        _, report, picture = ENDINGS
        if "sr" in self.outputs and made is not None:
            make = partial(structured_report, burden, made, source, self.styles)
            self.save(item, "SR", report, make)
        if "overlay" in self.outputs:
            self.save(item, "overlay", picture, partial(secondary_capture, overlay, source))

    def save(
        self, item: dict[Hashable, Any], what: str, ending: str, make: Callable[..., pydicom.Dataset]
    ) -> pydicom.Dataset | None:
        """Make an object that names the algorithm, and write it; None, with a note, if it cannot be made."""
        made = self.attempt(item, what, lambda: make(algorithm=self.algorithm))
        if made is not None:
            with complete_file(self.path(item, ending)) as part:
                made.save_as(part)
        return made

    def attempt(self, item: dict[Hashable, Any], what: str, make: Callable[[], Made]) -> Made | None:
        """What ``make`` gives; None, with a note of the reason, if it raises."""
        try:
            with collected():  # what libraries say of the source's header
                return make()
        except Exception as error:  # highdicom raises several types on headers that lack what an object needs
            self.note(item, what, error)
            return None

    @staticmethod
    def note(item: dict[Hashable, Any], what: str, error: Exception) -> None:
        """Say in the case's notes why it has no such object."""
        reason = " ".join(str(error).split())
        logger.warning("%s: no DICOM %s: %s", item["case"], what, reason)
        item["notes"] = "; ".join(filter(None, [item.get("notes"), f"no DICOM {what}: {reason}"]))
