"""Splits of augmented images, by patient or as the paper draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..splits import split

GAINS = (0.8, 1.0, 1.1)  # Gare et al., section 2.2: grey levels scaled within [0.8, 1.1]; with flips a factor of six


def sixfold(datalist: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply the paper's augmentation: original and flipped, each with grey levels times 0.8, 1.0 and 1.1.

    Args:
        datalist: cases.

    Returns:
        Six cases per case, with ``flip``, ``gain`` and their own ``case``; 152 images become 912.
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
    """Split cases into training and validation with the paper's augmentation.

    Args:
        datalist: cases with ``patient``.
        kind: ``patient`` keeps a patient on one side and scores unaugmented images. ``paper`` draws folds over the
            augmented images, as in section 3.1, so copies of one image are on both sides and scores are too high.
            ``image`` draws images together with their copies, for sources that name no patients.
        augmentation: ``sixfold``, or another value if images are augmented elsewhere or not at all.
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
    return {**sides, "training": copies(sides["training"])}
