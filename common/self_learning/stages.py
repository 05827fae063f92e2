"""Self-learning of DRSegUNet (Balantrapu, *DRSegUNet*, 2021, sections 4.4.2 and 5.5), as stages of one run.

All volumes get pseudo-labels. Then each level trains on the labels of the level before, and labels all volumes by what
it has learned. Manual labels are read only to score the results. The stages run the bundle's own configs:
``train.yaml`` with ``level.yaml``, ``evaluate.yaml`` and ``inference.yaml``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..datasets.ct.folder import inference_cases
from ..files import complete_file
from ..report.styles import class_styles
from ..run.model_record import record_path
from ..run.start import writable
from ..run.steps import run_step
from .figure import draw_held_out_slices
from .label_folders import write_labels, write_truth
from .levels import check_levels, check_shares, draw_sets
from .pseudo_labels import label_cases, name_for_training, pseudo_labelling
from .record import RESULTS, labels_folder, level_folder, save_record, start_record
from .results import write_agreement, write_scores

SYNTHETIC = ("phantom", "phantom_studies")


class SelfLearning:
    """The stages, and the record of those that are finished: ``self_learning.json``.

    Args:
        bundle_root: folder of the bundle whose configs are run.
        output_dir: receives ``pseudo_labels``, ``level_1`` and so on, each with ``labels`` in the Radiopaedia layout.
        ckpt_dir: receives ``model.pt`` of the last level.
        data: ``dataset_dir``, ``include`` and ``exclude`` as ``datasets.ct.folder.inference_cases`` takes them, and
            ``lesion_masks``, the place of the ground truth, if any.
        pseudo_labels: arguments of ``common.self_learning.pseudo_labels.pseudo_labelling``.
        levels: ``learning_rate``, ``epochs`` and ``frozen`` of each; see ``self_learning.freezing.freeze_first``.
        training: further settings of ``train.yaml``: ``size``, ``batch_size``, ``seed``, ``amp``, ``device``.
        held_out: share of the volumes that no level trains on.
        starting: share of the others that level 1 trains on; later levels train on all of them.
        resume: continue the run that the folder holds; levels may be added. If False, a new run starts, and the outputs
            of an earlier one are removed.

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
        self.level, self.labels = partial(level_folder, self.output_dir), partial(labels_folder, self.output_dir)
        self.record: dict[str, Any] = {}

    @property
    def stages(self) -> dict[str, Callable[[], None]]:
        """The stages by name, in order."""
        found: dict[str, Callable[[], None]] = {"pseudo-labels": self.make_pseudo_labels}
        for number in range(1, len(self.levels) + 1):
            found[f"level {number}, training"] = partial(self.train, number)
            found[f"level {number}, evaluation"] = partial(self.evaluate, number)
            found[f"level {number}, labels"] = partial(self.make_labels, number)
        return found

    def run(self) -> None:
        """Run the stages that are not finished, then write the results.

        Raises:
            ValueError: if the folder holds a run with other settings; and, when everything else is done, naming the
                cases that could not be labelled.
        """
        settings = {**self.data, **self.pseudo_labels, **self.training, "levels": self.levels}
        settings |= {"held_out": self.held_out, "starting": self.starting}
        settings.pop("device", None)  # a run may continue on another device
        self.record = start_record(self.output_dir, settings, self.resume)
        save_record(self.output_dir, self.record)
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
            save_record(self.output_dir, self.record)
        last = self.level(len(self.levels)) / "models" / "model.pt"
        for file in (last, record_path(last)):
            with complete_file(self.ckpt_dir / file.name) as part:
                shutil.copyfile(file, part)
        self.write_results()

    def make_pseudo_labels(self) -> None:
        """Make pseudo-labels of all volumes, copy the ground truth of the same slices if it is known, draw the sets."""
        data = self.data
        root = "phantom_studies" if data["dataset_dir"] == "phantom" else data["dataset_dir"]  # one volume is too few
        partners = {"label": data.get("lesion_masks", "")}
        cases = inference_cases(root, data.get("include", "*"), data.get("exclude", ""), partners=partners)
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
        """Settings of a level's training and its evaluation; see ``level.yaml``."""
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
        """Train a level on the labels of the one before; an interrupted training is resumed."""
        started = (self.level(number) / "models" / "last.pt").is_file()
        self.step("training", ["train", "level"], {**self.settings(number), "resume": started})

    def evaluate(self, number: int) -> None:
        """Score a level on the held-out volumes, against labels of the level before; those are not the ground truth."""
        self.step("evaluating", ["train", "level", "evaluate"], self.settings(number))

    def make_labels(self, number: int) -> None:
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

    def write_results(self) -> None:
        """Write tables and figure of all levels.

        Raises:
            ValueError: naming the cases that could not be labelled.
        """
        sets, numbers = self.record["sets"], range(len(self.levels) + 1)
        shown = {"trained on": sorted(sets["starting"] + sets["further"]), "held out": sets["held out"]}
        labels = {f"level {number}" if number else "pseudo-labels": self.labels(number) for number in numbers}
        print("\n" + write_agreement(self.output_dir, {name: path.parent for name, path in [*labels.items()][1:]}))
        print("\n" + write_scores(self.output_dir, labels, shown))
        figure, metadata = self.output_dir / "self_learning.png", self.configs / "metadata.json"
        draw_held_out_slices(figure, self.output_dir / "truth", labels, shown["held out"], metadata)
        written = [name for name in RESULTS if (self.output_dir / name).is_file()]
        print(f"\nWritten: {self.output_dir}/{', '.join(written)}")
        left_out = self.record["left_out"]
        if left_out:
            reasons = "\n".join(f"  {message}" for message in left_out.values())
            raise ValueError(f"All levels are done, but some cases could not be labelled or scored:\n{reasons}")
