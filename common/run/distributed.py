"""Several processes that train or evaluate together, one per GPU: ranks, shared data, what only the first one does."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterator, Sized
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler
from tqdm import tqdm

Row = TypeVar("Row")


def joined() -> bool:
    """Whether this process has joined a group that can exchange tensors."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Return the number of this process, 0 for a single process; torchrun sets it before processes join."""
    return distributed.get_rank() if joined() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Return the number of processes on all machines."""
    return distributed.get_world_size() if joined() else int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the first process, which writes files, prints and logs."""
    return rank() == 0


def device() -> torch.device:
    """Return the GPU of this process, or the CPU if the machine has no GPU.

    Raises:
        ValueError: for more processes on a machine than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= gpus:
        processes = os.environ.get("LOCAL_WORLD_SIZE", number + 1)
        raise ValueError(
            f"Each process needs its own GPU, got {processes} processes on a machine with {gpus}. "
            f"Start torchrun with --nproc_per_node={gpus}, or run without GPUs: --device cpu."
        )
    return torch.device("cuda", number)


def join(device: str | torch.device) -> None:
    """Join the processes that torchrun started: over NCCL with GPUs, else over gloo.

    Args:
        device: device of this process.

    Raises:
        ValueError: when the process was not started by torchrun.
    """
    if "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "The configs multi_gpu_train and multi_gpu_evaluate need torchrun, but this process was started "
            "without it. Run torchrun --nproc_per_node=2 -m monai.bundle run ..., or leave the file out."
        )
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave() -> None:
    """Leave the group when the first process has written its files."""
    distributed.barrier()
    distributed.destroy_process_group()


def silence() -> None:
    """Log errors only and show no progress bars, for all processes except the first."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # type: ignore[assignment,method-assign]


def parallel(network: nn.Module) -> nn.Module:
    """Wrap a network for a trainer so that gradients are averaged over the processes.

    All processes start from the weights of the first one. Save, load and validate the original network: it shares its
    weights with the returned one, and its parameter names have no prefix.

    On GPUs, batch norm uses mean and variance over the batches of all processes (``SyncBatchNorm``, which changes the
    network in place), as one process with the whole batch does. On CPUs, and with frozen layers, each process
    normalises by its own batch. The running statistics for evaluation are averaged, so all processes hold the same.

    Args:
        network: on its device; the process must have joined.
    """
    # Before DDP copies the memory layout of the weights: inferers change it later, which mixes up the first gradients
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Raised for 1x1 convolutions, whose strides are ambiguous: a user cannot act on it
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    parameters = list(network.parameters())
    if parameters[0].is_cuda and all(parameter.requires_grad for parameter in parameters):
        return DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network))
    trained = DistributedDataParallel(network)
    trained.register_forward_hook(_average_statistics)
    return trained


def _average_statistics(network: nn.Module, *_: Any) -> None:
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats:
            for statistic in (layer.running_mean, layer.running_var):
                values = statistic.data  # type: ignore[union-attr]  # in place, hidden from the backward pass
                distributed.all_reduce(values)
                values /= distributed.get_world_size()


def gathered(rows: list[Row]) -> list[Row]:
    """Gather the rows of all processes, in the order of the processes, on each of them.

    Args:
        rows: any number of objects that can be pickled, on the CPU.
    """
    if not joined():
        return rows
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, rows)
    return list(chain.from_iterable(parts))


class ShareSampler(Sampler[int]):
    """Contiguous parts of a dataset for evaluation, one per process, without overlap.

    Results that are gathered in the order of the processes are then in the order of the dataset. Torch's sampler
    distributes items in turn and repeats some, which would count them twice.

    Args:
        dataset: the dataset to divide.

    Raises:
        ValueError: for fewer items than processes.
    """

    def __init__(self, dataset: Sized) -> None:
        items, processes = len(dataset), world_size()
        if 0 < items < processes:
            raise ValueError(
                f"Each process needs at least one item to evaluate, got {items} for {processes} processes. "
                "Start fewer processes."
            )
        self.share = range(items * rank() // processes, items * (rank() + 1) // processes)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def __len__(self) -> int:
        return len(self.share)
