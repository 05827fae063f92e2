"""Where weights are from, whether they fit, and the same network in TorchScript."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data.torchscript_utils import METADATA_FILENAME
from torch import nn

from ..transfer import load_all, read_state_dict

PHANTOMS = "synthetic patients (phantoms), not from scans of people: for trying out, not for results."
CLOSE = 1e-3  # of logits, TorchScript beside eager
WRITTEN_BY_TORCH = ("version", ".data/serialization_id")


def training_record(folder: Path, weights: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """``run_training.json`` and ``config_training.json`` of the run that left weights.

    Raises:
        FileNotFoundError: without one of them.
    """
    found = []
    for name in ("run_training.json", "config_training.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Weights go out with the record of their training, but {folder} has no {name} for {weights}. "
                "Train with --output_dir there, or copy the record beside them."
            )
        found.append(json.loads((folder / name).read_text(encoding="utf-8")))
    return found[0], found[1]


def on_phantoms(trained: Mapping[str, Any]) -> bool:
    """Whether a training's data were synthetic."""
    return str(trained["dataset_dir"]).startswith("phantom") or str(trained.get("source", "")).startswith("phantom")


def origin(record: Mapping[str, Any], trained: Mapping[str, Any], data: str) -> str:
    """A sentence on what weights were trained on, and when.

    Raises:
        ValueError: where data of people were used and no one says which.
    """
    if not on_phantoms(trained) and not data:
        raise ValueError(
            "Weights go out with the name of their data, and a folder's name is none. Give --data, such as "
            '--data "MedSeg COVID-19 CT, 40 slices".'
        )
    on = PHANTOMS if on_phantoms(trained) else f"{data.rstrip('.')}."
    return f"Trained {str(record['started'])[:10]} on {on}"


def command(record: Mapping[str, Any]) -> str:
    """The command of a training, without the folders of the machine that ran it."""
    return re.sub(r"'?(?<![\w.])(/[\w.\-]+)+/?'?", lambda path: Path(path.group().strip("'")).name, record["command"])


def make_network(inference: Mapping[str, Any]) -> nn.Module:
    """The network of ``inference.yaml`` on the CPU, with settings as packaged."""
    network: nn.Module = _made(inference, "network_def")
    return network.eval()


def class_names(inference: Mapping[str, Any]) -> list[str]:
    """The classes that ``inference.yaml`` names, with settings as packaged."""
    return list(_made(inference, "names"))


def _made(inference: Mapping[str, Any], name: str) -> Any:
    parser = ConfigParser({**inference, "device": "cpu"})
    parser.parse()
    return parser.get_parsed_content(name)


def fill(network: nn.Module, weights: Path, names: str) -> None:
    """Load the weights that will be packaged.

    Args:
        network: of the packaged settings.
        weights: checkpoint.
        names: settings that were taken over from the training, for the message.

    Raises:
        ValueError: when they do not fit.
    """
    advice = f"Its record says: {names or 'as inference.yaml'}. Package the weights that this training left."
    load_all(network, read_state_dict(weights), weights, advice)


def check_output(network: nn.Module, image: Mapping[str, Any], pred: Mapping[str, Any], names: str) -> None:
    """Refuse a network whose output is not that of the metadata.

    Args:
        network: in evaluation mode.
        image: input of the metadata.
        pred: their output.
        names: as ``fill`` takes them.

    Raises:
        ValueError: for another number of channels, or another size.
    """
    with torch.inference_mode():
        given = tuple(network(torch.zeros(1, image["num_channels"], *image["spatial_shape"])).shape[1:])
    wanted = (pred["num_channels"], *pred["spatial_shape"])
    if given != wanted:
        channels = ", ".join(pred["channel_def"].values())
        raise ValueError(
            f"A packaged network must give what metadata.json says, {wanted} of {channels}; "
            f"got {given} with {names or 'the settings of inference.yaml'}. Package weights of other settings."
        )


def torchscript(network: nn.Module, shape: tuple[int, ...], metadata: Mapping[str, Any]) -> bytes:
    """The network traced, as ``model.ts``; the same bytes on any machine.

    Tracing, because scripting writes a layer's constants in an order that differs from process to process.

    Args:
        network: in evaluation mode.
        shape: of its input, (1, C, H, W); others work too.
        metadata: kept inside, where ``monai.bundle.load`` looks for them.

    Raises:
        ValueError: where the trace gives other logits.
    """
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of checks of the input's size, which hold for others
        script = torch.jit.trace(network, x, check_trace=False)
        if not torch.allclose(script(x), network(x), rtol=CLOSE, atol=CLOSE):
            raise ValueError(
                f"{type(network).__name__} traced must give the logits that it gives itself. Mend its forward."
            )
    buffer = io.BytesIO()
    torch.jit.save(script, buffer, {METADATA_FILENAME: json.dumps(metadata).encode()})
    return _without_places(buffer)


def _without_places(script: io.BytesIO) -> bytes:
    """TorchScript without what leads errors back to the lines of Python, which names folders of this machine."""
    script.seek(0)
    reader, made = torch._C.PyTorchFileReader(script), io.BytesIO()
    writer = torch._C.PyTorchFileWriter(made)
    for name in reader.get_all_records():
        if name not in WRITTEN_BY_TORCH and not name.startswith("traced_inputs") and not name.endswith(".debug_pkl"):
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return made.getvalue()
