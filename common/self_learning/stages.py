"""Self-learning of DRSegUNet (Balantrapu, *DRSegUNet*, 2021, sections 4.4.2 and 5.5), as stages of one run.

Pseudo-labels of all volumes; then, level by level, a training on the labels of the level before, and new labels by what
it has learned. No manual label is read but to score what came out. The stages are the bundle's own configs:
``train.yaml`` with ``level.yaml``, ``evaluate.yaml`` and ``inference.yaml``.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..datasets.ct.folder import inference_cases
from ..files import whole_file
from ..report.styles import class_styles
from ..run.start import writable
from ..run.steps import run_step
from .figure import draw_held_out_slices
from .label_folders import write_labels, write_truth
from .levels import check_levels, check_same, check_shares, draw_sets
from .pseudo_labels import label_cases, name_for_training, pseudo_labelling
from .results import write_agreement, write_scores

logger = logging.getLogger(__name__)

RECORD = "self_learning.json"
TOLD = ("scores.csv", "agreement.csv", "self_learning.png")
SYNTHETIC = ("phantom", "phantom_studies")


class SelfLearning:
    """The stages, and the record of those that are finished: ``self_learning.json``.

    Args:
        bundle_root: whose configs are run.
        output_dir: receives ``pseudo_labels``, ``level_1`` and so on, each with ``labels`` in the Radiopaedia layout.
        ckpt_dir: receives ``model.pt`` of the last level.
        data: ``dataset_dir``, ``include`` and ``exclude`` as ``datasets.ct.folder.inference_cases`` takes them, and
            ``lesion_masks``, where the truth is, or nothing.
        pseudo_labels: arguments of ``common.self_learning.pseudo_labels.pseudo_labelling``.
        levels: ``learning_rate``, ``epochs`` and ``frozen`` of each; see ``self_learning.freezing.freeze_first``.
        training: further settings of ``train.yaml``: ``size``, ``batch_size``, ``seed``, ``amp``, ``device``.
        held_out: share of the volumes that no level trains on.
        starting: share of the others that level 1 trains on; all of them train the later ones.
        resume: go on with what the folder holds; levels may be added. Else it starts anew, and what an earlier run left
            is removed.

    Raises:
        ValueError: for levels or shares out of range.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        output_dir: str | Path,
        ckpt_dir: str | Path,
        data: Mapping[str, Any],
        pseudo_labels: Mapping[str, Any],
        levels: Sequence[Mapping[str, Any]],
        training: Mapping[str, Any],
        held_out: float = 0.2,
        starting: float = 0.67,
        resume: bool = False,
    ) -> None:
        check_levels(levels)
        check_shares(held_out, starting)
        self.configs, self.output_dir, self.ckpt_dir = Path(bundle_root) / "configs", Path(output_dir), Path(ckpt_dir)
        self.data, self.pseudo_labels, self.levels, self.training = data, pseudo_labels, levels, training
        self.held_out, self.starting, self.resume = held_out, starting, resume
        self.record: dict[str, Any] = {}

    @property
    def stages(self) -> dict[str, Callable[[], None]]:
        """What to do, in order."""
        found: dict[str, Callable[[], None]] = {"pseudo-labels": self.label}
        for number in range(1, len(self.levels) + 1):
            found[f"level {number}, training"] = partial(self.train, number)
            found[f"level {number}, evaluation"] = partial(self.evaluate, number)
            found[f"level {number}, labels"] = partial(self.relabel, number)
        return found

    def run(self) -> None:
        """Do the stages that are not finished, then tell what came out.

        Raises:
            ValueError: where the folder holds a run with other settings; and, when all else is done, naming the cases
                that could not be labelled.
        """
        self.record = self.begin()
        self.save()
        if self.data["dataset_dir"] in SYNTHETIC:
            print("Synthetic phantoms, not patient data.")
        for number, (name, stage) in enumerate(self.stages.items(), start=1):
            where = f"[{number}/{len(self.stages)}] {name}"
            if name in self.record["finished"]:
                print(f"{where}: done before", flush=True)
                continue
            print(f"\n{where}", flush=True)
            stage()
            self.record["finished"].append(name)
            self.save()
        with whole_file(self.ckpt_dir / "model.pt") as part:
            shutil.copyfile(self.level(len(self.levels)) / "models" / "model.pt", part)
        self.tell()

    def begin(self) -> dict[str, Any]:
        """The record of an earlier run to go on with, or a new one.

        Raises:
            ValueError: where the earlier run had other settings.
        """
        settings = {**self.data, **self.pseudo_labels, **self.training, "levels": self.levels}
        settings |= {"held_out": self.held_out, "starting": self.starting}
        settings.pop("device", None)  # a run may go on elsewhere
        now = json.loads(json.dumps(settings))
        path = self.output_dir / RECORD
        if self.resume and path.is_file():
            record = json.loads(path.read_text())
            check_same(record["settings"], now, self.output_dir)
            return {**record, "settings": now}
        if path.is_file():
            logger.warning(
                "Starting anew: labels and levels in %s are removed. Use --resume True to go on.", self.output_dir
            )
            levels = len(json.loads(path.read_text())["settings"]["levels"])
            path.unlink()
            for folder in (self.labels(0), self.output_dir / "truth", *map(self.level, range(1, levels + 1))):
                shutil.rmtree(folder, ignore_errors=True)
            for name in TOLD:
                (self.output_dir / name).unlink(missing_ok=True)
        elif self.resume:
            logger.warning("Resume: no %s yet, so self-learning starts from the beginning.", path)
        return {"settings": now, "sets": {}, "left_out": {}, "finished": []}

    def save(self) -> None:
        """Write the record."""
        with whole_file(self.output_dir / RECORD) as part:
            part.write_text(json.dumps(self.record, indent=2) + "\n")

    def level(self, number: int) -> Path:
        """Folder of a level, counted from 1."""
        return self.output_dir / f"level_{number}"

    def labels(self, number: int) -> Path:
        """Folder of the labels that a level made; those of level 0 are the pseudo-labels."""
        return self.level(number) / "labels" if number else self.output_dir / "pseudo_labels"

    def label(self) -> None:
        """Pseudo-labels of all volumes, the truth of the same slices where it is known, and the sets."""
        where = self.data
        root = "phantom_studies" if where["dataset_dir"] == "phantom" else where["dataset_dir"]  # one volume is too few
        partners = {"label": where.get("lesion_masks", "")}
        cases = inference_cases(root, where.get("include", "*"), where.get("exclude", ""), partners=partners)
        name_for_training(cases)
        metadata = self.configs / "metadata.json"
        labelling = pseudo_labelling(**self.pseudo_labels)
        labelled = label_cases(cases, writable(self.labels(0)), labelling, metadata, resume=True)
        done = [case for case in cases if case["case"] not in labelled.failures]
        names = [case["case"] for case in done]
        self.record["sets"] = draw_sets(names, self.held_out, self.starting, self.training["seed"])
        unread = write_truth(done, self.output_dir / "truth")
        self.record["left_out"] = {**labelled.failures, **unread}

    def settings(self, number: int) -> dict[str, Any]:
        """Of a level's training and its evaluation; see ``level.yaml``."""
        sets, folder = self.record["sets"], self.level(number)
        return {
            **self.training,
            **self.levels[number - 1],
            "bundle_root": str(self.configs.parent),
            "dataset_dir": str(self.labels(number - 1)),
            "ckpt_dir": str(folder / "models"),
            "output_dir": str(folder),
            "training_cases": sorted(sets["starting"] + (sets["further"] if number > 1 else [])),
            "validation_cases": sets["held out"],
            "pretrained": str(self.level(number - 1) / "models" / "model.pt") if number > 1 else "none",
        }

    def train(self, number: int) -> None:
        """Train a level on the labels of the one before."""
        begun = (self.level(number) / "models" / "last.pt").is_file()
        self.step("training", ["train", "level"], {**self.settings(number), "resume": begun})

    def evaluate(self, number: int) -> None:
        """Score a level on the held-out volumes by labels as it has learned from, which the truth is not."""
        self.step("evaluating", ["train", "level", "evaluate"], self.settings(number))

    def relabel(self, number: int) -> None:
        """Label all volumes by what a level has learned: ``labels`` in its folder."""
        masks, labels = self.level(number) / "masks", self.labels(number)
        kept = {key: self.training[key] for key in ("size", "amp", "device") if key in self.training}
        places = {"dataset_dir": str(self.labels(0) / "rp_im"), "output_dir": str(masks), "classes": "radiopaedia"}
        weights = str(self.level(number) / "models" / "model.pt")
        overrides = {**kept, **places, "weights": weights, "bundle_root": str(self.configs.parent)}
        self.step("inference", ["inference"], overrides)
        lesion, lung = class_styles(self.configs / "metadata.json", ["ground-glass", "lung"])
        write_labels(masks, self.labels(0) / "rp_im", labels, lesion.value, lung.value)

    def step(self, name: str, configs: Sequence[str], overrides: Mapping[str, Any]) -> None:
        """Run configs of the bundle as MONAI's command line would."""
        before, suffix = list(sys.argv), "yaml" if (self.configs / "train.yaml").is_file() else "json"  # of a package
        try:
            run_step(name, [str(self.configs / f"{config}.{suffix}") for config in configs], overrides)
        finally:
            sys.argv = before

    def tell(self) -> None:
        """Tables and picture of all levels.

        Raises:
            ValueError: naming the cases that could not be labelled.
        """
        sets, numbers = self.record["sets"], range(len(self.levels) + 1)
        shown = {"trained on": sorted(sets["starting"] + sets["further"]), "held out": sets["held out"]}
        labels = {f"level {number}" if number else "pseudo-labels": self.labels(number) for number in numbers}
        print("\n" + write_agreement(self.output_dir, {name: path.parent for name, path in [*labels.items()][1:]}))
        print("\n" + write_scores(self.output_dir, labels, shown))
        metadata = self.configs / "metadata.json"
        draw_held_out_slices(self.output_dir / TOLD[2], self.output_dir / "truth", labels, shown["held out"], metadata)
        left = [name for name in TOLD if (self.output_dir / name).is_file()]
        print(f"\nTables and picture: {self.output_dir}/{', '.join(left)}")
        left_out = self.record["left_out"]
        if left_out:
            listing = "\n".join(f"  {message}" for message in left_out.values())
            raise ValueError(f"All levels are done, but cases could not be labelled, or scored:\n{listing}")
