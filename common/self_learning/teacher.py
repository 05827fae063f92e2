"""Learning from slices without labels, by an averaged teacher (Tarvainen and Valpola 2017, *Mean teachers*).

In each step the network, the student, learns from labelled slices and from as many without label. The teacher, the
average of the student's weights over the last steps, says what it sees in the slices without label, undisturbed. The
student sees the same slices with disturbed grey levels, and learns the teacher's answer where that is confident. Slices
that show no lesion can join the labelled ones: they need no annotation.
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
from ..run.errors import NothingToDo
from ..settings import as_list
from ..transforms.ct import BY_MODES

logger = logging.getLogger(__name__)


def every_nth(
    roots: str | Path | Sequence[str | Path],
    step: int,
    picture_axes: str,
    labelled: Mapping[str, Sequence[Mapping[str, Any]]],
    option: str = "unlabelled",
) -> list[dict[str, Any]]:
    """List every ``step``-th scan or picture of folders: neighbouring slices of a patient teach little.

    The window of pictures is estimated one by one (``common.transforms.ct.window_by_modes``).

    Args:
        roots: a folder, or several; names are in the order of numbers. Empty for none.
        step: 1 takes all.
        picture_axes: see ``common.readers.scan.picture_affine``.
        labelled: the cases of training, validation and test.
        option: which gives the folders, for messages.

    Raises:
        FileNotFoundError: if a folder does not exist or holds no scan.
        ValueError: if files of a folder are held out, by their bytes: a copy in another format is not recognised. For
            ``healthy`` also if they are among the labelled slices.
    """
    folders = as_list(roots)
    sets = [each for name, each in labelled.items() if name != "training" or option == "healthy"]
    apart = {_content(case) for each in sets for case in each}
    cases = []
    for root in folders if any(map(str, folders)) else []:
        if not Path(root).exists():
            several = " Several are written as \"['a','b']\"." if "," in str(root) else ""
            raise FileNotFoundError(
                f"--{option} {root}: there is no such folder. Give folders of scans or pictures.{several}"
            )
        try:
            found = inference_cases(root, picture_axes=picture_axes)[::step]
        except NothingToDo as error:
            raise NothingToDo(f"--{option} {root}: {error}") from error
        shared = [case["case"] for case in found if _content(case) in apart]
        if shared:
            raise ValueError(
                f"--{option} {root}: {len(shared)} of its {len(found)} files are held out or have labels: "
                f"{', '.join(shared[:3])}. Remove them, or, if they are held out, train on everything with --folds 0."
            )
        logger.info("--%s: %d files of %s, every %d.", option, len(found), root, step)
        cases += found
    return [{**case, "grey_window": BY_MODES} for case in cases]


def check_start(pretrained: str, resume: bool) -> None:
    """Refuse a training with a teacher that has not learned from labels yet: it would teach its own errors.

    Args:
        pretrained: weights to start from.
        resume: whether the training continues, and so has its own.

    Raises:
        ValueError: without weights.
    """
    if pretrained == "none" and not resume:
        raise ValueError(
            "--pretrained must be weights that have learned from the labelled slices, got none: the teacher would say "
            "what untrained weights see. Train without the overlay of unlabelled slices first, then give its model.pt."
        )


def _content(case: Mapping[str, Any]) -> tuple[str, ...]:
    """Hashes of the files of a case."""
    return tuple(map(sha256, image_files(case)))


class WithUnlabelled(Dataset):
    """Labelled slices, each with a random slice without label, and with one that shows no lesion.

    Args:
        labelled: gives dicts with ``image`` and ``label``.
        unlabelled: gives dicts with ``image`` and ``clean``, the same slice with its grey levels undisturbed.
        healthy: gives dicts with ``image``; empty for none.

    Items are those of ``labelled`` with ``unlabelled``, ``clean`` and, where there are any, ``healthy``.

    Raises:
        ValueError: without slices without label, or for files that are said to show no lesion as well.
    """

    def __init__(
        self,
        labelled: Sequence[Mapping[str, Any]],
        unlabelled: Sequence[Mapping[str, Any]],
        healthy: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if not len(unlabelled):
            raise ValueError(
                "--unlabelled must be a folder of scans or pictures, got none. Give the folder, or leave out the "
                "overlay that learns from them."
            )
        unknown, without = (
            {path for case in _cases(each) for path in image_files(case)} for each in (unlabelled, healthy)
        )
        both = unknown & without
        if both:
            raise ValueError(
                f"{len(both)} files are given as --unlabelled and as --healthy, such as {min(map(str, both))}. A slice "
                "shows no lesion, or it is not known: name each folder once."
            )
        self.labelled, self.unlabelled, self.healthy = labelled, unlabelled, healthy

    @property
    def data(self) -> Any:
        """The labelled cases, which the record of the weights names."""
        return _cases(self.labelled)

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> dict[str, Any]:
        other = _any_of(self.unlabelled)
        item = {**self.labelled[index], "unlabelled": other["image"], "clean": other["clean"]}
        return {**item, "healthy": _any_of(self.healthy)["image"]} if len(self.healthy) else item


def _cases(slices: Any) -> Sequence[Mapping[str, Any]]:
    """The cases of a dataset, if it names them."""
    return getattr(slices, "data", [])


def _any_of(slices: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Draw a slice."""
    return slices[int(torch.randint(len(slices), ()))]


class TeacherBatch:
    """MONAI's ``prepare_batch``: all slices together, with labels and the teacher's probabilities.

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
        """Return slices (N, 1, H, W), and labels (B, 1, H, W) with probabilities (B, classes, H, W).

        The N are B labelled slices, those without lesion if there are any, and B without label.
        """
        keys = [key for key in ("image", "label", "unlabelled", "clean", "healthy") if key in batch]
        slices = {key: batch[key].to(device, non_blocking=non_blocking) for key in keys}
        self.teacher.eval()
        with torch.no_grad():
            probability = self.call(self.teacher, slices["clean"]).softmax(1)
        together = [slices[key] for key in ("image", "healthy", "unlabelled") if key in slices]
        return torch.cat(together), (slices["label"], probability)


class TeacherLoss(nn.Module):
    """A loss on labels, and cross-entropy with the teacher's answers where it is confident.

    Slices that show no lesion add their cross-entropy with background. They are no part of ``loss``: in its Dice they
    would teach the network to mark less of faint lesions, too.

    Args:
        loss: of logits and labels.
        weight: of the teacher's part.
        confidence: probability that the teacher's answer for a pixel must exceed; other pixels count 0 in the mean.
        background: class of every pixel of the slices that show no lesion.
    """

    def __init__(
        self, loss: Callable[..., torch.Tensor], weight: float, confidence: float, background: int = 0
    ) -> None:
        super().__init__()
        self.loss, self.weight, self.confidence, self.background = loss, weight, confidence, background

    def forward(self, logits: torch.Tensor, target: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the loss of logits (N, classes, H, W) for the targets of ``TeacherBatch``."""
        label, probability = target
        labelled, healthy, unlabelled = logits.tensor_split((len(label), len(logits) - len(probability)))
        entropy = -(probability * unlabelled.log_softmax(1)).sum(1)
        confident = probability.amax(1) > self.confidence
        taught: torch.Tensor = self.loss(labelled, label)
        if len(healthy):
            taught = taught - healthy.log_softmax(1)[:, self.background].mean()
        return taught + self.weight * (entropy * confident).mean()
