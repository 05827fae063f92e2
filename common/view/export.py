"""Outputs of a case in three dimensions: point tables, a file for ParaView, a figure."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection

from ..lung_network.methods import FROM
from ..report.burden import lesion_burden, voxel_volume
from ..report.case_report import label_map
from ..report.scan_report import ScanReport, to_lps
from ..report.styles import ClassStyle
from .point_tables import point_table, require_vtk, save_volume
from .rendering import render
from .scene import Panel, Part
from .surfaces import LESION_STEP, TRUTH, lesion_parts, surface

logger = logging.getLogger(__name__)

LUNG_POINTS = 1_000_000


def measured(lesion: np.ndarray, lung: np.ndarray, affine: np.ndarray) -> dict[str, float | None]:
    """``lung_ml``, ``lesion_ml`` and ``share_of_lung`` of masks, bool (X, Y, Z).

    If all of the lung is lesion, the lung was not segmented: then its volume and the share are None.
    """
    burden = lesion_burden(lesion, lung, {"lesion": 1}, voxel_volume(affine))
    found = {name: float(burden[name] or 0) for name in ("lung_ml", "lesion_ml", "share_of_lung")}
    if found["lung_ml"] == found["lesion_ml"]:
        return {"lung_ml": None, "lesion_ml": found["lesion_ml"], "share_of_lung": None}
    return dict(found)


def volumes_line(found: Mapping[str, float | None]) -> str:
    """Result of ``measured`` in one line."""
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
        labels: uint8 (X, Y, Z); values above 0 are lung, and those that are not of the class ``lung`` are lesion.
        affine: voxel index to mm, RAS, (4, 4).
        styles: the classes of ``labels``.
        hu: integers (X, Y, Z), written as values of the lung's points; without it the values are 1.
        truth: bool (X, Y, Z), true lesions, if they are known.
        lung: bool (X, Y, Z), lung that ``labels`` does not hold.
        lung_points: maximum number of points of the lung to write; None for all.
        note: second line of the figure.

    Returns:
        One line on what was written.

    Raises:
        ValueError: for shapes that differ, without vtk, or if VTK cannot draw; the other files are written then.

    Example:
        >>> from common.view.study import read_study
        >>> study = read_study("case_mask.nii.gz", "bundles/ct_drsegunet/configs/metadata.json", lung_value=3)
        >>> export(Path("view/case"), study.mask, study.affine, study.styles)
        '412345 points of lung, 20345 points of prediction'
    """
    require_vtk()
    given = {"mask": labels, "scan": hu, "truth": truth, "lung": lung}
    shapes = {name: each.shape for name, each in given.items() if each is not None}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{stem.name}: mask, scan and truth must have one shape, got {shapes}. Put them on one grid.")
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
        title = name
        if name == "truth":
            title = "ground truth"
            solid = [Part(title, *surface(lesion, affine, LESION_STEP), TRUTH)]
        panels.append(Panel(title, [*shell, *solid], volumes_line(measured(lesion, lung, affine))))
    render(f"{stem}_view.png", panels, stem.name, note)
    return ", ".join(f"{count} points of {name}" for name, count in counts.items())


class View3Dd(ScanReport):
    """Three-dimensional view of a case: the files of ``export``, named ``<case>_lung.csv`` and so on.

    Single slices, and scans that do not record their spacing, are left out with a line in the log. ``ScanReport.lung``
    decides where the lung comes from, as in the overlay.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``.
        classes: names of the classes; all but lung and background are lesions.
        scan_key: HU, (1, X, Y, Z) in LPS order.
        truth_key: true lesions above 0, (1, X, Y, Z) in LPS order; may be absent.
        lung_points: maximum number of points of the lung to write; None for all.

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
        super().__init__(keys, output_dir, metadata, classes, scan_key)
        require_vtk()
        self.truth_key, self.lung_points = truth_key, lung_points

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files, log one line."""
        item = dict(data)
        scan = self.scan(item)
        if not scan.spacing_known or scan.hu.shape[-1] < 2:
            why = "a single slice" if scan.hu.shape[-1] < 2 else "its spacing is unknown"
            logger.info("%s: no 3-D view: %s.", item["case"], why)
            return item
        hu = scan.hu if scan.hu.dtype.kind in "iu" else scan.hu.round().astype(np.int16)
        truth = item.get(self.truth_key)  # MONAI's evaluator adds a label of None
        truth = None if truth is None else truth[0].as_tensor().cpu().numpy() > 0
        for key in self.keys:
            mask, affine = to_lps(label_map(item[key]), np.asarray(item[key].affine))
            lung, lung_from = self.lung(item, mask, scan)
            note = f"lung found by {lung_from}" if lung_from in FROM.values() else ""
            endings = ["_lung.csv", "_prediction.csv", *([] if truth is None else ["_truth.csv"]), ".vti", "_view.png"]
            paths = [self.path(item, ending) for ending in endings]
            stem = paths[0].with_name(paths[0].name.removesuffix(endings[0]))
            line = export(stem, mask, affine, self.styles, hu, truth, lung, self.lung_points, note)
            logger.info("%s: 3-D view: %s.", item["case"], line)
        return item
