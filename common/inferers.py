"""Inferers that run a two-dimensional network fast, and slice by slice over volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from monai.utils import convert_to_dst_type
from scipy import ndimage
from torch import nn

from .networks.openvino_network import OpenVinoNetwork, check_runtime, uses_openvino
from .outliers.monitor import Monitor
from .reliability.judge import Reliability
from .reliability.measures import in_steps
from .run.progress import progress

IN_SLICE = np.pad(ndimage.generate_binary_structure(2, 1)[None], ((1, 1), (0, 0), (0, 0)))  # (slices, H, W)
LONG = 50  # slices, from which a progress bar is shown


def mixed_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit type that a device computes natively, or None if it would only emulate one."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and native_bfloat16(torch.cpu.get_capabilities()):
        return torch.bfloat16
    return None


def native_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a processor multiplies bfloat16 itself.

    oneDNN reports support for any processor with AVX-512, and emulates it, which is four times slower than float32.

    Args:
        capabilities: from ``torch.cpu.get_capabilities()``.
    """
    if capabilities.get("architecture") != "x86_64":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def lesions_first(
    probabilities: torch.Tensor, lesions: Sequence[int], threshold: float, smallest: Sequence[int] = (0, 0)
) -> torch.Tensor:
    """Class of each pixel, with all kinds of lesion compared together with the other classes.

    A pixel is lesion if the sum of the probabilities of all kinds exceeds the threshold, even if that is less than
    half. It then gets the most probable kind, otherwise the most probable of the other classes. The threshold with the
    best expected Dice is half of the Dice that it gives (Lipton, Elkan and Naryanaswamy, *Optimal Thresholding of
    Classifiers to Maximize F1 Measure*, 2014, theorem 1): 0.3 for a network that reaches 0.6.

    Args:
        probabilities: (B, classes, H, W), with a sum of 1 over the classes.
        lesions: channels of the kinds of lesion.
        threshold: of the sum of their probabilities.
        smallest: pixels that a connected region of a slice must have. The first number is for lesions of all kinds
            together; what is smaller is none, as specks at vessels are. The second is for each kind but the first; what
            is smaller becomes the first kind. Networks find a little consolidation in ground-glass where readers see
            none.

    Returns:
        Channels, (B, 1, H, W).

    Example:
        >>> probabilities = torch.tensor([0.15, 0.20, 0.40, 0.25]).view(1, 4, 1, 1)
        >>> lesions_first(probabilities, lesions=[0, 1], threshold=0.3).item()
        1
    """
    chosen = torch.zeros(probabilities.shape[1], dtype=torch.bool, device=probabilities.device)
    chosen[list(lesions)] = True
    lesion = lesion_area(probabilities[:, chosen].sum(1, keepdim=True), threshold, smallest[0])
    allowed = lesion == chosen[None, :, None, None]  # (B, classes, H, W)
    channel = probabilities.masked_fill(~allowed, -1.0).argmax(1, keepdim=True)
    for kind in lesions[1:]:
        channel[_small(channel == kind, smallest[1])] = lesions[0]
    return channel


def lesion_area(probability: torch.Tensor, threshold: float, smallest: int = 0) -> torch.Tensor:
    """Where a slice has a lesion of any kind, as ``lesions_first`` decides it.

    Args:
        probability: of all kinds together, (B, 1, H, W).
        threshold: that it must exceed.
        smallest: pixels that a connected region must have.

    Returns:
        bool, (B, 1, H, W).
    """
    found = probability > threshold
    return found & ~_small(found, smallest)


def _small(found: torch.Tensor, smallest: int) -> torch.Tensor:
    """Where a mask (B, 1, H, W) has regions of fewer pixels; pixels of a region share an edge."""
    if smallest < 2:
        return torch.zeros_like(found)
    regions, _ = ndimage.label(found[:, 0].cpu().numpy(), IN_SLICE)
    small = (np.bincount(regions.ravel())[regions] < smallest) & (regions > 0)
    return torch.from_numpy(small)[:, None].to(found.device)


class FastCall:
    """Call a network with mixed precision, channels-last memory and, on request, compiled.

    Args:
        amp: bfloat16 if the device computes it natively, float16 on older GPUs, float32 elsewhere.
        compile: ``torch.compile`` the network; the first call then takes a minute, later ones are faster.
        half: float16 may be used; training with it needs scaled losses.
        mirror: average the logits of a slice and of its left-right mirror image, in twice the time.
        temperature: what logits are divided by, so that probabilities are as frequent as they say (Guo et al., *On
            Calibration of Modern Neural Networks*, 2017); ``python -m common.calibrate`` finds it.
        runtime: what computes on a CPU: ``torch``, ``openvino``, or ``auto``, the latter where it is installed. The
            network must have its final weights at the first call, and all inputs one size.
        monitor: takes the features that a network of ``common.outliers.features.watched`` gives, those of mirror images
            excepted.
        reliability: compares what is found in slices and in their mirror images, with ``mirror``.
    """

    def __init__(
        self,
        amp: bool = False,
        compile: bool = False,
        half: bool = True,
        mirror: bool = False,
        temperature: float = 1.0,
        runtime: str = "torch",
        monitor: Monitor | None = None,
        reliability: Reliability | None = None,
    ) -> None:
        check_runtime(runtime)
        if compile and runtime == "openvino":
            raise ValueError("--compile is of torch, and --runtime openvino does not use it. Leave one of them out.")
        self.runtime = "torch" if compile else runtime
        self.amp, self.compile, self.half, self.mirror, self.temperature = amp, compile, half, mirror, temperature
        self.monitor, self.reliability = monitor, reliability
        # By the network itself: an inferer may be called with two networks in turn, and an id could be used again
        self._prepared: dict[nn.Module, Callable[..., Any]] = {}

    def __call__(self, network: Callable[..., torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (B, classes, H, W) of slices (B, C, H, W); H is left-right, as X in LPS."""
        logits, *features = self.forward(network, x)
        if self.monitor is not None and features:
            self.monitor.add(features)
        logits = logits / self.temperature
        if self.mirror:
            mirrored = self.forward(network, x.flip(2))[0].flip(2) / self.temperature
            if self.reliability is not None and self.reliability.active:
                self.reliability.add(logits, mirrored)
            logits = (logits + mirrored) / 2
        return logits

    def start(self) -> None:
        """Forget what a case that failed has left in what watches the network."""
        if self.monitor is not None:
            self.monitor.take()
        if self.reliability is not None:
            self.reliability.start()

    def forward(self, network: Callable[..., torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One pass: logits, and features if the network gives them."""
        prepared = self._prepare(network, x) if isinstance(network, nn.Module) else network
        dtype = mixed_precision(x.device) if self.amp else None
        if dtype is torch.float16 and not self.half:
            dtype = None
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None):
            found = prepared(x)
        return tuple(each.float() for each in (found if isinstance(found, tuple) else (found,)))

    def _prepare(self, network: nn.Module, x: torch.Tensor) -> Callable[..., Any]:
        """The network in channels-last memory, compiled or converted on request; prepared at its first call."""
        if network in self._prepared:
            return self._prepared[network]
        if uses_openvino(self.runtime, x.device):
            bfloat16 = self.amp and mixed_precision(x.device) is torch.bfloat16
            self._prepared[network] = OpenVinoNetwork(network, x, bfloat16)
        else:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._prepared[network] = torch.compile(network) if self.compile else network
        return self._prepared[network]


class MixedPrecisionInferer(SimpleInferer):
    """MONAI's ``SimpleInferer`` in mixed precision on CPU and GPU; the engines' own ``amp`` works on CUDA only.

    Args:
        amp, compile, half, mirror, temperature, monitor: see ``FastCall``.
    """

    def __init__(
        self,
        amp: bool = False,
        compile: bool = False,
        half: bool = True,
        mirror: bool = False,
        temperature: float = 1.0,
        monitor: Monitor | None = None,
    ) -> None:
        super().__init__()
        self.call = FastCall(amp, compile, half, mirror, temperature, monitor=monitor)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Return logits (B, classes, H, W) of slices (B, C, H, W)."""
        return super().__call__(inputs, lambda x: self.call(network, x))


class SlicesInferer(Inferer):
    """Run a two-dimensional network over volumes, and turn the logits of each batch of slices into its result at once.

    The result is that of MONAI's ``SliceInferer`` with ``decide`` inside its network. ``SliceInferer`` blends windows,
    which complete slices do not need: that takes 8 ms per slice on a CPU, and two float32 volumes beside the result.

    Args:
        slices_at_once: batch size.
        needed_channel: slices that are 0 everywhere in this input channel are not segmented and stay 0; None segments
            all slices.
        call: amp, compile, mirror, temperature, runtime, monitor, reliability: see ``FastCall``.
    """

    def __init__(self, slices_at_once: int = 1, needed_channel: int | None = None, **call: Any) -> None:
        super().__init__()
        self.slices_at_once, self.needed_channel = slices_at_once, needed_channel
        self.call = FastCall(**call)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits (B, classes, H, W) into values of the result, (B, channels, H, W)."""
        raise NotImplementedError

    def of_slices(self, network: Callable[..., Any], slices: torch.Tensor) -> torch.Tensor:
        """Turn slices (B, C, H, W) into values of the result, (B, channels, H, W)."""
        return self.decide(self.call(network, slices))

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run the network over volumes, with a progress bar for long ones.

        Args:
            inputs: volumes (N, C, H, W, Z), or a batch of slices (B, C, H, W).
            network: from slices (B, C, H, W) to logits (B, classes, H, W).
            args: ignored.
            kwargs: ignored.

        Returns:
            (N, channels, H, W, Z), or (B, channels, H, W) of slices.
        """
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if volumes.ndim == 4:
            result = self.of_slices(network, volumes)
            return convert_to_dst_type(result, inputs, dtype=result.dtype)[0]
        self.call.start()
        slices = volumes.movedim(-1, 1).flatten(0, 1).contiguous()  # (N * Z, C, H, W)
        chosen = torch.arange(len(slices), device=slices.device)
        if self.needed_channel is not None:
            needed = slices[:, self.needed_channel].flatten(1).any(1)
            chosen = needed.nonzero()[:, 0] if needed.any() else chosen[:1]
        batches = progress(chosen.split(self.slices_at_once), shown=len(slices) >= LONG, desc="Slices")
        decided = torch.cat([self.of_slices(network, slices[batch]) for batch in batches])
        result = decided.new_zeros((len(slices), *decided.shape[1:]))  # (N * Z, channels, H, W)
        result[chosen] = decided
        result = result.unflatten(0, (len(inputs), -1)).movedim(1, -1)  # (N, channels, H, W, Z)
        return convert_to_dst_type(result, inputs, dtype=result.dtype)[0]


class MaskInferer(SlicesInferer):
    """Segment a volume without a volume of probabilities, which would be large.

    For 512 x 512 x 400 voxels and four classes, probabilities would take 1.6 GiB; the mask takes 0.1 GiB.

    Args:
        values: mask value of each output channel, as saved: 0 is background.
        threshold: a pixel takes its most probable class if that exceeds this probability, else 0.
        slices_at_once: batch size.
        lesions, lesion_threshold, smallest: if given, ``lesions_first`` decides, and ``threshold`` is not used.
        lesion_probability: give that of all ``lesions`` together, too, in a second channel.
        probabilities: give those of all classes, too, in the channels after that; ``SplitProbabilitiesd`` takes all of
            them apart. Probabilities are in steps of 1/255.
        call: amp, compile, mirror, temperature, runtime, monitor, reliability: see ``FastCall``.

    Raises:
        ValueError: for ``smallest`` without ``lesion_threshold``.
    """

    def __init__(
        self,
        values: Sequence[int],
        threshold: float = 0.5,
        slices_at_once: int = 1,
        lesions: Sequence[int] = (),
        lesion_threshold: float | None = None,
        probabilities: bool = False,
        smallest: Sequence[int] = (0, 0),
        lesion_probability: bool = False,
        **call: Any,
    ) -> None:
        super().__init__(slices_at_once, **call)
        if lesion_threshold is None and any(smallest):
            raise ValueError(
                f"--smallest_regions {list(smallest)} needs a threshold for lesions: give --lesion_threshold, too."
            )
        self.values, self.threshold = list(values), threshold
        self.lesions, self.lesion_threshold, self.smallest = list(lesions), lesion_threshold, tuple(smallest)
        self.lesion_probability, self.probabilities = lesion_probability, probabilities

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits (B, classes, H, W) into mask values (B, 1, H, W), uint8, with probabilities in more channels."""
        probabilities = logits.softmax(1)
        channels = [self.mask(probabilities)]
        if self.lesion_probability:
            channels.append(in_steps(probabilities[:, self.lesions].sum(1, keepdim=True)))
        if self.probabilities:
            channels.append(in_steps(probabilities))
        return torch.cat(channels, 1)

    def mask(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Turn probabilities (B, classes, H, W) into mask values (B, 1, H, W), uint8."""
        values = torch.tensor(self.values, dtype=torch.uint8, device=probabilities.device)
        if self.lesion_threshold is not None:
            return values[lesions_first(probabilities, self.lesions, self.lesion_threshold, self.smallest)]
        probability, channel = probabilities.max(1, keepdim=True)
        return values[channel].masked_fill_(probability <= self.threshold, 0)


class ProbabilityInferer(SlicesInferer):
    """Probabilities of a volume by a network that ends in a sigmoid."""

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits (B, classes, H, W) into probabilities of the same shape, float32."""
        return logits.sigmoid()
