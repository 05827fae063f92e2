"""ImageNet weights for the encoders of ``common.networks.encoders``, from torchvision's published checkpoints."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

from ..files import sha256
from ..transfer import load_all, read_state_dict
from .encoder_unet import EncoderUNet
from .encoders import ENCODERS, Encoder

logger = logging.getLogger(__name__)

SOURCE = "https://download.pytorch.org/models/"
# torchvision's documented mean and standard deviation of RGB in 0..1, averaged, since CT has one channel
MEAN = (0.485 + 0.456 + 0.406) / 3  # 0.449
STD = (0.229 + 0.224 + 0.225) / 3  # 0.226
COUNTER = "num_batches_tracked"


def start_encoder(network: EncoderUNet, weights: str | Path) -> EncoderUNet:
    """Give the encoder the weights that training starts from; the decoder keeps its random ones.

    The first convolution takes three channels in the checkpoint and one here: its weights are summed over the input
    channels, which is what it would give for a grey picture in all three. With the weights go mean and standard
    deviation: the network's input, -1..1, counts as grey levels 0..1, and is normalised as the checkpoint is used to.

    Args:
        network: receives the weights, and ``input_mean`` and ``input_std``.
        weights: ``imagenet`` fetches the published file into torch's cache (``TORCH_HOME``) once, and checks its
            SHA-256; a path reads such a file, and checks the digest that its name ends in, if it does; ``none`` leaves
            the random weights. U-Net has no published weights, and starts from random ones as in the text.

    Raises:
        FileNotFoundError: when the file is not there or cannot be fetched.
        ValueError: when it is damaged, holds code, is another encoder's, or the encoder has no such weights.
    """
    encoder: Encoder = network.encoder  # type: ignore[assignment]
    if str(weights) == "none":
        logger.info("Encoder %s: random weights, as asked for.", encoder.backbone)
        return network
    if not encoder.checkpoint:
        if str(weights) != "imagenet":
            raise ValueError(
                f"{weights}: the encoder {encoder.backbone} takes no ImageNet weights. Leave --weights out: it starts "
                f"from random ones, as in the text. Or choose --encoder {', '.join(_published())}."
            )
        logger.info("Encoder %s: random weights, as in the text; it has none of ImageNet.", encoder.backbone)
        return network
    path = fetch(encoder.checkpoint) if str(weights) == "imagenet" else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}. {_remedies(encoder.checkpoint)}")
    check_digest(path)
    given, wanted = read_state_dict(path), encoder.state_dict()
    body = {name: value for name, value in given.items() if not name.startswith(encoder.head)}
    for name in wanted.keys() - body.keys():
        if name.endswith(COUNTER):  # older checkpoints lack them, and nothing depends on them
            body[name] = wanted[name]
    first = next(name for name, value in wanted.items() if value.ndim == 4)
    if first in body and body[first].shape[1:2] == (3,) and wanted[first].shape[1] == 1:
        body[first] = body[first].sum(dim=1, keepdim=True)
    load_all(encoder, body, path, _advice(encoder, given))
    network.input_mean.fill_(2 * MEAN - 1)  # type: ignore[operator]
    network.input_std.fill_(2 * STD)  # type: ignore[operator]
    count = sum(isinstance(layer, nn.Conv2d) for layer in encoder.modules())
    logger.info(
        "Encoder %s: all %d convolutions from %s, %s summed from three channels to one; its classifier is left out.",
        *(encoder.backbone, count, path, first),
    )
    return network


def fetch(checkpoint: str) -> Path:
    """Path of a published file in torch's cache, downloaded on the first call.

    Raises:
        FileNotFoundError: where it cannot be fetched.
        ValueError: where what arrives has another SHA-256.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / checkpoint
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("Fetching %s%s to %s.", SOURCE, checkpoint, path.parent)
    try:
        torch.hub.download_url_to_file(SOURCE + checkpoint, str(path), hash_prefix=_digest(checkpoint))
    except (URLError, TimeoutError, ConnectionError) as error:
        raise FileNotFoundError(
            f"{SOURCE}{checkpoint} cannot be fetched ({getattr(error, 'reason', error)}). {_remedies(checkpoint)}"
        ) from error
    except RuntimeError as error:  # torch's word for a digest that differs
        raise ValueError(f"{SOURCE}{checkpoint}: what arrived is not that file: {error}. Try again.") from error
    return path


def check_digest(path: Path) -> None:
    """Hold a file to the digits of SHA-256 that its name ends in, as torchvision names its files.

    Raises:
        ValueError: where they differ.
    """
    digest = _digest(path.name)
    if not digest:
        logger.info("%s: its name holds no digest, so that its content cannot be checked by one.", path)
        return
    found = sha256(path)
    if not found.startswith(digest):
        raise ValueError(
            f"{path}: the SHA-256 of a file of this name begins with {digest}, got {found[: len(digest)]}. It is cut "
            "off or changed: remove it and fetch it again, or rename it if it is your own."
        )


def _digest(name: str) -> str:
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", name)
    return found[1] if found else ""


def _published() -> list[str]:
    return [word for word, encoder in ENCODERS.items() if encoder.checkpoint]


def _remedies(checkpoint: str) -> str:
    return (
        f"Fetch {SOURCE}{checkpoint} elsewhere and give its path, --weights /path/{checkpoint}; or train the encoder "
        "from random weights, --weights none."
    )


def _advice(encoder: Encoder, given: dict[str, torch.Tensor]) -> str:
    """Which checkpoint to give, and whose this one is."""
    others = []
    for word in _published():
        with torch.device("meta"):
            names = ENCODERS[word]().state_dict()
        if all(name in given for name in names if not name.endswith(COUNTER)):
            others.append(word)
    owner = f"It looks like {' or '.join(others)}'s: choose --encoder {others[0]}, or give" if others else "Give"
    return f"{owner} {encoder.checkpoint}, as torchvision publishes it."
