"""Handlers that MONAI and ignite lack: resumable checkpoints, epochs that can be repeated, tables and pictures."""

from __future__ import annotations

import csv
import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.metrics import compute_confusion_matrix_metric
from torch import nn

from .report.figures import comparison, curves
from .report.styles import class_styles
from .transfer import load_weights, save_whole

logger = logging.getLogger(__name__)


class EpochSeed:
    """Make the randomness of an epoch a function of seed and epoch alone.

    Order of samples, augmentation and dropout of epoch 7 are then the same in a run that was cut off and resumed as in
    one that was not, without random states in checkpoints.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its other handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the data set's random transforms."""
        seed = self.seed + 1000 * engine.state.epoch  # leaves room for the data set, which counts on from it
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        set_rnd(engine.data_loader.dataset, seed)  # type: ignore[attr-defined]


class Checkpoint:
    """``last.pt`` after every epoch, enough to resume; ``model.pt``, weights alone, whenever the key metric is best.

    Files are written beside and renamed, so that a run killed at any moment leaves whole ones.

    Args:
        save_dir: folder of both files.
        network, optimizer: what to save and restore.
        evaluator: the validation engine, whose key metric decides what is best.
        resume: continue from ``last.pt``; where there is none yet, start from the beginning.
        others: further objects with ``state_dict``, such as a learning-rate scheduler.
    """

    def __init__(
        self,
        save_dir: str | Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        evaluator: Engine,
        resume: bool = False,
        others: Mapping[str, Any] | None = None,
    ) -> None:
        self.save_dir, self.network, self.evaluator, self.resume = Path(save_dir), network, evaluator, resume
        self.states = {"optimizer": optimizer, **(others or {})}

    @property
    def last(self) -> Path:
        """Path of the checkpoint to resume from."""
        return self.save_dir / "last.pt"

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start(self, engine: Engine) -> None:
        """Restore the state of the last completed epoch."""
        if not self.resume:
            if self.last.exists():
                logger.warning("Starting anew: %s will be overwritten. Use --resume True to go on with it.", self.last)
            return
        if not self.last.exists():
            logger.warning("Resume: no %s yet, so training starts from the beginning.", self.last)
            return
        load_weights(self.network, self.last)
        content = torch.load(self.last, map_location="cpu", weights_only=True)
        for name, target in self.states.items():
            target.load_state_dict(content[name])
        engine.state.epoch = content["epoch"]
        engine.state.iteration = content["epoch"] * engine.state.epoch_length  # type: ignore[operator]
        state: Any = self.evaluator.state  # MONAI adds its own attributes to ignite's State
        state.best_metric, state.best_metric_epoch = content["best_metric"], content["best_metric_epoch"]
        logger.info("Resume: after epoch %d of %d.", content["epoch"], engine.state.max_epochs)

    def save(self, engine: Engine) -> None:
        """Write ``last.pt``, and ``model.pt`` if this epoch validated best."""
        state: Any = self.evaluator.state
        weights = self.network.state_dict()
        if state.best_metric_epoch == engine.state.epoch:
            save_whole(weights, self.save_dir / "model.pt")
        content = {
            "network": weights,
            **{name: target.state_dict() for name, target in self.states.items()},
            "epoch": engine.state.epoch,
            "best_metric": float(state.best_metric),
            "best_metric_epoch": state.best_metric_epoch,
        }
        save_whole(content, self.last)


class MetricsTable:
    """``metrics.csv`` and ``curves.png``: a row an epoch with loss, learning rate, seconds and the validation's scores.

    Args:
        output_dir: folder of both files.
        evaluator: the validation engine.
        classes: names in channel order, for the scores per class.
        optimizer: whose learning rate is written.
        metric: name of the per-class score in the evaluator's details.
    """

    def __init__(
        self,
        output_dir: str | Path,
        evaluator: Engine,
        classes: Sequence[str],
        optimizer: torch.optim.Optimizer,
        metric: str = "val_mean_dice",
    ) -> None:
        self.output_dir, self.evaluator, self.classes = Path(output_dir), evaluator, list(classes)
        self.optimizer, self.metric = optimizer, metric
        self.rows: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.began = 0.0

    @property
    def columns(self) -> list[str]:
        """Header of the table."""
        return ["epoch", "loss", "learning_rate", "seconds", self.metric, *(f"dice_{name}" for name in self.classes)]

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, between its validation handler and its checkpoint."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: self.losses.append(e.state.output[0]["loss"]))
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def begin(self, engine: Engine) -> None:
        """On the first epoch of a resumed run, take over the rows before it."""
        self.losses, self.began = [], time.monotonic()
        path = self.output_dir / "metrics.csv"
        if not self.rows and engine.state.epoch > 1 and path.exists():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < engine.state.epoch]

    def write(self, engine: Engine) -> None:
        """Append this epoch's row and draw the curves anew."""
        state: Any = self.evaluator.state
        validated = state.epoch == engine.state.epoch
        details = state.metric_details.get(self.metric) if validated else None
        per_class = [float("nan")] * len(self.classes) if details is None else column_means(details.cpu().numpy())
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            "loss": f"{float(np.mean([float(loss) for loss in self.losses])):.6f}",
            "learning_rate": f"{self.optimizer.param_groups[0]['lr']:g}",
            "seconds": f"{time.monotonic() - self.began:.1f}",
            self.metric: f"{state.metrics[self.metric]:.4f}" if validated else "",
            **{
                f"dice_{name}": "" if np.isnan(s) else f"{s:.4f}"
                for name, s in zip(self.classes, per_class, strict=True)
            },
        }
        self.rows.append(row)
        with (self.output_dir / "metrics.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, self.columns, extrasaction="ignore")
            table.writeheader()
            table.writerows(self.rows)
        scores = " ".join(f"{name} {row[f'dice_{name}'] or '-'}" for name in self.classes)
        logger.info("Epoch %d: loss %s, Dice %s (%s s).", row["epoch"], row["loss"], scores, row["seconds"])
        numbers = [
            {key: float(value) if value != "" else float("nan") for key, value in each.items()} for each in self.rows
        ]
        curves(self.output_dir / "curves.png", numbers, ["loss"], [f"dice_{name}" for name in self.classes])


def column_means(values: np.ndarray) -> list[float]:
    """Mean of each column without NaN, and NaN for a column that has nothing else. Shape (N, C) to C numbers."""
    return [float(np.nanmean(column)) if np.isfinite(column).any() else float("nan") for column in values.T]


class ScoreTable:
    """Scores per class of an evaluation: printed, and as ``scores.csv`` and ``scores_per_slice.csv``.

    Dice and IoU are means over the slices whose truth holds the class. F1 pools the pixels of all slices, so that
    lesions seen where there are none count too. A class that no slice's truth holds has no score.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str]) -> None:
        self.output_dir, self.classes = Path(output_dir), list(classes)
        self.names: list[tuple[str, int]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with metrics ``val_mean_dice``, ``val_mean_iou`` and ``val_f1``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.names.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def remember(self, engine: Engine) -> None:
        """Keep case and slice of each sample."""
        self.names += [(sample["case"], int(sample["slice"])) for sample in decollated(engine)]

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        state: Any = engine.state
        details = state.metric_details
        dice = details["val_mean_dice"].cpu().numpy()  # (slices, classes), NaN where truth lacks the class
        iou = details["val_mean_iou"].cpu().numpy()
        counts = details["val_f1"].sum(0)  # (classes, 4): true positive, false positive, true negative, false negative
        f1 = compute_confusion_matrix_metric("f1 score", counts).cpu().numpy()
        present = np.isfinite(dice).any(0)
        rows = [
            {"class": name, "slices": int(np.isfinite(dice[:, index]).sum())}
            | {"dice": column_means(dice)[index], "iou": column_means(iou)[index]}
            | {"f1": float(f1[index]) if present[index] else float("nan")}
            for index, name in enumerate(self.classes)
        ]
        means = {score: float(np.nanmean([row[score] for row in rows])) for score in ("dice", "iou", "f1")}
        rows.append({"class": "mean", "slices": len(dice), **means})
        with (self.output_dir / "scores.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["class", "dice", "iou", "f1", "slices"])
            table.writerows(
                [row["class"], *(shown(row[s], "") for s in ("dice", "iou", "f1")), row["slices"]] for row in rows
            )
        with (self.output_dir / "scores_per_slice.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["case", "slice", *(f"dice_{name}" for name in self.classes)])
            for (case, index), values in zip(self.names, dice, strict=True):
                table.writerow([case, index, *(shown(value, "") for value in values)])
        lines = [f"{'class':<15}{'Dice':>8}{'IoU':>8}{'F1':>8}{'slices':>8}"]
        for row in rows:
            lines.append(
                f"{row['class']:<15}"
                + "".join(f"{shown(row[s], '-'):>8}" for s in ("dice", "iou", "f1"))
                + f"{row['slices']:>8}"
            )
        print("\n" + "\n".join(lines) + f"\n\nTables: {self.output_dir}/scores.csv, scores_per_slice.csv")


def decollated(engine: Engine) -> list[dict[str, Any]]:
    """The samples of the current batch: MONAI's engines turn the batch into a list of them."""
    return engine.state.batch  # type: ignore[return-value]


def shown(value: Any, absent: str) -> str:
    """A score to four decimals, or what stands for a missing one."""
    return absent if np.isnan(value) else f"{value:.4f}"


class ComparisonPicture:
    """A sheet of image, truth and prediction of the slices with the largest lesions, one a case, at each validation.

    Args:
        path: of the PNG.
        metadata: the bundle's ``metadata.json``, which holds the classes' colours.
        classes: names in channel order.
        columns: number of slices.
    """

    def __init__(self, path: str | Path, metadata: str | Path, classes: Sequence[str], columns: int = 6) -> None:
        self.path, self.classes, self.columns = Path(path), list(classes), columns
        self.styles = class_styles(metadata, classes)
        self.values = torch.tensor([style.value for style in self.styles])
        self.best: dict[str, tuple[float, dict[str, Any]]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output holds one-hot ``label`` and thresholded ``pred``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.best.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.choose)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def choose(self, engine: Engine) -> None:
        """Keep the slice with the largest lesion of each case, of the cases with the largest ones."""
        lesions = [index for index, name in enumerate(self.classes) if name not in ("lung", "background")]
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            area, case = float(sample["label"][lesions].sum()), source["case"]
            if area > self.best.get(case, (-1.0,))[0]:
                kept = {key: sample[key].detach().float().cpu() for key in ("image", "label", "pred")}
                self.best[case] = (area, {**kept, "title": f"{case}, slice {int(source['slice'])}"})
        for case in sorted(self.best, key=lambda name: -self.best[name][0])[self.columns :]:
            del self.best[case]

    def draw(self, engine: Engine) -> None:
        """Write the sheet."""
        samples = [sample for _, sample in sorted(self.best.values(), key=lambda pair: -pair[0])]
        comparison(
            self.path,
            [sample["image"][0].numpy() for sample in samples],
            [self.mask(sample["label"]) for sample in samples],
            [self.mask(sample["pred"]) for sample in samples],
            self.styles,
            [sample["title"] for sample in samples],
        )

    def mask(self, onehot: torch.Tensor) -> np.ndarray:
        """(classes, X, Y) of 0 and 1 to mask values (X, Y); 0 where no class is set."""
        return (onehot * self.values[:, None, None]).sum(0).round().numpy().astype(np.uint8)
