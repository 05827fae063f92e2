"""Two-dimensional training samples out of volumes and clips, each file decoded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import torch
from monai.data import Dataset
from monai.utils import convert_to_tensor
from tqdm import tqdm

from ..frames import frames

logger = logging.getLogger(__name__)

Case = Mapping[str, Any]
FILES_AT_ONCE = 4  # a CT of 512 x 512 x 300 takes 2 GiB on the way


class PlaneDataset(Dataset):
    """Slices or frames, held in memory after one pass of the deterministic transform.

    Files are read side by side, by as many threads as torch computes with, four at most. Planes keep the order of the
    cases.

    Args:
        data: cases; those that share an image file are decoded together.
        transform: deterministic, of what one file holds; several threads call it.
        augmentation: random transform of one plane, tensors (1, ...).
        keys: tensors to keep, the image first.
        when_empty: cases to take where ``data`` has none; MONAI Label validates with none before it has three labels.

    Raises:
        ValueError: naming every case that could not be read, not just the first.
    """

    def __init__(
        self,
        data: Sequence[Case],
        transform: Callable[[Case], Mapping[Hashable, Any]],
        augmentation: Callable[[Case], Case] | None = None,
        keys: Sequence[str] = ("image", "label"),
        when_empty: Sequence[Case] = (),
    ) -> None:
        if not data and when_empty:
            logger.warning(
                "No cases to validate with: the %d of training are taken, whose scores flatter.", len(when_empty)
            )
            data = when_empty
        super().__init__(data, augmentation)
        self.read, self.keys = transform, tuple(keys)
        files: dict[str, list[Case]] = {}
        for case in data:
            files.setdefault(str(case["image"]), []).append(case)
        self.planes: list[dict[str, Any]] = []
        failures: list[str] = []
        with ThreadPool(max(1, min(torch.get_num_threads(), len(files), FILES_AT_ONCE))) as pool:
            results = pool.imap(self._read, files.values())
            for planes, failure in tqdm(results, desc="Reading", total=len(files), unit="file", leave=False):
                self.planes += planes
                failures += failure
        if failures:
            raise ValueError(f"{len(failures)} of {len(files)} cases cannot be used: {' '.join(failures)}")

    def _read(self, cases: Sequence[Case]) -> tuple[list[dict[str, Any]], list[str]]:
        """Items of the cases of one file, or why there are none."""
        try:
            return list(self.planes_of(cases)), []
        except (ValueError, FileNotFoundError, RuntimeError) as error:
            return [], [str(error.__cause__ or error)]  # MONAI wraps what a transform raises

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Items of the cases of one file; several threads call it."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.planes)

    def _transform(self, index: int) -> Any:
        item = dict(self.planes[index])
        return self.transform(item) if self.transform is not None else item


class SliceDataset(PlaneDataset):
    """Axial slices of volumes and pictures; a case without ``slice`` gives all its slices.

    The transform is of a whole volume: it reads ``keys`` and gives tensors (1, X, Y, Z), all of one shape, in LPS
    order. Items are dicts with ``keys`` as (1, X, Y), ``case``, ``slice``, and ``fields`` where the case has them.

    Args:
        data, transform, augmentation, keys, when_empty: see :class:`PlaneDataset`.
        fields: what else of a case its items keep as it is, such as the label of the whole image.
    """

    def __init__(
        self,
        data: Sequence[Case],
        transform: Callable[[Case], Mapping[Hashable, Any]],
        augmentation: Callable[[Case], Case] | None = None,
        keys: Sequence[str] = ("image", "label"),
        fields: Sequence[str] = (),
        when_empty: Sequence[Case] = (),
    ) -> None:
        self.fields = tuple(fields)
        super().__init__(data, transform, augmentation, keys, when_empty)

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Read the volume, cut it."""
        volume = self.read({key: value for key, value in cases[0].items() if key != "slice"})
        for case in cases:
            depth = volume[self.keys[0]].shape[-1]
            extra = {field: case[field] for field in self.fields if field in case}
            for index in [case["slice"]] if "slice" in case else range(depth):
                # A contiguous copy: a view would keep the whole volume, and strides slow every epoch.
                tensors = {
                    key: convert_to_tensor(volume[key], track_meta=False)[..., index].contiguous() for key in self.keys
                }
                yield {**extra, **tensors, "case": case.get("case", str(case["image"])), "slice": index}


class FrameDataset(PlaneDataset):
    """Frames of ultrasound clips and pictures; augmented copies of a case share its tensors.

    The transform is of one frame: ``image`` holds uint8 (rows, columns), and becomes (1, H, W) of one size. Items are
    dicts with ``keys``, ``case``, ``frame``, and ``fields`` where the case has them.

    Args:
        data, transform, augmentation, keys, when_empty: see :class:`PlaneDataset`.
        frames_per_second: sampling rate of clips; None takes every frame.
        fields: what else of a case the augmentation needs.
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
    ) -> None:
        self.frames_per_second, self.fields = frames_per_second, tuple(fields)
        super().__init__(data, transform, augmentation, keys, when_empty)

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Read frame by frame."""
        for frame in frames(cases[0]["image"], self.frames_per_second):
            item = self.read({**cases[0], "image": frame.pixels})
            tensors = {key: convert_to_tensor(item[key], track_meta=False) for key in self.keys}
            for case in cases:
                extra = {field: case[field] for field in self.fields if field in case}
                name = case.get("case", str(case["image"]))
                yield {**tensors, **extra, "case": name, "frame": frame.index}
