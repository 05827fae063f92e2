"""Figures of the slices with the largest lesions, drawn at each validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ..report.comparison import draw_comparison
from ..report.styles import class_styles
from ..run.distributed import gathered, is_main
from .slice_table import decollated

Entry = tuple[float, str, dict[str, Any]]  # size, title and what is drawn of a slice


class LargestLesions(ABC):
    """Base of the handlers that draw the slices with the largest lesions, one per case, at each validation.

    Args:
        path: file to write.
        columns: number of slices, at most.
        one_per: what has one slice each: ``case`` or ``patient``.
    """

    def __init__(self, path: str | Path, columns: int, one_per: str = "case") -> None:
        self.path, self.columns, self.one_per = Path(path), columns, one_per
        self.best: dict[str, Entry] = {}  # by case, or by patient

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator; the handler says what its output must hold."""
        engine.add_event_handler(Events.STARTED, lambda _: self.best.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.choose)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def choose(self, engine: Engine) -> None:
        """Keep the largest slice of each case, for the cases with the largest ones."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            sample = {**source, **sample}  # MONAI's output holds only what the network took
            case, group, size = str(source["case"]), str(source[self.one_per]), self.size(sample)
            if group not in self.best or size > self.best[group][0]:
                title = f"{case}, slice {int(source['slice'])}" if "slice" in source else case
                self.best[group] = (size, title, self.kept(sample))
        self.best = self._largest(self.best)

    def draw(self, engine: Engine) -> None:
        """Draw the slices of all processes."""
        best: dict[str, Entry] = {}
        for part in gathered([self.best]):
            for case, entry in part.items():
                if case not in best or entry[0] > best[case][0]:
                    best[case] = entry
        self.best = self._largest(best)
        if is_main():
            entries = self.best.values()
            self.draw_slices([title for _, title, _ in entries], [kept for _, _, kept in entries])

    def _largest(self, best: Mapping[str, Entry]) -> dict[str, Entry]:
        return {case: best[case] for case in sorted(best, key=lambda name: -best[name][0])[: self.columns]}

    @abstractmethod
    def size(self, sample: Mapping[str, Any]) -> float:
        """By what slices are compared."""

    @abstractmethod
    def kept(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of a slice, in the memory of the processor."""

    @abstractmethod
    def draw_slices(self, titles: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
        """Draw slices, each as ``kept`` returned it."""


class ComparisonPicture(LargestLesions):
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
        super().__init__(path, columns)
        self.upright = upright
        self.styles = class_styles(metadata, classes)
        self.values = torch.tensor([style.value for style in self.styles])
        self.lesions = [index for index, name in enumerate(classes) if name not in ("lung", "background")]

    def size(self, sample: Mapping[str, Any]) -> float:
        """Pixels of lesions in the ground truth, which is one-hot ``label``."""
        return float(sample["label"][self.lesions].sum())

    def kept(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Image, one-hot label and thresholded prediction."""
        return {key: sample[key].detach().float().cpu() for key in ("image", "label", "pred")}

    def draw_slices(self, titles: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
        """Draw the figure."""
        draw_comparison(
            self.path,
            [self.in_figure(sample["image"][0].numpy()) for sample in samples],
            [self.in_figure(self.mask(sample["label"])) for sample in samples],
            {"prediction": [self.in_figure(self.mask(sample["pred"])) for sample in samples]},
            self.styles,
            titles,
            sides=not self.upright,
        )

    def in_figure(self, plane: np.ndarray) -> np.ndarray:
        """Turn a plane to (X, Y), as the figure takes it."""
        return plane.T if self.upright else plane

    def mask(self, onehot: torch.Tensor) -> np.ndarray:
        """Turn one-hot (classes, ...) into mask values (...); pixels without a class are 0."""
        return (onehot * self.values[:, None, None]).sum(0).round().numpy().astype(np.uint8)
