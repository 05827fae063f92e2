"""Two-dimensional training samples from volumes and clips, each file decoded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.data import Dataset

from ..run.progress import progress
from .guards import Failed, refuse_failed, try_each

logger = logging.getLogger(__name__)

Case = Mapping[str, Any]
FILES_AT_ONCE = 4  # a CT of 512 x 512 x 300 needs 2 GiB while it is read


def named(case: Case) -> dict[str, str]:
    """The names that an item keeps of its case; an item without patient has an empty one, which batches can hold."""
    return {"case": str(case.get("case", case["image"])), "patient": str(case.get("patient") or "")}


class PlaneDataset(Dataset):
    """Slices or frames, kept in memory after one pass of the deterministic transform.

    Several threads read files in parallel: as many as torch uses, at most four. Planes keep the order of the cases.

    Args:
        data: cases; those that share an image file are decoded together.
        transform: deterministic, applied to one file; several threads call it.
        augmentation: random transform of one plane, tensors (1, ...).
        cast: from the types in which planes are held in memory to those that augmentation and network take.
        keys: tensors to keep, the image first.
        may_be_empty: whether no cases are fine, such as for validation with ``--folds 0``.
        when_empty: cases to take where ``data`` has none; MONAI Label validates with none before it has three labels.

    Raises:
        ValueError: for no cases, or naming every case that could not be read, not just the first.
    """

    def __init__(
        self,
        data: Sequence[Case],
        transform: Callable[[Case], Mapping[Hashable, Any]],
        augmentation: Callable[[Case], Case] | None = None,
        keys: Sequence[str] = ("image", "label"),
        when_empty: Sequence[Case] = (),
        may_be_empty: bool = False,
        cast: Callable[[Case], Case] | None = None,
    ) -> None:
        if not data and when_empty:
            logger.warning(
                "No cases to validate with: the %d of training are taken, whose scores flatter.", len(when_empty)
            )
            data = when_empty
        if not data and not may_be_empty:
            raise ValueError(
                "No cases: the set to read (test in most evaluations, else training or validation) is empty. Name its "
                "cases in the column set of --datalist, or change the split."
            )
        super().__init__(data, augmentation)
        self.read, self.keys, self.cast = transform, tuple(keys), cast
        files: dict[str, list[Case]] = {}
        for case in data:
            files.setdefault(str(case["image"]), []).append(case)
        self.planes: list[dict[str, Any]] = []
        failures: list[Failed] = []
        threads = max(1, min(torch.get_num_threads(), len(files), FILES_AT_ONCE))
        results = try_each(lambda cases: list(self.planes_of(cases)), files.values(), lambda cases: cases[0], threads)
        for planes in progress(results, desc="Reading", total=len(files), unit="file"):
            if isinstance(planes, Failed):
                failures.append(planes)
            else:
                self.planes += planes
        refuse_failed(failures, len(files))

    def planes_of(self, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
        """Yield the items of the cases of one file; several threads call it."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.planes)

    def _transform(self, index: int) -> Any:
        item: Case = dict(self.planes[index])
        for step in (self.cast, self.transform):
            item = item if step is None else step(item)
        return item
