"""Slices of an evaluation, saved so that they can be drawn beside those of other networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..files import complete_file
from ..run.distributed import gathered
from .score_table import ScoreTable
from .slice_table import decollated

Planes = dict[int, tuple[np.ndarray, ...]]  # image, ground truth and prediction by slice number


class ChosenSlices(ScoreTable):
    """Some slices of one case with ground truth and prediction: ``chosen_slices.npz``.

    The file holds, for N slices, ``images`` (N, X, Y) float16, channel 0 of ``image`` as the network takes it;
    ``truths`` and ``predictions`` (N, X, Y) uint8, channel 0, 0 and 1; ``titles`` (N), case and slice number. The
    evaluator's output holds ``image``, ``label`` and thresholded ``pred``, and its cases follow one another.
    ``common.reproduce.sheet`` draws the slices.

    Args:
        output_dir: folder of the file.
        case: name of the case; by default the one with the most positive pixels in its ground truth.
        slices: slice numbers from 0; by default evenly spread from the case's first slice to its last, so that slices
            with and without lesions are among them.
        count: number of slices that are chosen by default.

    Raises:
        ValueError: if ``count`` is below 1.
    """

    def __init__(self, output_dir: str | Path, case: str = "", slices: Sequence[int] = (), count: int = 7) -> None:
        if count < 1:
            raise ValueError(f"At least one slice must be saved, got count={count}.")
        super().__init__(output_dir)
        self.path, self.case = self.output_dir / "chosen_slices.npz", str(case)
        self.slices, self.count = [int(number) for number in slices], count
        self.seen: list[str] = []
        self.kept: list[tuple[str, Planes]] = []  # the first case, the best one between, the current one

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.seen, self.kept = [], []

    def remember(self, engine: Engine) -> None:
        """Keep the slices of the current case, of the best case before it, and of the first one.

        The first and the last case may be shared with other processes.

        Raises:
            ValueError: if the slices of a case do not follow one another.
        """
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            case = str(source["case"])
            if case not in self.seen[-1:]:
                if case in self.seen:
                    raise ValueError(f"{case}: its slices must follow one another, got {self.seen[-1]} between them.")
                self.kept[1:] = sorted(self.kept[1:], key=_area, reverse=True)[:1]
                self.kept.append((case, {}))
                self.seen.append(case)
            if case == self.case or not self.case:
                image, truth, pred = (
                    sample[key][0].detach().float().cpu().numpy() for key in ("image", "label", "pred")
                )
                masks = ((mask > 0.5).astype(np.uint8) for mask in (truth, pred))
                self.kept[-1][1][int(source["slice"])] = (image.astype(np.float16), *masks)

    def gather(self) -> None:
        """Add the cases of the other processes."""
        cases: dict[str, Planes] = {}
        for case, planes in gathered(self.kept):
            cases.setdefault(case, {}).update(planes)
        self.kept, self.seen = list(cases.items()), list(dict.fromkeys(gathered(self.seen)))

    def write(self, engine: Engine) -> None:
        """Write the file.

        Raises:
            ValueError: if the case was not evaluated, or lacks one of the slices.
        """
        case, kept = max(self.kept, key=_area, default=("", {}))
        if not kept:
            raise ValueError(f"No case {self.case!r} was evaluated. Give one of {', '.join(self.seen) or 'none'}.")
        present = sorted(kept)
        missing = [number for number in self.slices if number not in kept]
        if missing:
            which = f"{len(present)} slices, with numbers from {present[0]} to {present[-1]}"
            raise ValueError(f"{case} has no slice {', '.join(map(str, missing))}. Choose from its {which}.")
        spread = np.linspace(0, len(present) - 1, min(self.count, len(present))).round().astype(int)
        numbers = self.slices or [present[position] for position in spread]
        images, truths, predictions = (np.stack(each) for each in zip(*(kept[n] for n in numbers), strict=True))
        titles = np.array([f"{case}, slice {number}" for number in numbers])
        with complete_file(self.path) as part:
            np.savez_compressed(part, images=images, truths=truths, predictions=predictions, titles=titles)


def _area(kept: tuple[str, Planes]) -> int:
    """Positive pixels in the ground truth of a case; -1 if none of its slices is kept."""
    return sum(int(truth.sum()) for _, truth, _ in kept[1].values()) if kept[1] else -1
