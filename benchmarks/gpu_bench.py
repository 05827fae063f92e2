"""The device, the limits and the reports that benchmarks/gpu_training.py and benchmarks/gpu_inference.py share."""

from __future__ import annotations

import copy
import gc
import json
import logging
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common.inferers import mixed_precision
from common.phantoms.ct.chest_ct import ChestCT, chest_ct

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ct_drsegunet"
DIFFERENT_SLICES = 8  # of a phantom: each takes half a second


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    size: int  # pixels of a side
    batches: tuple[int, ...]  # of training, the largest last
    images: int  # in each timed round of training
    rounds: int  # timed ones; one more before them warms up
    patient_slices: int  # each patient's, where the data loader takes part
    slices: int  # of the volume that is segmented
    matrix: int  # rows of the square matrices whose product gives the peak


ON_GPU = Scale(512, (8, 32), 320, 3, 32, 400, 8192)
ON_CPU = Scale(64, (2,), 2, 1, 2, 6, 512)


def report(**values: Any) -> None:
    """Print one line for benchmarks/gpu.py."""
    print("row " + json.dumps(values), flush=True)


class Bench:
    """A device, how much is measured on it, and the limit that results are compared with.

    Args:
        device: a GPU, or the CPU.
        scale: how much is measured.
    """

    def __init__(self, device: torch.device, scale: Scale) -> None:
        self.device, self.scale = device, scale
        self.half = mixed_precision(device) or torch.float32  # what the configs' amp computes in
        self.peak = self.matrix_rate()

    def now(self) -> float:
        """Seconds, once the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def matrix_rate(self, repeats: int = 20) -> float:
        """FLOP/s of a square bfloat16 matrix product of random numbers, the median of three rounds."""
        size = self.scale.matrix
        a, b = (torch.randn(size, size, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        times = []
        for _ in range(4):
            began = self.now()
            for _ in range(repeats):
                a @ b
            times.append(self.now() - began)
        return 2 * size**3 * repeats / statistics.median(times[1:])

    def clear(self) -> None:
        """Free what the last measurement held, and reset its flags, compiled code and peak of memory."""
        gc.collect()
        torch.compiler.reset()
        torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False  # PyTorch's defaults
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @property
    def precision(self) -> str:
        """Name of the fastest precision and memory layout, which the configs' amp takes."""
        return f"{self.half}, channels-last".removeprefix("torch.")

    def autocast(self, dtype: torch.dtype) -> torch.autocast:
        """Mixed precision in a 16-bit type; float32 as it is."""
        enabled = dtype is not torch.float32
        return torch.autocast(self.device.type, dtype=dtype if enabled else None, enabled=enabled)

    def row(self, what: str, batch: int, images: int, seconds: float, gflop: float, bare: float | None = None) -> float:
        """Report one row of the table.

        Args:
            what: is measured.
            batch: images at once.
            images: that took the seconds.
            seconds: of a training step, or of a volume.
            gflop: 10^9 operations of one image.
            bare: images/s of the bare loop to compare with.

        Returns:
            Images/s.
        """
        speed = images / seconds
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None
        share = speed * gflop * 1e9 / self.peak
        ratio = speed / bare if bare else None
        values = {"images_per_second": speed, "of_bare": ratio, "of_peak": share, "memory": memory}
        report(what=what, batch=batch, seconds=seconds, **values)
        return speed


def gflop_of(network: nn.Module, size: int, training: bool) -> float:
    """10^9 operations of one image, forward, and backward if training; from shapes alone."""
    model = copy.deepcopy(network).to("meta").train(training)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        y = model(torch.empty(1, 1, size, size, device="meta"))
        if training:
            y.sum().backward()
    return counter.get_total_flops() / 1e9


def started(config: Path, kind: str, folder: Path, settings: dict[str, Any]) -> ConfigParser:
    """A config with overrides, as MONAI's runner has it after the config's own ``initialize``."""
    folders = {"bundle_root": str(BUNDLE), "output_dir": str(folder / "out")}
    logging.disable(logging.INFO)
    workflow = ConfigWorkflow(config_file=str(config), workflow_type=kind, **folders, **settings)
    workflow.initialize()
    sys.excepthook = sys.__excepthook__  # the whole error, not its last line
    return workflow.parser


def phantom(size: int, slices: int) -> ChestCT:
    """The CT of a synthetic patient; a deep one repeats its slices."""
    made = chest_ct(0, size=(size, size), slices=min(DIFFERENT_SLICES, slices))
    order = np.arange(slices) % made.image.shape[-1]
    return replace(made, image=made.image[..., order], lesion=made.lesion[..., order], lung=made.lung[..., order])


def facts(device: torch.device) -> dict[str, str]:
    """Device and versions."""
    versions = f"PyTorch {torch.__version__}, MONAI {monai.__version__}, Python {platform.python_version()}"
    if device.type == "cpu":
        size = f"{ON_CPU.size} x {ON_CPU.size}, {ON_CPU.slices} slices"
        return {"GPU": f"none. A small trial on the CPU ({size}) says nothing about a GPU", "versions": versions}
    properties = torch.cuda.get_device_properties(device)
    name = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return {"GPU": name, "versions": f"{versions}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"}


def this_bench() -> Bench:
    """The GPU of this machine, or the CPU at a small scale; reports device and peak."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report(facts=facts(device))
    bench = Bench(device, ON_GPU if device.type == "cuda" else ON_CPU)
    report(peak=bench.peak / 1e12)
    return bench
