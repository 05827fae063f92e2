"""A network on a CPU by OpenVINO, which is faster there than torch."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..settings import check_names

logger = logging.getLogger(__name__)

RUNTIMES = ("torch", "openvino", "auto")


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


def check_runtime(runtime: str) -> None:
    """Refuse a runtime that is unknown or not installed.

    Raises:
        ValueError: if it is not one of ``RUNTIMES``, or is ``openvino`` where that is not installed.
    """
    check_names("runtime", [runtime], RUNTIMES)
    if runtime == "openvino" and not is_installed():
        raise ValueError(
            "--runtime openvino needs OpenVINO, which is not installed: pip install 'covid-lung-bundles[fast]'."
        )


def uses_openvino(runtime: str, device: torch.device) -> bool:
    """Whether a network runs by OpenVINO: if ``openvino``, or if ``auto`` and it is installed; on a CPU.

    Args:
        runtime: see ``check_runtime``.
        device: of the input.

    Raises:
        ValueError: for ``openvino`` with a GPU.
    """
    if runtime == "openvino" and device.type != "cpu":
        raise ValueError(f"--runtime openvino is for CPUs, and the network is on {device}. Leave it out.")
    return runtime != "torch" and device.type == "cpu" and is_installed()


def cache_folder() -> Path:
    """Where converted networks are kept, so that only the first run converts them."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "covid-lung-bundles" / "openvino"


class OpenVinoNetwork:
    """A network converted for inputs of one shape. Converting takes seconds, and is done once for the same weights.

    Args:
        network: with its final weights, on the CPU.
        example: input (B, C, H, W) whose size all others have; they may have another batch size.
        bfloat16: compute in bfloat16; else in float32, even where the processor has bfloat16.

    Example:
        >>> fast = OpenVinoNetwork(network, torch.zeros(1, 1, 352, 352))
        >>> fast(slices)  # as network(slices)
    """

    def __init__(self, network: nn.Module, example: torch.Tensor, bfloat16: bool = False) -> None:
        import openvino  # here, because few have it, and it takes a second to import

        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        model = self._converted(network.eval(), example[:1].contiguous(), core)
        self.request = core.compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Output of the network, (B, classes, H, W), float32; several outputs as a tuple."""
        planes = x.contiguous().numpy()
        results = []
        for index in range(len(x)):
            found = self.request.infer([planes[index : index + 1]])
            results.append([torch.from_numpy(found[number].copy()) for number in range(len(found))])
        outputs = tuple(torch.cat(each) for each in zip(*results, strict=True))
        return outputs if len(outputs) > 1 else outputs[0]

    @staticmethod
    def _converted(network: nn.Module, example: torch.Tensor, core: Any) -> Any:
        """The network as an OpenVINO model, from the cache if it is there."""
        import openvino

        digest = hashlib.sha256(f"{openvino.__version__} {torch.__version__} {tuple(example.shape)} {network}".encode())
        for name, tensor in network.state_dict().items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        path = cache_folder() / f"{digest.hexdigest()[:32]}.xml"
        if path.is_file():
            with suppress(RuntimeError):  # a damaged file is converted again
                return core.read_model(path)
        start = time.monotonic()
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # what depends on the size: inputs have one
            traced = torch.jit.trace(network, example, check_trace=False)
        model = openvino.convert_model(traced, input=list(example.shape))
        kept = _keep(model, path)
        logger.info(
            "Converted for OpenVINO in %.0f s%s.", time.monotonic() - start, "; kept for later runs" if kept else ""
        )
        return model


def _keep(model: Any, path: Path) -> bool:
    """Write a converted network into the cache, its weights first; False where that cannot be written."""
    import openvino

    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(model, part, compress_to_fp16=False)
        part.with_suffix(".bin").replace(path.with_suffix(".bin"))
        part.replace(path)
    except (OSError, RuntimeError):  # no room, or a folder of someone else: the next run converts again
        return False
    return True
