"""Scans with a known lung or known lesions: synthetic patients, or a folder with masks beside it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import Compose, Orientationd

from ..datasets.ct.folder import inference_cases
from ..phantoms.ct.chest_ct import chest_ct
from ..phantoms.folders import SEED_BLOCK
from ..run.command import Parser
from ..transforms.ct import LoadScand
from ..transforms.grids import voxel_size
from ..transforms.masks import check_lesion_values
from .phantoms import various_slices

PHANTOMS = ("phantom", "phantom_various")
FIRST_UNSEEN = 901 * SEED_BLOCK  # of various patients that are not trained on
KEYS = ("image", "lung", "label")


@dataclass(frozen=True)
class Case:
    """A scan in LPS order, with what is known of it.

    Args:
        name: of the case.
        image: HU or grey levels (X, Y, Z).
        spacing: mm; None if it is unknown.
        intensity: ``HU`` or ``8bit``.
        lung: bool (X, Y, Z), the true lung with its lesions; None if it is unknown.
        lesions: uint8 (X, Y, Z), 1 ground-glass, 2 consolidation; None if they are unknown.
    """

    name: str
    image: np.ndarray
    spacing: tuple[float, float, float] | None
    intensity: str = "HU"
    lung: np.ndarray | None = None
    lesions: np.ndarray | None = None


def add_options(parser: Parser) -> None:
    """Add the options that choose cases."""
    add = parser.add_argument
    add("--lung_masks", default="", help="folder of lung masks with the same file names, or a path with {case}")
    add("--lesion_masks", default="", help="likewise of lesion masks: 1 ground-glass, 2 consolidation")
    add("--include", default="*", help="scans to take (default: all)")
    add("--exclude", default="", help="scans to leave out, such as '*mask*'")
    add("--picture_axes", default="PL", help="orientation of images (default: %(default)s, upright; MedSeg's: LP)")


def cases(dataset_dir: str, own: Namespace, patients: int = 0, slices: int = 24) -> Iterator[Case]:
    """Yield the cases of a folder, or synthetic patients.

    Args:
        dataset_dir: a folder or one file; ``phantom``, patients of ``chest_ct`` from seed 0, or ``phantom_various``,
            patients as those to train on, with other seeds.
        own: of ``add_options``.
        patients: number of synthetic patients.
        slices: slices of each.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be used.
    """
    if dataset_dir in PHANTOMS:
        for number in range(patients):
            various = dataset_dir != PHANTOMS[0]
            ct = various_slices(FIRST_UNSEEN + number, slices) if various else chest_ct(number, slices=slices)
            yield Case(f"{dataset_dir} {number}", ct.image, ct.spacing, "HU", ct.lung > 0, ct.lesion)
        return
    partners = {"lung": own.lung_masks, "label": own.lesion_masks}
    read = Compose([LoadScand(KEYS), Orientationd(KEYS, axcodes="LPS", labels=None, allow_missing_keys=True)])
    axes = own.picture_axes
    for found in inference_cases(dataset_dir, own.include, own.exclude, picture_axes=axes, partners=partners):
        if "error" in found:
            raise ValueError(found["error"])
        item = read(found)
        image = item["image"]
        if "label" in item:
            check_lesion_values(item["label"])
        arrays = {key: item[key].as_tensor()[0].numpy() for key in KEYS if key in item}
        yield Case(
            str(found["case"]),
            arrays["image"],
            voxel_size(image, found["intensity"]),
            found["intensity"],
            arrays["lung"] > 0 if "lung" in arrays else None,
            arrays["label"].astype(np.uint8) if "label" in arrays else None,
        )


def slices_of(case: Case) -> list[dict[str, torch.Tensor]]:
    """Return the slices of a scan in HU with a lung mask to train on; see ``common.lungs.phantoms.phantom_slices``.

    Raises:
        ValueError: for a scan without lung mask, or in grey levels.
    """
    if case.lung is None or case.intensity != "HU":
        raise ValueError(f"{case.name}: to train on, a scan needs HU and a lung mask. Leave it out with --exclude.")
    mask = case.lung.astype(np.uint8)
    if case.lesions is not None:
        mask = np.where(case.lesions > 0, 1 + np.minimum(case.lesions, 2), mask).astype(np.uint8)
    arrays = {"image": case.image, "mask": mask}
    return [
        {name: torch.from_numpy(values[None, ..., index].copy()) for name, values in arrays.items()}
        for index in range(mask.shape[-1])
    ]
