"""Cases as a bundle's ``train.yaml`` reads them, so that the check and the training agree."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from ..run.overrides import check_settings

OTHERS = ("lung", "background")  # classes that are no lesions


@dataclass
class Looked:
    """What a case holds.

    Attributes:
        content: hash of all its planes, as the network sees them.
        planes: number of slices or frames.
        counts: number of planes with each class.
        best: image and class indices (X, Y) of the plane with most of the lesions (without any, the middle one), -1
            where there is no class.
        title: of that plane.
    """

    content: str = ""
    planes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    best: tuple[np.ndarray, np.ndarray] | None = None
    title: str = ""


class BundleReader:
    """Reads cases by the components of a bundle's training.

    Args:
        folder: of the bundle.
        settings: options of the training, such as ``label_map``.

    Raises:
        FileNotFoundError: when there is no such bundle.
        ValueError: for a setting that it does not have.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        config = folder / "configs" / "train.yaml"
        if not config.is_file():
            raise FileNotFoundError(f"{config} is missing: packages have no training. Give the name of a bundle.")
        check_settings(settings, [str(config)])
        self.parser = ConfigParser()
        self.parser.read_config(str(config))
        self.parser.update({"bundle_root": str(folder), **settings})
        dataset = {key: value for key, value in self.parser["train::dataset"].items() if key != "data"}
        self.parser["train::dataset"] = {**dataset, "augmentation": None, "_mode_": "callable"}
        self.upright = "ultrasound" in str(self.parser["source_cases"]["_target_"])
        self.metadata = folder / "configs" / "metadata.json"
        self.names: list[str] = self.part("diagnoses" if "diagnoses" in self.parser.get() else "names")
        self.diagnoses = "diagnoses" in self.parser.get()

    def part(self, name: str) -> Any:
        """A component of the config."""
        return self.parser.get_parsed_content(name)

    def look(self, case: Mapping[str, Any]) -> Looked:
        """Read a case as the training does.

        Raises:
            Exception: whatever is wrong with it.
        """
        planes = self.part("train::dataset")(data=[case])
        lesions = None
        if "masks" in self.parser.get() and isinstance(case["label"], Path):
            lesions = self.part("masks")(case)["label"]  # ct_weak_gan trains on no mask, and tests on it
        looked = Looked()
        digest, largest = hashlib.sha256(), -1.0
        for plane in planes:
            image = np.asarray(plane["image"][0], np.float32)
            digest.update(image.tobytes())
            whole, classes = self.classes(plane, case, lesions)
            shown = [name for index, name in enumerate(self.names) if (classes == index).any()]
            looked.counts.update([whole] if whole else shown)
            looked.planes += 1
            size = float(sum((classes == index).sum() for index, name in enumerate(self.names) if name not in OTHERS))
            middle = size == largest == 0 and 2 * looked.planes <= len(planes) + 1  # of a case without lesion
            if size > largest or middle:
                largest, looked.best = size, (image, resized(classes, image.shape))
                number = f"frame {plane['frame']}" if "frame" in plane else f"slice {plane.get('slice', 0)}"
                looked.title = f"{case['case']}, {number}{f': {whole}' if whole else ''}"
        looked.content = digest.hexdigest()
        return looked

    def classes(self, plane: Mapping[str, Any], case: Mapping[str, Any], lesions: Any) -> tuple[str, np.ndarray]:
        """The class of a whole plane, empty if its pixels have classes; and the class index of each pixel, or -1."""
        label = plane.get("label", case["label"])
        pixels = label[0] if isinstance(label, torch.Tensor) and label.ndim > 1 else None
        if lesions is not None and pixels is None:
            pixels = lesions[0, ..., plane["slice"]]
        if pixels is None:
            return (self.names if self.diagnoses else ("normal", "lesion"))[int(label)], np.full((1, 1), -1)
        only = len(self.names) == 1  # a mask of 0 and 1 has the only class where it is 1
        return "", np.asarray(pixels, int) - only


def resized(classes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Class indices (X, Y) in the size of their image."""
    places = np.ix_(*(np.arange(size) * old // size for size, old in zip(shape, classes.shape, strict=True)))
    return classes[places]
