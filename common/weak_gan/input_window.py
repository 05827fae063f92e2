"""The HU that become -1 and 1 in a network's input: a fixed window, or one from the training images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from monai.transforms import Compose, Orientationd

from ..datasets.guards import refuse_failed, try_each
from ..lung_network.methods import THRESHOLD
from ..run.progress import progress
from ..transforms.ct import LUNG_WINDOW, LoadScand, WindowCTd
from ..transforms.masks import LungMaskd

logger = logging.getLogger(__name__)

Case = Mapping[str, Any]
DEVIATIONS = 3.0  # from the mean to -1 and 1; not stated. Ground-glass lies 2 or 3 deviations above aerated lung


def input_window(
    cases: Sequence[Case],
    window: Sequence[float],
    normalise: str = "window",
    grey_window: Sequence[float] | str = LUNG_WINDOW,
    lungs: str = THRESHOLD,
) -> list[float]:
    """Return the HU that become -1 and 1.

    *Towards unbiased COVID-19 lesion localisation* (section 3.1) normalises by the mean and the standard deviation of
    all training images. Here these are taken within the lung, since everything else is removed, and -1..1 reaches three
    deviations to each side.

    Args:
        cases: training slices, see ``common.datasets.ct.image_label_sets``; read only for ``training``.
        window: lower and upper bound in HU, for ``window``.
        normalise: ``window``, or ``training``: by mean and deviation of the training images.
        grey_window: HU that grey levels 0 and 255 of images show, or ``modes``; volumes are clipped to it as well, with
            ``modes`` to the usual lung window.
        lungs: of cases without a lung mask, see ``common.transforms.masks.LungMaskd``.

    Raises:
        ValueError: for another ``normalise``, no cases, or naming those that cannot be read.
    """
    if normalise == "window":
        return [float(bound) for bound in window]
    if normalise != "training":
        raise ValueError(f"Unknown normalise {normalise!r}. Choose 'window' or 'training'.")
    if not cases:
        raise ValueError("--normalise training needs training slices, got none. Use --normalise window.")
    read = Compose(
        [
            LoadScand(["image", "lung"]),
            Orientationd(["image", "lung"], axcodes="LPS", labels=None, allow_missing_keys=True),
            LungMaskd("lung", lungs=lungs),
            WindowCTd("image", LUNG_WINDOW if isinstance(grey_window, str) else grey_window, grey_window=grey_window),
        ]
    )
    files: dict[str, list[Case]] = {}
    for case in cases:
        files.setdefault(str(case["image"]), []).append(case)

    def sums(members: Sequence[Case]) -> tuple[float, float, float]:
        item = read({key: value for key, value in members[0].items() if key != "slice"})
        chosen = [int(case["slice"]) for case in members]
        image, lung = (item[key].as_tensor()[..., chosen] for key in ("image", "lung"))
        values = image[lung > 0].double()
        return float(len(values)), float(values.sum()), float(values.square().sum())

    results = try_each(sums, files.values(), lambda members: members[0])
    found = list(progress(results, desc="Mean of the training images", total=len(files), unit="file"))
    refuse_failed(found, len(files))
    count, total, squares = (sum(part) for part in zip(*found, strict=True))
    mean = total / count
    deviation = sqrt(max(0.0, squares / count - mean**2))
    if deviation == 0:
        raise ValueError(f"The lungs of all training images have one value, {mean:g} HU. Use --normalise window.")
    low, high = (round(mean + sign * DEVIATIONS * deviation, 1) for sign in (-1, 1))
    logger.info(
        "Lungs of the training images: mean %.1f HU, standard deviation %.1f HU; %g to %g HU become -1 to 1.",
        *(mean, deviation, low, high),
    )
    return [low, high]
