"""Severity of COVID-19 pneumonia by the classes of MosMedData, CT-0 to CT-4.

Morozov et al., MosMedData: chest CT scans with COVID-19 related findings dataset, 2020, arXiv:2005.06465. Radiologists
assigned the original classes by eye, so that a class by the measured share is a counterpart and no replacement.
"""

from __future__ import annotations

from pathlib import PurePath

SEVERITIES = ("CT-0", "CT-1", "CT-2", "CT-3", "CT-4")
BOUNDS = (25, 50, 75)  # percent of the lung, between CT-1, CT-2, CT-3 and CT-4
MEANINGS = dict(
    zip(SEVERITIES, ("no lung", "below 25 %", "25 to 50 %", "50 to 75 %", "75 % or more"), strict=True)
)  # of the lung that is involved


def severity_class(share: float) -> str:
    """Severity class of a share of the lungs.

    Args:
        share: part of the lungs involved, 0..1.

    Returns:
        ``CT-0`` for none, ``CT-1`` below a quarter, ``CT-2`` from a quarter, ``CT-3`` from a half, ``CT-4`` from three
        quarters.

    Raises:
        ValueError: for a share outside 0..1 or NaN.

    Example:
        >>> severity_class(0.3)
        'CT-2'
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"The share of lung involved lies in 0..1, got {share}. Divide percentages by 100.")
    if share == 0.0:
        return "CT-0"
    return f"CT-{1 + int(share * 4) if share < 0.75 else 4}"


def folder_severity(case: str | PurePath) -> str | None:
    """Class of the nearest folder above a case that is called CT-0 to CT-4, in either case of letters; None without."""
    names = (folder.name.upper() for folder in PurePath(case).parents)
    return next((name for name in names if name in SEVERITIES), None)
