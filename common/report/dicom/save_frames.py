"""DICOM objects of an ultrasound case, beside its other files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..styles import CODE
from .clip_capture import ClipCapture
from .diagnosis_report import diagnosis_report
from .objects import OVERLAY, REPORT, DicomObjects
from .source import read_instance

OUTPUTS = ("overlay", "sr")


class SaveFramesDicom(DicomObjects):
    """Save what a PACS takes back of an ultrasound DICOM case: ``<case>_overlay.dcm`` and ``<case>_report.dcm``.

    ``common.report.frames.ReportFramesd`` gives it the painted frames of a case, one after the other, and what was
    found. Cases of other formats have no such objects.

    Args:
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``, with the codes of the diagnoses in ``diagnosis_codes``.
        cases: as ``common.datasets.ultrasound.folder.inference_cases`` lists them.
        weights: whose hash the objects name.
        outputs: some of ``OUTPUTS``: ``overlay``, the painted frames as a secondary capture; ``sr``, the diagnosis as
            a structured report.

    Raises:
        ValueError: for unknown ``outputs``, or a report of a bundle that does not diagnose.
    """

    def __init__(
        self,
        output_dir: str | Path,
        metadata: str | Path,
        cases: Sequence[Mapping[str, Any]],
        weights: str | Path | Sequence[str | Path],
        outputs: Sequence[str] = (),
    ) -> None:
        super().__init__(output_dir, metadata, cases, weights, outputs, OUTPUTS)
        known = self.declared.get("diagnosis_codes", {})
        self.diagnoses = {name: tuple(code[part] for part in CODE) for name, code in known.items()}
        if "sr" in self.outputs and not self.diagnoses:
            raise ValueError(f"{self.name} makes no diagnosis to report. Leave sr out of --outputs.")
        self.capture = ClipCapture()

    def start(self, case: str) -> Callable[[np.ndarray, float], None] | None:
        """Begin a case: what takes its painted frames, uint8 (rows, columns, 3), and their seconds; None if nothing."""
        self.capture = ClipCapture()
        return self.capture.add if case in self.files and "overlay" in self.outputs else None

    def write(self, item: dict[Hashable, Any], found: Mapping[str, Any]) -> None:
        """Write the objects of the case that was begun last.

        Args:
            item: the case; notes and outputs are added.
            found: its row of ``cases.csv``.
        """
        file = self.files.get(str(item["case"]))
        if file is None or not self.outputs:
            return
        source = self.attempt(item, " and ".join(self.outputs), partial(read_instance, file))
        if source is None:
            return
        if "overlay" in self.outputs:
            self.save(item, "overlay", OVERLAY, partial(self.capture.dataset, source))
        if "sr" in self.outputs:
            self.save(item, "SR", REPORT, partial(diagnosis_report, found, self.diagnoses, source))
