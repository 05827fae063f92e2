"""Measure training images per second of ct_weak_gan, and of a bare loop over the same networks in the same run.

Run      PYTHONPATH=. python benchmarks/weak_gan.py [--size 64] [--filters 16] [--batch_size 8] [--iterations 20]
         [--rounds 5]

"Ours" is train.yaml on synthetic patients, run by MONAI's ConfigWorkflow: loading, both steps, progress bar,
TensorBoard, and at the end of an epoch the table, the curves and the checkpoint. One round is one epoch. On the same
slices, in one tensor in memory, each round also measures

(a) a loop of both steps in plain PyTorch,
(b) the same loop with channels-last memory, as in the inferer of train.yaml; half of it before ours, half after.

The limit is the FLOP of the loop as torch counts them, including the second derivative of the gradient penalty, divided
by the speed of a large matrix product. Validation is measured separately and is not part of the other rows.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from torch.utils.flop_counter import FlopCounterMode

from common.networks.weak_gan import Critic, LesionSeparator
from common.phantoms.ct.layouts import write_radiopaedia

CONFIG = "bundles/ct_weak_gan/configs/train.yaml"
LABELS = {
    "a": "(a) bare loop",
    "b": "(b) bare loop, channels-last memory",
    "ours": "train.yaml, iterations",
    "epoch": "train.yaml, iterations and end of the epoch",
    "validation": "train.yaml, validation alone",
    "limit": "limit: FLOP of (a) at the speed of a large matrix product",
}
Batch = tuple[torch.Tensor, torch.Tensor]  # slices (B, 1, H, W), and bool (B,), True for normal slices


class BareLoop:
    """The steps of critic and separator with the settings of train.yaml; both use one forward pass of the separator.

    Args:
        filters: channels of the first level of both networks.
        device: device of both networks.
        memory: memory format of weights and slices.
    """

    def __init__(self, filters: int, device: torch.device, memory: torch.memory_format) -> None:
        self.separator = LesionSeparator(filters).to(device, memory_format=memory)
        self.critic = Critic(filters).to(device, memory_format=memory)
        self.optimizer = torch.optim.Adam(self.separator.parameters(), 2e-4)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), 2e-4)
        self.memory = memory

    def __call__(self, batches: Sequence[Batch]) -> None:
        """Train on each batch once."""
        for x, is_normal in batches:
            x = x.contiguous(memory_format=self.memory)
            normal_version, lesions = self.separator(x).split(1, dim=1)
            if is_normal.any():
                self.critic_step(x[is_normal], normal_version.detach())
            self.critic.requires_grad_(False)
            reconstruction = (x - normal_version - lesions).abs().mean()
            fidelity = (x - normal_version)[is_normal].abs().sum() / x[0].numel() / max(1, int(is_normal.sum()))
            loss = 100 * reconstruction + 100 * fidelity - 0.01 * self.critic(normal_version).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def critic_step(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """Take one step of the critic on the loss of WGAN-GP."""
        self.critic.requires_grad_(True)
        # FlopCounterMode fails on gradients of a leaf, so share is the leaf instead of between
        share = torch.rand(len(fake), 1, 1, 1, device=fake.device, requires_grad=True)
        between = share * real[torch.randint(len(real), (len(fake),), device=fake.device)] + (1 - share) * fake
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        loss = self.critic(fake).mean() - self.critic(real).mean() + 10 * penalty
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(device: torch.device, size: int = 2048) -> float:
    """Return FLOP per second of a large matrix product, in the precision of convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(5))


def workflow(arguments: argparse.Namespace, folder: Path) -> ConfigWorkflow:
    """Return the workflow of train.yaml without validation, ready to run, with the given number of full batches."""
    size, out = (arguments.size, arguments.size), str(folder / "out")
    write_radiopaedia(folder / "data", patients=4, size=size, slices=8)
    run = ConfigWorkflow(
        CONFIG, run_id="training", source="radiopaedia", dataset_dir=str(folder / "data"), size=list(size),
        filters=arguments.filters, batch_size=arguments.batch_size, epochs=arguments.rounds + 1,
        val_interval=arguments.rounds + 2, ckpt_dir=out, output_dir=out,
    )  # fmt: skip
    run.initialize()
    for name in ("train::dataset", "validate::dataset"):
        dataset = run.parser.get_parsed_content(name)
        dataset.planes = list(islice(cycle(dataset.planes), arguments.iterations * arguments.batch_size))
    return run


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="pixels per side (default: %(default)s)")
    parser.add_argument("--filters", type=int, default=16, help="channels of the first level (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=8, help="slices per batch (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=20, help="iterations per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after one for warm-up (default: %(default)s)")
    arguments = parser.parse_args()
    if min(arguments.iterations, arguments.rounds) < 1:
        parser.error(f"--iterations and --rounds must be 1 or more, got {arguments.iterations}, {arguments.rounds}")
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        run = workflow(arguments, Path(folder))
        rows = measure(run, arguments.filters, arguments.batch_size)
    images = arguments.iterations * arguments.batch_size
    setting = f"{arguments.size} x {arguments.size}, {arguments.filters} filters, batches of {arguments.batch_size}"
    print(f"\n{setting}, {torch.get_num_threads()} threads; medians of {len(rows)} rounds of {images} images")
    for name, label in LABELS.items():
        value = median(row[name] for row in rows)
        print(f"{label:<58}{value / images * 1000:>9.2f} ms/image{images / value:>9.1f} images/s")
    for name, other in (("ours", "b"), ("ours", "a"), ("epoch", "b"), ("limit", "b")):
        ratios = sorted(row[name] / row[other] for row in rows)
        print(f"{name} over ({other}), time: {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    end = median(row["epoch"] - row["ours"] for row in rows)
    print(f"end of an epoch of any length (table, curves, checkpoint): {end:.2f} s")


def measure(run: ConfigWorkflow, filters: int, batch_size: int) -> list[dict[str, float]]:
    """Return the seconds by row, one dict per round; the first round is not included."""
    names = ("train::trainer", "validate::evaluator", "train::dataset", "device")
    trainer, evaluator, dataset, device = (run.parser.get_parsed_content(name) for name in names)
    planes = [dataset.planes[index] for index in torch.randperm(len(dataset))]
    x = torch.stack([plane["image"] for plane in planes]).float().to(device)
    is_normal = torch.tensor([plane["label"] for plane in planes], device=device) == 0
    batches = list(zip(x.split(batch_size), is_normal.split(batch_size), strict=True))
    half = len(batches) // 2
    contiguous = BareLoop(filters, device, torch.contiguous_format)
    channels_last = BareLoop(filters, device, torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        contiguous(batches)
    rows: list[dict[str, float]] = []
    start = end = 0.0

    def before(_: Any) -> None:
        nonlocal start
        rows.append({"a": 0.0, "b": seconds(lambda: channels_last(batches[:half]), device)})
        start = time.perf_counter()

    def iterated(_: Any) -> None:
        nonlocal end
        end = time.perf_counter()

    def after(_: Any) -> None:
        row = rows[-1]
        row["epoch"], row["ours"] = time.perf_counter() - start, end - start
        row["b"] += seconds(lambda: channels_last(batches[half:]), device)
        row["a"] = seconds(lambda: contiguous(batches), device)
        row["validation"] = seconds(evaluator.run, device)
        row["limit"] = counter.get_total_flops() / matrix_rate(device)
        print(", ".join(f"{name} {value:.2f} s" for name, value in row.items()), flush=True)

    for event, handler in (  # they run after the handlers of train.yaml
        (Events.EPOCH_STARTED, before),
        (Events.ITERATION_COMPLETED, iterated),
        (Events.EPOCH_COMPLETED, after),
    ):
        trainer.add_event_handler(event, handler)
    run.run()
    return rows[1:]


if __name__ == "__main__":
    main()
