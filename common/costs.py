"""Costs of a network: parameters, operations, speed and memory."""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .inferers import FastCall
from .tables import write_csv

logger = logging.getLogger(__name__)

PROCESS = Path("/proc/self")  # Linux's information on this process


def measure_costs(
    network: nn.Module,
    size: Sequence[int],
    output_dir: str | Path,
    in_channels: int = 1,
    batch_size: int = 1,
    amp: bool = False,
    rounds: int = 5,
    memory: bool = True,
) -> dict[str, float]:
    """Measure the costs of one slice, write ``costs.csv`` with one row, ``network``, and log it.

    Everything is measured on copies: the network keeps its weights, gradients, mode and device. On a CPU, memory is
    measured in a separate process. A script that calls this function therefore needs
    ``if __name__ == "__main__":``, and the network's classes must be importable.

    Args:
        network: (B, in_channels, H, W) to logits (B, classes, H, W), on the device to measure.
        size: pixels of a slice, H and W.
        output_dir: folder of ``costs.csv``.
        in_channels: channels of a slice.
        batch_size: slices of a training step.
        amp: mixed precision, see ``common.inferers.FastCall``.
        rounds: number of timed passes, after one that is not timed.
        memory: measure memory; if False, it is blank, and no process is started.

    Returns:
        The columns of the table; NaN, and blank in the table, if something cannot be measured:
        ``parameters_million``: weights, trainable or not, without the statistics of batch norms;
        ``gflop``: see ``gflop``; ``slices_per_second``: see ``slices_per_second``;
        ``memory_gib``: peak of inference of one slice, ``training_memory_gib``: peak of one training step of
        ``batch_size`` slices, see ``memory_gib``;
        ``threads``: number of threads of torch on a CPU, on which its speed depends.

    Raises:
        ValueError: for a size that is not two numbers, or a number below 1.

    Example:
        >>> from common.networks.drsegunet import DRSegUNet
        >>> costs = measure_costs(DRSegUNet(), (512, 512), "costs")
        >>> f"{costs['parameters_million']:.1f} million parameters, {costs['gflop']:.0f} GFLOP"
        '5.5 million parameters, 71 GFLOP'
    """
    if len(size) != 2 or min(*size, in_channels, batch_size, rounds) < 1:
        raise ValueError(
            "Costs need a size of two numbers, and in_channels, batch_size and rounds, all from 1, got "
            f"{list(size)}, {in_channels}, {batch_size}, {rounds}. Correct them."
        )
    one, batch = (1, in_channels, *size), (batch_size, in_channels, *size)
    steps = [(one, False), (batch, True)]
    peaks = _peaks(network, steps, amp) if memory else [float("nan")] * len(steps)
    costs = {
        "parameters_million": sum(parameter.numel() for parameter in network.parameters()) / 1e6,
        "gflop": gflop(network, one),
        "slices_per_second": slices_per_second(network, one, amp, rounds),
        "memory_gib": peaks[0],
        "training_memory_gib": peaks[1],
        "threads": torch.get_num_threads(),
    }
    path = Path(output_dir) / "costs.csv"
    write_csv(path, ["row", *costs], [["network", *costs.values()]], form=".6g")
    logger.info(
        "%.2f million parameters, %.1f GFLOP per slice, %.2f slices/s on %s (%d threads), %.2f GiB, "
        "in training %.2f GiB (batch of %d): %s.",
        *list(costs.values())[:3],
        _device(network),
        *(costs[name] for name in ("threads", "memory_gib", "training_memory_gib")),
        *(batch_size, path),
    )
    return costs


def gflop(network: nn.Module, shape: Sequence[int]) -> float:
    """10^9 floating-point operations of a forward pass.

    Convolutions and matrix products count; a multiplication and an addition are two operations. Biases, norms,
    activations and resampling do not count.

    Args:
        network: the network.
        shape: (B, C, H, W) of the input.
    """
    model = copy.deepcopy(network).eval()
    try:
        return _counted(model.to("meta"), shape)  # shapes alone, nothing is computed
    except Exception:  # a network that reads values can raise anything here; a faulty network fails again below
        return _counted(copy.deepcopy(network).eval().cpu(), shape)


def _counted(network: nn.Module, shape: Sequence[int]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.ones(*shape, device=_device(network)))
    return counter.get_total_flops() / 1e9


def slices_per_second(network: nn.Module, shape: Sequence[int], amp: bool = False, rounds: int = 5) -> float:
    """Median speed of inference with ``common.inferers.FastCall``, without any input or output.

    Args:
        network: on the device to measure.
        shape: (B, C, H, W) of a batch.
        amp: mixed precision.
        rounds: number of timed passes, after one that is not timed.
    """
    model, call = copy.deepcopy(network).eval(), FastCall(amp)
    x = torch.ones(*shape, device=_device(network))
    seconds = []
    with torch.inference_mode():
        for _ in range(1 + rounds):
            started = time.perf_counter()
            call(model, x)
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            seconds.append(time.perf_counter() - started)
    return shape[0] / statistics.median(seconds[1:])


def memory_gib(network: nn.Module, shape: Sequence[int], amp: bool = False, training: bool = False) -> float:
    """Peak memory in GiB of a forward pass in inference, or of a training step, weights and input included.

    A training step is forward pass, loss, backward pass and one step of Adam. On a GPU, the memory that torch allocates
    is counted. On a CPU, it is the peak of the resident memory of a process that does nothing else, minus the memory
    that Python and the libraries used before the network was loaded.

    Args:
        network: on the device to measure.
        shape: (B, C, H, W) of a batch.
        amp: mixed precision.
        training: measure a training step, of the parameters that require a gradient.

    Returns:
        NaN on other devices, on systems without ``/proc``, and if the process was killed.
    """
    return _peaks(network, [(shape, training)], amp)[0]


def _peaks(network: nn.Module, steps: Sequence[tuple[Sequence[int], bool]], amp: bool) -> list[float]:
    """``memory_gib`` of several steps, each with the shape of its batch, and whether it trains."""
    device, unknown = _device(network), [float("nan")] * len(steps)
    if device.type == "cuda":
        return [_cuda_peak(network, shape, amp, training) for shape, training in steps]
    if device.type != "cpu" or not (PROCESS / "status").exists():
        return unknown
    modules = sorted({type(part).__module__ for part in network.modules()})
    context = multiprocessing.get_context("spawn")  # a fork would share the memory of this process
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, context) as pool:
        torch.save(network, Path(folder) / "network.pt")
        try:
            pool.submit(_begin, modules, amp, torch.get_num_threads()).result()
            return [pool.submit(_peak_gib, f"{folder}/network.pt", *step, amp).result() for step in steps]
        except BrokenProcessPool:
            logger.warning("The process that measures memory was killed, probably for lack of memory: left blank.")
            return unknown


def _cuda_peak(network: nn.Module, shape: Sequence[int], amp: bool, training: bool) -> float:
    device = _device(network)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _step(copy.deepcopy(network), shape, amp, training)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**30


_BEFORE: list[int] = []  # KiB that the process of ``_peaks`` needs without the network


def _begin(modules: Sequence[str], amp: bool, threads: int) -> None:
    """Load libraries, some of them at torch's first use, and note the memory that they need."""
    torch.set_num_threads(threads)
    for name in modules:
        importlib.import_module(name)
    _step(nn.Conv2d(1, 1, 1), (1, 1, 8, 8), amp, training=True)
    _BEFORE[:] = [_status("VmRSS")]


def _peak_gib(file: str, shape: Sequence[int], training: bool, amp: bool) -> float:
    """Measure peak memory in GiB; body of the process of ``_peaks``."""
    with contextlib.suppress(OSError):  # may be forbidden
        (PROCESS / "clear_refs").write_text("5")  # resets the peak, because imports may have needed more
    _step(torch.load(file, weights_only=False), shape, amp, training)
    return (_status("VmHWM") - _BEFORE[0]) / 2**20


def _status(name: str) -> int:
    """A value in KiB from the kernel's status of this process."""
    return int((PROCESS / "status").read_text().split(f"{name}:")[1].split()[0])


def _step(network: nn.Module, shape: Sequence[int], amp: bool, training: bool) -> None:
    """One pass of inference, or one training step; changes the network."""
    x, call = torch.ones(*shape, device=_device(network)), FastCall(amp)
    if not training:
        with torch.inference_mode():
            call(network.eval(), x)
        return
    optimizer = torch.optim.Adam(parameter for parameter in network.parameters() if parameter.requires_grad)
    call(network.train(), x).square().mean().backward()
    optimizer.step()


def _device(network: nn.Module) -> torch.device:
    """Device of the network; the CPU for one without parameters."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
