"""Whether probabilities of lesion are as frequent as they say: expected calibration error and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.metrics import calibration_binning

from ..metrics import calibration_errors
from ..report import canvas
from ..statistics import Estimate, bootstrap_estimates, counted, interval_over
from ..tables import write_csv
from .slice_table import SliceTable

FILES = ("calibration.csv", "calibration.png")
BINS = 10


class CalibrationScores(SliceTable):
    """Compare the probability of lesion, all kinds together, with the share of pixels that are lesion.

    ``calibration.csv`` has the expected calibration error (Guo et al., *On Calibration of Modern Neural Networks*,
    2017, section 2) with its interval, over all pixels that the network sees, and over those that are lesion or have
    a probability of 0.05 or more: most pixels of a slice are easy, and hide errors of the others.
    ``calibration.png`` is the reliability diagram. Probabilities are in bins as MONAI's ``CalibrationErrorMetric``
    has them; bins of all slices are added.

    Args:
        output_dir: folder of both files.
        lesions: channels of the kinds of lesion.
        activation: ``softmax``, or ``sigmoid`` of a single channel.
    """

    def __init__(self, output_dir: str | Path, lesions: Sequence[int], activation: str = "softmax") -> None:
        super().__init__(output_dir)
        self.lesions, self.activation = list(lesions), activation

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, whose network gives logits (B, classes, H, W)."""
        super().attach(engine)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.before_decision)

    def before_decision(self, engine: Engine) -> None:
        """Take the probabilities and the ground truth of a batch."""
        output: Any = engine.state.output
        logits, label = output["pred"].detach().float(), output["label"]
        if self.activation == "softmax":
            probability = logits.softmax(1)[:, self.lesions].sum(1, keepdim=True)
            truth = torch.isin(label.long(), torch.tensor(self.lesions, device=label.device))
        else:
            probability, truth = logits.sigmoid(), label > 0
        self.values.append(torch.stack([of_slices(probability, truth), of_slices(probability, truth, 0.05)], 1).cpu())

    def write(self, engine: Engine) -> None:
        """Write table and picture."""
        owners = self.sums()
        values = torch.cat(self.values).double().numpy()  # (slices, 2, 3, bins)
        sums = np.zeros((len(owners.names), *values.shape[1:]))
        np.add.at(sums, owners.places, values)
        rows, found = [], []
        for index, name in enumerate(("all pixels", "probability of 0.05 or more, or lesion")):
            (error,) = bootstrap_estimates(sums[:, index], calibration_errors)
            found.append(error)
            rows.append([name, error, interval_over({"": error}, owners.word)])
        write_csv(self.output_dir / FILES[0], ["pixels", "calibration_error", "interval_over"], rows)
        self._draw(sums.sum(0), found)

    def _draw(self, sums: np.ndarray, errors: Sequence[Estimate]) -> None:
        figure = canvas.new_figure(620, 620)
        canvas.write_heading(figure, "Probability of lesion and share of lesion", counted(len(self.names), "slices"))
        axes = canvas.add_plot(figure, 70, 92, 500, 460, "Share of pixels that are lesion", "probability of lesion")
        axes.plot([0, 1], [0, 1], color=canvas.FAINT, lw=1, ls="--")
        probability, truth, pixels = sums[0]
        held = pixels > 0
        label = f"error {errors[0].value:.3f}; {errors[1].value:.3f} from 0.05"
        x, y = probability[held] / pixels[held], truth[held] / pixels[held]
        axes.plot(x, y, color=canvas.line_colour(0), marker="o", lw=2, label=label)
        axes.legend(loc="upper left", **canvas.LEGEND_IN_PLOT)
        canvas.save(figure, self.output_dir / FILES[1])


def of_slices(probability: torch.Tensor, truth: torch.Tensor, least: float | None = None) -> torch.Tensor:
    """Sum of probabilities, pixels that are lesion, and pixels of each bin of probability.

    Args:
        probability: (B, 1, H, W).
        truth: whether a pixel is lesion, same shape.
        least: leave out pixels below this probability that are no lesion.

    Returns:
        (B, 3, bins).
    """
    mean, share, pixels = (each[:, 0].nan_to_num() for each in calibration_binning(probability, truth.float(), BINS))
    sums = torch.stack([mean * pixels, share * pixels, pixels], 1)
    if least is None:
        return sums
    easy = (probability < least) & ~truth  # all of them lie in the first bin
    sums[:, 0, 0] -= (probability * easy).flatten(1).sum(1)
    sums[:, 2, 0] -= easy.flatten(1).sum(1)
    return sums.clamp(min=0)
