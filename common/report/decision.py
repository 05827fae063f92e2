"""What drove a diagnosis of the reverse transfer: the weight of each map times its share of the image."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from scipy.special import softmax

from ..networks.reverse_transfer import ReverseTransfer
from ..run.model_record import damaged_entry, read_record, weights_files
from ..tables import write_csv
from . import canvas
from .grid import ImageGrid

BIAS = "bias"
RECORD, UNCERTAIN = "diagnosis", "uncertain"  # key in the record of weights, and the answer that is none
NAMED = 2  # maps in a line of text
FOR, AGAINST = "#fe6100", "#648fff"  # distinct with any colour vision
NAMES, HEADING, LINE = 112, 78, 24  # pixels: width of the diagnoses, height of title and names of the maps, of a row


class Explained(NamedTuple):
    """A diagnosis and what it is made of.

    Args:
        contributions: weight times share of each map, and the bias last, shape (diagnoses, maps + 1). The sum of a row
            is the logit of its diagnosis, and the softmax of the logits the probability.
        shares: of the maps, (maps,).
        temperature: what the logits are divided by for the probabilities.
    """

    contributions: np.ndarray
    shares: np.ndarray
    temperature: float = 1.0

    @property
    def logits(self) -> np.ndarray:
        """(diagnoses,)."""
        return self.contributions.sum(1)

    @property
    def probabilities(self) -> np.ndarray:
        """(diagnoses,)."""
        return np.asarray(softmax(self.logits / self.temperature))

    @property
    def ranked(self) -> list[int]:
        """Indices of the diagnoses, the most probable first."""
        return np.argsort(-self.logits, kind="stable").tolist()


class Decision:
    """The last layer of ``us_reverse_transfer``, which is all that turns shares into a diagnosis: 24 numbers of 7 maps.

    A clip is diagnosed from its mean shares. As the layer is linear, its logits and contributions are the means of
    those of its frames.

    Args:
        network: the network; its weights are read when they are needed.
        diagnoses: in channel order.
        maps: names of the maps in channel order.
        weights: as ``--weights``. Their record may say how certain the network is: the temperature of its
            probabilities, and the probability below which the answer is ``uncertain``.

    Raises:
        ValueError: if the record is damaged.
    """

    def __init__(
        self, network: ReverseTransfer, diagnoses: Sequence[str], maps: Sequence[str], weights: Any = None
    ) -> None:
        self.network, self.diagnoses, self.maps = network, list(diagnoses), list(maps)
        record = {} if weights is None else read_record(weights_files(weights, several=True)[0]).get(RECORD, {})
        try:
            self.temperature, self.least = float(record.get("temperature", 1.0)), float(record.get("least", 0.0))
            if not (0 < self.temperature < float("inf") and 0 <= self.least <= 1):
                raise ValueError(f"temperature {self.temperature}, least probability {self.least}")
        except (TypeError, AttributeError, ValueError) as error:
            raise damaged_entry("the diagnosis", error, "diagnosis") from error

    @property
    def columns(self) -> list[str]:
        """Columns of an explained case, in the order of ``row``."""
        parts = [*self.maps, BIAS]
        return [
            "diagnosis",
            "answer",
            "decided_by",
            *(f"probability_{name}" for name in self.diagnoses),
            *(f"share_{name}" for name in self.maps),
            *(f"logit_{name}" for name in self.diagnoses),
            *(f"contribution_{diagnosis}_{part}" for diagnosis in self.diagnoses for part in parts),
        ]

    @property
    def weights(self) -> np.ndarray:
        """Weights of the maps and the bias, (diagnoses, maps + 1)."""
        layer = self.network.classifier
        return np.column_stack([layer.weight.detach().double().cpu(), layer.bias.detach().double().cpu()])

    def explain(self, shares: Mapping[str, float]) -> Explained:
        """Diagnose from shares of the image, ``share_<map>``."""
        values = np.array([shares[f"share_{name}"] for name in self.maps])
        return Explained(self.weights * np.append(values, 1.0), values, self.temperature)

    def answer(self, row: Mapping[str, Any]) -> str:
        """The most probable diagnosis, or ``uncertain`` if it is not probable enough."""
        name = max(self.diagnoses, key=lambda each: row[f"probability_{each}"])
        return name if row[f"probability_{name}"] >= self.least else UNCERTAIN

    def row(self, shares: Mapping[str, float]) -> dict[str, float | str]:
        """What a table holds of a case: see ``columns``."""
        found = self.explain(shares)
        name = self.diagnoses[found.ranked[0]]
        answer = self.answer({f"probability_{n}": p for n, p in zip(self.diagnoses, found.probabilities, strict=True)})
        values = [name, answer, self.drivers(found), *found.probabilities, *found.shares, *found.logits]
        values += found.contributions.ravel().tolist()
        return {
            column: value if isinstance(value, str) else float(value)
            for column, value in zip(self.columns, values, strict=True)
        }

    def drivers(self, found: Explained) -> str:
        """The maps that favour the diagnosis most over the second most probable one, by how many units of logit."""
        first, second = found.ranked[:2]
        ahead = found.contributions[first] - found.contributions[second]
        strongest = [index for index in np.argsort(-ahead, kind="stable").tolist() if ahead[index] > 0][:NAMED]
        names = [*self.maps, BIAS]
        parts = ", ".join(f"{names[index]} {ahead[index]:+.2f}" for index in strongest)
        return f"{parts} over {self.diagnoses[second]}" if parts else ""

    def write(self, path: Path) -> None:
        """Write the weights: one row per map and one of the bias, one column per diagnosis."""
        rows = ([name, *values] for name, values in zip([*self.maps, BIAS], self.weights.T.tolist(), strict=True))
        write_csv(path, ["map", *self.diagnoses], rows, form=".6g")

    @property
    def height(self) -> float:
        """Pixels that ``draw`` needs."""
        return HEADING + LINE * len(self.diagnoses)

    def draw(self, grid: ImageGrid, shares: Mapping[str, float]) -> None:
        """Draw a case's table below the panels of a figure, in the room that ``height`` states."""
        found = self.explain(shares)
        figure, top, names = grid.figure, grid.end + 12, [*self.maps, BIAS]
        width, height = figure.get_size_inches() * canvas.DPI
        step = (width - 2 * canvas.MARGIN - NAMES) / (len(names) + 2)
        lefts = [canvas.MARGIN + NAMES + step * index for index in range(len(names) + 2)]
        canvas.write(figure, canvas.MARGIN, top, "Weight x share of each map, their sum, and the probability", 10.5)
        heads = [
            f"{textwrap.fill(name, int(step / 7))}\n{100 * share:.1f} %"
            for name, share in zip(self.maps, found.shares, strict=True)
        ]
        for left, head in zip(lefts, [*heads, BIAS, "sum", "probability"], strict=True):
            canvas.write_block(figure, left + 4, top + 33, head, 8, canvas.FAINT)
        largest = max(float(np.abs(found.contributions).max()), 1e-9)
        for number, diagnosis in enumerate(self.diagnoses):
            middle = top + HEADING - 12 + LINE * number
            chosen = number == found.ranked[0]
            colour = canvas.TEXT if chosen else canvas.FAINT
            canvas.write(figure, canvas.MARGIN, middle, f"{'> ' if chosen else '   '}{diagnosis}", 10.5, colour)
            numbers = [*found.contributions[number], found.logits[number]]
            texts = [*(f"{value:+.2f}" for value in numbers), f"{found.probabilities[number]:.3f}"]
            for left, text in zip(lefts, texts, strict=True):
                canvas.write(figure, left + 4, middle, text, 10.5, colour)
            for left, value in zip(lefts, found.contributions[number], strict=False):
                shade = (*to_rgb(FOR if value > 0 else AGAINST), 0.6 * abs(float(value)) / largest)
                corner = (left / width, 1 - (middle + LINE / 2 - 1) / height)
                size = ((step - 3) / width, (LINE - 2) / height)
                figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, color=shade, lw=0, zorder=-1))
