"""Learning from slices without labels, by an averaged teacher (Tarvainen and Valpola 2017, *Mean teachers*).

In each step the network, the student, learns from labelled slices and from as many without label. The teacher, the
average of the student's weights over the last steps, says what it sees in the slices without label, undisturbed. The
student sees the same slices with disturbed grey levels, and learns the teacher's answer where that is confident.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from ..datasets.ct.folder import inference_cases
from ..files import image_files, sha256
from ..inferers import FastCall
from ..transforms.ct import BY_MODES

logger = logging.getLogger(__name__)


def every_nth(
    root: str | Path, step: int, picture_axes: str, labelled: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """List every ``step``-th scan or picture of a folder: neighbouring slices of a patient teach little.

    The window of pictures is estimated one by one (``common.transforms.ct.window_by_modes``).

    Args:
        root: folder; names are in the order of numbers.
        step: 1 takes all.
        picture_axes: see ``common.readers.scan.picture_affine``.
        labelled: the cases of training, validation and test.

    Raises:
        FileNotFoundError: without a folder, or if it does not exist or holds no scan.
        ValueError: if files of the folder are held out, by their content.
    """
    if not str(root) or not Path(root).exists():
        raise FileNotFoundError(
            f"--unlabelled must be a folder of scans or pictures, got {str(root) or 'none'}. Give the folder, or leave "
            "out the overlay that learns from them."
        )
    cases = inference_cases(root, picture_axes=picture_axes)[::step]
    apart = {_content(case) for name, each in labelled.items() if name != "training" for case in each}
    shared = [case["case"] for case in cases if _content(case) in apart]
    if shared:
        raise ValueError(
            f"--unlabelled {root}: {len(shared)} of its files are held out to be scored, such as {shared[0]}. Remove "
            "them, or train on everything with --folds 0."
        )
    logger.info("Slices without label: %d files of %s, every %d.", len(cases), root, step)
    return [{**case, "grey_window": BY_MODES} for case in cases]


def _content(case: Mapping[str, Any]) -> tuple[str, ...]:
    """Hashes of the files of a case."""
    return tuple(map(sha256, image_files(case)))


class WithUnlabelled(Dataset):
    """Labelled slices, each with a random slice without label.

    Args:
        labelled: gives dicts with ``image`` and ``label``.
        unlabelled: gives dicts with ``image`` and ``clean``, the same slice with its grey levels undisturbed.

    Items are those of ``labelled`` with ``unlabelled`` and ``clean``.
    """

    def __init__(self, labelled: Sequence[Mapping[str, Any]], unlabelled: Sequence[Mapping[str, Any]]) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    @property
    def data(self) -> Any:
        """The labelled cases, which the record of the weights names."""
        return getattr(self.labelled, "data", [])

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> dict[str, Any]:
        other = self.unlabelled[int(torch.randint(len(self.unlabelled), ()))]
        return {**self.labelled[index], "unlabelled": other["image"], "clean": other["clean"]}


class TeacherBatch:
    """MONAI's ``prepare_batch``: labelled and unlabelled slices together, with labels and the teacher's probabilities.

    Args:
        teacher: from slices (B, 1, H, W) to logits (B, classes, H, W).
        amp: see ``common.inferers.FastCall``.
    """

    def __init__(self, teacher: nn.Module, amp: bool = False) -> None:
        self.teacher, self.call = teacher, FastCall(amp)

    def __call__(
        self,
        batch: Mapping[str, torch.Tensor],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return slices (2B, 1, H, W), and labels (B, 1, H, W) with probabilities (B, classes, H, W)."""
        image, label, unlabelled, clean = (
            batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label", "unlabelled", "clean")
        )
        self.teacher.eval()
        with torch.no_grad():
            probability = self.call(self.teacher, clean).softmax(1)
        return torch.cat([image, unlabelled]), (label, probability)


class TeacherLoss(nn.Module):
    """A loss on labels, and cross-entropy with the teacher's answers where it is confident.

    Args:
        loss: of logits and labels.
        weight: of the teacher's part.
        confidence: probability that the teacher's answer for a pixel must exceed; other pixels count 0 in the mean.
    """

    def __init__(self, loss: Callable[..., torch.Tensor], weight: float, confidence: float) -> None:
        super().__init__()
        self.loss, self.weight, self.confidence = loss, weight, confidence

    def forward(self, logits: torch.Tensor, target: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the loss of logits (2B, classes, H, W) for the targets of ``TeacherBatch``."""
        label, probability = target
        count = len(label)
        entropy = -(probability * logits[count:].log_softmax(1)).sum(1)
        confident = probability.amax(1) > self.confidence
        taught: torch.Tensor = self.loss(logits[:count], label)
        return taught + self.weight * (entropy * confident).mean()
