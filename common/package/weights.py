"""The origin of weights, whether they fit, and the network in TorchScript."""

from __future__ import annotations

import io
import json
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data.torchscript_utils import METADATA_FILENAME
from torch import nn

from ..run.model_record import read_record
from ..run.training_record import hidden
from ..transfer import load_all, read_state_dict

PHANTOMS = "synthetic patients (phantoms), not from scans of people: for trying out, not for results."
CLOSE = 1e-3  # tolerance between the logits of TorchScript and of eager mode
WRITTEN_BY_TORCH = ("version", ".data/serialization_id")


def training_run(folder: Path, weights: Path, own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``run_training.json`` and ``config_training.json`` of the run that wrote weights.

    Weights that come with a bundle have a card instead, which says what is needed of both.

    Args:
        folder: of both files.
        weights: that the run wrote.
        own: their record, from ``weights_record``.

    Raises:
        FileNotFoundError: if one of them is missing.
    """
    if card := own.get("card"):
        run = {"started": card["trained"], "versions": card["versions"], "command": card["commands"][-1]}
        return {**run, "commit": own["commit"]}, {"dataset_dir": card["data"]}
    found = []
    for name in ("run_training.json", "config_training.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Weights are packaged with the record of their training, but {folder} has no {name} for {weights}. "
                "Train with this folder as --output_dir, or copy the record to it."
            )
        found.append(json.loads((folder / name).read_text(encoding="utf-8")))
    return found[0], found[1]


def weights_record(weights: Path) -> dict[str, Any]:
    """Read ``model.json`` of weights.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it belongs to other weights.
    """
    record = read_record(weights)
    if not record:
        raise FileNotFoundError(
            f"Weights are packaged with their record, but {weights} has no model.json beside it. Train again, or copy "
            "model.json with the weights."
        )
    return record


def published_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of weights as it is packaged: without names of patients and folders, whose hashes remain."""
    data = dict(record.get("data", {}))
    for name in ("training", "validation", "test"):
        data[name] = {hidden(member): mark for member, mark in data.get(name, {}).items()}
    trained = {name: _without_folder(value) for name, value in record.get("training", {}).items()}
    return {**record, "data": data, "training": trained, "start": _without_folder(record.get("start", "none"))}


def _without_folder(value: Any) -> Any:
    """Return a setting without the folder of a path."""
    return Path(value).name if isinstance(value, str) and "/" in value else value


def on_phantoms(trained: Mapping[str, Any]) -> bool:
    """Return whether the data of a training were synthetic."""
    return str(trained["dataset_dir"]).startswith("phantom") or str(trained.get("source", "")).startswith("phantom")


def origin(record: Mapping[str, Any], trained: Mapping[str, Any], data: str) -> str:
    """Return a sentence that says what weights were trained on, and when.

    Raises:
        ValueError: if they were trained on data of patients and ``data`` does not name it.
    """
    if not on_phantoms(trained) and not data:
        raise ValueError(
            "Weights are packaged with the name of their data, and the name of a folder is not enough. Give --data, "
            'such as --data "MedSeg COVID-19 CT, 40 slices".'
        )
    on = PHANTOMS if on_phantoms(trained) else f"{data.rstrip('.')}."
    return f"Trained {str(record['started'])[:10]} on {on}"


def command(record: Mapping[str, Any]) -> str:
    """Return the command of a training, without the folders of the machine that ran it."""
    return re.sub(r"'?(?<![\w.])(/[\w.\-]+)+/?'?", lambda path: Path(path.group().strip("'")).name, record["command"])


def make_network(inference: Mapping[str, Any]) -> nn.Module:
    """Return the network of ``inference.yaml`` on the CPU, with the packaged settings."""
    network: nn.Module = _made(inference, "network_def")
    return network.eval()


def class_names(inference: Mapping[str, Any]) -> list[str]:
    """Return the classes of ``inference.yaml``, with the packaged settings."""
    return list(_made(inference, "names"))


def _made(inference: Mapping[str, Any], name: str) -> Any:
    parser = ConfigParser({**inference, "device": "cpu"})
    parser.parse()
    return parser.get_parsed_content(name)


def fill(network: nn.Module, weights: Path, names: str) -> None:
    """Load the weights that will be packaged.

    Args:
        network: made with the packaged settings.
        weights: checkpoint.
        names: settings that come from the training, for the message.

    Raises:
        ValueError: if they do not fit.
    """
    advice = f"Its record says: {names or 'as inference.yaml'}. Package the weights that this training wrote."
    load_all(network, read_state_dict(weights), weights, advice)


def check_output(network: nn.Module, image: Mapping[str, Any], pred: Mapping[str, Any], names: str) -> None:
    """Check that the network's output is the one that the metadata describe.

    Args:
        network: in evaluation mode.
        image: description of the input in the metadata.
        pred: description of the output in the metadata.
        names: see ``fill``.

    Raises:
        ValueError: if the number of channels or the size differs.
    """
    with torch.inference_mode():
        given = tuple(network(torch.zeros(1, image["num_channels"], *image["spatial_shape"])).shape[1:])
    wanted = (pred["num_channels"], *pred["spatial_shape"])
    if given != wanted:
        channels = ", ".join(pred["channel_def"].values())
        raise ValueError(
            f"The output of a packaged network must be as in metadata.json, {wanted} of {channels}; "
            f"got {given} with {names or 'the settings of inference.yaml'}. Package weights with other settings."
        )


def torchscript(
    network: nn.Module, shape: tuple[int, ...], metadata: Mapping[str, Any], files: Mapping[str, bytes]
) -> bytes:
    """Return the traced network, the content of ``model.ts``; the same bytes on any machine.

    It is traced and not scripted, because scripting writes the constants of a layer in an order that differs between
    processes.

    Args:
        network: in evaluation mode.
        shape: shape of the example input, (1, C, H, W); the traced network takes other sizes, too.
        metadata: stored inside, where ``monai.bundle.load`` looks for them.
        files: stored beside them, by name.

    Raises:
        ValueError: if the traced network gives other logits.
    """
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of checks of the input's size
        script = torch.jit.trace(network, x, check_trace=False)
        if not torch.allclose(script(x), network(x), rtol=CLOSE, atol=CLOSE):
            raise ValueError(
                f"The traced {type(network).__name__} must give the network's own logits. Correct its forward method."
            )
    buffer = io.BytesIO()
    torch.jit.save(script, buffer, {METADATA_FILENAME: json.dumps(metadata).encode(), **files})
    return _without_places(buffer)


def _without_places(script: io.BytesIO) -> bytes:
    """Return TorchScript without its debug information, which names folders of this machine.

    The top folder in the file is named as the file, ``model``: MONAI Deploy looks for its config there.
    """
    script.seek(0)
    reader = torch._C.PyTorchFileReader(script)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ts"
        writer = torch._C.PyTorchFileWriter(str(path))
        for name in reader.get_all_records():
            place = name.startswith("traced_inputs") or name.endswith(".debug_pkl")
            if name not in WRITTEN_BY_TORCH and not place:
                content = reader.get_record(name)
                writer.write_record(name, content, len(content))
        writer.write_end_of_file()
        return path.read_bytes()
