"""Load weights into networks, and say what does not fit."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .files import complete_file
from .files import sha256 as file_sha256
from .run.model_record import weights_files

logger = logging.getLogger(__name__)

REQUIRED_OPTIONS = (
    "Give the options that the weights were trained with, such as --filters, --encoder, --network, --classes, "
    "--labels or --pretraining (config_training.json of the training lists them), or weights of this network."
)

NAMED = 5  # tensors in a message


def save_whole(content: dict[str, Any], path: Path) -> None:
    """Save tensors so that a run killed at any moment leaves the complete old file or the complete new one.

    MONAI's ``save_obj`` removes the old file before it writes the new one.
    """
    with complete_file(path) as part:
        torch.save(content, part)


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint's weights without running any code that it may hold.

    Args:
        path: a state dict, or a training checkpoint that holds one under ``network``, ``model`` or ``state_dict``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, or holds pickled code or no tensors.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No weights at {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        code = "nsupported" in str(error)
        reason = "it holds pickled code, which is never run" if code else "it is truncated or not a checkpoint"
        raise ValueError(
            f"{path}: a checkpoint must hold tensors only; {reason}. Train again or download it again."
        ) from error
    for key in ("network", "model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"{path}: a checkpoint must be a dict of tensors, got {type(content).__name__}.")
    return content


def load_weights(network: nn.Module, path: Any, option: str = "--weights") -> nn.Module:
    """Load all weights of a network, or none.

    Args:
        network: receives the weights, on the device where it is.
        path: see ``read_state_dict``; of an ensemble (``common.networks.ensemble``) a list, one for each member.
        option: of the config, by which another file is given; for the message.

    Raises:
        FileNotFoundError: if there is no such file; the message says which training makes it.
        ValueError: for a folder, an empty path or a list for one network; or if the checkpoint is of another network:
            the message counts what fits and names what does not.

    Example:
        >>> network = load_weights(classic_unet(1, 7), "bundles/us_dense_seg/models/model.pt")
    """
    if not network.state_dict():
        return network  # such as a mask in place of a heatmap, which nothing was learned for
    members = getattr(network, "members", None)
    files = weights_files(path, option, several=members is not None)
    for member, file in zip([network] if members is None else members, files, strict=True):
        if not file.is_file():
            raise FileNotFoundError(f"No weights at {file}. {_how_to_train(file)}, or give a file with {option}.")
        count = load_all(member, read_state_dict(file), file, REQUIRED_OPTIONS)
        logger.info("Weights: %s, all %d tensors.", file, count)
    return network


def _how_to_train(path: Path) -> str:
    """Return the command that trains the bundle in whose folder the weights should be."""
    places = [folder / "configs" / f"train.{suffix}" for folder in path.parents for suffix in ("yaml", "json")]
    config = next((place for place in places if place.is_file()), None)
    if config is None:
        return "Train the bundle first"
    command = f"python -m monai.bundle run training --config_file {os.path.normpath(config)}"
    return f"Train the bundle first ({command})"


def load_all(network: nn.Module, given: dict[str, torch.Tensor], path: str | Path, advice: str) -> int:
    """Load all tensors of a network, and no others.

    Args:
        network: receives the weights.
        given: a state dict.
        path: where it is from, for the message.
        advice: the end of the message.

    Returns:
        The number of tensors.

    Raises:
        ValueError: if names or shapes differ; the message counts what fits and names what does not.
    """
    wanted = network.state_dict()
    fitting = [name for name in wanted if name in given and given[name].shape == wanted[name].shape]
    if len(fitting) < len(wanted) or len(given) > len(wanted):
        missing = sorted(wanted.keys() - given.keys())
        foreign = sorted(given.keys() - wanted.keys())
        reshaped = [
            f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted
            if name in given and name not in fitting
        ]
        parts = [
            f"{len(names)} {what} (such as {names[0]})"
            for what, names in (("missing", missing), ("of another network", foreign), ("of another shape", reshaped))
            if names
        ]
        raise ValueError(
            f"{path}: every weight must fit {type(network).__name__}; "
            f"{len(fitting)} of {len(wanted)} do: {', '.join(parts)}. {advice}"
        )
    network.load_state_dict(given)
    return len(fitting)


def start_from(network: nn.Module, path: str | Path) -> nn.Module:
    """Load the weights that training starts from, as far as they fit; the log counts what was loaded.

    Args:
        network: receives the weights. Tensors of another name or shape keep their random values, as those of the last
            layer do with other classes.
        path: a checkpoint, or ``none``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no weight fits.

    Example:
        >>> network = start_from(DRSegUNet(out_channels=3), "bundles/ct_drsegunet/models/model.pt")
    """
    if str(path) == "none":
        return network
    (file,) = weights_files(path, "--pretrained")
    if not file.is_file():
        raise FileNotFoundError(f"No weights at {file}. Give a model.pt with --pretrained, or leave the option out.")
    given, wanted = read_state_dict(file), network.state_dict()
    fitting = {name: given[name] for name in wanted if name in given and given[name].shape == wanted[name].shape}
    random = [_difference(name, given, wanted) for name in wanted if name not in fitting]
    if not any(tensor.ndim for tensor in fitting.values()):  # counters fit any network
        raise ValueError(
            f"{file}: no weight fits {type(network).__name__}, which starts with {next(iter(wanted))}; those of the "
            f"file with {next(iter(given), 'nothing')}. {REQUIRED_OPTIONS}"
        )
    network.load_state_dict({**wanted, **fitting})
    logger.info("Pretrained: %s, %d of %d tensors.", file, len(fitting), len(wanted))
    if random:
        rest = f" and {len(random) - NAMED} more" if len(random) > NAMED else ""
        logger.warning("Left at random values: %s%s.", ", ".join(random[:NAMED]), rest)
    return network


def _difference(name: str, given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
    """Why a tensor was not loaded."""
    if name not in given:
        return f"{name} (not in the file)"
    return f"{name} ({tuple(given[name].shape)} instead of {tuple(wanted[name].shape)})"


def start_segmentation(network: nn.Module, path: str | Path) -> nn.Module:
    """Load what the network of ``us_reverse_transfer`` has learned before: its segmentation, or all of it.

    The maps have names, so every weight of the segmentation must fit.

    Args:
        network: with ``segmentation``.
        path: a checkpoint of ``us_dense_seg`` or of the whole network; or ``none`` for random weights.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if not every weight fits; see ``load_weights``.
    """
    if str(path) == "none":
        logger.info("Weights: none, training starts from random ones.")
        return network
    (file,) = weights_files(path, "--pretrained")
    if not file.is_file():
        raise FileNotFoundError(
            f"No weights at {file}. Train us_dense_seg first, give a checkpoint with --pretrained, or start from "
            "random weights: --pretraining none."
        )
    given = read_state_dict(file)
    is_whole = any(name.startswith("segmentation.") for name in given)
    count = load_all(network if is_whole else network.get_submodule("segmentation"), given, file, REQUIRED_OPTIONS)
    logger.info("Weights: %s, all %d tensors.", file, count)
    return network


def tell_origin(path: Any, sha256: str, origin: str, warn: bool = False) -> None:
    """Log what the weights of a packaged bundle were trained on.

    Args:
        path: the weights that will be used, or a list of them.
        sha256: hash of the packaged weights; nothing is logged for others.
        origin: a sentence.
        warn: log it as a warning.
    """
    if any(file.is_file() and file_sha256(file) == sha256 for file in weights_files(path, several=True)):
        logger.log(logging.WARNING if warn else logging.INFO, "These weights: %s", origin)
