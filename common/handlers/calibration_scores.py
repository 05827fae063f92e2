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
from .lungs_of_slices import lungs_of
from .slice_table import SliceTable

FILES = ("calibration.csv", "calibration.png")
BINS = 10
LEAST = 0.05  # a probability below it is easy
REGIONS = ("all pixels", "lungs and lesions", f"probability of {LEAST} or more, or lesion")


class CalibrationScores(SliceTable):
    """Compare the probability of lesion, all kinds together, with the share of pixels that are lesion.

    ``calibration.csv`` has the expected calibration error (Guo et al., *On Calibration of Modern Neural Networks*,
    2017, section 2) with its interval, over all pixels that the network sees, over those of the lungs and the lesions,
    and over those that are lesion or have a probability of 0.05 or more: most pixels of a slice are easy, and hide
    errors of the others. ``calibration.png`` is the reliability diagram. Probabilities are in bins as MONAI's
    ``CalibrationErrorMetric`` has them; bins of all slices are added.

    Args:
        output_dir: folder of both files.
        lesions: channels of the kinds of lesion.
        activation: ``softmax``, or ``sigmoid`` of a single channel.
        lung_channel: of the network's input, if one is a mask of the lungs; by default they are found by threshold.
    """

    def __init__(
        self,
        output_dir: str | Path,
        lesions: Sequence[int],
        activation: str = "softmax",
        lung_channel: int | None = None,
    ) -> None:
        super().__init__(output_dir)
        self.lesions, self.activation, self.lung_channel = list(lesions), activation, lung_channel

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
        lung = lungs_of(output, self.lung_channel) | truth
        regions = (torch.ones_like(truth), lung, truth | (probability >= LEAST))
        self.values.append(torch.stack([of_slices(probability, truth, region) for region in regions], 1).cpu())

    def write(self, engine: Engine) -> None:
        """Write table and picture."""
        owners = self.sums()
        values = torch.cat(self.values).double().numpy()  # (slices, regions, 3, bins)
        sums = np.zeros((len(owners.names), *values.shape[1:]))
        np.add.at(sums, owners.places, values)
        rows, found = [], []
        for index, name in enumerate(REGIONS):
            (error,) = bootstrap_estimates(sums[:, index], calibration_errors)
            found.append(error)
            rows.append([name, error, interval_over({"": error}, owners.word)])
        write_csv(self.output_dir / FILES[0], ["pixels", "calibration_error", "interval_over"], rows)
        self._draw(sums.sum(0), found)

    def _draw(self, sums: np.ndarray, errors: Sequence[Estimate]) -> None:
        """Draw the reliability diagram of all pixels."""
        figure = canvas.new_figure(620, 620)
        canvas.write_heading(figure, "Probability of lesion and share of lesion", counted(len(self.names), "slices"))
        axes = canvas.add_plot(figure, 70, 92, 500, 460, "Share of pixels that are lesion", "probability of lesion")
        axes.plot([0, 1], [0, 1], color=canvas.FAINT, lw=1, ls="--")
        probability, truth, pixels = sums[0]
        held = pixels > 0
        label = f"error {errors[0].value:.3f}; lungs {errors[1].value:.3f}; from {LEAST} {errors[2].value:.3f}"
        x, y = probability[held] / pixels[held], truth[held] / pixels[held]
        axes.plot(x, y, color=canvas.line_colour(0), marker="o", lw=2, label=label)
        axes.legend(loc="upper left", **canvas.LEGEND_IN_PLOT)
        canvas.save(figure, self.output_dir / FILES[1])


def of_slices(probability: torch.Tensor, truth: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Sum of probabilities, pixels that are lesion, and pixels of each bin of probability.

    Args:
        probability: (B, 1, H, W).
        truth: whether a pixel is lesion, same shape.
        region: whether a pixel counts, same shape.

    Returns:
        (B, 3, bins).
    """
    found = []
    for each, lesion, inside in zip(probability, truth.float(), region, strict=True):
        chosen = each[inside][None, None], lesion[inside][None, None]  # (1, 1, pixels)
        if not inside.any():
            found.append(each.new_zeros(3, BINS))
            continue
        mean, share, pixels = (value[0, 0].nan_to_num() for value in calibration_binning(*chosen, BINS))
        found.append(torch.stack([mean * pixels, share * pixels, pixels]))
    return torch.stack(found)
