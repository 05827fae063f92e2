"""Ultrasound: frames, label images, dense and sparse classes, the paper's augmentation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..networks.reverse_transfer import ReverseTransfer
from ..readers.images import read_indices
from ..readers.refused import Refused
from ..readers.ultrasound.formats import is_clip
from ..readers.ultrasound.frames import frames


class LoadFramed(MapTransform):
    """Load a frame as (1, rows, columns), float32 grey levels 0..255, upright: depth increases with the row.

    Args:
        keys: frame of a clip, uint8 (rows, columns); or path of an image or of a DICOM file with one frame.
        crop: applied to files; see ``common.readers.ultrasound.frames.frames``.

    Raises:
        ValueError: for the path of a clip, and as ``common.readers.ultrasound.frames.frames`` does.
    """

    def __init__(self, keys: KeysCollection, crop: Sequence[int] | None = None) -> None:
        super().__init__(keys)
        self.crop = crop

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each frame or path by a tensor."""
        item = dict(data)
        for key in self.keys:
            pixels, name = item[key], str(item.get("case", key))
            if isinstance(pixels, (str, Path)):
                name = str(pixels)
                if is_clip(pixels):
                    raise ValueError(f"{name}: one frame is needed, got a clip. Run inference for clips.")
                pixels = next(iter(frames(pixels, crop=self.crop))).pixels
            item[key] = MetaTensor(torch.from_numpy(pixels.astype(np.float32))[None], meta={"filename_or_obj": name})
        return item


def read_label(path: str | Path) -> np.ndarray:
    """Read a label image as integers (rows, columns): grey levels or palette indices, as stored.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not an image, or holds colours.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such label image. Each image needs a label image of the same name.")
    try:
        return read_indices(Path(path))
    except Refused as error:
        raise ValueError(f"{path}: {error}") from error


class LabelClassesd(MapTransform):
    """Read label images as class indices, uint8 (1, rows, columns), in the order of ``names``.

    ``merge`` maps a class that is not in ``names`` to one that is. In this way sparse labels are derived from dense
    labels (Gare et al., section 2.2).

    Args:
        keys: paths of label images. The item's ``image`` is (1, rows, columns).
        names: class names in channel order.
        values: value of each class in the files. An item of a source with other values has them under
            ``label_values``, or the class of each value under ``label_map``, where 0 is background by default.
        merge: for classes that may be missing in ``names``, the class that replaces them.

    Raises:
        ValueError: for an unknown value, a class that is neither in ``names`` nor in ``merge``, or a label image whose
            shape is not the image's.
    """

    def __init__(
        self, keys: KeysCollection, names: Sequence[str], values: Mapping[str, int], merge: Mapping[str, str]
    ) -> None:
        super().__init__(keys)
        self.names, self.values, self.merge = list(names), dict(values), dict(merge)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each path by the class indices."""
        item = dict(data)
        for key in self.keys:
            path, values = item[key], self.stated(item)
            pixels = read_label(path)
            shape = tuple(item["image"].shape[1:])
            if pixels.shape != shape:
                raise ValueError(
                    f"{path}: a label image must have its image's shape {shape}, got {pixels.shape}. Give the label of "
                    "this image."
                )
            table = self.table(values, path)
            unknown = sorted(set(np.unique(pixels).tolist()) - set(table))
            if unknown:
                known = ", ".join(f"{value} {name}" for value, name in values.items())
                raise ValueError(
                    f"{path}: labels hold {known}; got {', '.join(map(str, unknown))}. Correct the label image, or "
                    "declare its values: --label_map with a table of your own, else for example "
                    "--label_values::background 0."
                )
            lookup = np.zeros(256, np.uint8)
            lookup[list(table)] = list(table.values())
            item[key] = MetaTensor(torch.from_numpy(lookup[pixels])[None], meta={"filename_or_obj": str(path)})
        return item

    def stated(self, item: Mapping[Hashable, Any]) -> dict[int, str]:
        """Return the class name of each value in the file."""
        if item.get("label_map"):
            return {0: "background", **{int(value): name for value, name in item["label_map"].items()}}
        return {int(value): name for name, value in item.get("label_values", self.values).items()}

    def table(self, values: Mapping[int, str], path: Any) -> dict[int, int]:
        """Return the class index of each value in the file."""
        table = {}
        for value, name in values.items():
            target = name if name in self.names else self.merge.get(name, name)
            if target not in self.names:
                raise ValueError(
                    f"{path}: this source labels {', '.join(values.values())}; {name!r} is not one of "
                    f"{', '.join(self.names)}. Train with --labels sparse."
                )
            table[value] = self.names.index(target)
        return table


class NameIndexd(MapTransform):
    """Replace a class name by its index.

    Args:
        keys: class names.
        names: known class names in channel order.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(self, keys: KeysCollection, names: Sequence[str]) -> None:
        super().__init__(keys)
        self.names = list(names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each name."""
        item = dict(data)
        for key in self.keys:
            if item[key] not in self.names:
                raise ValueError(f"Unknown class {item[key]!r}. The classes are {', '.join(self.names)}.")
            item[key] = torch.tensor(self.names.index(item[key]))
        return item


class FlipAndGaind(MapTransform):
    """Apply the item's ``flip`` and ``gain``; see ``common.datasets.ultrasound.augmented_split.sixfold``.

    Args:
        keys: images and labels (1, rows, columns) to flip left to right.
        gain_keys: images 0..1 to multiply by the gain. They saturate at 1, as 8-bit images would.
    """

    def __init__(self, keys: KeysCollection, gain_keys: Sequence[str] = ("image",)) -> None:
        super().__init__(keys)
        self.gain_keys = tuple(gain_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Flip and scale; an item without ``flip`` and ``gain`` is not changed."""
        item = dict(data)
        for key in self.keys:
            if item.get("flip"):
                item[key] = item[key].flip(-1)
            if key in self.gain_keys and item.get("gain", 1.0) != 1.0:
                item[key] = (item[key] * item["gain"]).clamp(max=1.0)
        return item


class MaskValuesd(MapTransform):
    """Replace class maps by a mask: the value of the most probable class at each pixel.

    Args:
        keys: logits or probabilities (classes, rows, columns); they become uint8 (1, rows, columns).
        values: value of each channel in saved masks.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int]) -> None:
        super().__init__(keys)
        self.values = torch.tensor(list(values), dtype=torch.uint8)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each key by its mask."""
        item = dict(data)
        for key in self.keys:
            channel = torch.as_tensor(item[key]).argmax(0, keepdim=True).cpu()
            item[key] = MetaTensor(self.values[channel], meta=getattr(item[key], "meta", None))
        return item


class MeasureSharesd(MapTransform):
    """Measure the share of the image that each class covers; written to ``measures`` as ``share_*``.

    Args:
        keys: masks (1, rows, columns).
        values: mask value of each class.
    """

    def __init__(self, keys: KeysCollection, values: Mapping[str, int]) -> None:
        super().__init__(keys)
        self.values = dict(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Count the pixels of each class."""
        item = dict(data)
        for key in self.keys:
            mask = torch.as_tensor(item[key])
            item["measures"] = {f"share_{n}": float((mask == v).float().mean()) for n, v in self.values.items()}
        return item


class Diagnosed(MapTransform):
    """Diagnose from the maps of the segmentation; written to ``measures`` as ``probability_*`` and ``share_*``.

    The shares are averages of the maps, which the diagnosis depends on. They are not shares of a mask.

    Args:
        keys: probability maps (classes, rows, columns).
        network: network that gives shares and diagnosis.
        classes: names of the maps' classes in channel order.
        diagnoses: names of the diagnoses in channel order.
        temperature: what logits are divided by.
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: ReverseTransfer,
        classes: Sequence[str],
        diagnoses: Sequence[str],
        temperature: float = 1.0,
    ) -> None:
        super().__init__(keys)
        self.network, self.classes, self.diagnoses = network, list(classes), list(diagnoses)
        self.temperature = temperature

    @torch.no_grad()
    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Average the maps and diagnose."""
        item = dict(data)
        for key in self.keys:
            maps = torch.as_tensor(item[key])[None].to(self.network.classifier.weight.device)
            shares = self.network.shares(maps)[0].tolist()
            probabilities = (self.network.decide(maps) / self.temperature).softmax(1)[0].tolist()
            item["measures"] = {
                **{f"probability_{n}": p for n, p in zip(self.diagnoses, probabilities, strict=True)},
                **{f"share_{n}": s for n, s in zip(self.classes, shares, strict=True)},
            }
        return item
