"""Your own CT cases, listed in a table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...readers.scan import UPRIGHT, kind_of
from ..table import NONE, Case, given_table, own_cases, read_label_map, with_options

logger = logging.getLogger(__name__)

IMAGE_CLASSES = {"0": 0, "1": 1, "normal": 0, "lesion": 1}


def cases_of(
    public: Callable[[], list[Case]],
    root: str | Path,
    classes: Sequence[str],
    label: str = "mask",
    datalist: str | Path = NONE,
    label_map: Any = None,
    resample_masks: bool = False,
) -> list[Case]:
    """List the cases of a table if one is given, else those of a public source.

    Volumes count as HU and pictures as 8-bit grey levels, unless the table says otherwise. Where it names no patient, a
    volume counts as a patient of its own; a picture has none.

    Args:
        public: lists the cases of the public source.
        root: of the public source, or ``phantom``.
        classes: names that ``label_map`` may hold.
        label: what cases need, see ``common.datasets.table.own_cases``.
        datalist: the table, or ``none``.
        label_map: classes of the values in masks, see ``common.datasets.table.read_label_map``.
        resample_masks: resample masks that lie on another grid than their image.

    Raises:
        FileNotFoundError, ValueError: as the table or the public source does.
    """
    values = read_label_map(label_map, classes)
    if not given_table(datalist, root):
        return with_options(public(), values, resample_masks)
    cases = [_completed(case) for case in own_cases(datalist, label, IMAGE_CLASSES if label == "either" else None)]
    whole = [str(case["case"]) for case in cases if isinstance(case["label"], int) and case["intensity"] == "HU"]
    if whole:
        raise ValueError(
            f"{datalist}: a volume needs a mask, which says which of its slices have lesions; {', '.join(whole)} "
            "have a label. Cut them into pictures with python -m common.datasets.ct.cut, or give masks."
        )
    assumed = [str(case["case"]) for case in cases if case.pop("assumed", False)]
    if assumed:
        logger.warning(
            "%s names no patient for %d volumes (%s%s): each counts as a patient of its own. If patients have several, "
            "name them in the column patient, else slices of one are in training and in validation.",
            *(datalist, len(assumed), ", ".join(assumed[:3]), ", ..." if len(assumed) > 3 else ""),
        )
    return with_options(cases, values, resample_masks)


def _completed(case: Mapping[str, Any]) -> Case:
    """A case with its intensity, the axes of pictures, and a patient if it is a volume."""
    kind = kind_of(case["image"]) if case["image"].is_file() else "dicom"
    picture = kind == "picture"
    found: Case = {"intensity": "8bit" if picture else "HU", **({"picture_axes": UPRIGHT} if picture else {}), **case}
    if found["patient"] is None and not picture:
        found |= {"patient": found["case"], "assumed": "set" not in found}
    return found
