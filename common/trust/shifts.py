"""Images that are not like the training data, made of images that are: of CT slices and of ultrasound frames."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from monai.data import MetaTensor
from scipy import ndimage
from skimage.draw import disk
from skimage.transform import iradon, radon, resize

Image = np.ndarray  # (X, Y, Z), float32
Shift = Callable[[Image, "Levels"], Image]


class Levels:
    """What grey levels mean.

    Args:
        low, high: of air and of what is brightest.
        per_hu: of one HU.
        window: low and high of a soft-tissue window.
    """

    def __init__(self, low: float, high: float, per_hu: float, window: tuple[float, float]) -> None:
        self.low, self.high, self.per_hu, self.window = low, high, per_hu, window


HU = Levels(-1024.0, 476.0, 1.0, (-160.0, 240.0))
GREY = Levels(0.0, 255.0, 255 / 1500, (150.0, 215.0))
PLAIN = Levels(0.0, 255.0, 255 / 1500, (100.0, 180.0))  # ultrasound
NOISE = 150.0  # HU, several times that of a chest CT with a soft kernel
SHADOWS = 160  # rows and columns at which streaks are computed


def smooth(image: Image, levels: Levels) -> Image:
    """A much softer kernel."""
    sigma = max(1.2, image.shape[0] / 200)
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def sharp(image: Image, levels: Levels) -> Image:
    """A much sharper kernel: edges and noise are enlarged."""
    sigma = max(0.7, image.shape[0] / 400)
    return image + 2.5 * (image - ndimage.gaussian_filter(image, (sigma, sigma, 0)))


def noisy(image: Image, levels: Levels) -> Image:
    """Noise of a standard deviation of ``NOISE``, as of far too little dose."""
    return image + np.random.default_rng(0).normal(0, NOISE * levels.per_hu, image.shape).astype(np.float32)


def inverted(image: Image, levels: Levels) -> Image:
    """Black and white exchanged."""
    return levels.low + levels.high - image


def turned_first(image: Image, levels: Levels) -> Image:
    """The first axis turned round: left and right of CT, top and bottom of an ultrasound frame."""
    return image[::-1]


def turned_second(image: Image, levels: Levels) -> Image:
    """The second axis turned round: front and back of CT, left and right of an ultrasound frame."""
    return image[:, ::-1]


def cut(image: Image, levels: Levels) -> Image:
    """The middle half along both axes, enlarged by the preprocessing: lungs are cut off."""
    x, y = (max(1, size // 4) for size in image.shape[:2])
    return image[x:-x, y:-y]


def other_window(image: Image, levels: Levels) -> Image:
    """A soft-tissue window in place of the lung window; of a frame, all but the middle grey levels black or white."""
    low, high = levels.window
    clipped = image.clip(low, high)
    return clipped if levels is HU else (clipped - low) / (high - low) * 255


def screenshot(image: Image, levels: Levels) -> Image:
    """A picture of a viewer: the slice small on a dark ground, with bars and text-like marks."""
    canvas = np.full_like(image, levels.low + 0.15 * (levels.high - levels.low))
    rows, columns = (int(0.55 * size) for size in image.shape[:2])
    small = resize(image, (rows, columns, image.shape[2]), order=1, preserve_range=True, anti_aliasing=True)
    x, y = int(0.3 * image.shape[0]), int(0.25 * image.shape[1])
    canvas[x : x + rows, y : y + columns] = small
    canvas[: int(0.2 * image.shape[0])] = levels.low + 0.5 * (levels.high - levels.low)
    canvas[:, : int(0.08 * image.shape[1])] = levels.low + 0.7 * (levels.high - levels.low)
    marks = np.random.default_rng(1).random((12, 40)) > 0.5
    for row in range(12):
        top = int((0.22 + 0.06 * row) * image.shape[1])
        for column in np.flatnonzero(marks[row]):
            left = int((0.02 + 0.004 * column) * image.shape[0])
            canvas[left : left + 2, top : top + 3] = levels.high
    return canvas


def streaks(image: Image, levels: Levels) -> Image:
    """Metal in the chest, such as a pacemaker: rays through it see too few photons, by filtered back-projection."""
    found = np.array(image)
    for index in range(image.shape[2]):
        small = resize(image[..., index], (SHADOWS, SHADOWS), order=1, preserve_range=True)
        relative = (small - levels.low) / (1000 * levels.per_hu)  # of water: 0 is air, about 1 is tissue
        metal = np.zeros_like(relative)
        for centre in ((0.35, 0.35), (0.6, 0.4)):
            metal[disk((centre[0] * SHADOWS, centre[1] * SHADOWS), 4, shape=metal.shape)] = 8.0
        angles = np.linspace(0, 180, SHADOWS, endpoint=False)
        rays = radon(metal, angles, circle=False)
        starved = np.minimum(rays, 14.0) - rays + np.random.default_rng(index).normal(0, 1, rays.shape) * (rays > 8) * 6
        artefact = iradon(rays + starved, angles, circle=False, output_size=SHADOWS)
        enlarged = resize(artefact, image.shape[:2], order=1, preserve_range=True)
        found[..., index] += enlarged.astype(np.float32) * 1000 * levels.per_hu
    return found


SHIFTS: dict[str, Shift] = {  # of CT
    "smooth kernel": smooth,
    "sharp kernel": sharp,
    "heavy noise": noisy,
    "inverted grey levels": inverted,
    "mirrored": turned_first,
    "upside down": turned_second,
    "cut off": cut,
    "soft-tissue window": other_window,
    "screenshot": screenshot,
    "metal streaks": streaks,
}
FRAME_SHIFTS: dict[str, Shift] = {  # of ultrasound
    "blurred": smooth,
    "sharpened": sharp,
    "heavy noise": noisy,
    "inverted grey levels": inverted,
    "mirrored": turned_second,
    "upside down": turned_first,
    "cut off": cut,
    "strong contrast": other_window,
    "screenshot": screenshot,
}


class Shiftd:
    """Change the image of a case, right after it was read and turned.

    Args:
        shift: one of ``SHIFTS`` or ``FRAME_SHIFTS``.
    """

    def __init__(self, shift: Shift) -> None:
        self.shift = shift

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change ``image``, (1, X, Y, Z) or (1, rows, columns)."""
        item = dict(data)
        image: MetaTensor = item["image"]
        values = image.as_tensor()[0].float().cpu().numpy()
        flat = values[..., None] if values.ndim == 2 else values
        if values.ndim == 2:
            levels = PLAIN
        else:
            levels = HU if item.get("intensity", "HU") == "HU" and item.get("kind") != "picture" else GREY
        changed = np.ascontiguousarray(self.shift(flat, levels), np.float32)
        changed = changed.clip(0, 255).round() if levels is not HU else changed
        changed = changed[..., 0] if values.ndim == 2 else changed
        item["image"] = MetaTensor(changed[None], meta=image.meta)
        return item
