"""Where annotation, lung and prediction of a scan disagree.

Source: Maganaris et al., Evaluating transferability for COVID 3D localization using CT SARS-CoV-2 segmentation models,
section 4: the ground truth marks infection outside the lung (figure 6), the model predicts a lesion that is not
annotated (figure 7), or it rejects an annotated one ("areas that have been falsely marked", section 1). A finding is a
question to the reader, not yet an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import isotropic_dilation

from ..report.burden import voxel_volume

KINDS = ("truth outside lung", "not annotated", "truth rejected")
ROUNDING = 1e-3  # mm; an oblique affine gives pixels of 0.9999999 mm, which must not change the result


@dataclass(frozen=True, eq=False)
class Finding:
    """A region in one slice; values in mm and ml are None if the spacing is unknown.

    Args:
        kind: one of ``KINDS``.
        region: its number within the case, from 1, the largest.
        region_ml: volume of the whole region, including slices that are not listed.
        slice: from 1, the most inferior.
        area_mm2, area_pixels: in this slice.
        mean_hu, probability: means of the scan and of the model's probability (0..1; None without) in this slice.
        x_mm, y_mm, z_mm: centroid in this slice, RAS.
        column, row: the same in pixels of the slice in LPS order, from 0.
        corner, pixels: first column and row of the bounding box; the region in that box, bool (columns, rows).
    """

    kind: str
    region: int
    region_ml: float | None
    slice: int
    area_mm2: float | None
    area_pixels: int
    mean_hu: float
    probability: float | None
    x_mm: float | None
    y_mm: float | None
    z_mm: float | None
    column: float
    row: float
    corner: tuple[int, int]
    pixels: np.ndarray

    @property
    def size(self) -> float:
        """Area in mm2; a pixel counts 1 mm2 if the spacing is unknown."""
        return self.area_pixels if self.area_mm2 is None else self.area_mm2


def findings(
    truth: np.ndarray | None,
    prediction: np.ndarray,
    lung: np.ndarray,
    hu: np.ndarray,
    probability: np.ndarray | None,
    affine: np.ndarray,
    spacing_known: bool = True,
    margin: float = 3.0,
    smallest: float = 20.0,
    reject_below: float = 0.1,
) -> list[Finding]:
    """Ground truth outside the lung, predicted lesions that are not annotated, and annotated ones that are rejected.

    Rejected is ground truth in the lung whose probability is below ``reject_below``: the network is sure that it is no
    lesion. What it is unsure of is not listed.

    Contours are drawn by hand. A region therefore counts only if a core of it lies further than ``margin`` from the
    lung, from the ground truth, or from what is not rejected. The margin decides what is listed, not how large it is: a
    region is its core and all of the disagreement within ``margin`` of the core. Its size is therefore not reduced by
    the margin, and the thin rim around the rest of the same lung or lesion is left out. Regions are connected over 26
    neighbours.

    Args:
        truth: annotated lesions, bool (X, Y, Z) in LPS order; None if nothing is annotated.
        prediction: predicted lesions, bool, same shape.
        lung: bool, same shape.
        hu: the scan, same shape.
        probability: of lesion, 0..1, same shape; or None, and then nothing counts as rejected.
        affine: (4, 4), voxels to RAS in mm.
        spacing_known: False lets a pixel count 1 mm.
        margin: in mm, in the axial plane.
        smallest: in mm2; slices in which a region is smaller are not listed.
        reject_below: probability of lesion below which the network rejects one, 0..1; 0 lists no rejected ones.

    Returns:
        One finding for each region and slice: the largest region first, each from inferior to superior.

    Raises:
        ValueError: for shapes that differ, a negative margin, a smallest area that is not positive, or a probability
            that is not in 0..1.

    Example:
        >>> lung = np.zeros((40, 40, 3), bool)
        >>> lung[5:35, 5:35] = True
        >>> missed = np.zeros_like(lung)
        >>> missed[10:20, 10:20, 1] = True  # 100 pixels of 1 mm2
        >>> found = findings(None, missed, lung, np.full(lung.shape, -700.0), None, np.diag([-1.0, -1.0, 5.0, 1.0]))
        >>> [(each.kind, each.slice, each.area_mm2) for each in found]
        [('not annotated', 2, 100.0)]
    """
    given = {"truth": truth, "prediction": prediction, "lung": lung, "scan": hu, "probability": probability}
    shapes = {name: array.shape for name, array in given.items() if array is not None}
    if hu.ndim != 3 or len(set(shapes.values())) > 1:
        raise ValueError(
            f"All arrays of an audit must have the scan's shape (X, Y, Z), got {shapes}. Put them on its grid."
        )
    if margin < 0 or smallest <= 0:
        raise ValueError(f"The margin must be at least 0 mm, the smallest area above 0, got {margin} and {smallest}.")
    if not 0 <= reject_below <= 1:
        raise ValueError(f"The probability below which a lesion is rejected must be 0..1, got {reject_below}.")
    pixel = nibabel.affines.voxel_sizes(affine)[:2] if spacing_known else np.ones(2)
    annotated = np.zeros_like(prediction) if truth is None else truth
    found: list[tuple[tuple[int, int, int], Finding]] = []  # with a key of the region that sorts the largest first
    pairs = [(annotated, lung), (prediction, annotated)]
    pairs += [] if probability is None else [(annotated & lung, probability >= reject_below)]
    for order, (marked, allowed) in enumerate(pairs):
        difference = marked & ~allowed
        if not difference.any():
            continue
        box = _box(difference, pixel, margin)
        labels = _labels(difference[box], allowed[box], pixel, margin, smallest)
        voxels, depth = np.bincount(labels.ravel()), labels.shape[2]
        for part in regionprops(np.where(labels > 0, labels * depth + np.arange(depth), 0)):  # region by slice
            label = part.label // depth
            if part.num_pixels * pixel.prod() >= smallest - ROUNDING:
                where = tuple(slice(b.start + s.start, b.start + s.stop) for b, s in zip(box, part.slice, strict=True))
                finding = _finding(KINDS[order], int(voxels[label]), where, part.image, hu, probability, affine)
                found.append(((-int(voxels[label]), order, label), finding))
    found.sort(key=lambda pair: (pair[0], pair[1].slice))
    number = {key: position for position, key in enumerate(dict.fromkeys(key for key, _ in found), start=1)}
    unknown: dict[str, Any] = {} if spacing_known else dict.fromkeys(("region_ml", "area_mm2", "x_mm", "y_mm", "z_mm"))
    return [replace(finding, **{"region": number[key], **unknown}) for key, finding in found]


def _box(mask: np.ndarray, pixel: np.ndarray, margin: float) -> tuple[slice, slice, slice]:
    """Smallest box around a mask (X, Y, Z) that is not empty, wider by the margin in the axial plane."""
    x, y, z = ndimage.find_objects(mask.view(np.uint8))[0]
    reach = [int(margin / size) + 2 for size in pixel]
    return slice(max(0, x.start - reach[0]), x.stop + reach[0]), slice(max(0, y.start - reach[1]), y.stop + reach[1]), z


def _labels(
    difference: np.ndarray, allowed: np.ndarray, pixel: np.ndarray, margin: float, smallest: float
) -> np.ndarray:
    """Regions of a difference (X, Y, Z) that have a core and are large enough to be listed, numbered from 1."""
    core, near = difference.copy(), difference.copy()
    for index in np.flatnonzero(difference.any(axis=(0, 1))):
        if not allowed[:, :, index].any():
            continue  # the distance to an empty mask is not defined: the whole slice counts as far from it
        core[:, :, index] &= ~isotropic_dilation(allowed[:, :, index], margin + ROUNDING, spacing=pixel)
        if core[:, :, index].any():
            near[:, :, index] &= isotropic_dilation(core[:, :, index], margin + ROUNDING, spacing=pixel)
        else:
            near[:, :, index] = False
    labels, count = ndimage.label(near, np.ones((3, 3, 3)))
    kept = np.bincount(labels[core], minlength=count + 1) > 0
    kept &= np.bincount(labels.ravel(), minlength=count + 1) * pixel.prod() >= smallest - ROUNDING
    return np.where(kept, np.cumsum(kept), 0)[labels]


def _finding(
    kind: str,
    voxels: int,
    where: tuple[slice, ...],
    pixels: np.ndarray,
    hu: np.ndarray,
    probability: np.ndarray | None,
    affine: np.ndarray,
) -> Finding:
    """Measure the part of a region that lies in one slice.

    Args:
        kind: one of ``KINDS``.
        voxels: of the whole region.
        where: bounding box in the scan, one slice deep.
        pixels: the region in that box, bool (X, Y, 1).
        hu: the scan.
        probability: of lesion, or None.
        affine: of the scan.
    """
    size, (x_size, y_size, _) = int(pixels.sum()), nibabel.affines.voxel_sizes(affine)
    corner = [part.start for part in where]
    centroid = np.argwhere(pixels).mean(axis=0) + corner
    x, y, z = (round(float(each), 1) for each in nibabel.affines.apply_affine(affine, centroid))
    return Finding(
        kind=kind,
        region=0,  # set when all regions are found
        region_ml=round(voxels * voxel_volume(affine), 3),
        slice=corner[2] + 1,
        area_mm2=round(size * float(x_size * y_size), 1),
        area_pixels=size,
        mean_hu=round(float(hu[where][pixels].mean()), 1),
        probability=None if probability is None else round(float(probability[where][pixels].mean()), 3),
        x_mm=x,
        y_mm=y,
        z_mm=z,
        column=round(float(centroid[0]), 1),
        row=round(float(centroid[1]), 1),
        corner=(corner[0], corner[1]),
        pixels=pixels[:, :, 0].copy(),  # a view would keep the labels of the whole scan in memory
    )
