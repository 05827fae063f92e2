"""Steps 4 and 5 of pseudo-labels: clusters of grey levels by k-means (Balantrapu, *DRSegUNet*, 2021, section 4.4.1)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from sklearn.cluster import KMeans

from ..transforms.masks import mask_like

STARTS = 50  # of k-means; ten miss the best clusters in two slices of 80, fifty in none


class ClustersInLungd(MapTransform):
    """Blank everything outside the lung, and separate the grey levels of each slice into three clusters by k-means.

    K-means runs over all pixels of a slice because the paper has a cluster for the background. That is the cluster of
    the blanked pixels. The other two are lung and ground-glass in the order of their means, so that a class is the same
    in every slice and for every seed.

    The paper masks "the original image". If that is the image before normalisation, pixels outside the lung are 0,
    which is water in HU, and the background cluster also takes vessels and consolidation. If the normalised image were
    masked, 0 would be air (``outside=-1000``): the background would take the darkest lung, vessels would be
    ground-glass, and in severe disease all healthy lung would be background. On ten synthetic patients that lowers the
    Dice score of ground-glass, after step 6 and over all pixels, from 0.76 to 0.64.

    Args:
        keys: images in HU, (1, X, Y, Z).
        lung_key: mask of the same shape, positive in the lungs.
        clusters_key: receives the clusters, uint8 of the image's shape: 0 background, 1 lung, 2 ground-glass. The item
            gets ``centres``: their means in HU, shape (Z, count).
        window: HU of air and bone, to which the image is clipped.
        outside: HU that pixels outside the lung receive.
        count: number of clusters.
        seed: of k-means, which starts fifty times and keeps the best result.

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
                found = [self.clusters(image[..., index]) for index in range(image.shape[-1])]
            except ValueError as error:
                raise ValueError(f"{item.get('case', key)}: {error}") from error
            clusters = np.stack([classes for classes, _ in found], axis=-1)
            item[self.clusters_key] = mask_like(torch.from_numpy(clusters)[None], item[key])
            item["centres"] = np.stack([centres for _, centres in found])
        return item

    def clusters(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clusters of one masked slice, HU (X, Y) to uint8 (X, Y), and their means in HU, background first."""
        classes, centres = k_means(plane, self.count, self.seed)
        background = int(np.abs(centres - self.outside).argmin())
        order = np.array([background, *(index for index in range(self.count) if index != background)])
        return np.argsort(order).astype(np.uint8)[classes], centres[order]


def k_means(values: np.ndarray, count: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Separate grey levels into clusters, numbered by their mean.

    Args:
        values: any shape.
        count: number of clusters.
        seed: of scikit-learn's ``KMeans``, which starts fifty times, runs until nothing changes, and keeps the best.

    Returns:
        uint8 of the values' shape, 0 for the cluster with the lowest mean; and the means in rising order, (count,).

    Raises:
        ValueError: for fewer levels than clusters.

    Example:
        >>> k_means(np.array([-900.0, -880.0, -500.0, 30.0]))
        (array([0, 0, 1, 2], dtype=uint8), array([-890., -500.,   30.]))
    """
    levels, place, pixels = np.unique(values, return_inverse=True, return_counts=True)
    if len(levels) < count:
        raise ValueError(f"{count} clusters need {count} grey levels or more, got {len(levels)}.")
    # A level weighted by its pixels gives the same clusters as the pixels, and there are at most 1401 whole HU
    means = KMeans(count, n_init=STARTS, tol=0.0, random_state=seed)
    found = means.fit(levels[:, None].astype(float), sample_weight=pixels)
    order = np.argsort(found.cluster_centers_[:, 0])
    classes = np.argsort(order).astype(np.uint8)[found.labels_]
    return classes[place].reshape(values.shape), found.cluster_centers_[order, 0]
