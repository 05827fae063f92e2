"""Inferers that run a two-dimensional network fast, and slice by slice over volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SimpleInferer, SliceInferer
from torch import nn

LONG = 50  # slices


def mixed_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit type that a device computes natively, or None where it would only emulate one."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return None


class FastCall:
    """Call a network with mixed precision, channels-last memory and, if asked, compiled.

    Args:
        amp: bfloat16 where the device computes it natively, float16 on older GPUs, float32 elsewhere.
        compile: ``torch.compile`` the network; the first call then takes a minute, later ones are faster.
    """

    def __init__(self, amp: bool = False, compile: bool = False) -> None:
        self.amp, self.compile = amp, compile
        self._compiled: dict[int, Callable[..., torch.Tensor]] = {}

    def __call__(self, network: Callable[..., torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to float32 logits (B, classes, H, W)."""
        if isinstance(network, nn.Module) and id(network) not in self._compiled:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._compiled[id(network)] = torch.compile(network) if self.compile else network
        dtype = mixed_precision(x.device) if self.amp else None
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None):
            return self._compiled.get(id(network), network)(x).float()


class MixedPrecisionInferer(SimpleInferer):
    """MONAI's ``SimpleInferer`` in mixed precision on CPU and GPU; the engines' own ``amp`` knows CUDA only.

    Args:
        amp, compile: see :class:`FastCall`.
    """

    def __init__(self, amp: bool = False, compile: bool = False) -> None:
        super().__init__()
        self.call = FastCall(amp, compile)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """(B, C, H, W) to logits (B, classes, H, W)."""
        return super().__call__(inputs, lambda x: self.call(network, x))


class MaskInferer(SliceInferer):
    """MONAI's ``SliceInferer`` that decides each slice at once, so that a volume of probabilities never exists.

    For 512 x 512 x 400 voxels and four classes, probabilities take 1.6 GiB and the mask a quarter of that.

    Args:
        values: mask value of each output channel, as saved: 0 is background.
        threshold: a pixel takes its most probable class where that exceeds this probability, else 0.
        amp, compile: see :class:`FastCall`.
        kwargs: of ``SliceInferer``: roi_size (the network's H, W), sw_batch_size (slices at once), spatial_dim 2.
    """

    def __init__(
        self, values: Sequence[int], threshold: float = 0.5, amp: bool = False, compile: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**{"spatial_dim": 2, "overlap": 0.0, **kwargs})
        self.values, self.threshold, self.call = list(values), threshold, FastCall(amp, compile)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """(1, C, H, W, Z) to mask values (1, 1, H, W, Z), with a progress bar where it takes long."""
        self.progress = inputs.shape[-1] >= LONG
        return super().__call__(inputs, network, *args, **kwargs)

    def network_wrapper(self, network: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, 1) to mask values (B, 1, H, W, 1), float32 as ``SliceInferer`` blends it."""
        probability, channel = self.call(network, x.squeeze(-1)).softmax(1).max(1, keepdim=True)  # (B, 1, H, W)
        mask = torch.tensor(self.values, dtype=torch.float32, device=x.device)[channel]
        return (mask * (probability > self.threshold)).unsqueeze(-1)
