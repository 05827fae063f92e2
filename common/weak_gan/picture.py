"""Figure of decomposed slices at each validation: normal version and heatmap of lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..handlers.comparison_picture import LargestLesions
from .figures import draw_separation

KEYS = ("image", "normal", "pred", "truth")


class SeparationPicture(LargestLesions):
    """Draw input, normal version, heatmap and ground truth of the slices with the largest lesions, one per case.

    Without ground truth, the slices with the highest mean of the heatmap are drawn. The evaluator's output or batch
    holds (1, X, Y): ``image`` in -1..1 and heatmap ``pred`` in 0..1; ``normal`` (-1..1) and ``truth`` (0 and 1) if
    there are any.

    Args:
        path: PNG to write.
        columns: number of slices, at most.

    Raises:
        ValueError: for ``columns`` below 1.
    """

    def __init__(self, path: str | Path, columns: int = 6) -> None:
        if columns < 1:
            raise ValueError(f"The figure shows one slice or more, got columns={columns}.")
        super().__init__(path, columns)

    def size(self, sample: Mapping[str, Any]) -> float:
        """Pixels of lesions in the ground truth; without it, the mean of the heatmap."""
        return float(sample["truth"].sum()) if "truth" in sample else float(sample["pred"].mean())

    def kept(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The planes (1, X, Y) that the sample has, as (X, Y)."""
        return {key: sample[key][0].detach().float().cpu().numpy() for key in KEYS if key in sample}

    def draw_slices(self, titles: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
        """Draw the figure; ``normal`` and ``truth`` if all samples hold them."""
        rows = {key: [each[key] for each in samples] for key in KEYS if all(key in each for each in samples)}
        draw_separation(self.path, rows["image"], rows["pred"], titles, rows.get("normal"), rows.get("truth"))
