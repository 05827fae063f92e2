"""Frames of ultrasound clips and images, kept in memory for training."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from monai.utils import convert_to_tensor

from ..readers.ultrasound.frames import frames
from .planes import Case, PlaneDataset, named


class FrameDataset(PlaneDataset):
    """Frames of ultrasound clips and images; augmented copies of a case share its tensors.

    The transform is applied to one frame: ``image`` is uint8 (rows, columns) and becomes (1, H, W) of one size. Items
    are dicts with ``keys``, ``case``, ``patient`` (empty if not named), ``frame``, and those ``fields`` that the case
    has.

    Args:
        data, transform, augmentation, keys, when_empty, may_be_empty, cast: see ``PlaneDataset``.
        frames_per_second: sampling rate of clips; None keeps every frame.
        fields: further values of a case that the augmentation needs.
    """

    def __init__(
        self,
        data: Sequence[Case],
        transform: Callable[[Case], Mapping[Hashable, Any]],
        augmentation: Callable[[Case], Case] | None = None,
        keys: Sequence[str] = ("image", "label"),
        frames_per_second: float | None = None,
        fields: Sequence[str] = ("flip", "gain"),
        when_empty: Sequence[Case] = (),
        may_be_empty: bool = False,
        cast: Callable[[Case], Case] | None = None,
    ) -> None:
        self.frames_per_second, self.fields = frames_per_second, tuple(fields)
        super().__init__(data, transform, augmentation, keys, when_empty, may_be_empty, cast)

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Read frame by frame."""
        for frame in frames(cases[0]["image"], self.frames_per_second):
            item = self.read({**cases[0], "image": frame.pixels})
            tensors = {key: convert_to_tensor(item[key], track_meta=False) for key in self.keys}
            for case in cases:
                extra = {field: case[field] for field in self.fields if field in case}
                yield {**tensors, **extra, **named(case), "frame": frame.index}
