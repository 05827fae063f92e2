"""Figure of predictions beside the ground truth, drawn at each validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ..report.comparison import draw_comparison
from ..report.styles import class_styles
from ..run.distributed import gathered, is_main
from .slice_table import decollated


def largest_of_each_case(parts: Iterable[Mapping[str, tuple[Any, ...]]], count: int) -> dict[str, Any]:
    """Select the largest entry of each case, for the cases with the largest ones.

    Args:
        parts: for each process, entries by case; the first item of an entry is its size.
        count: number of cases, at most.
    """
    best: dict[str, Any] = {}
    for part in parts:
        for case, entry in part.items():
            if case not in best or entry[0] > best[case][0]:
                best[case] = entry
    return {case: best[case] for case in sorted(best, key=lambda name: -best[name][0])[:count]}


class ComparisonPicture:
    """Draw image, ground truth and prediction of the slices with the largest lesions, one per case.

    Args:
        path: PNG to write at each validation.
        metadata: the bundle's ``metadata.json``, which holds the colours of the classes.
        classes: names in channel order.
        columns: number of slices, at most.
        upright: tensors are (C, rows, columns), as in ultrasound, and the patient's sides are not marked. If False,
            tensors are (C, X, Y) in LPS order.
    """

    def __init__(
        self,
        path: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        columns: int = 6,
        upright: bool = False,
    ) -> None:
        self.path, self.classes, self.columns, self.upright = Path(path), list(classes), columns, upright
        self.styles = class_styles(metadata, classes)
        self.values = torch.tensor([style.value for style in self.styles])
        self.best: dict[str, tuple[float, dict[str, Any]]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output holds one-hot ``label`` and thresholded ``pred``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.best.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.choose)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def choose(self, engine: Engine) -> None:
        """Keep the slice with the largest lesions of each case, for the cases with the largest ones."""
        lesions = [index for index, name in enumerate(self.classes) if name not in ("lung", "background")]
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            area, case = float(sample["label"][lesions].sum()), source["case"]
            if area > self.best.get(case, (-1.0,))[0]:
                kept = {key: sample[key].detach().float().cpu() for key in ("image", "label", "pred")}
                title = f"{case}, slice {int(source['slice'])}" if "slice" in source else case
                self.best[case] = (area, {**kept, "title": title})
        for case in sorted(self.best, key=lambda name: -self.best[name][0])[self.columns :]:
            del self.best[case]

    def draw(self, engine: Engine) -> None:
        """Draw the slices of all processes."""
        self.best = largest_of_each_case(gathered([self.best]), self.columns)
        if not is_main():
            return
        samples = [sample for _, sample in self.best.values()]
        draw_comparison(
            self.path,
            [self.in_figure(sample["image"][0].numpy()) for sample in samples],
            [self.in_figure(self.mask(sample["label"])) for sample in samples],
            {"prediction": [self.in_figure(self.mask(sample["pred"])) for sample in samples]},
            self.styles,
            [sample["title"] for sample in samples],
            sides=not self.upright,
        )

    def in_figure(self, plane: np.ndarray) -> np.ndarray:
        """Turn a plane to (X, Y), as the figure takes it."""
        return plane.T if self.upright else plane

    def mask(self, onehot: torch.Tensor) -> np.ndarray:
        """Turn one-hot (classes, ...) into mask values (...); pixels without a class are 0."""
        return (onehot * self.values[:, None, None]).sum(0).round().numpy().astype(np.uint8)
