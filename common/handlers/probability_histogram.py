"""Histograms of a network's probabilities, before and after the decision for a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from matplotlib.ticker import NullLocator
from monai.engines import IterationEvents

from ..report import canvas
from ..run.distributed import gathered
from ..tables import write_csv
from .score_table import ScoreTable

BINS = 50
KINDS = {"softmax": "softmax", "refined": "after the decision"}


class ProbabilityHistogram(ScoreTable):
    """Count the values of all output channels and pixels of an evaluation (Balantrapu 2021, figures 20 and 21).

    ``probabilities.csv`` has a row per bin: its middle, and the share of the values that lie in it, of the softmax
    probabilities (``softmax``) and of the classes after the decision, which are 0 and 1 (``refined``); then both for
    each class. Shares of a column add up to 1. ``probabilities.png`` draws both, one line per class.

    Args:
        output_dir: folder of both files.
        classes: names in channel order.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str]) -> None:
        super().__init__(output_dir)
        self.classes = list(classes)
        self.clear()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, whose network gives logits (B, classes, H, W)."""
        super().attach(engine)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.before_decision)

    def clear(self) -> None:
        """Forget the counts of an earlier evaluation."""
        self.counts = np.zeros((len(KINDS), len(self.classes), BINS), np.int64)

    def before_decision(self, engine: Engine) -> None:
        """Count the probabilities of a batch of logits."""
        output: Any = engine.state.output
        self.counts[0] += _histograms(output["pred"].detach().float().softmax(1).movedim(1, 0))

    def remember(self, engine: Engine) -> None:
        """Count the values after the decision: the output's ``pred``, one-hot (classes, H, W)."""
        output: Any = engine.state.output
        self.counts[1] += sum(_histograms(sample["pred"].detach().float()) for sample in output)

    def gather(self) -> None:
        """Add the counts of the other processes."""
        self.counts = np.sum(gathered([self.counts]), axis=0)

    def write(self, engine: Engine) -> None:
        """Write the table and draw it."""
        middles = (np.arange(BINS) + 0.5) / BINS
        shares = self.counts / np.maximum(self.counts.sum(-1, keepdims=True), 1)  # (kinds, classes, bins)
        together = self.counts.sum(1) / np.maximum(self.counts.sum((1, 2))[:, None], 1)
        columns = ["probability", *KINDS, *(f"{kind} {name}" for kind in KINDS for name in self.classes)]
        rows = np.column_stack([middles, together.T, shares.reshape(-1, BINS).T])
        write_csv(self.output_dir / "probabilities.csv", columns, rows.tolist(), form=".6g")
        figure = canvas.new_figure(1200, 460)
        canvas.write_heading(
            figure, "Values of the output channels", "share of the pixels of all scored slices, per class"
        )
        for number, (values, title) in enumerate(zip(shares, KINDS.values(), strict=True)):
            axes = canvas.add_plot(figure, 70 + 600 * number, 92, 510, 300, title, "probability")
            for position, name in enumerate(self.classes):
                axes.stairs(
                    values[position], np.linspace(0, 1, BINS + 1), color=canvas.line_colour(position), label=name
                )
            axes.set(yscale="log", xlim=(-0.02, 1.02), ylim=(1e-6, 2))
            axes.yaxis.set_minor_locator(NullLocator())
        below: dict[str, Any] = {"loc": "lower center", "ncols": len(self.classes), "frameon": False, "fontsize": 11}
        figure.legend(*axes.get_legend_handles_labels(), labelcolor=canvas.TEXT, **below)
        canvas.save(figure, self.output_dir / "probabilities.png")


def _histograms(values: torch.Tensor) -> np.ndarray:
    """Counts (classes, bins) of values (classes, ...) in 0..1."""
    return np.stack([torch.histc(each.cpu(), BINS, 0, 1).numpy() for each in values]).astype(np.int64)
