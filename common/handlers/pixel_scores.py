"""Scores of dense and sparse pixel labels (Gare et al., *Dense pixel-labeling*, section 2.6 and table 1)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..metrics import accuracy, merged, pairs, per_class
from ..run.distributed import gathered, is_main
from ..tables import shown
from .slice_table import decollated


class PixelScores:
    """IoU per class, its mean, and pixel accuracy: ``scores.csv``, printed too, and ``scores_per_image.csv``.

    Pixels of all images are pooled, so that a class seen where there is none counts against it. Dense predictions are
    scored on their own seven classes (columns ``*_dense``) and, merged, on the sparse ones (``*_sparse``).

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        sparse: names of the sparse classes.
        merge: for classes that ``sparse`` lacks, the one that they are part of.
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
        self.output_dir, self.classes, self.sparse, self.matrix = Path(output_dir), list(classes), list(sparse), matrix
        self.groups = [self.sparse.index(merge.get(name, name) if name not in sparse else name) for name in classes]
        self.images: list[tuple[str, list[float]]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output holds one-hot ``pred`` and ``label``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.images.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def remember(self, engine: Engine) -> None:
        """IoU of each image by itself."""
        size = len(self.classes)
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            pred, label = pairs([sample])
            counts = torch.bincount((label * size + pred.argmax(1)).flatten(), minlength=size**2).reshape(size, size)
            self.images.append((str(source["case"]), per_class(counts, "iou").tolist()))

    def write(self, engine: Engine) -> None:
        """Write both tables, of all processes' images, and print the first."""
        self.images = gathered(self.images)
        if not is_main():
            return
        state: Any = engine.state
        matrix = state.metric_details[self.matrix]
        sets = {"sparse": (self.sparse, merged(matrix, self.groups))}
        if self.classes != self.sparse:
            sets["dense"] = (self.classes, matrix)
        names = list(dict.fromkeys([*self.sparse, *self.classes]))
        rows: dict[str, dict[str, float]] = {name: {} for name in [*names, "mean"]}
        for word, (members, counts) in sets.items():
            iou = per_class(counts, "iou")
            for name, value in zip(members, iou.tolist(), strict=True):
                rows[name][f"iou_{word}"] = value
            rows["mean"] |= {f"iou_{word}": float(iou.nanmean()), f"accuracy_{word}": float(accuracy(counts))}
        columns = [f"{score}_{word}" for score in ("iou", "accuracy") for word in ("sparse", "dense")]
        with (self.output_dir / "scores.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["class", *columns])
            for name, row in rows.items():
                table.writerow([name, *(shown(row.get(column, float("nan")), "") for column in columns)])
        with (self.output_dir / "scores_per_image.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["case", *(f"iou_{name}" for name in self.classes)])
            table.writerows([case, *(shown(value, "") for value in values)] for case, values in self.images)
        heading = ("IoU", "IoU dense", "accuracy", "acc. dense")
        lines = [f"{'class':<24}" + "".join(f"{name:>11}" for name in heading)]
        for name, row in rows.items():
            lines.append(f"{name:<24}" + "".join(f"{shown(row.get(c, float('nan')), '-'):>11}" for c in columns))
        print("\n" + "\n".join(lines) + f"\n\nTables: {self.output_dir}/scores.csv, scores_per_image.csv")
