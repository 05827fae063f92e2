"""How far the result of a case can be trusted, noted before anything of it is written."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from ..outliers.monitor import UNUSUAL, Monitor, Verdict
from ..reliability.judge import Likely, Reliability
from ..reliability.measures import LESION_PROBABILITY, wrong_in_steps
from ..run.errors import Refused
from ..statistics import counted
from .case_report import label_map

# Keys of an item: the verdict on the input, the errors of the result, these in a sentence, the probability that a voxel
# is wrong
TRUST, LIKELY, ERRORS, UNCERTAINTY = "trust", "likely", "errors", "uncertainty"
COLUMNS = ("trust", "trust_reason")
ERROR_COLUMNS = (
    *("lesion_ml_low", "lesion_ml_high", "share_low", "share_high"),
    *("dice_expected", "dice_error", "uncertain_lesions"),
)

# Of a single lesion; its centre in mm as DICOM counts: to the left, to the back, upwards
EACH_COLUMNS = ("lesion", "voxels", "ml", "x_mm", "y_mm", "z_mm", "probability", "dice_expected", "uncertain")


class JudgeTrust(Transform):
    """Note whether a case is like the training data of the weights: its ``trust``, and a note if it is unusual.

    It comes first after the network.

    Args:
        monitor: that has watched the network's input.
        strict: refuse unusual cases, so that nothing of them is written.

    Raises:
        Refused: for an unusual case, if ``strict``.
    """

    def __init__(self, monitor: Monitor, strict: bool = False) -> None:
        self.monitor, self.strict = monitor, bool(strict)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the verdict."""
        item = dict(data)
        item[TRUST] = verdict = self.monitor.verdict()
        if verdict.word == UNUSUAL and self.strict:
            raise Refused(
                f"{item['case']}: refused as unusual: {verdict.reason}. Look at the scan; without --strict True it is "
                "segmented, with a warning."
            )
        if verdict.word == UNUSUAL:
            item["notes"] = "; ".join(filter(None, [f"unusual input: {verdict.reason}", item.get("notes")]))
        return item


def verdict_of(item: Mapping[Any, Any]) -> Verdict:
    """The verdict on a case; an empty one if none was given."""
    found = item.get(TRUST)
    return found if isinstance(found, Verdict) else Verdict()


def trust_facts(item: Mapping[Any, Any]) -> dict[str, Any]:
    """What the ledger holds of the verdict on a case."""
    verdict = verdict_of(item)
    return {"trust": {"trust": verdict.word, "trust_reason": verdict.reason, "scores": dict(verdict.scores)}}


def trust_row(record: Mapping[str, Any]) -> dict[str, str]:
    """The columns of the verdict in a table; empty for weights that do not know what is usual."""
    return {name: str(record.get("trust", {}).get(name, "")) for name in COLUMNS}


class JudgeErrorsd(MapTransform):
    """Note how large the errors of a mask are likely to be: ``likely``, for tables, pictures and DICOM objects.

    It comes before anything is written. ``lesion_probability`` of the item is used up.

    Args:
        keys: integer masks (1, X, Y, Z) on the scan's own grid.
        reliability: that has watched the network.
        lesions: values of lesions in the mask.
        uncertainty: keep the probability that a voxel is wrong, too, as ``uncertainty``: (1, X, Y, Z), uint8 in steps
            of 1/255.
    """

    def __init__(
        self, keys: KeysCollection, reliability: Reliability, lesions: Sequence[int], uncertainty: bool = False
    ) -> None:
        super().__init__(keys)
        self.reliability, self.lesions, self.uncertainty = reliability, list(lesions), uncertainty

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Judge each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            given = item.pop(LESION_PROBABILITY)
            if not (self.reliability.active or self.uncertainty):
                continue  # nothing is known, and nothing is asked for
            probability = given[0].as_tensor().cpu().numpy()
            lesion = np.isin(label_map(item[key]), self.lesions)
            item[LIKELY] = self.reliability.judge(probability, lesion)
            if self.uncertainty:
                item[UNCERTAINTY] = MetaTensor(wrong_in_steps(probability, lesion)[None], meta=given.meta)
        return item


def likely_of(item: Mapping[Any, Any]) -> Likely | None:
    """What is likely of a case; None if the record of the weights does not say."""
    found = item.get(LIKELY)
    return found if isinstance(found, Likely) else None


def error_row(likely: Likely | None, voxel_ml: float | None, lung: int) -> dict[str, float | int | None]:
    """The columns of likely errors in a table.

    Args:
        likely: of a case; None leaves all blank.
        voxel_ml: volume of a voxel; None if it is unknown.
        lung: number of voxels of the lung, with its lesions.
    """
    row: dict[str, float | int | None] = dict.fromkeys(ERROR_COLUMNS)
    if likely is None:
        return row
    for name, voxels in (("low", likely.low), ("high", likely.high)):
        if voxels is not None and voxel_ml is not None:
            row[f"lesion_ml_{name}"] = round(voxels * voxel_ml, 3)
        if voxels is not None and lung:
            row[f"share_{name}"] = round(min(voxels / lung, 1.0), 4)
    row["dice_expected"] = None if likely.dice is None else round(likely.dice, 3)
    row["dice_error"] = None if likely.dice_error is None else round(likely.dice_error, 3)
    return row | {"uncertain_lesions": likely.doubtful}


def lesion_rows(likely: Likely | None, voxel_ml: float | None, affine: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the table of single lesions, the largest first.

    Args:
        likely: of a case; None has no rows.
        voxel_ml: volume of a voxel; None if it is unknown: then there are neither volumes nor positions.
        affine: of the mask, voxel index to mm, RAS, (4, 4).
    """
    rows = []
    for number, each in enumerate(() if likely is None else likely.lesions, start=1):
        row: dict[str, Any] = dict.fromkeys(EACH_COLUMNS) | {"lesion": number, "voxels": each.voxels}
        if voxel_ml is not None:
            right, front, up = (affine @ [*each.centre, 1.0])[:3].tolist()
            row |= {"ml": round(each.voxels * voxel_ml, 3)}
            row |= {"x_mm": round(-right, 1), "y_mm": round(-front, 1), "z_mm": round(up, 1)}
        row |= {"probability": round(each.probability, 3), "uncertain": each.uncertain}
        rows.append(row | {"dice_expected": None if each.dice is None else round(each.dice, 3)})
    return rows


def errors_in_words(likely: Likely | None, row: Mapping[str, Any]) -> str:
    """What is likely, in a sentence for a report; empty if nothing is known.

    Args:
        likely: of a case.
        row: from ``error_row``.

    Example:
        >>> errors_in_words(likely, error_row(likely, voxel_ml=0.002, lung=2_000_000))
        'Expected Dice 0.74 (error 0.08); all lesions 41 to 80 ml in 9 of 10 such cases; 2 of 5 lesions uncertain.'
    """
    if likely is None:
        return ""
    parts = []
    if likely.dice is not None:
        parts.append(f"Expected Dice {likely.dice:.2f} (error {likely.dice_error:.2f})")
    unit, factor = ("ml", 1) if row["lesion_ml_low"] is not None else ("% of the lung", 100)
    low, high = (row[f"{'lesion_ml' if unit == 'ml' else 'share'}_{end}"] for end in ("low", "high"))
    if low is not None:
        parts.append(f"all lesions {low * factor:.3g} to {high * factor:.3g} {unit} in 9 of 10 such cases")
    if likely.doubtful:
        parts.append(f"{likely.doubtful} of {counted(len(likely.lesions), 'lesions')} uncertain")
    return "; ".join(parts) + "." if parts else ""


def in_short(row: Mapping[str, Any]) -> str:
    """What is likely, for the second line of an overlay; empty if nothing is known.

    Args:
        row: from ``error_row``.

    Example:
        >>> in_short(row)
        'likely 5.8 to 24.0 %, Dice 0.68'
    """
    share = row["share_low"] is not None and f"{100 * row['share_low']:.1f} to {100 * row['share_high']:.1f} %"
    dice = row["dice_expected"] is not None and f"Dice {row['dice_expected']:.2f}"
    known = ", ".join(filter(None, [share or "", dice or ""]))
    return f"likely {known}" if known else ""
