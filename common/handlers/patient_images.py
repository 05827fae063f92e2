"""One image of each patient of an evaluation, saved so that it can be drawn beside those of other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .chosen_slices import SlicePlanes, save_slices
from .largest_slices import LargestSlices

ALL = 10**6  # patients


class PatientImages(LargestSlices):
    """One image per patient with ground truth and prediction: ``patient_images.npz`` (Gare et al., figure 2).

    Of each patient it is the image whose ground truth holds most of the sparse classes, and among these the one in
    which they cover most. Images of unnamed patients count as those of one. ``common.reproduce.sheet`` draws them.

    The file is that of ``common.handlers.chosen_slices.save_slices`` with ``patients`` (N); images lie in it as
    (columns, rows). The evaluator's output holds one-hot ``pred`` and ``label``; its batch ``image`` (1, rows,
    columns), ``case`` and ``patient``.

    Args:
        output_dir: folder of the file.
        classes: names in channel order.
        merge: for classes that the sparse labels lack, the class that they become part of.
        numbered: names of all classes but the background, of dense and sparse labels: the masks number them from 1.
    """

    def __init__(
        self, output_dir: str | Path, classes: Sequence[str], merge: Mapping[str, str], numbered: Sequence[str]
    ) -> None:
        super().__init__(output_dir, classes, ALL)
        self.path, self.one_per = Path(output_dir) / "patient_images.npz", "patient"
        known = list(numbered)
        self.numbers = torch.tensor([0 if name == "background" else 1 + known.index(name) for name in classes])
        merged = [merge.get(name, name) for name in classes]
        self.groups = [
            [index for index, name in enumerate(merged) if name == group]
            for group in dict.fromkeys(merged)
            if group != "background"
        ]

    def size(self, sample: Mapping[str, Any]) -> float:
        """Number of sparse classes in the ground truth, and, after the point, the share of the image they cover."""
        label = sample["label"]
        areas = [float(label[group].sum()) for group in self.groups]
        return sum(area > 0 for area in areas) + sum(areas) / (label[0].numel() + 1)

    def kept(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Image and masks, turned as the figure takes them, and the patient."""
        planes = super().kept(sample)["planes"]
        return {"planes": SlicePlanes(*(plane.T for plane in planes)), "patient": sample["patient"]}

    def draw_slices(self, titles: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
        """Write the file, sorted by patient."""
        order = sorted(range(len(samples)), key=lambda index: samples[index]["patient"])
        patients = np.array([samples[index]["patient"] for index in order])
        save_slices(
            self.path, [samples[index]["planes"] for index in order], [titles[index] for index in order], patients
        )
