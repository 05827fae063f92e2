"""What the outputs of a case share, for any kind of image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .styles import class_styles


class CaseReport(MapTransform):
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
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.styles = [] if metadata is None else class_styles(metadata, classes)

    def path(self, item: Mapping[Hashable, Any], ending: str) -> Path:
        """``<case><ending>`` in the output folder; its sub-folder is created if needed."""
        path = self.output_dir / f"{item['case']}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def source_file(item: Mapping[Hashable, Any]) -> Path | None:
    """The file of a case's image; None for a DICOM series or an unknown source."""
    name = getattr(item.get("image"), "meta", {}).get("filename_or_obj", "")
    name = name[0] if isinstance(name, (list, tuple)) and name else name
    return Path(str(name)) if name and Path(str(name)).is_file() else None


def label_map(values: torch.Tensor) -> np.ndarray:
    """A label map (1, ...) as uint8 without its channel."""
    plain = values.as_tensor() if isinstance(values, MetaTensor) else values
    return plain[0].round().byte().cpu().numpy()
