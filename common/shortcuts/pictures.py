"""The picture that is looked at for clues: as it is, or as a network gets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Orientationd, ScaleIntensityRanged

from ..lung_network.methods import THRESHOLD, find_lung
from ..readers.images import luminance, read_image
from ..readers.ultrasound.frames import frames
from ..transforms.ct import BY_MODES, LUNG_WINDOW, LoadScand, WindowCTd
from ..transforms.lung_box import CropToLungsd
from ..transforms.masks import OutsideLungd, mask_like

Case = Mapping[str, Any]

UPRIGHT = Compose([LoadScand("image"), Orientationd("image", axcodes="LPS", labels=None)])
IN_ONE_WINDOW = Compose(
    [
        WindowCTd("image", LUNG_WINDOW, grey_window=BY_MODES),
        ScaleIntensityRanged("image", a_min=LUNG_WINDOW[0], a_max=LUNG_WINDOW[1], b_min=0, b_max=255),
        CropToLungsd(["image", "lung"]),
        OutsideLungd("image"),
    ]
)


def first_frame(case: Case) -> np.ndarray:
    """The first frame of a clip, or the image, (rows, columns)."""
    return next(iter(frames(case["image"]))).pixels


def whole_picture(case: Case) -> np.ndarray:
    """A picture of CT as it is, (rows, columns)."""
    return luminance(read_image(case["image"]))


def lungs_alone(case: Case) -> np.ndarray | None:
    """A picture of CT as ``shipped.yaml`` of ``ct_weak_gan`` gives it to the network, (rows, columns).

    The window is estimated from the grey levels and replaced by the usual lung window, the picture is cropped to the
    box around the lungs, and everything outside them is black.

    Returns:
        None if no lung is found.
    """
    item = UPRIGHT({key: value for key, value in case.items() if key != "lung"})
    lung = find_lung(item["image"].as_tensor()[0].numpy(), None, THRESHOLD, "8bit", str(case["case"]))
    if not lung.any():
        return None
    item = IN_ONE_WINDOW({**item, "lung": mask_like(torch.from_numpy(lung)[None], item["image"])})
    grey: np.ndarray = item["image"].as_tensor()[0, ..., 0].numpy().T
    return grey
