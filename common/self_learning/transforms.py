"""Pseudo-labels of ground-glass without any annotation (Balantrapu, *DRSegUNet*, 2021, section 4.4.1).

Two slices of each volume, ``MiddleSlicesd``; then six steps, slice by slice: lungs by threshold (1 to 3,
``LungByThresholdd``), clusters of grey levels within them (1, 4, 5, ``ClustersInLungd``), morphology (6,
``OpenAndCloseLesiond``). The text works in MATLAB and leaves much open; each class says what was decided.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SpatialCrop
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import closing, opening

from ..transforms.ct import AIR
from ..transforms.masks import mask_like
from .structuring_elements import disk, line

PLAIN_AIR = -940.0  # HU; also under a scanner 40 HU out of calibration; a lung at the border has had a median of -929
LEAST_LUNG = 0.01  # of a slice; the middle of a chest has ten times that
STARTS = 50  # of k-means; ten miss the best clusters in two slices of 80, fifty in none


class MiddleSlicesd(MapTransform):
    """Take axial slices near the middle one, by default p-3 and p-2, where p is the middle one.

    Slices count from 0, from inferior to superior in LPS order, and p is half their number, rounded down. The text
    does not say which way it counts, nor which is the middle of an even number.

    Args:
        keys: (1, X, Y, Z); their affine goes along. The item gets ``slices``: numbers of those taken, which count from
            1 at the first, as in pictures.
        first: of the slices, counted from p.
        count: of the slices, which are neighbours.
        allow_missing_keys: an item may be without.

    Raises:
        ValueError: naming the case, for a volume with too few slices.
    """

    def __init__(self, keys: KeysCollection, first: int = -3, count: int = 2, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.first, self.count = first, count

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            depth = item[key].shape[-1]
            start = depth // 2 + self.first
            end = start + self.count
            if start < 0 or end > depth:
                raise ValueError(
                    f"{item.get('case', key)}: slices p{self.first:+d} to p{self.first + self.count - 1:+d} are taken, "
                    f"with p the middle one, got a volume of {depth}. Give a whole chest CT, or leave it out with "
                    "--exclude."
                )
            item[key] = SpatialCrop(roi_slices=[slice(None), slice(None), slice(start, end)])(item[key])
            item["slices"] = list(range(start + 1, end + 1))
        return item


class LungByThresholdd(MapTransform):
    """Steps 1 to 3: the two largest regions below -170 HU in each slice, with their holes filled, as a mask of 0 and 1.

    * The text thresholds, and keeps the two largest objects, but the largest is the air around the body; it does not
      say how that is excluded. Here regions that touch the border of the slice with a median below -940 HU are left
      out. Those that are denser stay: lungs of a slice that is cropped within the body.
    * Regions are 8-connected, and of equally large ones the first along X counts, as in ``bwareafilt``. Where the lungs
      touch each other they are one region, and the next largest is kept with them.
    * Holes are what 4-connected steps do not lead out of, as in ``imfill``: vessels, and consolidation above -170 HU
      that lung encloses. Consolidation that reaches the pleura is lost.

    Args:
        keys: images in HU, (1, X, Y, Z), not normalised; clipping to -1000..400 makes no difference.
        lung_key: receives the mask, uint8 of the image's shape.
        threshold: HU.
        count: of the regions.

    Raises:
        ValueError: naming the case, for an image that does not hold HU; and the slice, where no lung is found.
    """

    def __init__(self, keys: KeysCollection, lung_key: str = "lung", threshold: float = -170.0, count: int = 2) -> None:
        super().__init__(keys)
        self.lung_key, self.threshold, self.count = lung_key, threshold, count

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Find the lungs of one key's image."""
        item = dict(data)
        for key in self.keys:
            name = item.get("case", key)
            check_hu(item[key], item.get("intensity", "HU"), str(name))
            planes = item[key][0].numpy()  # (X, Y, Z)
            lung = np.stack([self.lung(planes[..., index]) for index in range(planes.shape[-1])], axis=-1)
            for index, share in enumerate(lung.mean(axis=(0, 1))):
                if share < LEAST_LUNG:
                    number = item.get("slices", range(1, planes.shape[-1] + 1))[index]
                    raise ValueError(
                        f"{name}: a lung is needed in each slice, got {share:.1%} of slice {number} below "
                        f"{self.threshold:g} HU, air around the body aside. Is it a whole chest CT in HU, lying "
                        "as its header says? Else leave it out with --exclude."
                    )
            item[self.lung_key] = mask_like(torch.from_numpy(lung)[None], item[key])
        return item

    def lung(self, plane: np.ndarray) -> np.ndarray:
        """Lungs of one slice, HU (X, Y) to bool (X, Y)."""
        labels = label(plane < self.threshold, connectivity=2)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        for region in border[border > 0]:
            if np.median(plane[labels == region]) < PLAIN_AIR:
                areas[region] = 0
        largest = np.argsort(-areas, kind="stable")[: self.count]  # stable: of equal ones the first
        return ndimage.binary_fill_holes(np.isin(labels, largest[areas[largest] > 0]))


class ClustersInLungd(MapTransform):
    """Steps 4 and 5: blank what lies outside the lung, and part each slice into three clusters by k-means.

    K-means runs over all pixels of a slice, for the text has a cluster for the background. That is the cluster of what
    is masked out; the others are lung and ground-glass in the order of their means, so that a class is the same in
    every slice and for every seed.

    The text masks "the original image". Read as the one that is not yet normalised, what lies outside the lung is 0,
    which is water in HU, and the background takes vessels and consolidation along. Were the normalised image masked, 0
    would be air (``outside=-1000``): the background would take the darkest lung along, vessels would be ground-glass,
    and in severe disease all healthy lung is background. On ten synthetic patients that lowers the Dice score of
    ground-glass, after step 6 and over all pixels, from 0.76 to 0.64.

    Args:
        keys: images in HU, (1, X, Y, Z).
        lung_key: mask of the same shape, positive in the lungs.
        clusters_key: receives the clusters, uint8 of the image's shape: 0 background, 1 lung, 2 ground-glass. The item
            gets ``centres``: their means in HU, shape (Z, count).
        window: HU of air and bone, to which the image is clipped.
        outside: HU of what lies outside the lung.
        count: of clusters.
        seed: of k-means, which starts fifty times; the best is taken.

    Raises:
        ValueError: naming the case, for a slice with fewer grey levels than clusters.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lung_key: str = "lung",
        clusters_key: str = "clusters",
        window: Sequence[float] = (-1000.0, 400.0),
        outside: float = 0.0,
        count: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(keys)
        self.lung_key, self.clusters_key, self.outside = lung_key, clusters_key, float(outside)
        self.low, self.high = map(float, window)
        self.count, self.seed = count, seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cluster one key's image."""
        item = dict(data)
        for key in self.keys:
            out = item[self.lung_key] <= 0
            image = item[key].clamp(self.low, self.high).masked_fill(out, self.outside)[0].numpy()  # (X, Y, Z)
            try:
                parted = [self.clusters(image[..., index]) for index in range(image.shape[-1])]
            except ValueError as error:
                raise ValueError(f"{item.get('case', key)}: {error}") from error
            clusters = np.stack([classes for classes, _ in parted], axis=-1)
            item[self.clusters_key] = mask_like(torch.from_numpy(clusters)[None], item[key])
            item["centres"] = np.stack([centres for _, centres in parted])
        return item

    def clusters(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clusters of one masked slice, HU (X, Y) to uint8 (X, Y), and their means in HU, background first."""
        classes, centres = k_means(plane, self.count, self.seed)
        background = int(np.abs(centres - self.outside).argmin())
        order = np.array([background, *(index for index in range(self.count) if index != background)])
        return np.argsort(order).astype(np.uint8)[classes], centres[order]


class OpenAndCloseLesiond(MapTransform):
    """Step 6: tidy ground-glass by an opening with a line and a closing with a disk, within the lung.

    The text erodes, dilates, then closes, and does not say what: here the mask of the cluster ground-glass, which loses
    what is thinner than the line, such as vessels, and whose gaps are closed. What that adds outside the lung mask is
    dropped. All else in the lung mask is lung, so the classes exclude each other; with it vessels and consolidation
    that no closing reaches. Line and disk are MATLAB's (``self_learning.structuring_elements``), in pixels of slices of
    512 x 512; the line's angle is that on an upright slice, with the patient's left at the right. As in MATLAB, the
    border of the image neither grows nor shrinks a mask.

    Args:
        keys: clusters (1, X, Y, Z), in LPS order.
        lung_key: mask of the same shape, positive in the lungs.
        label_key: receives the label, uint8: 1 ground-glass, 0 elsewhere.
        cluster: number of ground-glass.
        line_length: pixels.
        line_degrees: counterclockwise from the horizontal.
        disk_radius: pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lung_key: str = "lung",
        label_key: str = "label",
        cluster: int = 2,
        line_length: float = 8,
        line_degrees: float = 50,
        disk_radius: int = 6,
    ) -> None:
        super().__init__(keys)
        self.lung_key, self.label_key, self.cluster = lung_key, label_key, cluster
        self.line, self.disk = line(line_length, line_degrees).T, disk(disk_radius)  # of arrays (X, Y)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make the label from one key's clusters."""
        item = dict(data)
        for key in self.keys:
            found = (item[key] == self.cluster)[0].numpy()  # (X, Y, Z)
            tidy = np.stack([self.tidied(found[..., index]) for index in range(found.shape[-1])], axis=-1)
            lesion = torch.from_numpy(tidy)[None] & (item[self.lung_key].as_tensor() > 0)
            item[self.label_key] = mask_like(lesion, item[key])
        return item

    def tidied(self, plane: np.ndarray) -> np.ndarray:
        """One slice, bool (X, Y), opened and closed."""
        return closing(opening(plane, self.line, mode="ignore"), self.disk, mode="ignore")


def check_hu(image: torch.Tensor, intensity: str, name: str) -> None:
    """Hold an image to HU, which thresholds are in.

    Args:
        image: any shape.
        intensity: as it is declared.
        name: the case, for the message.

    Raises:
        ValueError: for another declared intensity, or values that are not finite or have no air.
    """
    low, high = (float(bound) for bound in torch.aminmax(image))
    if intensity != "HU" or not (np.isfinite([low, high]).all() and low <= AIR[1]):
        raise ValueError(
            f"{name}: pseudo-labels need HU, with air below {AIR[1]:g}, got {low:g} to {high:g}, declared as "
            f"{intensity}. Export the scan in HU, or leave it out with --exclude."
        )


def k_means(values: np.ndarray, count: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Part grey levels into clusters, numbered by their mean.

    Args:
        values: any shape.
        count: of clusters.
        seed: of scikit-learn's ``KMeans``, which starts fifty times and runs until nothing changes; the best counts.

    Returns:
        uint8 of the values' shape, 0 for the cluster of the lowest mean, and the means, rising, shape (count,).

    Raises:
        ValueError: for fewer levels than clusters.
    """
    from sklearn.cluster import KMeans  # only here, for no other transform needs it

    levels, place, pixels = np.unique(values, return_inverse=True, return_counts=True)
    if len(levels) < count:
        raise ValueError(f"{count} clusters need {count} grey levels or more, got {len(levels)}.")
    # a level with its number of pixels counts as those pixels do, and there are at most 1401 whole HU
    means = KMeans(count, n_init=STARTS, tol=0.0, random_state=seed)
    found = means.fit(levels[:, None].astype(float), sample_weight=pixels)
    order = np.argsort(found.cluster_centers_[:, 0])
    classes = np.argsort(order).astype(np.uint8)[found.labels_]
    return classes[place].reshape(values.shape), found.cluster_centers_[order, 0]
