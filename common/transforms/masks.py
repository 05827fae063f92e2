"""Masks of chest CT: lesions and lungs, given or found, on their image's grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes

from ..inferers import lesions_first
from ..lung_mask import lung_mask
from .ct import check_intensity

LESIONS = {"ground-glass": 1, "consolidation": 2}  # values of the public lesion masks
EFFUSION = 3


def check_same_grid(name: str, mask: torch.Tensor, image: torch.Tensor, reference: str = "image") -> None:
    """Hold a mask to its image, or to another mask of it: one shape, and axes that run the same way in both files.

    Origins may differ: many masks were saved with a careless header, and shape and axes pair the voxels already.

    Args:
        name: what the mask is, for the message.
        mask: (1, X, Y, Z), with an affine where it knows one.
        image: the same.
        reference: what it is held to, for the message.

    Raises:
        ValueError: when they differ.
    """
    file = getattr(mask, "meta", {}).get("filename_or_obj", name)
    if mask.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"{file}: the {name} mask must have the {reference}'s shape {tuple(image.shape[1:])}, got "
            f"{tuple(mask.shape[1:])}. Take the mask of this {reference}."
        )
    if isinstance(mask, MetaTensor) and isinstance(image, MetaTensor):
        affines = [np.asarray(each.meta.get("original_affine", each.affine)) for each in (mask, image)]
        axes = ["".join(map(str, aff2axcodes(affine))) for affine in affines]
        if axes[0] != axes[1]:
            raise ValueError(
                f"{file}: the {name} mask must lie as the {reference} does, axes {axes[1]}, got {axes[0]}. Save it "
                "with the image's affine, after looking at both."
            )


def _is_one_of(mask: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    """bool, where a mask holds one of a few values; ``torch.isin`` takes fifteen times as long."""
    found = torch.zeros_like(mask, dtype=torch.bool)
    for value in values:
        found |= mask == value
    return found


def check_lesion_values(mask: MetaTensor) -> None:
    """Refuse values that the public lesion masks do not have.

    Raises:
        ValueError: naming the file and its values.
    """
    values = mask.as_tensor()
    if not _is_one_of(values, (0, *LESIONS.values(), EFFUSION)).all():
        found = torch.unique(values).tolist()
        raise ValueError(
            f"{mask.meta.get('filename_or_obj', 'label')}: a lesion mask holds 0, 1 (ground-glass), "
            f"2 (consolidation), 3 (effusion), got {', '.join(f'{value:g}' for value in found[:8])}"
            f"{', ...' if len(found) > 8 else ''}. Map its values to these."
        )


def mask_like(values: torch.Tensor, reference: MetaTensor) -> MetaTensor:
    """A mask of 0 and 1 that lies, and can be inverted, as ``reference``."""
    return MetaTensor(
        values.to(torch.uint8), meta=dict(reference.meta), applied_operations=list(reference.applied_operations)
    )


class ClassIndexd(MapTransform):
    """Lesion mask and lung mask to one map of class indices, uint8 of the label's shape.

    Lesions win over lung, lung over background. Pleural effusion (3 in the public masks) lies outside the lung tissue
    and is background. Without a class ``consolidation`` (the three classes of Balantrapu 2021, section 5.3),
    consolidation counts as ground-glass: the text does not say what became of it, and either is infected lung. Without
    a lung mask, lung cannot be told from background and stays background.

    Args:
        keys: the lesion mask; its item may hold ``lung``, a mask that is positive in the lung.
        classes: names in channel order, out of ground-glass, consolidation, lung, background.

    Raises:
        ValueError: for a mask whose shape is not the image's, or with values other than 0, 1, 2, 3.
    """

    def __init__(self, keys: KeysCollection, classes: Sequence[str]) -> None:
        super().__init__(keys)
        self.index = {name: position for position, name in enumerate(classes)}
        self.index.setdefault("consolidation", self.index["ground-glass"])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compose the class map under each key."""
        item = dict(data)
        lung = item.pop("lung", None)
        for key in self.keys:
            lesions = item[key]
            for name, mask in (("lesion", lesions), ("lung", lung)):
                if mask is not None:
                    check_same_grid(name, mask, item["image"])
            check_lesion_values(lesions)
            classes = torch.full(lesions.shape, self.index["background"], dtype=torch.uint8)
            if lung is not None:
                classes[lung.as_tensor() > 0] = self.index["lung"]
            for name, value in LESIONS.items():
                classes[lesions.as_tensor() == value] = self.index[name]
            item[key] = MetaTensor(classes, meta=lesions.meta)
        return item


class LesionMaskd(MapTransform):
    """Lesion mask to 0 and 1, uint8 of its shape.

    Args:
        keys: masks (1, X, Y, Z); the item may hold ``image``, on whose grid they must lie.
        values: which of the public masks' values count: 1 ground-glass or infection, 2 consolidation, 3 pleural
            effusion. 0 never does.
        allow_missing_keys: an item may be without.

    Raises:
        ValueError: for a mask on another grid, or with values other than 0, 1, 2, 3.
    """

    def __init__(
        self, keys: KeysCollection, values: Sequence[int] = (1, 2, 3), allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = [float(value) for value in values]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each mask."""
        item = dict(data)
        for key in self.key_iterator(item):
            mask = item[key]
            if "image" in item:
                check_same_grid("lesion", mask, item["image"])
            check_lesion_values(mask)
            item[key] = mask_like(_is_one_of(mask.as_tensor(), self.values), mask)
        return item


class LungMaskd(MapTransform):
    """Lung mask of 0 and 1, uint8: the one that the item brings, or else one found in the image by threshold.

    ``lung_from`` says which: ``given`` or ``threshold`` (``common.lung_mask.lung_mask``, whose limits apply).

    Args:
        keys: the mask, (1, X, Y, Z), positive in the lungs; may be absent.
        image_key: HU or 8-bit grey levels, neither clipped nor resampled, with z as last axis; needed where the mask
            is absent. An item without ``intensity`` holds HU.

    Raises:
        ValueError: for a mask on another grid, an empty one, or an image in which no lung is found.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check, or find."""
        item = dict(data)
        name = str(item.get("case", self.image_key))
        for key in self.keys:
            item["lung_from"] = "threshold" if item.get(key) is None else "given"
            if item.get(key) is None:
                item[key] = self.found(item[self.image_key], item.get("intensity", "HU"), name)
                continue
            for reference in (self.image_key, "label"):
                if isinstance(item.get(reference), torch.Tensor):  # the label may be one of the whole image
                    check_same_grid("lung", item[key], item[reference], reference)
            item[key] = mask_like(item[key].as_tensor() > 0, item[key])
            if not item[key].any():
                raise ValueError(
                    f"{name}: a lung mask must be positive in the lungs, got only zeros in "
                    f"{item[key].meta.get('filename_or_obj', key)}. Give another, or none: then one is made."
                )
        return item

    def found(self, image: MetaTensor, intensity: str, name: str) -> MetaTensor:
        """Lungs by threshold."""
        check_intensity(image, intensity, name)
        spacing = None  # of grey levels only the order can be trusted
        if intensity == "HU" and image.meta.get("spacing_known", True):
            x, y, z = map(float, voxel_sizes(np.asarray(image.affine)))
            spacing = (x, y, z)
        lung = lung_mask(image.as_tensor()[0].cpu().numpy(), spacing)
        if not lung.any():
            raise ValueError(
                f"{name}: lungs are needed, got none by threshold. Is it a chest CT in HU? If so, give a lung mask."
            )
        return mask_like(torch.from_numpy(lung)[None], image)


class AddLungd(MapTransform):
    """Write the lung into a lesion mask, where that is 0: one label map of lesions and lung, uint8.

    Args:
        keys: lesion masks (1, X, Y, Z) of integers.
        lung_key: lung mask, same grid.
        value: of the lung in the label map.
    """

    def __init__(self, keys: KeysCollection, lung_key: str = "lung", value: int = 3) -> None:
        super().__init__(keys)
        self.lung_key, self.value = lung_key, value

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compose the label map under each key."""
        item = dict(data)
        for key in self.keys:
            labels = item[key].to(torch.uint8)
            lung = (labels == 0) & (item[self.lung_key] > 0)
            item[key] = labels.masked_fill(lung, self.value)
        return item


class OutsideLungd(MapTransform):
    """Set everything outside the lung to one value.

    Args:
        keys: images (1, X, Y) or (1, X, Y, Z).
        lung_key: lung mask of the same shape, positive in the lungs.
        value: of what lies outside; 0 is the middle where images hold -1..1.

    Raises:
        ValueError: naming the case, for a mask of another shape, or where nothing lies in the lung.
    """

    def __init__(self, keys: KeysCollection, lung_key: str = "lung", value: float = 0.0) -> None:
        super().__init__(keys)
        self.lung_key, self.value = lung_key, value

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Blank each image."""
        item = dict(data)
        outside = torch.as_tensor(item[self.lung_key]) <= 0
        name = item.get("case", self.lung_key)
        if outside.all():
            raise ValueError(
                f"{name}: something must lie in the lung, got a lung mask of zeros, shape {tuple(outside.shape)}. If "
                "it was resampled, take a larger size, else a slice with lung."
            )
        for key in self.keys:
            if item[key].shape != outside.shape:
                raise ValueError(
                    f"{name}: the lung mask must have the {key}'s shape {tuple(item[key].shape)}, got "
                    f"{tuple(outside.shape)}. Resample both alike."
                )
            item[key] = item[key].masked_fill(outside, self.value)
        return item


class LesionsFirstd(MapTransform):
    """Probabilities (classes, H, W) to the classes decided on, one-hot, as ``common.inferers.lesions_first``.

    Args:
        keys: of probabilities.
        lesions: channels of the kinds of lesion.
        threshold: of their sum.
    """

    def __init__(self, keys: KeysCollection, lesions: Sequence[int], threshold: float) -> None:
        super().__init__(keys)
        self.lesions, self.threshold = list(lesions), threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each key."""
        result = dict(data)
        for key in self.key_iterator(result):
            channel = lesions_first(result[key][None], self.lesions, self.threshold)[0]
            result[key] = torch.zeros_like(result[key]).scatter_(0, channel, 1.0)
        return result
