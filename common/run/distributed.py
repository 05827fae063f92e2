"""Several processes that train or evaluate together, one a GPU: who they are, what they share, what one alone does."""

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
    """Whether this process is one of a group that can exchange tensors."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Number of this process from 0, which is also that of a process alone; torchrun tells it before they join."""
    return distributed.get_rank() if joined() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes, on all machines."""
    return distributed.get_world_size() if joined() else int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that writes files, prints and logs: the first one."""
    return rank() == 0


def device() -> torch.device:
    """The GPU of this process; the CPU where the machine has none.

    Raises:
        ValueError: for more processes on a machine than it has GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= gpus:
        processes = os.environ.get("LOCAL_WORLD_SIZE", number + 1)
        raise ValueError(
            f"Each process needs a GPU of its own, got {processes} processes on a machine with {gpus}. "
            f"Start torchrun with --nproc_per_node={gpus}, or compute without GPUs: --device cpu."
        )
    return torch.device("cuda", number)


def join(device: str | torch.device) -> None:
    """Join the processes that torchrun has started: over NCCL with GPUs, else over gloo.

    Args:
        device: where this process computes.

    Raises:
        ValueError: where torchrun has started none.
    """
    if "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "multi_gpu_train.yaml and multi_gpu_evaluate.yaml need torchrun, got a process that it has not started. "
            "Run torchrun --nproc_per_node=2 -m monai.bundle run and so on, or leave the file out."
        )
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave() -> None:
    """Leave the group that was joined, once the first process has written its files."""
    distributed.barrier()
    distributed.destroy_process_group()


def silence() -> None:
    """Log errors alone, and draw no progress bars: for all processes but the first."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # type: ignore[assignment,method-assign]


def parallel(network: nn.Module) -> nn.Module:
    """The network as a trainer calls it: its gradients are averaged over the processes.

    All start from the weights of the first process. The network given is the one to save, to load and to validate: it
    shares weights with what is returned, and has no prefix in their names.

    On GPUs batch norm takes mean and variance over the batches of all processes (``SyncBatchNorm``, which changes the
    network in place), as one process with the whole batch does. On CPUs, and where layers are frozen, each process
    normalises by its own batch; what is learned for evaluation is averaged, so that all hold the same.

    Args:
        network: on its device, in a process that has joined.
    """
    # Before gradients are laid out as the weights lie: inferers do it later, and the first step would mix gradients up.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Of 1x1 convolutions, whose strides are not unique: nothing that a user could act on
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
                values = statistic.data  # type: ignore[union-attr]  # in place, unseen by the backward pass to come
                distributed.all_reduce(values)
                values /= distributed.get_world_size()


def gathered(rows: list[Row]) -> list[Row]:
    """The rows of all processes, in the order of the processes, on each of them.

    Args:
        rows: any number of whatever can be pickled, on the CPU.
    """
    if not joined():
        return rows
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, rows)
    return list(chain.from_iterable(parts))


class ShareSampler(Sampler[int]):
    """A part of a dataset for each process, to evaluate: parts follow one another, and no item is in two.

    What is gathered in the order of the processes is then in the order of the dataset, as one process has it. Other
    samplers deal items out in turn, and torch's repeats some until all have as many, which would count them twice.

    Args:
        dataset: whose items are shared.

    Raises:
        ValueError: for fewer items than processes.
    """

    def __init__(self, dataset: Sized) -> None:
        items, processes = len(dataset), world_size()
        if items < processes:
            raise ValueError(
                f"Each process needs one item or more to evaluate, got {items} for {processes} processes. Start fewer."
            )
        self.share = range(items * rank() // processes, items * (rank() + 1) // processes)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def __len__(self) -> int:
        return len(self.share)
