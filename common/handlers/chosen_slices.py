"""Slices of an evaluation, saved so that they can be drawn beside those of other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ignite.engine import Engine

from ..files import complete_file
from ..run.distributed import gathered
from .score_table import ScoreTable
from .slice_table import decollated


class SlicePlanes(NamedTuple):
    """A slice: image (X, Y) float16, channel 0 as the network takes it; masks (X, Y) uint8, 0 and 1."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


Planes = dict[int, SlicePlanes]  # by slice number


def slice_planes(sample: Mapping[str, Any]) -> SlicePlanes:
    """A slice of an evaluator's output with ``image``, ``label`` and thresholded ``pred``, (C, X, Y) each."""
    image, truth, pred = (sample[key][0].detach().float().cpu().numpy() for key in ("image", "label", "pred"))
    return SlicePlanes(image.astype(np.float16), *((mask > 0.5).astype(np.uint8) for mask in (truth, pred)))


def save_slices(
    path: Path, slices: Sequence[SlicePlanes], titles: Sequence[str], patients: np.ndarray | None = None
) -> None:
    """Write slices for ``common.reproduce.sheet``.

    The file holds, for N slices, ``images`` (N, X, Y) float16, ``truths`` and ``predictions`` (N, X, Y) uint8, 0 and 1,
    ``titles`` (N), and ``patients`` (N) if they are given.
    """
    images, truths, predictions = (np.stack(each) for each in zip(*slices, strict=True))
    more = {} if patients is None else {"patients": patients}
    content: dict[str, Any] = {"images": images, "truths": truths, "predictions": predictions, **more}
    with complete_file(path) as part:
        np.savez_compressed(part, titles=np.array(titles), **content)


class ChosenSlices(ScoreTable):
    """Some slices of one case with ground truth and prediction: ``chosen_slices.npz``, see ``save_slices``.

    Titles are case and slice number. The evaluator's output holds ``image``, ``label`` and thresholded ``pred``, and
    its cases follow one another. ``common.reproduce.sheet`` draws the slices.

    Args:
        output_dir: folder of the file.
        case: name of the case; by default one with many positive pixels in its ground truth, see ``rank``.
        slices: slice numbers from 0; by default evenly spread from the case's first slice to its last, so that slices
            with and without lesions are among them.
        count: number of slices that are chosen by default.
        rank: 1 takes the case with the most positive pixels by default, 2 the one with the second most; if there are
            fewer cases, the last of them.
        adjacent: choose ``count`` slices that follow one another, where most pixels are positive.
        file: name of the file.

    Raises:
        ValueError: if ``count`` or ``rank`` is below 1.
    """

    def __init__(
        self,
        output_dir: str | Path,
        case: str = "",
        slices: Sequence[int] = (),
        count: int = 7,
        rank: int = 1,
        adjacent: bool = False,
        file: str = "chosen_slices.npz",
    ) -> None:
        if count < 1 or rank < 1:
            raise ValueError(
                f"At least one slice must be saved, of the first case or a later one, got {count=}, {rank=}."
            )
        super().__init__(output_dir)
        self.path, self.case, self.rank = self.output_dir / file, str(case), rank
        self.slices, self.count, self.adjacent = [int(number) for number in slices], count, adjacent
        self.seen: list[str] = []
        self.kept: list[tuple[str, Planes]] = []  # the first case, the best ones between, the current one

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.seen, self.kept = [], []

    def remember(self, engine: Engine) -> None:
        """Keep the slices of the current case, of the best cases before it, and of the first one.

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
                self.kept[1:] = sorted(self.kept[1:], key=_area, reverse=True)[: self.rank]
                self.kept.append((case, {}))
                self.seen.append(case)
            if case == self.case or not self.case:
                self.kept[-1][1][int(source["slice"])] = slice_planes(sample)

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
        ranked = sorted((each for each in self.kept if each[1]), key=_area, reverse=True)
        case, kept = ranked[: self.rank][-1] if ranked else ("", {})
        if not kept:
            raise ValueError(f"No case {self.case!r} was evaluated. Give one of {', '.join(self.seen) or 'none'}.")
        present = sorted(kept)
        missing = [number for number in self.slices if number not in kept]
        if missing:
            which = f"{len(present)} slices, with numbers from {present[0]} to {present[-1]}"
            raise ValueError(f"{case} has no slice {', '.join(map(str, missing))}. Choose from its {which}.")
        numbers = self.slices or self._by_default(kept)
        save_slices(self.path, [kept[number] for number in numbers], [f"{case}, slice {number}" for number in numbers])

    def _by_default(self, kept: Planes) -> list[int]:
        """Numbers of slices: spread over the case, or the adjacent ones with most positive pixels."""
        present, count = sorted(kept), min(self.count, len(kept))
        if self.adjacent:
            areas = np.convolve([int(kept[number].truth.sum()) for number in present], np.ones(count, int), "valid")
            return present[(first := int(areas.argmax())) : first + count]
        return [present[position] for position in np.linspace(0, len(present) - 1, count).round().astype(int)]


def _area(kept: tuple[str, Planes]) -> int:
    """Positive pixels in the ground truth of a case; -1 if none of its slices is kept."""
    return sum(int(planes.truth.sum()) for planes in kept[1].values()) if kept[1] else -1
