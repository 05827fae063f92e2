"""Scores of dense and sparse pixel labels (Gare et al., *Dense pixel-labeling*, section 2.6 and table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine

from ..metrics import merged, pairs, per_class
from ..run.distributed import gathered
from ..statistics import ABSENT, interval_over
from ..tables import aligned, print_table, write_csv
from .score_table import ScoreTable, sums_over
from .slice_table import decollated


class PixelScores(ScoreTable):
    """IoU per class, its mean, and pixel accuracy: ``scores.csv``, printed too, and ``scores_per_image.csv``.

    Pixels of all images are pooled, so that false positives in images without the class count too. Dense predictions
    are scored on their own seven classes (columns ``*_dense``) and, merged, on the sparse ones (``*_sparse``). Each
    score has its 95 % interval; ``scores.npz`` holds the sums behind it. The evaluator's output holds one-hot ``pred``
    and ``label``.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        sparse: names of the sparse classes.
        merge: for each class that ``sparse`` lacks, the sparse class that it becomes part of.
    """

    def __init__(
        self,
        output_dir: str | Path,
        classes: Sequence[str],
        sparse: Sequence[str],
        merge: Mapping[str, str],
    ) -> None:
        super().__init__(output_dir)
        self.classes, self.sparse = list(classes), list(sparse)
        self.groups = [self.sparse.index(merge.get(name, name) if name not in sparse else name) for name in classes]
        self.images: list[tuple[str, str, torch.Tensor]] = []  # case, patient, confusion matrix

    def clear(self) -> None:
        """Forget the images of an earlier evaluation."""
        self.images = []

    def remember(self, engine: Engine) -> None:
        """Keep the confusion matrix of each image."""
        size = len(self.classes)
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            pred, label = pairs([sample])
            counts = torch.bincount((label * size + pred.argmax(1)).flatten(), minlength=size**2).reshape(size, size)
            self.images.append((str(source["case"]), str(source.get("patient", "")), counts.cpu()))

    def gather(self) -> None:
        """Add the images of the other processes."""
        self.images = gathered(self.images)

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        cases, patients, counts = zip(*self.images, strict=True)
        matrices = torch.stack(counts).double()  # (images, classes, classes)
        sums = sums_over(cases, patients, single="images", several="images")
        labels = {"sparse": (self.sparse, merged(matrices, self.groups))}
        if self.classes != self.sparse:
            labels["dense"] = (self.classes, matrices)
        touched: dict[str, list[int]] = {}
        for name, (members, each) in labels.items():
            hit, truth, predicted = each.diagonal(dim1=1, dim2=2), each.sum(2), each.sum(1)  # each (images, members)
            below = (truth + predicted - hit) * (truth.sum(0) > 0)
            for index, member in enumerate(members):
                sums.add(member, f"iou_{name}", hit[:, index], below[:, index])
                absent = truth[:, index] == 0
                alarms = absent & (predicted[:, index] > 0)
                touched[member] = [int(absent.sum()), int(alarms.sum())]
            sums.add("mean", f"iou_{name}", hit, below)
            sums.add("mean", f"accuracy_{name}", hit.sum(1), each.sum((1, 2)))
        sums.save(self.output_dir / "scores.npz")
        found = sums.estimates()
        scores = [f"{score}_{labels}" for score in ("iou", "accuracy") for labels in ("sparse", "dense")]
        rows = []
        for member in [*dict.fromkeys([*self.sparse, *self.classes]), "mean"]:
            known = [found[member, column] for column in scores if (member, column) in found]
            cells = [found.get((member, column)) for column in scores]
            rows.append([member, *cells, *touched.get(member, [None, None]), interval_over(known, sums.word)])
        write_csv(self.output_dir / "scores.csv", ["class", *scores, "absent", "false_alarms", "interval_over"], rows)
        write_csv(
            self.output_dir / "scores_per_image.csv",
            ["case", "patient", *(f"iou_{name}" for name in self.classes)],
            ([case, patient, *per_class(each, "iou").tolist()] for case, patient, each in self.images),
        )
        heading = ["class", "IoU", "IoU dense", "accuracy", "acc. dense", "absent", "false alarms", "interval over"]
        print_table(aligned(heading, rows), self.output_dir, "scores.csv", "scores_per_image.csv", note=ABSENT)
