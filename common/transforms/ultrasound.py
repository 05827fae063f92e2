"""Ultrasound: frames, label pictures, dense and sparse classes, the text's augmentation."""

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
from ..readers.ultrasound.formats import is_clip
from ..readers.ultrasound.frames import frames


class LoadFramed(MapTransform):
    """A frame as (1, rows, columns), float32 grey levels 0..255, upright: depth grows with the row.

    Args:
        keys: a frame, uint8 (rows, columns), as clips are read; or the path of a picture or one-frame DICOM.
        crop: see ``common.readers.ultrasound.frames.frames``; of paths.

    Raises:
        ValueError: for the path of a clip, which holds many frames; else as ``readers.ultrasound.frames.frames``.
    """

    def __init__(self, keys: KeysCollection, crop: Sequence[int] | None = None) -> None:
        super().__init__(keys)
        self.crop = crop

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace frames or paths by tensors."""
        item = dict(data)
        for key in self.keys:
            pixels, name = item[key], str(item.get("case", key))
            if isinstance(pixels, (str, Path)):
                name = str(pixels)
                if is_clip(pixels):
                    raise ValueError(f"{name}: one frame is wanted, got a clip. Give the folder to inference.yaml.")
                pixels = next(iter(frames(pixels, crop=self.crop))).pixels
            item[key] = MetaTensor(torch.from_numpy(pixels.astype(np.float32))[None], meta={"filename_or_obj": name})
        return item


def read_label(path: str | Path) -> np.ndarray:
    """A label picture as integers (rows, columns): grey levels or palette indices, as stored.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no picture, or holds colours.
    """
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such label picture. Every image needs one of its name.")
    try:
        with Image.open(path) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as a picture: {error}. Save it again as png.") from error
    if mode not in ("L", "P", "1"):
        raise ValueError(
            f"{path}: a label picture holds one index a pixel, got mode {mode}. Save indices, not colours."
        )
    return pixels.astype(np.int64)


class LabelClassesd(MapTransform):
    """Label pictures to class indices, uint8 (1, rows, columns), in the order of ``names``.

    A class that ``names`` lacks goes to the one that ``merge`` names for it: sparse labels are derived from dense ones
    (Gare et al., section 2.2).

    Args:
        keys: paths of label pictures; the item's ``image`` is (1, rows, columns).
        names: classes in channel order.
        values: value in the files of each class; a source whose files hold others says so in the item's
            ``label_values``.
        merge: for classes that ``names`` may lack, the one that they are part of.

    Raises:
        ValueError: for an unknown value, a class that is neither in ``names`` nor merged, or a shape other than the
            image's.
    """

    def __init__(
        self, keys: KeysCollection, names: Sequence[str], values: Mapping[str, int], merge: Mapping[str, str]
    ) -> None:
        super().__init__(keys)
        self.names, self.values, self.merge = list(names), dict(values), dict(merge)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read and map."""
        item = dict(data)
        for key in self.keys:
            path, values = item[key], item.get("label_values", self.values)
            pixels = read_label(path)
            shape = tuple(item["image"].shape[1:])
            if pixels.shape != shape:
                raise ValueError(f"{path}: a label has its image's shape {shape}, got {pixels.shape}. Take its own.")
            table = self.table(values, path)
            unknown = sorted(set(np.unique(pixels).tolist()) - set(table))
            if unknown:
                known = ", ".join(f"{value} {name}" for name, value in values.items())
                raise ValueError(
                    f"{path}: labels hold {known}; got {', '.join(map(str, unknown))}. Correct the picture, or declare "
                    "its values, for example --label_values::background 0."
                )
            lookup = np.zeros(256, np.uint8)
            lookup[list(table)] = list(table.values())
            item[key] = MetaTensor(torch.from_numpy(lookup[pixels])[None], meta={"filename_or_obj": str(path)})
        return item

    def table(self, values: Mapping[str, int], path: Any) -> dict[int, int]:
        """Class index of each value in the file."""
        table = {}
        for name, value in values.items():
            target = name if name in self.names else self.merge.get(name, name)
            if target not in self.names:
                raise ValueError(
                    f"{path}: this source labels {', '.join(values)}; {name!r} is none of {', '.join(self.names)}. "
                    "Train with --labels sparse."
                )
            table[int(value)] = self.names.index(target)
        return table


class NameIndexd(MapTransform):
    """A class name to its index.

    Args:
        keys: names.
        names: in channel order.

    Raises:
        ValueError: for another name.
    """

    def __init__(self, keys: KeysCollection, names: Sequence[str]) -> None:
        super().__init__(keys)
        self.names = list(names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Look the names up."""
        item = dict(data)
        for key in self.keys:
            if item[key] not in self.names:
                raise ValueError(f"Unknown class {item[key]!r}. The classes are {', '.join(self.names)}.")
            item[key] = torch.tensor(self.names.index(item[key]))
        return item


class FlipAndGaind(MapTransform):
    """Apply the ``flip`` and ``gain`` of an augmented copy; see ``common.datasets.ultrasound.augmented_split.sixfold``.

    Args:
        keys: (1, rows, columns), flipped left to right.
        gain_keys: images 0..1, multiplied by the gain and saturated at 1, as 8-bit pictures would be.
    """

    def __init__(self, keys: KeysCollection, gain_keys: Sequence[str] = ("image",)) -> None:
        super().__init__(keys)
        self.gain_keys = tuple(gain_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Flip and scale; an item without either stays as it is."""
        item = dict(data)
        for key in self.keys:
            if item.get("flip"):
                item[key] = item[key].flip(-1)
            if key in self.gain_keys and item.get("gain", 1.0) != 1.0:
                item[key] = (item[key] * item["gain"]).clamp(max=1.0)
        return item


class MaskValuesd(MapTransform):
    """The most probable class at each pixel, as the value that saved masks have for it.

    Args:
        keys: logits or probabilities (classes, rows, columns); they become uint8 (1, rows, columns).
        values: mask value of each channel.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int]) -> None:
        super().__init__(keys)
        self.values = torch.tensor(list(values), dtype=torch.uint8)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Decide."""
        item = dict(data)
        for key in self.keys:
            channel = torch.as_tensor(item[key]).argmax(0, keepdim=True).cpu()
            item[key] = MetaTensor(self.values[channel], meta=getattr(item[key], "meta", None))
        return item


class MeasureSharesd(MapTransform):
    """The share of the picture that each class takes, under ``measures``.

    Args:
        keys: mask values (1, rows, columns).
        values: mask value of each class.
    """

    def __init__(self, keys: KeysCollection, values: Mapping[str, int]) -> None:
        super().__init__(keys)
        self.values = dict(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Count pixels."""
        item = dict(data)
        for key in self.keys:
            mask = torch.as_tensor(item[key])
            item["measures"] = {f"share_{n}": float((mask == v).float().mean()) for n, v in self.values.items()}
        return item


class Diagnosed(MapTransform):
    """What the classifier makes of the segmentation's maps: ``probability_*`` and ``share_*``, under ``measures``.

    The shares are those that the decision used: averages of the maps, not of a mask.

    Args:
        keys: probability maps (classes, rows, columns).
        network: decides; see ``common.networks.reverse_transfer.ReverseTransfer``.
        classes: of the maps, in channel order.
        diagnoses: in channel order.
    """

    def __init__(
        self, keys: KeysCollection, network: ReverseTransfer, classes: Sequence[str], diagnoses: Sequence[str]
    ) -> None:
        super().__init__(keys)
        self.network, self.classes, self.diagnoses = network, list(classes), list(diagnoses)

    @torch.no_grad()
    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Average and decide."""
        item = dict(data)
        for key in self.keys:
            maps = torch.as_tensor(item[key])[None].to(self.network.classifier.weight.device)
            shares = self.network.shares(maps)[0].tolist()
            probabilities = self.network.decide(maps).softmax(1)[0].tolist()
            item["measures"] = {
                **{f"probability_{n}": p for n, p in zip(self.diagnoses, probabilities, strict=True)},
                **{f"share_{n}": s for n, s in zip(self.classes, shares, strict=True)},
            }
        return item
