"""The slices with the best and the worst scores (Maganaris et al., *Evaluating transferability*, figures 2 to 5)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ignite.engine import Engine

from ..report.comparison import draw_comparison
from ..report.styles import class_styles
from ..run.distributed import gathered
from .chosen_slices import SlicePlanes, save_slices, slice_planes
from .score_table import ScoreTable
from .slice_scores import dice
from .slice_table import decollated

logger = logging.getLogger(__name__)


class _Scored(NamedTuple):
    """A slice in the order of its score; of equal scores, the larger ground truth is the better or worse example."""

    f1: float
    area: int
    case: str
    slice: int
    planes: SlicePlanes

    @property
    def best_first(self) -> tuple[float, int, str, int]:
        return (-self.f1, -self.area, self.case, self.slice)

    @property
    def worst_first(self) -> tuple[float, int, str, int]:
        return (self.f1, -self.area, self.case, self.slice)


class BestAndWorst(ScoreTable):
    """Draw the slices with the highest and the lowest F1: ``best_and_worst.png``, ``best_and_worst.npz``.

    Only slices with infection take part: those without score 1 or 0, see ``common.handlers.slice_scores``. The best
    come first, then the worst, which starts with the lowest score. F1 is the one of ``scores_per_slice.csv``. The
    second file holds the slices as ``common.handlers.chosen_slices.ChosenSlices`` writes them.

    Args:
        output_dir: folder of both files.
        metadata: the bundle's ``metadata.json``, which holds the colour of the class.
        classes: name of the class, one.
        count: number of best slices, and of worst ones.
        window: values of the image that are drawn black and white.

    Raises:
        ValueError: if ``count`` is below 1.
    """

    def __init__(
        self,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        count: int = 4,
        window: Sequence[float] = (0.0, 1.0),
    ) -> None:
        if count < 1:
            raise ValueError(f"One or more of the best and worst slices must be shown, got {count}.")
        super().__init__(output_dir)
        self.styles, self.count, self.window = class_styles(metadata, classes), count, (window[0], window[1])
        self.kept: list[_Scored] = []

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.kept = []

    def remember(self, engine: Engine) -> None:
        """Keep the best and the worst slices so far."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            planes = slice_planes(sample)
            truth, prediction = planes.truth > 0, planes.prediction > 0
            area, hit = int(truth.sum()), int((truth & prediction).sum())
            if area:
                f1 = float(dice(np.array([hit, int(prediction.sum()) - hit, 0, area - hit])))
                self.kept.append(_Scored(f1, area, str(source["case"]), int(source["slice"]), planes))
        best, worst = self._chosen()
        self.kept = [*best, *worst]

    def gather(self) -> None:
        """Add the slices of the other processes."""
        self.kept = gathered(self.kept)

    def write(self, engine: Engine) -> None:
        """Write both files; without infection in any slice, none."""
        best, worst = self._chosen()
        shown = [*best, *worst]
        if not shown:
            logger.info("No slice of the evaluation holds infection, so there is no best and no worst one to draw.")
            return
        titles = [f"F1 {each.f1:.3f}, {each.case}, slice {each.slice}" for each in shown]
        save_slices(self.output_dir / "best_and_worst.npz", [each.planes for each in shown], titles)
        (style,) = self.styles
        draw_comparison(
            self.output_dir / "best_and_worst.png",
            [each.planes.image.astype(np.float32) for each in shown],
            [each.planes.truth * style.value for each in shown],
            {"prediction": [each.planes.prediction * style.value for each in shown]},
            self.styles,
            titles,
            window=self.window,
            title="Best and worst slices",
            note=f"{len(best)} slices with infection and the highest F1, and {len(worst)} with the lowest",
        )

    def _chosen(self) -> tuple[list[_Scored], list[_Scored]]:
        """The best and the worst of the slices that are kept; no slice is both."""
        best = sorted(self.kept, key=lambda each: each.best_first)[: self.count]
        chosen = {(each.case, each.slice) for each in best}
        others = [each for each in self.kept if (each.case, each.slice) not in chosen]
        return best, sorted(others, key=lambda each: each.worst_first)[: self.count]
