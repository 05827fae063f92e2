"""Scores of dense and sparse pixel labels (Gare et al., *Dense pixel-labeling*, section 2.6 and table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine

from ..metrics import accuracy, merged, pairs, per_class
from ..run.distributed import gathered
from ..tables import aligned, print_table, write_csv
from .score_table import ScoreTable
from .slice_table import decollated


class PixelScores(ScoreTable):
    """IoU per class, its mean, and pixel accuracy: ``scores.csv``, printed too, and ``scores_per_image.csv``.

    Pixels of all images are pooled, so that false positives in images without the class count too. Dense predictions
    are scored on their own seven classes (columns ``*_dense``) and, merged, on the sparse ones (``*_sparse``). The
    evaluator's output holds one-hot ``pred`` and ``label``.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        sparse: names of the sparse classes.
        merge: for each class that ``sparse`` lacks, the sparse class that it becomes part of.
        matrix: name of the confusion matrix in the engine's metrics.
    """

    def __init__(
        self,
        output_dir: str | Path,
        classes: Sequence[str],
        sparse: Sequence[str],
        merge: Mapping[str, str],
        matrix: str = "val_confusion",
    ) -> None:
        super().__init__(output_dir)
        self.classes, self.sparse, self.matrix = list(classes), list(sparse), matrix
        self.groups = [self.sparse.index(merge.get(name, name) if name not in sparse else name) for name in classes]
        self.images: list[tuple[str, list[float]]] = []

    def clear(self) -> None:
        """Forget the images of an earlier evaluation."""
        self.images = []

    def remember(self, engine: Engine) -> None:
        """Keep the IoU of each image."""
        size = len(self.classes)
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            pred, label = pairs([sample])
            counts = torch.bincount((label * size + pred.argmax(1)).flatten(), minlength=size**2).reshape(size, size)
            self.images.append((str(source["case"]), per_class(counts, "iou").tolist()))

    def gather(self) -> None:
        """Add the images of the other processes."""
        self.images = gathered(self.images)

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        state: Any = engine.state
        scores = self.scores(state.metric_details[self.matrix])
        columns = [f"{score}_{labels}" for score in ("iou", "accuracy") for labels in ("sparse", "dense")]
        rows = [[name, *(row.get(column) for column in columns)] for name, row in scores.items()]
        write_csv(self.output_dir / "scores.csv", ["class", *columns], rows)
        write_csv(
            self.output_dir / "scores_per_image.csv",
            ["case", *(f"iou_{name}" for name in self.classes)],
            ([case, *values] for case, values in self.images),
        )
        text = aligned(["class", "IoU", "IoU dense", "accuracy", "acc. dense"], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_image.csv")

    def scores(self, matrix: torch.Tensor) -> dict[str, dict[str, float]]:
        """Scores by class, and their ``mean``, from the confusion matrix of all pixels."""
        sets = {"sparse": (self.sparse, merged(matrix, self.groups))}
        if self.classes != self.sparse:
            sets["dense"] = (self.classes, matrix)
        names = list(dict.fromkeys([*self.sparse, *self.classes]))
        rows: dict[str, dict[str, float]] = {name: {} for name in [*names, "mean"]}
        for labels, (members, counts) in sets.items():
            iou = per_class(counts, "iou")
            for name, value in zip(members, iou.tolist(), strict=True):
                rows[name][f"iou_{labels}"] = value
            rows["mean"] |= {f"iou_{labels}": float(iou.nanmean()), f"accuracy_{labels}": float(accuracy(counts))}
        return rows
