"""Training images a second of ct_weak_gan, beside a bare loop over the same networks, in one run.

Run      PYTHONPATH=. python benchmarks/weak_gan.py [--size 64] [--filters 16] [--batch_size 8] [--iterations 20]
         [--rounds 5]

Ours is train.yaml on synthetic patients, run by MONAI's ConfigWorkflow: loading, both steps, progress bar, TensorBoard,
and at the end of an epoch the table, the curves and the checkpoint. One epoch is one round. Beside it stand, in the
same rounds and on the same slices, held in memory as one tensor, (a) a loop of both steps in plain PyTorch, and (b) the
same with channels-last memory, as train.yaml's inferer has it, half of it before ours and half after. The limit is the
FLOP of the loop as torch counts them, those of the gradient penalty's second derivative among them, over the rate of a
large matrix product. Validation has a row of its own, and is no part of the others.
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
    "ours": "train.yaml, its iterations",
    "epoch": "train.yaml, with the end of the epoch",
    "validation": "train.yaml, validation alone",
    "limit": "limit: FLOP of (a) at the rate of a large matrix product",
}
Batch = tuple[torch.Tensor, torch.Tensor]  # slices (B, 1, H, W), and which of them are normal, bool (B,)


class BareLoop:
    """The critic's step and the separator's, with train.yaml's settings: one pass of the separator serves both.

    Args:
        filters: of both networks.
        device: where they are.
        memory: layout of weights and slices.
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
            made, lesions = self.separator(x).split(1, dim=1)
            if is_normal.any():
                self.teach_critic(x[is_normal], made.detach())
            self.critic.requires_grad_(False)
            fidelity = (x - made)[is_normal].abs().sum() / x[0].numel() / max(1, int(is_normal.sum()))
            loss = 100 * (x - made - lesions).abs().mean() + 100 * fidelity - 0.01 * self.critic(made).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def teach_critic(self, real: torch.Tensor, made: torch.Tensor) -> None:
        """One step of the critic by WGAN-GP's loss."""
        self.critic.requires_grad_(True)
        # FlopCounterMode fails where the gradient is that of a leaf, so the leaf is the share
        share = torch.rand(len(made), 1, 1, 1, device=made.device, requires_grad=True)
        between = share * real[torch.randint(len(real), (len(made),), device=made.device)] + (1 - share) * made
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        loss = self.critic(made).mean() - self.critic(real).mean() + 10 * penalty
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_rate(device: torch.device, size: int = 2048) -> float:
    """FLOP a second of a large matrix product, as exact as convolutions: what the processor can do."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(5))


def workflow(arguments: argparse.Namespace, folder: Path) -> ConfigWorkflow:
    """train.yaml, ready to run, whose epochs have the wanted number of whole batches; nothing of it validates."""
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
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (default: %(default)s)")
    parser.add_argument("--filters", type=int, default=16, help="of both networks (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=20, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="beside a first one to warm up (default: %(default)s)")
    arguments = parser.parse_args()
    if min(arguments.iterations, arguments.rounds) < 1:
        parser.error(f"iterations and rounds are 1 or more, got {arguments.iterations}, {arguments.rounds}")
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
    print(f"the end of an epoch, of any length (table, curves, checkpoint): {end:.2f} s")


def measure(run: ConfigWorkflow, filters: int, batch_size: int) -> list[dict[str, float]]:
    """Seconds by row, a dict a round; the first round is left out."""
    names = ("train::trainer", "validate::evaluator", "train::dataset", "device")
    trainer, evaluator, dataset, device = (run.parser.get_parsed_content(name) for name in names)
    planes = [dataset.planes[index] for index in torch.randperm(len(dataset))]
    x = torch.stack([plane["image"] for plane in planes]).float().to(device)
    is_normal = torch.tensor([plane["label"] for plane in planes], device=device) == 0
    batches = list(zip(x.split(batch_size), is_normal.split(batch_size), strict=True))
    half = len(batches) // 2
    plain = BareLoop(filters, device, torch.contiguous_format)
    last = BareLoop(filters, device, torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        plain(batches)
    rows: list[dict[str, float]] = []
    began = ended = 0.0

    def before(_: Any) -> None:
        nonlocal began
        rows.append({"a": 0.0, "b": seconds(lambda: last(batches[:half]), device)})
        began = time.perf_counter()

    def iterated(_: Any) -> None:
        nonlocal ended
        ended = time.perf_counter()

    def after(_: Any) -> None:
        row = rows[-1]
        row["epoch"], row["ours"] = time.perf_counter() - began, ended - began
        row["b"] += seconds(lambda: last(batches[half:]), device)
        row["a"] = seconds(lambda: plain(batches), device)
        row["validation"] = seconds(evaluator.run, device)
        row["limit"] = counter.get_total_flops() / matrix_rate(device)
        print(", ".join(f"{name} {value:.2f} s" for name, value in row.items()), flush=True)

    for event, handler in (  # behind those of train.yaml
        (Events.EPOCH_STARTED, before),
        (Events.ITERATION_COMPLETED, iterated),
        (Events.EPOCH_COMPLETED, after),
    ):
        trainer.add_event_handler(event, handler)
    run.run()
    return rows[1:]


if __name__ == "__main__":
    main()
