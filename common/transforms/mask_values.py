"""Values of masks: rounded, and translated from a laboratory's own codes to those of the public masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.data import MetaTensor

CODES = {  # of the public lesion masks
    **{"background": 0, "lung": 0, "infection": 1, "lesion": 1, "ground-glass": 1, "consolidation": 2, "effusion": 3},
}
LUNG = ("lung", "infection", "lesion", "ground-glass", "consolidation")  # what lies in the lung
ROUNDING = 1e-3  # how far rescaled or resampled masks may be from integers
NAMED = 8  # values in a message


def snap_to_integers(values: torch.Tensor) -> None:
    """Round values that are integers up to rounding errors, such as 0.9999999 and 0.9999, in place."""
    if not values.is_floating_point():
        return
    rounded = values.round()
    difference = (values - rounded).abs_()
    if 0 < float(difference.max()) <= ROUNDING:
        values.copy_(rounded)


def translated(mask: MetaTensor, label_map: Mapping[float, str]) -> tuple[MetaTensor, MetaTensor | None]:
    """Translate a mask with own codes into the codes of the public masks: 1, 2, 3; see ``CODES``.

    Args:
        mask: of any shape.
        label_map: name of the class of each value; 0 is background unless it says otherwise.

    Returns:
        The lesion mask, and, if a value is the lung, the lung mask: lung and lesions in it; else None.

    Raises:
        ValueError: for a value without a name; names the file, the value and the classes.
    """
    names = {0.0: "background", **{float(value): name for value, name in label_map.items()}}
    values = mask.as_tensor()
    snap_to_integers(values)
    unknown = [value for value in torch.unique(values).tolist() if value not in names]
    if unknown:
        listed = ", ".join(f"{value:g}" for value in unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
        known = ", ".join(f"{value:g} {name}" for value, name in names.items())
        raise ValueError(
            f"{mask.meta.get('filename_or_obj', 'mask')}: --label_map says what {known} are, the mask also holds "
            f"{listed}. Add them to --label_map, as background if they are of no class here."
        )
    codes = torch.zeros_like(values)
    lung = torch.zeros_like(values)
    for value, name in names.items():
        codes[values == value] = float(CODES[name])
        lung[values == value] = float(name in LUNG)
    given = MetaTensor(lung, meta=dict(mask.meta)) if "lung" in names.values() else None
    return MetaTensor(codes, meta=dict(mask.meta)), given
