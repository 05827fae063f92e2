"""Axial slices of volumes and images, each file decoded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from monai.utils import convert_to_tensor

from ..transforms.grids import pixel_size
from .planes import Case, PlaneDataset, named


class SliceDataset(PlaneDataset):
    """Axial slices of volumes and images; a case without ``slice`` gives all its slices.

    The transform reads a whole volume: it turns ``keys`` into tensors (1, X, Y, Z), all of one shape, in LPS order.
    Items are dicts with ``keys`` as (1, X, Y), ``case``, ``patient`` (empty if not named), ``slice``, and those
    ``fields`` that the case has, and ``pixel`` (2,), the size of a pixel in mm, NaN if it is not known.

    Args:
        data, transform, augmentation, keys, when_empty, may_be_empty, cast: see ``PlaneDataset``.
        fields: further values of a case that its items keep unchanged, such as the label of the whole image.
    """

    def __init__(
        self,
        data: Sequence[Case],
        transform: Callable[[Case], Mapping[Hashable, Any]],
        augmentation: Callable[[Case], Case] | None = None,
        keys: Sequence[str] = ("image", "label"),
        fields: Sequence[str] = (),
        when_empty: Sequence[Case] = (),
        may_be_empty: bool = False,
        cast: Callable[[Case], Case] | None = None,
    ) -> None:
        self.fields = tuple(fields)
        super().__init__(data, transform, augmentation, keys, when_empty, may_be_empty, cast)

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Read the volume and yield its slices."""
        volume = self.read({key: value for key, value in cases[0].items() if key != "slice"})
        pixel = pixel_size(volume[self.keys[-1]])
        for case in cases:
            depth = volume[self.keys[0]].shape[-1]
            extra = {field: case[field] for field in self.fields if field in case}
            for index in [case["slice"]] if "slice" in case else range(depth):
                # A contiguous copy: a view would keep the whole volume, and strides slow every epoch.
                tensors = {
                    key: convert_to_tensor(volume[key], track_meta=False)[..., index].contiguous() for key in self.keys
                }
                yield {**extra, **tensors, **named(case), "slice": index, "pixel": pixel}
