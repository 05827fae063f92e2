"""What inference leaves for each case: the mask on the input's grid, an overlay, a line in ``lesions.csv``."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, Orientation

from ..lung_mask import lung_mask
from .burden import BurdenTable, lesion_burden
from .mask_files import mask_palette, save_picture_mask, save_volume
from .overlay import overlay
from .styles import class_styles

logger = logging.getLogger(__name__)


class SaveMaskd(MapTransform):
    """Save a mask on its input's own grid: ``<case>_mask.nii.gz`` for volumes, ``<case>_mask.png`` for pictures.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata, classes: see ``common.report.styles.class_styles``; colours become the palette of PNGs.
    """

    def __init__(
        self, keys: KeysCollection, output_dir: str | Path, metadata: str | Path, classes: Sequence[str]
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.palette = mask_palette(class_styles(metadata, classes))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the file, whole or not at all."""
        item = dict(data)
        for key in self.keys:
            mask = item[key][0].as_tensor().round().byte().cpu().numpy()  # (X, Y, Z)
            stem = self.output_dir / f"{item['case']}_mask"
            stem.parent.mkdir(parents=True, exist_ok=True)
            if item["kind"] == "picture":
                save_picture_mask(stem.with_name(stem.name + ".png"), mask[..., 0], self.palette)
            else:
                shape = item["image"].meta.get("file_shape", mask.shape)
                save_volume(f"{stem}.nii.gz", mask.reshape(shape), np.asarray(item[key].affine))
        return item


class SaveVolumed(MapTransform):
    """Save volumes of numbers on their input's own grid: ``<case>_<name>.nii.gz``, for pictures ``<case>_<name>.png``.

    Volumes are float32; pictures 8-bit, 0 and 255 for the bounds of their range.

    Args:
        keys: (1, X, Y, Z) in the input's axis order, with its affine.
        names: of the files, one a key.
        ranges: lower and upper bound of the values, one a key.
        output_dir: folder; cases keep their sub-folders.
        allow_missing_keys: an item may be without.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str],
        ranges: Sequence[Sequence[float]],
        output_dir: str | Path,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names, self.ranges, self.output_dir = list(names), list(ranges), Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files, whole or not at all."""
        item = dict(data)
        for key, name, (low, high) in self.key_iterator(item, self.names, self.ranges):
            values = item[key][0].as_tensor().float().cpu().numpy()  # (X, Y, Z)
            path = self.output_dir / f"{item['case']}_{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if item["kind"] == "picture":
                from PIL import Image

                levels = ((values[..., 0] - low) / (high - low) * 255).round().clip(0, 255).astype(np.uint8)
                Image.fromarray(levels).save(f"{path}.png")
            else:
                shape = item["image"].meta.get("file_shape", values.shape)
                save_volume(f"{path}.nii.gz", values.reshape(shape), np.asarray(item[key].affine))
        return item


class ReportCased(MapTransform):
    """Overlay picture and lesion burden of a case: ``<case>_overlay.png`` and a line in ``lesions.csv``.

    The lung is what the label map calls lung or lesion: from the network, or from where ``lung_from`` of the case says.
    A network that was trained without lung masks calls nothing lung: then the lung is found by threshold
    (``common.lung_mask.lung_mask``), and the line says so.

    Args:
        keys: integer masks (1, X, Y, Z) on the input's grid.
        output_dir: folder.
        metadata, classes: see ``common.report.styles.class_styles``.
        scan_key: windowed HU, (1, X, Y, Z) in LPS order.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        scan_key: str = "scan",
    ) -> None:
        super().__init__(keys)
        self.output_dir, self.scan_key = Path(output_dir), scan_key
        self.styles = [style for style in class_styles(metadata, classes) if style.name != "background"]
        self.values = {style.name: style.value for style in self.styles}
        self.lesions = {name: value for name, value in self.values.items() if name != "lung"}
        self.to_lps = Orientation(axcodes="LPS", labels=None)

    @cached_property
    def table(self) -> BurdenTable:
        """Opened with the first case: MONAI Label makes this transform and does not use it."""
        return BurdenTable(self.output_dir / "lesions.csv", list(self.lesions))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Measure, draw, log one line."""
        item = dict(data)
        scan = item[self.scan_key]
        known = bool(scan.meta.get("spacing_known", True))
        affine = np.asarray(scan.affine)
        x, y, z = map(float, nibabel.affines.voxel_sizes(affine))
        spacing = (x, y, z) if known else None
        hu = scan[0].as_tensor().cpu().numpy()
        for key in self.keys:
            mask = self.to_lps(item[key])[0].round().byte().cpu().numpy()
            lung, lung_from = mask > 0, str(item.get("lung_from", "network"))
            if not (mask == self.values.get("lung", -1)).any():
                lung, lung_from = lung_mask(hu, spacing) | (mask > 0), "threshold"
            voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000 if known else None
            burden = lesion_burden(mask, lung, self.lesions, voxel_ml)
            self.table.append(str(item["case"]), burden, lung_from)
            path = self.output_dir / f"{item['case']}_overlay.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            share = burden["share_of_lung"]
            line = "no lung found" if share is None else f"{100 * float(share):.1f} % of the lung, {burden['severity']}"
            note = f"{line}; lung found by threshold" if lung_from == "threshold" else line
            shown = np.where((mask == 0) & lung, self.values.get("lung", 0), mask)
            overlay(path, hu, shown, self.styles, title=str(item["case"]), spacing=spacing, note=note)
            logger.info("%s: %d slices, lesions in %s.", item["case"], mask.shape[-1], note)
        return item
