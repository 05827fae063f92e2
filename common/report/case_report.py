"""What the outputs of a case share, for any kind of image."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .colour_tables import write_colour_tables
from .styles import class_styles

SEGMENTATION = "_mask.dcm"  # ending of DICOM segmentations
MARK = len(".part.")  # bytes before or after the name of a file that is being written


class CaseFiles:
    """Base of what writes files of a case into a folder.

    Args:
        output_dir: folder; cases keep their sub-folders.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)

    def path(self, item: dict[Hashable, Any], ending: str) -> Path:
        """Path of ``<case><ending>`` in the output folder, noted in ``item["outputs"]``; its folder is created.

        Raises:
            ValueError: if a name is too long for the file system.
        """
        path = self.output_dir / f"{item['case']}{ending}"
        longest = _longest_name(self.output_dir) - MARK
        for name in path.relative_to(self.output_dir).parts:
            if len(os.fsencode(name)) > longest:
                raise ValueError(
                    f"{item['case']}: names of outputs may have {longest} bytes in {self.output_dir}, got "
                    f"{len(os.fsencode(name))}. Give the scan a shorter name."
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        item.setdefault("outputs", []).append(path)
        return path


class CaseReport(CaseFiles, MapTransform):
    """Base of the transforms that write files of a case into a folder.

    Args:
        keys: what to report.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``, for values and colours of the classes; None if not needed.
        classes: names of the classes to report.
        allow_missing_keys: an item may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path | None = None,
        classes: Sequence[str] = (),
        allow_missing_keys: bool = False,
    ) -> None:
        CaseFiles.__init__(self, output_dir)
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.styles = [] if metadata is None else class_styles(metadata, classes)
        self._values_named = False

    def name_values(self) -> None:
        """Write the colour tables of the masks, once per run."""
        if not self._values_named:
            write_colour_tables(self.output_dir, self.styles)
            self._values_named = True


def _longest_name(folder: Path) -> int:
    """Bytes that the name of a file may have, where the system tells, else 255."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; no such folder yet
        return 255


def printable(name: str) -> str:
    """A name for figures, in which bytes that are not UTF-8 are question marks."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def source_file(item: Mapping[Hashable, Any]) -> Path | None:
    """The file of a case's image; None for a DICOM series or an unknown source."""
    name = getattr(item.get("image"), "meta", {}).get("filename_or_obj", "")
    name = name[0] if isinstance(name, (list, tuple)) and name else name
    return Path(str(name)) if name and Path(str(name)).is_file() else None


def label_map(values: torch.Tensor) -> np.ndarray:
    """A label map (1, ...) as uint8 without its channel."""
    plain = values.as_tensor() if isinstance(values, MetaTensor) else values
    return plain[0].round().byte().cpu().numpy()
