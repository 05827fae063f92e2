"""What a case leaves in three dimensions."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from nibabel import orientations
from nibabel.affines import voxel_sizes

from ..lung_mask import lung_mask
from ..report.burden import lesion_burden
from ..report.styles import ClassStyle, class_styles
from .point_tables import point_table, require_vtk, save_volume
from .rendering import render
from .scene import Panel, Part
from .surfaces import LESION_STEP, TRUTH, lesion_parts, surface

logger = logging.getLogger(__name__)

LUNG_POINTS = 1_000_000


def to_lps(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A volume (X, Y, Z) turned to LPS order, without a copy, and the RAS affine (4, 4) that it has then."""
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    return orientations.apply_orientation(array, turn), affine @ orientations.inv_ornt_aff(turn, array.shape)


def measured(lesion: np.ndarray, lung: np.ndarray, affine: np.ndarray) -> dict[str, float | None]:
    """``lung_ml``, ``lesion_ml`` and ``share_of_lung`` of masks, bool (X, Y, Z).

    A lung that is lesion throughout is one that nobody segmented: then its volume and the share are None.
    """
    burden = lesion_burden(lesion, lung, {"lesion": 1}, float(abs(np.linalg.det(affine[:3, :3]))) / 1000)
    found = {name: float(burden[name] or 0) for name in ("lung_ml", "lesion_ml", "share_of_lung")}
    if found["lung_ml"] == found["lesion_ml"]:
        return {"lung_ml": None, "lesion_ml": found["lesion_ml"], "share_of_lung": None}
    return dict(found)


def volumes_line(found: Mapping[str, float | None]) -> str:
    """What ``measured`` found, as a panel's note."""
    lung, share = found["lung_ml"], found["share_of_lung"]
    lesion = f"lesions {found['lesion_ml']:.0f} ml"
    return lesion if lung is None or share is None else f"lung {lung:.0f} ml, {lesion}, {100 * share:.1f} % of the lung"


def export(
    stem: Path,
    labels: np.ndarray,
    affine: np.ndarray,
    styles: Sequence[ClassStyle],
    hu: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    lung: np.ndarray | None = None,
    lung_points: int | None = LUNG_POINTS,
    note: str = "",
) -> str:
    """Write a case: ``<stem>_lung.csv``, ``_prediction.csv``, ``_truth.csv``, ``.vti``, and last ``_view.png``.

    Args:
        stem: folder and case.
        labels: uint8 (X, Y, Z); above 0 is lung, and lesion where it is not of the class ``lung``.
        affine: voxel index to mm, RAS, (4, 4).
        styles: what the values of ``labels`` mean.
        hu: integers (X, Y, Z), values of the lung's points; 1 where missing.
        truth: bool (X, Y, Z), true lesions, where they are known.
        lung: bool (X, Y, Z), lung that ``labels`` does not tell.
        lung_points: the most points of the lung to write.
        note: second line of the picture.

    Returns:
        A line on what was written.

    Raises:
        ValueError: for shapes that differ, without vtk, or where VTK cannot draw; the other files are written then.
    """
    require_vtk()
    given = {"mask": labels, "scan": hu, "truth": truth, "lung": lung}
    shapes = {name: each.shape for name, each in given.items() if each is not None}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{stem.name}: mask, scan and truth have one shape, got {shapes}. Put them on one grid.")
    lung = labels > 0 if lung is None else lung | (labels > 0)
    lung_value = next((style.value for style in styles if style.name == "lung"), 0)
    lesions = {"prediction": (labels > 0) & (labels != lung_value)} | ({} if truth is None else {"truth": truth})
    counts = {"lung": point_table(f"{stem}_lung.csv", lung, affine, hu, lung_points)}
    for name, lesion in lesions.items():
        counts[name] = point_table(f"{stem}_{name}.csv", lesion, affine)
    volumes = {"hu": hu, "lung": lung, "prediction": labels * lesions["prediction"], "truth": truth}
    save_volume(f"{stem}.vti", {name: each for name, each in volumes.items() if each is not None}, affine)
    del volumes
    parts = lesion_parts(lung, labels, affine, styles)
    shell, solid = [part for part in parts if part.name == "lung"], [part for part in parts if part.name != "lung"]
    panels = []
    for name, lesion in lesions.items():
        if name == "truth":
            solid = [Part(name, *surface(lesion, affine, LESION_STEP), TRUTH)]
        panels.append(Panel(name, [*shell, *solid], volumes_line(measured(lesion, lung, affine))))
    render(f"{stem}_view.png", panels, stem.name, note)
    return ", ".join(f"{count} points of {name}" for name, count in counts.items())


class View3Dd(MapTransform):
    """Three-dimensional view of a case: what ``export`` writes, as ``<case>_lung.csv`` and so on.

    Left out, with a line in the log, are single slices, and scans and pictures that do not tell their spacing. A
    network that calls nothing lung leaves it to a threshold (``common.lung_mask.lung_mask``), as in the overlay.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata, classes: see ``common.report.styles.class_styles``.
        scan_key: HU, (1, X, Y, Z) in LPS order.
        truth_key: true lesions above 0, (1, X, Y, Z) in LPS order; may be absent.
        lung_points: the most points of the lung to write.

    Raises:
        ValueError: without the package vtk.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        scan_key: str = "scan",
        truth_key: str = "label",
        lung_points: int | None = LUNG_POINTS,
    ) -> None:
        super().__init__(keys)
        require_vtk()
        self.output_dir, self.scan_key, self.truth_key = Path(output_dir), scan_key, truth_key
        self.styles, self.lung_points = class_styles(metadata, classes), lung_points
        self.lung_value = next((style.value for style in self.styles if style.name == "lung"), -1)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files, log one line."""
        item = dict(data)
        scan = item[self.scan_key]
        if not scan.meta.get("spacing_known", True) or scan.shape[-1] < 2:
            why = "a single slice" if scan.shape[-1] < 2 else "its spacing is unknown"
            logger.info("%s: no 3-D view: %s.", item["case"], why)
            return item
        hu = scan[0].as_tensor().cpu().numpy()
        hu = hu if hu.dtype.kind in "iu" else hu.round().astype(np.int16)
        truth = item.get(self.truth_key)  # MONAI's evaluator adds a label of None
        truth = None if truth is None else truth[0].as_tensor().cpu().numpy() > 0
        for key in self.keys:
            mask = item[key][0].as_tensor().round().byte().cpu().numpy()
            mask, affine = to_lps(mask, np.asarray(item[key].affine))
            lung, note = None, ""
            if not (mask == self.lung_value).any():
                lung, note = lung_mask(hu, tuple(voxel_sizes(affine).tolist())), "lung found by threshold"
            stem = self.output_dir / str(item["case"])
            line = export(stem, mask, affine, self.styles, hu, truth, lung, self.lung_points, note)
            logger.info("%s: 3-D view: %s.", item["case"], line)
        return item
