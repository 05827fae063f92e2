"""DICOM objects of a CT case, beside its other files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ...settings import check_names
from ..case_report import SEGMENTATION, label_map
from ..styles import class_styles
from .objects import OVERLAY, REPORT, DicomObjects
from .secondary_capture import secondary_capture
from .segmentation import KINDS, segmentation, segments
from .source import Algorithm, Source, read_source
from .structured_report import structured_report

OUTPUTS = ("nifti", "seg", "sr", "overlay")


class SaveDicomd(DicomObjects, MapTransform):
    """Save what a PACS takes back of a DICOM case: ``<case>_mask.dcm``, ``<case>_report.dcm``, ``<case>_overlay.dcm``.

    As a transform it writes the segmentation. ``common.report.case.ReportCased`` calls ``report`` when it has measured
    and drawn the case. Cases of other formats have no such objects.

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
        DicomObjects.__init__(self, output_dir, metadata, cases, weights, outputs, OUTPUTS)
        MapTransform.__init__(self, keys)
        self.styles = class_styles(metadata, classes)
        check_names("kind of segmentation", [kind], KINDS)
        if "sr" in self.outputs and ("seg" not in self.outputs or kind != "binary"):
            raise ValueError(
                "A report refers to a binary segmentation: give --outputs with seg, too, and --seg binary."
            )
        self.kind, self.channels = kind, list(probabilities)
        self._made: tuple[str, Source, pydicom.Dataset | None] | None = None  # of the case at hand

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
                made = self.save(item, what, SEGMENTATION, partial(self.segmentation, item, key, source))
            self._made = str(item["case"]), source, made
        return item

    def segmentation(
        self, item: Mapping[Hashable, Any], key: Hashable, source: Source, algorithm: Algorithm
    ) -> pydicom.Dataset:
        """The segmentation of a case: of its mask, or of its probabilities."""
        if self.kind != "fractional":
            return segmentation(label_map(item[key]), source, self.styles, algorithm, self.kind)
        shown = [style for style in segments(self.styles) if style.name in self.channels]
        channels = [self.channels.index(style.name) for style in shown]
        return segmentation(item["probability"].cpu().numpy()[channels], source, shown, algorithm, self.kind)

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
        if "sr" in self.outputs and made is not None:
            make = partial(structured_report, burden, made, source, self.styles)
            self.save(item, "SR", REPORT, make)
        if "overlay" in self.outputs:
            self.save(item, "overlay", OVERLAY, partial(secondary_capture, overlay, source))
