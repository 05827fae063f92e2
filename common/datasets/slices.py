"""Two-dimensional training samples out of volumes, each volume decoded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from monai.data import Dataset
from monai.utils import convert_to_tensor
from tqdm import tqdm


class SliceDataset(Dataset):
    """Axial slices of volumes and pictures, held in memory after one pass of the deterministic transform.

    Args:
        data: cases; those that share an image file (and differ in ``slice``) are decoded together. A case without
            ``slice`` gives all its slices.
        transform: of a whole volume: reads ``keys`` and gives tensors (1, X, Y, Z), all of one shape, in LPS order.
        augmentation: random transform of one slice, tensors (1, X, Y).
        keys: what to keep.

    Items are dicts with ``keys`` as (1, X, Y), ``case`` and ``slice``.

    Raises:
        ValueError: naming every case that could not be read, not just the first.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Mapping[Hashable, Any]],
        augmentation: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        keys: Sequence[str] = ("image", "label"),
    ) -> None:
        super().__init__(data, augmentation)
        volumes: dict[str, list[Mapping[str, Any]]] = {}
        for case in data:
            volumes.setdefault(str(case["image"]), []).append(case)
        self.slices: list[dict[str, Any]] = []
        failures: list[str] = []
        for cases in tqdm(volumes.values(), desc="Reading", unit="file", leave=False):
            try:
                volume = transform({key: value for key, value in cases[0].items() if key != "slice"})
            except (ValueError, FileNotFoundError, RuntimeError) as error:
                failures.append(str(error.__cause__ or error))  # MONAI wraps what a transform raises
                continue
            for case in cases:
                depth = volume[keys[0]].shape[-1]  # type: ignore[index]
                for index in [case["slice"]] if "slice" in case else range(depth):
                    # A contiguous copy: a view would keep the whole volume, and strides slow every epoch.
                    tensors = {
                        key: convert_to_tensor(volume[key], track_meta=False)[..., index].contiguous() for key in keys
                    }
                    self.slices.append({**tensors, "case": case.get("case", str(case["image"])), "slice": index})
        if failures:
            raise ValueError(f"{len(failures)} of {len(volumes)} cases cannot be used: {' '.join(failures)}")

    def __len__(self) -> int:
        return len(self.slices)

    def _transform(self, index: int) -> Any:
        item = dict(self.slices[index])
        return self.transform(item) if self.transform is not None else item
