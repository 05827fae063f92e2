"""Splits of augmented images, as the paper draws them and by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..splits import split

GAINS = (0.8, 1.0, 1.1)  # Gare et al., section 2.2: grey levels scaled within [0.8, 1.1]; with flips a factor of six


def sixfold(datalist: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The text's augmentation as it stands: as is and flipped, each at grey levels times 0.8, 1.0 and 1.1.

    Args:
        datalist: cases.

    Returns:
        Six cases for each, with ``flip``, ``gain`` and their own ``case``; 152 images become 912.
    """
    return [
        {**case, "flip": flip, "gain": gain, "case": f"{case['case']}{' flipped' if flip else ''} x{gain:g}"}
        for case in datalist
        for flip in (False, True)
        for gain in GAINS
    ]


def split_augmented(
    datalist: Sequence[dict[str, Any]],
    kind: str = "patient",
    augmentation: str = "sixfold",
    fold: int = 0,
    folds: int = 3,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Training and validation cases with the text's augmentation.

    Args:
        datalist: cases with ``patient``.
        kind: ``patient`` keeps a patient on one side and scores images as they are; ``paper`` draws folds over the
            augmented images, as section 3.1 does, so that copies of one image lie on both sides and the score flatters;
            ``image`` draws images with their copies, where no patients are named.
        augmentation: ``sixfold`` (``sixfold``), or another word for copies that are made elsewhere or not at all.
        fold: see ``common.datasets.splits.split``.
        folds: the same.
        seed: the same.

    Raises:
        ValueError: for another kind, and as ``common.datasets.splits.split``.
    """
    if kind not in ("patient", "paper", "image"):
        raise ValueError(f"Unknown split {kind!r}. Choose 'patient', 'paper' or 'image'.")
    copies = sixfold if augmentation == "sixfold" else list
    if kind == "paper":
        return split(copies(datalist), "paper", fold, folds, seed)
    sides = split(datalist, "patient" if kind == "patient" else "paper", fold, folds, seed)
    return {"training": copies(sides["training"]), "validation": sides["validation"]}
