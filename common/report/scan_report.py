"""What the outputs of a CT scan share: the scan in LPS order, its spacing, and where its lung comes from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from nibabel import orientations
from nibabel.affines import voxel_sizes

from ..lung_network.methods import FROM, THRESHOLD, find_lung
from .burden import voxel_volume
from .case_report import CaseReport


@dataclass(frozen=True)
class Scan:
    """A CT scan in LPS order.

    Args:
        hu: values (X, Y, Z).
        affine: voxel index to mm, RAS, (4, 4).
        spacing_known: False for images that do not record their pixel size.
    """

    hu: np.ndarray
    affine: np.ndarray
    spacing_known: bool

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Size of a voxel in mm; None if it is unknown."""
        x, y, z = map(float, voxel_sizes(self.affine))
        return (x, y, z) if self.spacing_known else None

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in ml; None if it is unknown."""
        return voxel_volume(self.affine) if self.spacing_known else None


class ScanReport(CaseReport):
    """Base of the transforms that report on a CT scan.

    Args:
        keys: integer masks (1, X, Y, Z) in any axis order, with their affine.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``.
        classes: names of the classes; all but lung and background are lesions.
        scan_key: HU, (1, X, Y, Z) in LPS order.
        lungs: how the lung of a label map without one is found: ``network`` or ``threshold``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        scan_key: str = "scan",
        lungs: str = THRESHOLD,
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes)
        self.scan_key, self.lungs = scan_key, lungs
        self.lesions = {style.name: style.value for style in self.styles if style.is_lesion}
        self.lung_value = next((style.value for style in self.styles if style.name == "lung"), None)

    def scan(self, item: Mapping[Hashable, Any]) -> Scan:
        """The scan of a case."""
        scan = item[self.scan_key]
        hu = scan[0].as_tensor().cpu().numpy()
        return Scan(hu, np.asarray(scan.affine), bool(scan.meta.get("spacing_known", True)))

    def lung(self, item: Mapping[Hashable, Any], mask: np.ndarray, scan: Scan) -> tuple[np.ndarray, str]:
        """The lung of a case, and where it comes from.

        Lung is every voxel that the label map calls lung or lesion. Some networks have no lung class: if the label map
        holds no lung, it is found in the scan, as ``lungs`` says. A lung mask of the case is taken in place of both.

        Args:
            item: the case; its ``lung_from`` says where the lung in the label map comes from, by default the network;
                if ``given``, its mask ``lung`` may be in LPS order, too.
            mask: label map (X, Y, Z) in LPS order.
            scan: from ``scan``.

        Returns:
            bool (X, Y, Z), and one of ``network``, ``given``, ``lung network`` and ``threshold``.
        """
        found = mask > 0
        given = item.get("lung") if item.get("lung_from") == "given" else None
        if isinstance(given, MetaTensor) and np.array_equal(given.affine, scan.affine):
            return (found & (mask != self.lung_value)) | (given[0].cpu().numpy() > 0), "given"
        if self.lung_value is not None and (mask == self.lung_value).any():
            return found, str(item.get("lung_from", "network"))
        lung = find_lung(scan.hu, scan.spacing, self.lungs, name=str(item.get("case", "the scan")))
        return found | lung, FROM[self.lungs]


def to_lps(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A volume (X, Y, Z) turned to LPS order, without a copy, and its RAS affine (4, 4) in that order."""
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    return orientations.apply_orientation(array, turn), affine @ orientations.inv_ornt_aff(turn, array.shape)


def lps_array(values: MetaTensor) -> np.ndarray:
    """Values (X, Y, Z) of a tensor (1, X, Y, Z), turned to LPS order."""
    return to_lps(values.as_tensor()[0].cpu().numpy(), np.asarray(values.affine))[0]
