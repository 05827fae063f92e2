"""Training steps of ct_drsegunet as train.yaml has them, beside the shortest loop that PyTorch allows.

Run      PYTHONPATH=. python benchmarks/gpu_training.py [--compile]

Called by benchmarks/gpu.py. Network, loss, optimizer, inferer and engine come from train.yaml; the bare loop takes the
same network. Without ``--compile`` each size of batch is measured, with it the largest, compiled.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import nn

from benchmarks.gpu_bench import BUNDLE, Bench, gflop_of, phantom, report, started, this_bench
from common.phantoms.ct.nifti_files import save_nifti

CONFIG = BUNDLE / "configs" / "train.yaml"


class Training:
    """Training steps of train.yaml and of a bare loop, on one batch that lies in the device's memory.

    Args:
        bench: the device.
        folder: for what the config writes.
        batch: images of a step.
        compiled: compile the network.
    """

    def __init__(self, bench: Bench, folder: Path, batch: int, compiled: bool) -> None:
        self.bench, self.folder, self.batch, self.compiled = bench, folder, batch, compiled
        scale = bench.scale
        self.steps = max(1, scale.images // batch)  # of a round
        self.settings = {
            "ckpt_dir": str(folder / "models"),
            "size": [scale.size] * 2,
            "epochs": scale.rounds + 1,
            "batch_size": batch,
            "train::handlers": [],  # steps alone: no validation, no checkpoints
            "train::inferer::compile": compiled,
        }
        self.network = started(CONFIG, "train", folder, self.settings).get_parsed_content("network_def")
        self.gflop = gflop_of(self.network, scale.size, training=True)
        shape = (batch, 1, scale.size, scale.size)
        label = torch.randint(4, shape, device=bench.device, dtype=torch.uint8)
        self.data = {"image": torch.randn(shape, device=bench.device), "label": label}

    def row(self, what: str, rounds: Callable[[], list[float]], bare: float | None = None) -> float | None:
        """Measure and report one row.

        Args:
            what: is measured.
            rounds: gives seconds per step, once per round.
            bare: images/s of the bare loop to compare with.

        Returns:
            Images/s; None where memory did not suffice.
        """
        self.bench.clear()
        if self.compiled:
            what += ", compiled"
        try:
            step = statistics.median(rounds())
        except torch.OutOfMemoryError:
            report(what=f"{what}: out of memory", batch=self.batch)
            return None
        return self.bench.row(what, self.batch, self.batch, step, self.gflop, bare)

    def bare(self, dtype: torch.dtype, layout: torch.memory_format = torch.contiguous_format) -> list[float]:
        """Seconds per step of the shortest loop that PyTorch allows."""
        network = copy.deepcopy(self.network).to(self.bench.device).to(memory_format=layout).train()
        optimizer, loss_function = torch.optim.Adam(network.parameters(), lr=1e-5), nn.CrossEntropyLoss()
        forward = torch.compile(network) if self.compiled else network
        x, target = self.data["image"].contiguous(memory_format=layout), self.data["label"][:, 0].long()
        times = []
        for _ in range(self.bench.scale.rounds + 1):
            began = self.bench.now()
            for _ in range(self.steps):
                optimizer.zero_grad(set_to_none=True)
                with self.bench.autocast(dtype):
                    loss = loss_function(forward(x), target)
                loss.backward()
                optimizer.step()
            times.append((self.bench.now() - began) / self.steps)
        return times[1:]

    def ours(self, amp: bool, deterministic: bool = True) -> list[float]:
        """Seconds per step of train.yaml's engine.

        Args:
            amp: train.yaml's option.
            deterministic: leave cuDNN's deterministic kernels on, as train.yaml has them.
        """
        own = {"train::dataloader": [], "train::trainer::epoch_length": self.steps, "amp": amp}
        trainer = started(CONFIG, "train", self.folder, {**self.settings, **own}).get_parsed_content("train::trainer")
        torch.backends.cudnn.deterministic &= deterministic
        trainer.data_loader = [self.data] * self.steps
        return self.engine_rounds(trainer)

    def from_loader(self) -> list[float]:
        """Seconds per step of train.yaml's engine, fed by its own data set and loader."""
        scale = self.bench.scale
        made = phantom(scale.size, scale.patient_slices)
        case = {"source": "phantom", "intensity": "HU"}
        for key, pixels in (("image", made.image), ("label", made.lesion), ("lung", made.lung)):
            case[key] = str(self.folder / f"{key}.nii.gz")
            save_nifti(Path(case[key]), pixels, made.spacing)
        patients = [{**case, "case": str(number), "patient": str(number)} for number in range(5)]  # one is held out
        own = {"source_cases": patients, "amp": True}
        parser = started(CONFIG, "train", self.folder, {**self.settings, **own})
        return self.engine_rounds(parser.get_parsed_content("train::trainer"))

    def engine_rounds(self, trainer: Any) -> list[float]:
        """Seconds per step in each epoch of an engine but the first, which warms up."""
        now, times = self.bench.now, []
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda: times.append(-now()))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: times.append(times.pop() + now()))
        trainer.run()
        return [seconds / trainer.state.epoch_length for seconds in times[1:]]


def training(bench: Bench) -> None:
    """The bare loop in each precision and memory layout, then train.yaml's engine, for each size of batch."""
    fastest = bench.precision
    for batch in bench.scale.batches:
        with tempfile.TemporaryDirectory() as folder:
            steps = Training(bench, Path(folder), batch, compiled=False)
            full = steps.row("bare loop, float32", partial(steps.bare, torch.float32))
            steps.row(f"bare loop, {fastest.split(',')[0]}", partial(steps.bare, bench.half))
            fast = steps.row(f"bare loop, {fastest}", partial(steps.bare, bench.half, torch.channels_last))
            steps.row("train.yaml, float32, channels-last", partial(steps.ours, amp=False), full)
            steps.row(f"train.yaml, {fastest}", partial(steps.ours, amp=True), fast)
            if batch == bench.scale.batches[-1]:
                free = partial(steps.ours, amp=True, deterministic=False)
                steps.row(f"train.yaml, {fastest}, not deterministic", free, fast)
                steps.row(f"train.yaml, {fastest}, with its data loader", steps.from_loader, fast)


def compiled(bench: Bench) -> None:
    """The compiled network at the largest size of batch, in a bare loop and in train.yaml's engine."""
    if bench.device.type == "cpu":
        report(note="left out on the CPU, where compiling takes a minute")
        return
    fastest = bench.precision
    with tempfile.TemporaryDirectory() as folder:
        steps = Training(bench, Path(folder), bench.scale.batches[-1], compiled=True)
        fast = steps.row(f"bare loop, {fastest}", partial(steps.bare, bench.half, torch.channels_last))
        steps.row(f"train.yaml, {fastest}", partial(steps.ours, amp=True), fast)


if __name__ == "__main__":
    (compiled if "--compile" in sys.argv else training)(this_bench())
