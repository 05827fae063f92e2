"""Scores of dense and sparse pixel labels (Gare et al., *Dense pixel-labeling*, section 2.6 and table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from scipy import ndimage

from ..metrics import mean_score, merged, pairs, per_class
from ..run.distributed import gathered
from ..statistics import ABSENT, ScoreSums, interval_over
from ..tables import aligned, print_table, write_csv
from .score_table import ScoreTable, sums_over
from .slice_table import decollated

SCORES = ("iou", "iou_per_image", "precision", "recall", "false_positives", "accuracy")
MEANS = ("mean", "mean without background")


class LabelSet(NamedTuple):
    """The classes that predictions are scored on.

    ``groups`` holds, for each class of the network, the index of the class that it becomes part of.
    """

    name: str
    classes: list[str]
    groups: list[int]

    @property
    def background(self) -> list[int]:
        """Index of the background, if there is one."""
        return [index for index, name in enumerate(self.classes) if name == "background"]

    @property
    def foreground(self) -> list[int]:
        """Indices of all other classes."""
        return [index for index, name in enumerate(self.classes) if name != "background"]


class ScoredImage(NamedTuple):
    """An image: for each set of labels its confusion matrix, and the number of false positives of each class."""

    case: str
    patient: str
    matrices: dict[str, torch.Tensor]
    false_positives: dict[str, list[int]]


class PixelScores(ScoreTable):
    """Scores per class and their means: ``scores.csv``, printed too, and ``scores_per_image.csv``.

    Dense predictions are scored on their own seven classes (columns ``*_dense``) and, merged, on the sparse ones
    (``*_sparse``). IoU, precision, recall and accuracy pool the pixels of all images, so that false positives in images
    without the class count too. ``iou_per_image`` is a mean over images: of a class over those whose ground truth holds
    it; in the rows of means, of each image's mean over the classes in its ground truth. ``false_positives`` is the mean
    number per image of connected regions of a class that touch none of its ground truth.

    Each score has its 95 % interval; ``scores.npz`` holds the sums behind it. The evaluator's output holds one-hot
    ``pred`` and ``label``; its batch ``case`` and ``patient``.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        sparse: names of the sparse classes.
        merge: for each class that ``sparse`` lacks, the sparse class that it becomes part of.
    """

    def __init__(
        self, output_dir: str | Path, classes: Sequence[str], sparse: Sequence[str], merge: Mapping[str, str]
    ) -> None:
        super().__init__(output_dir)
        groups = [list(sparse).index(name if name in sparse else merge[name]) for name in classes]
        self.sets = [LabelSet("sparse", list(sparse), groups)]
        if list(classes) != list(sparse):
            self.sets.append(LabelSet("dense", list(classes), list(range(len(classes)))))
        self.images: list[ScoredImage] = []

    def clear(self) -> None:
        """Forget the images of an earlier evaluation."""
        self.images = []

    def remember(self, engine: Engine) -> None:
        """Count pixels and false positives of each image."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            pred, label = pairs([sample])
            size, found, truth = pred.shape[1], pred.argmax(1)[0].cpu(), label[0].cpu()
            counts = torch.bincount((truth * size + found).flatten(), minlength=size**2).reshape(size, size)
            matrices, false_positives = {}, {}
            for labels in self.sets:
                groups = torch.tensor(labels.groups)
                planes = (groups[found].numpy(), groups[truth].numpy())
                matrices[labels.name] = merged(counts, labels.groups)
                false_positives[labels.name] = [
                    regions_beside(*(plane == index for plane in planes)) for index in range(len(labels.classes))
                ]
            names = (str(source["case"]), str(source.get("patient", "")))
            self.images.append(ScoredImage(*names, matrices, false_positives))

    def gather(self) -> None:
        """Add the images of the other processes."""
        self.images = gathered(self.images)

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        cases, patients = ([getattr(image, key) for image in self.images] for key in ("case", "patient"))
        sums = sums_over(cases, patients, single="images", several="images")
        touched = {labels.name: self.add_scores(sums, labels) for labels in self.sets}
        sums.save(self.output_dir / "scores.npz")
        found = sums.estimates()
        columns = [f"{score}_{kind}" for kind in ("sparse", "dense") for score in SCORES]
        rows = []
        for name in [*dict.fromkeys(name for labels in self.sets for name in labels.classes), *MEANS]:
            known = {column: found[name, column] for column in columns if (name, column) in found}
            numbers = next((each[name] for each in touched.values() if name in each), [None, None])
            rows.append([name, *map(known.get, columns), *numbers, interval_over(known, sums.word)])
        write_csv(self.output_dir / "scores.csv", ["class", *columns, "absent", "false_alarms", "interval_over"], rows)
        heading, *table = self.per_image()
        write_csv(self.output_dir / "scores_per_image.csv", heading, table)
        shown = ["IoU", "per image", "precision", "recall", "false pos.", "accuracy", "absent", "false alarms"]
        text = "\n\n".join(
            aligned(
                [f"{labels.name} classes", *shown],
                (
                    [
                        name,
                        *(found.get((name, f"{score}_{labels.name}")) for score in SCORES),
                        *touched[labels.name].get(name, [None, None]),
                    ]
                    for name in (*labels.classes, *MEANS)
                ),
            )
            for labels in self.sets
        )
        print_table(text, self.output_dir, "scores.csv", "scores_per_image.csv", note=ABSENT)

    def add_scores(self, sums: ScoreSums, labels: LabelSet) -> dict[str, list[int]]:
        """Add the scores on a set of labels, and return for each class in how many images it is absent, with alarms."""
        matrices = torch.stack([image.matrices[labels.name] for image in self.images]).double()
        hit, truth, predicted = (
            each.numpy() for each in (matrices.diagonal(dim1=1, dim2=2), matrices.sum(2), matrices.sum(1))
        )
        ious = np.array([per_class(matrix, "iou").tolist() for matrix in matrices])
        false_positives = np.array([image.false_positives[labels.name] for image in self.images])
        known = truth.sum(0) > 0
        belows = {  # the precision of a class that is never predicted is 0
            "iou": (truth + predicted - hit) * known,
            "precision": (predicted + 1e-9 * truth) * known,
            "recall": truth,
        }
        everything = list(range(len(labels.classes)))
        for row, chosen in [
            *zip(labels.classes, ([index] for index in everything), strict=True),
            (MEANS[0], everything),
            (MEANS[1], labels.foreground),
        ]:
            for score, below in belows.items():
                sums.add(row, f"{score}_{labels.name}", hit[:, chosen], below[:, chosen])
            sums.add(row, f"iou_per_image_{labels.name}", _row_means(ious[:, chosen]))
            if row != MEANS[0] and chosen != labels.background:
                sums.add(row, f"false_positives_{labels.name}", false_positives[:, chosen].mean(1))
        sums.add(MEANS[0], f"accuracy_{labels.name}", hit.sum(1), matrices.sum((1, 2)))
        absent = truth == 0
        alarms = absent & (predicted > 0)
        return {
            name: [int(absent[:, index].sum()), int(alarms[:, index].sum())]
            for index, name in enumerate(labels.classes)
        }

    def per_image(self) -> Iterator[list[Any]]:
        """Heading and rows of the table with one row per image."""
        yield [
            "case",
            "patient",
            *(f"iou_{labels.name}_{name}" for labels in self.sets for name in (*labels.classes, *MEANS)),
            *(f"false_positives_{labels.name}_{labels.classes[i]}" for labels in self.sets for i in labels.foreground),
        ]
        for image in self.images:
            row: list[Any] = [image.case, image.patient]
            for labels in self.sets:
                iou = per_class(image.matrices[labels.name], "iou")
                row += [*iou.tolist(), mean_score(iou), mean_score(iou, labels.background)]
            yield [*row, *(image.false_positives[labels.name][i] for labels in self.sets for i in labels.foreground)]


def _row_means(values: np.ndarray) -> np.ndarray:
    """Mean of each row (N, M) without NaN; NaN for a row of nothing else."""
    known = np.isfinite(values)
    return np.where(known.any(1), np.nansum(values, 1) / np.maximum(known.sum(1), 1), np.nan)


def regions_beside(found: np.ndarray, truth: np.ndarray) -> int:
    """Number of connected regions of ``found`` that hold no pixel of ``truth``; pixels that touch at a corner connect.

    Args:
        found: bool (rows, columns).
        truth: bool, same shape.

    Example:
        >>> regions_beside(np.array([[1, 0, 1, 1]], bool), np.array([[0, 0, 0, 1]], bool))
        1
    """
    regions, count = ndimage.label(found, np.ones((3, 3)))
    return int(count - np.count_nonzero(np.unique(regions[truth])))
