"""Masks of chest CT: lesions and lungs, on the grid of their image."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..inferers import lesions_first
from ..lung_network.methods import FROM, GIVEN, THRESHOLD, check_lungs, find_lung
from .ct import check_intensity
from .grids import check_same_grid, voxel_size
from .mask_values import snap_to_integers

logger = logging.getLogger(__name__)
LESIONS = {"ground-glass": 1, "consolidation": 2}  # values of the public lesion masks
EFFUSION = 3


def _is_one_of(mask: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    """Return where a mask holds one of a few values, bool; 15 times as fast as ``torch.isin``."""
    found = torch.zeros_like(mask, dtype=torch.bool)
    for value in values:
        found |= mask == value
    return found


def check_lesion_values(mask: MetaTensor) -> None:
    """Check that a lesion mask holds only the values of the public lesion masks: 0, 1, 2, 3.

    Raises:
        ValueError: if it holds other values; names the file and its values.
    """
    values = mask.as_tensor()
    snap_to_integers(values)
    if not _is_one_of(values, (0, *LESIONS.values(), EFFUSION)).all():
        found = torch.unique(values).tolist()
        if found == [0, 255]:
            raise ValueError(
                f"{mask.meta.get('filename_or_obj', 'label')}: a lesion mask must hold 0, 1 (ground-glass), "
                "2 (consolidation), 3 (effusion), got 0 and 255, as images of masks often do. Replace 255 by the "
                'class, or say what it is: --label_map "{255: ground-glass}".'
            )
        raise ValueError(
            f"{mask.meta.get('filename_or_obj', 'label')}: a lesion mask must hold 0, 1 (ground-glass), "
            f"2 (consolidation), 3 (effusion), got {', '.join(f'{value:g}' for value in found[:8])}"
            f"{', ...' if len(found) > 8 else ''}. Map its values to these, or say what they are, for example "
            '--label_map "{1: ground-glass, 5: consolidation}".'
        )


def mask_like(values: torch.Tensor, reference: MetaTensor) -> MetaTensor:
    """Return a uint8 mask of 0 and 1 with the affine and the applied transforms of ``reference``."""
    return MetaTensor(
        values.to(torch.uint8), meta=dict(reference.meta), applied_operations=list(reference.applied_operations)
    )


class ClassIndexd(MapTransform):
    """Combine lesion mask and lung mask into one map of class indices, uint8 of the label's shape.

    Lesions take precedence over lung, lung over background. Pleural effusion (3 in the public masks) lies outside the
    lung tissue and is background. Without a class ``consolidation`` (as in section 5.3 of Balantrapu 2021),
    consolidation counts as ground-glass: the thesis does not state how it is treated, and both are infected lung. A
    class ``infection`` takes both. Without a lung mask, the lung cannot be distinguished from background and becomes
    background, and so it does without a class ``lung``.

    Args:
        keys: lesion mask (1, X, Y, Z). The item may hold ``lung``, a mask that is positive in the lung.
        classes: class names in channel order: ground-glass with or without consolidation, or infection; lung, which
            may be missing; background.
        allow_missing_keys: whether items may lack the lesion mask, as slices without label do.

    Raises:
        ValueError: if a mask has another shape than the image, or values other than 0, 1, 2, 3.
    """

    def __init__(self, keys: KeysCollection, classes: Sequence[str], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.index = {name: position for position, name in enumerate(classes)}
        main = self.index["infection" if "infection" in self.index else "ground-glass"]
        self.index = {"ground-glass": main, "consolidation": main, "lung": self.index["background"], **self.index}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each lesion mask by the class map."""
        item = dict(data)
        lung = item.pop("lung", None)
        for key in self.key_iterator(item):
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
    """Convert a lesion mask to 0 and 1, uint8.

    Args:
        keys: masks (1, X, Y, Z). If the item holds ``image``, they must be on its grid.
        values: values that become 1: 1 is ground-glass or infection, 2 consolidation, 3 pleural effusion.
        allow_missing_keys: whether items may lack a key.
        empty_if_normal: an item whose ``label`` is 0, for the whole image, and that lacks the mask, gets an empty one.

    Raises:
        ValueError: if a mask is on another grid, has values other than 0, 1, 2, 3, or contradicts the ``label`` of its
            image, if ``empty_if_normal``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: Sequence[int] = (1, 2, 3),
        allow_missing_keys: bool = False,
        empty_if_normal: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = [float(value) for value in values]
        self.empty_if_normal = empty_if_normal
        self.told: set[str] = set()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert each mask."""
        item = dict(data)
        if self.empty_if_normal and item.get("label") == 0:
            empty = mask_like(torch.zeros(item["image"].shape), item["image"])
            item = {**dict.fromkeys(self.keys, empty), **item}
        for key in self.key_iterator(item):
            mask = item[key]
            if "image" in item:
                check_same_grid("lesion", mask, item["image"])
            check_lesion_values(mask)
            single = self.empty_if_normal and mask.shape[-1] == 1
            if single and item.get("label") == 1 and not mask.as_tensor().any():
                raise ValueError(
                    f"{item.get('case', key)}: label 1 says that there is a lesion, but its mask is empty. Correct the "
                    "label or the mask."
                )
            self._tell(mask.as_tensor(), str(item.get("case", key)))
            item[key] = mask_like(_is_one_of(mask.as_tensor(), self.values), mask)
            if single and item.get("label") == 0 and item[key].any():
                raise ValueError(
                    f"{item.get('case', key)}: label 0 says that there is no lesion, but {int(item[key].sum())} pixels "
                    "of its mask are one. Correct the label or the mask."
                )
        return item

    def _tell(self, mask: torch.Tensor, case: str) -> None:
        """Log, once for each, which lesions of the masks count as background."""
        for name, value in {**LESIONS, "effusion": EFFUSION}.items():
            if value not in self.values and name not in self.told and bool(_is_one_of(mask, [value]).any()):
                self.told.add(name)
                counted = ", ".join(f"{each:g}" for each in self.values)
                logger.warning(
                    "Masks hold %s (%d), first in %s. It counts as background, because --infection_values is [%s].",
                    *(name, value, case, counted),
                )


class LungMaskd(MapTransform):
    """Provide a lung mask of 0 and 1, uint8: the item's own, or else one made from the image.

    ``lung_from`` is set to ``given``, ``lung network`` or ``threshold``. For the limits of both methods see
    ``common.lung_network.segment.lung_by_network`` and ``common.lung_mask.lung_mask``.

    Args:
        keys: mask (1, X, Y, Z), positive in the lungs; may be missing.
        image_key: image that the mask is made from if it is missing: HU or 8-bit grey levels as the item's
            ``intensity`` declares (HU by default), neither clipped nor resampled, in LPS order.
        lungs: how a missing mask is made: ``network`` or ``threshold``; ``given`` refuses cases without one.
        only_given: leave cases without a mask as they are, unless ``lungs`` is ``given``.

    Raises:
        ValueError: if the mask is on another grid or empty, if no lung is found in the image, or for a case without
            mask if ``lungs`` is ``given``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        lungs: str = THRESHOLD,
        only_given: bool = False,
    ) -> None:
        super().__init__(keys)
        self.image_key, self.lungs = image_key, check_lungs(lungs)
        self.only_given = only_given and lungs != GIVEN

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check each mask, or make it."""
        item = dict(data)
        name = str(item.get("case", self.image_key))
        for key in self.keys:
            if self.only_given and item.get(key) is None:
                continue
            item["lung_from"] = "given" if item.get(key) is not None else FROM.get(self.lungs, "")
            if item.get(key) is None:
                item[key] = self.segment(item[self.image_key], item.get("intensity", "HU"), name)
                continue
            for reference in (self.image_key, "label"):
                if isinstance(item.get(reference), torch.Tensor):  # the label may be a number for the image
                    check_same_grid("lung", item[key], item[reference], reference)
            given, image = item[key], item.get(self.image_key)
            if float(given.min()) < 0:
                raise ValueError(
                    f"{name}: a lung mask is 0 outside the lungs and positive in them, got {float(given.min()):g} in "
                    f"{given.meta.get('filename_or_obj', key)}. Is it a scan? Give the mask."
                )
            # Of the image, so that Invertd takes both back to one order of axes: the mask's file may have another
            item[key] = mask_like(given.as_tensor() > 0, image if isinstance(image, MetaTensor) else given)
            if not item[key].any():
                raise ValueError(
                    f"{name}: a lung mask must be positive in the lungs, got only zeros in "
                    f"{given.meta.get('filename_or_obj', key)}. Give another mask, or none: the lung is then found "
                    "in the image."
                )
        return item

    def segment(self, image: MetaTensor, intensity: str, name: str) -> MetaTensor:
        """Make the lung mask."""
        check_intensity(image, intensity, name)
        size = voxel_size(image, intensity)
        lung = find_lung(image.as_tensor()[0].cpu().numpy(), size, self.lungs, intensity, name)
        if not lung.any():
            raise ValueError(
                f"{name}: lungs are needed, got none by {self.lungs}. Is it a chest CT in HU? If so, give a lung mask."
            )
        return mask_like(torch.from_numpy(lung)[None], image)


class AddLungd(MapTransform):
    """Add the lung to a lesion mask where that is 0, which gives one label map of lesions and lung, uint8.

    Args:
        keys: lesion masks (1, X, Y, Z) of integers.
        lung_key: lung mask on the same grid.
        value: value of the lung in the label map.
    """

    def __init__(self, keys: KeysCollection, lung_key: str = "lung", value: int = 3) -> None:
        super().__init__(keys)
        self.lung_key, self.value = lung_key, value

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each lesion mask by the label map."""
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
        value: value outside the lung; 0 is the middle of images in -1..1, and no lesion in a heatmap.
        may_be_empty: whether the mask may be empty, as in a slice at the end of the lungs that was made smaller.

    Raises:
        ValueError: if the mask has another shape or is empty; names the case.
    """

    def __init__(
        self, keys: KeysCollection, lung_key: str = "lung", value: float = 0.0, may_be_empty: bool = False
    ) -> None:
        super().__init__(keys)
        self.lung_key, self.value, self.may_be_empty = lung_key, value, may_be_empty

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Set each image to the value outside the lung."""
        item = dict(data)
        outside = torch.as_tensor(item[self.lung_key]) <= 0
        name = item.get("case", self.lung_key)
        if outside.all() and not self.may_be_empty:
            raise ValueError(
                f"{name}: the lung mask must be positive in the lung, got only zeros, shape {tuple(outside.shape)}. If "
                "it was resampled, use a larger size; otherwise give a slice with lung."
            )
        for key in self.keys:
            if item[key].shape != outside.shape:
                raise ValueError(
                    f"{name}: the lung mask must have the {key}'s shape {tuple(item[key].shape)}, got "
                    f"{tuple(outside.shape)}. Resample both to one size."
                )
            item[key] = item[key].masked_fill(outside, self.value)
        return item


class LesionsFirstd(MapTransform):
    """Convert probabilities to one-hot classes by the rule of ``common.inferers.lesions_first``.

    Args:
        keys: probabilities (classes, H, W).
        lesions: channels of the lesion classes.
        threshold: threshold for the sum of their probabilities.
        smallest: see there.
    """

    def __init__(
        self, keys: KeysCollection, lesions: Sequence[int], threshold: float, smallest: Sequence[int] = (0, 0)
    ) -> None:
        super().__init__(keys)
        self.lesions, self.threshold, self.smallest = list(lesions), threshold, tuple(smallest)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert each key."""
        result = dict(data)
        for key in self.key_iterator(result):
            channel = lesions_first(result[key][None], self.lesions, self.threshold, self.smallest)[0]
            result[key] = torch.zeros_like(result[key]).scatter_(0, channel, 1.0)
        return result
