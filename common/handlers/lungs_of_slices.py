"""The lungs in the slices that an evaluation scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import rescale_array

from ..lung_mask import lung_mask

KEY = "lungs"  # in the output of the evaluator, so that several handlers look for them once


def lungs_of(output: dict[str, Any], channel: int | None = None) -> torch.Tensor:
    """Where the lungs are in a batch of slices.

    Args:
        output: of a MONAI evaluator, with ``image``, (B, channels, X, Y), as the network gets it.
        channel: of the image, if one is a mask of the lungs; by default they are found by threshold in the first.

    Returns:
        bool, (B, 1, X, Y).
    """
    if KEY not in output:
        image = output["image"].detach().float()
        if channel is not None:
            output[KEY] = image[:, channel, None] > 0
        else:
            planes = [np.asarray(rescale_array(each, 0, 255)) for each in image[:, 0].cpu().numpy()]
            found = np.stack([lung_mask(plane[..., None])[None, ..., 0] for plane in planes])
            output[KEY] = torch.from_numpy(found).to(image.device)
    return output[KEY]  # type: ignore[no-any-return]
