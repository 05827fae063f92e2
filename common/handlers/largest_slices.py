"""The slices with the largest lesions, saved so that they can be drawn beside those of other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .chosen_slices import SlicePlanes, save_slices
from .comparison_picture import LargestLesions


class LargestSlices(LargestLesions):
    """Save the slices with the largest lesions in the ground truth, one per case: ``largest_slices.npz``.

    The file is that of ``common.handlers.chosen_slices.save_slices``, but its masks hold several classes: 1 is the
    first class, 2 the second and so on, without ``background``, which is 0. As the ground truth alone decides, all
    networks that are evaluated on the same data save the same slices.

    Args:
        output_dir: folder of the file.
        classes: names in channel order.
        columns: number of slices, at most.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str], columns: int = 6) -> None:
        super().__init__(Path(output_dir) / "largest_slices.npz", columns)
        shown = [name for name in classes if name != "background"]
        self.numbers = torch.tensor([shown.index(name) + 1 if name in shown else 0 for name in classes])
        self.lesions = [index for index, name in enumerate(classes) if name not in ("lung", "background")]

    def size(self, sample: Mapping[str, Any]) -> float:
        """Pixels of lesions in the ground truth, which is one-hot ``label``."""
        return float(sample["label"][self.lesions].sum())

    def kept(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Image (X, Y), and ground truth and prediction as numbers of classes."""
        image = sample["image"][0].detach().cpu().numpy().astype(np.float16)
        return {"planes": SlicePlanes(image, self.mask(sample["label"]), self.mask(sample["pred"]))}

    def mask(self, onehot: torch.Tensor) -> np.ndarray:
        """Turn one-hot (classes, X, Y) into numbers of classes (X, Y); pixels without a class are 0."""
        found = (torch.as_tensor(onehot).detach().cpu() > 0.5).int() * self.numbers[:, None, None]
        return found.amax(0).numpy().astype(np.uint8)

    def draw_slices(self, titles: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
        """Write the file."""
        save_slices(self.path, [sample["planes"] for sample in samples], titles)
