"""Outputs of a CT case: the mask on the input's grid, an overlay, a row of ``lesions.csv``."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.config import KeysCollection
from PIL import Image

from ..files import complete_file
from ..lung_network.methods import FROM, THRESHOLD
from ..reliability.measures import STEPS
from ..settings import as_list
from ..statistics import counted
from .burden import burden_columns, burden_row, implausible, lesion_burden
from .case_report import SEGMENTATION, CaseReport, label_map, printable, source_file
from .dicom.save import SaveDicomd
from .ledger import Ledger
from .mask_files import mask_palette, save_picture_mask, save_volume
from .overlay import draw_overlay
from .scan_report import ScanReport, to_lps
from .trust import (
    COLUMNS,
    EACH_COLUMNS,
    ERROR_COLUMNS,
    ERRORS,
    error_row,
    errors_in_words,
    in_short,
    lesion_rows,
    likely_of,
    trust_facts,
    trust_row,
)

logger = logging.getLogger(__name__)

NOTE = 160  # characters of the overlay's second line


class SaveMaskd(CaseReport):
    """Save a mask on its input's own grid: ``<case>_mask.nii.gz`` for volumes, ``<case>_mask.png`` for images.

    The first mask of a run brings the colour tables of its values (``common.report.colour_tables``) into the folder.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``; its colours become the palette of PNGs.
        classes: names of the classes in the mask.
        outputs: without ``nifti``, cases that have a DICOM segmentation get no other file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        outputs: Sequence[str] = ("nifti",),
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes)
        self.palette, self.always = mask_palette(self.styles), "nifti" in as_list(outputs)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the file, completely or not at all."""
        item = dict(data)
        self.name_values()
        if not self.always and any(str(path).endswith(SEGMENTATION) for path in item.get("outputs", [])):
            return item
        for key in self.keys:
            mask = label_map(item[key])  # (X, Y, Z)
            if item["kind"] == "picture":
                with complete_file(self.path(item, "_mask.png")) as part:
                    save_picture_mask(part, mask[..., 0], self.palette)
            else:
                shape = item["image"].meta.get("file_shape", mask.shape)
                affine = np.asarray(item[key].affine)
                save_volume(self.path(item, "_mask.nii.gz"), mask.reshape(shape), affine, source_file(item))
        return item


class SaveVolumed(CaseReport):
    """Save volumes of numbers on their input's own grid: ``<case>_<name>.nii.gz``, for images ``<case>_<name>.png``.

    Volumes are float32, or uint8 with its step (1/255 of the range) in the header. Images have 8 bits, with 0 and 255
    for the bounds of their range.

    Args:
        keys: (1, X, Y, Z) in the input's axis order, with its affine.
        names: one per key, for the names of the files.
        ranges: lower and upper bound of the values, one pair per key.
        output_dir: folder; cases keep their sub-folders.
        allow_missing_keys: an item may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str],
        ranges: Sequence[Sequence[float]],
        output_dir: str | Path,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, output_dir, allow_missing_keys=allow_missing_keys)
        self.names, self.ranges = list(names), list(ranges)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files, completely or not at all."""
        item = dict(data)
        for key, name, bounds in self.key_iterator(item, self.names, self.ranges):
            self.save(item, item[key], 0, name, bounds)
        return item

    def save(self, item: dict[Hashable, Any], volume: Any, channel: int, name: str, bounds: Sequence[float]) -> None:
        """Write one channel of a volume (C, X, Y, Z)."""
        values = volume[channel].as_tensor().cpu().numpy()  # (X, Y, Z)
        in_steps = values.dtype == np.uint8
        if item["kind"] == "picture":
            low, high = bounds
            shares = values[..., 0] if in_steps else (values[..., 0] - low) / (high - low) * STEPS
            with complete_file(self.path(item, f"_{name}.png")) as part:
                Image.fromarray(shares.round().clip(0, STEPS).astype(np.uint8)).save(part)
        else:
            shape = item["image"].meta.get("file_shape", values.shape)
            values = values if in_steps else values.astype(np.float32)
            path, affine = self.path(item, f"_{name}.nii.gz"), np.asarray(volume.affine)
            save_volume(path, values.reshape(shape), affine, source_file(item), 1 / STEPS if in_steps else None)


class SaveProbabilitiesd(SaveVolumed):
    """Save the probability of each class as ``SaveVolumed`` does: ``<case>_probability_<class>.nii.gz``, or ``.png``.

    Args:
        keys: probabilities (classes, X, Y, Z) in the input's axis order, with its affine; uint8 in steps of 1/255.
        classes: names in channel order.
        output_dir: folder; cases keep their sub-folders.
    """

    def __init__(self, keys: KeysCollection, classes: Sequence[str], output_dir: str | Path) -> None:
        super().__init__(keys, list(classes), [(0, 1)] * len(classes), output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files, completely or not at all."""
        item = dict(data)
        for key in self.key_iterator(item):
            for channel, (name, bounds) in enumerate(zip(self.names, self.ranges, strict=True)):
                self.save(item, item[key], channel, f"probability_{name}", bounds)
        return item


EACH_LESION = "each_lesion.csv"  # a row for each connected lesion, where the weights know how large errors are


class Measured(NamedTuple):
    """A case as ``ReportCased`` measures it.

    Args:
        mask: label map (X, Y, Z) in LPS order.
        lung: bool, same shape.
        lung_from: ``network``, ``given``, ``lung network`` or ``threshold``.
        burden: from ``common.report.burden.lesion_burden``.
        errors: from ``common.report.trust.error_row``.
    """

    mask: np.ndarray
    lung: np.ndarray
    lung_from: str
    burden: dict[str, float | str | None]
    errors: dict[str, float | int | None]


class ReportCased(ScanReport):
    """Overlay and lesion burden of a case: ``<case>_overlay.png``, a row of ``lesions.csv``, a record in the ledger.

    Of weights that know how large errors are, ``each_lesion.csv`` has a row for each connected lesion.

    It is the last step of a case: the ledger counts the case as done, with all outputs that were written before.
    ``ScanReport.lung`` decides where the lung comes from; the overlay and the row say so. The overlay also states
    what the reader noted, such as a gantry tilt or bridged gaps.

    Args:
        keys: integer masks (1, X, Y, Z) on the input's grid.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``.
        classes: names of the classes; all but lung and background are lesions.
        scan_key: windowed HU, (1, X, Y, Z) in LPS order.
        lungs: see ``ScanReport``.
        ledger: that of the run; by default ``lesions.json`` in ``output_dir``, without knowledge of the input.
        dicom: writes report and overlay as DICOM objects.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        scan_key: str = "scan",
        lungs: str = THRESHOLD,
        ledger: Ledger | None = None,
        dicom: SaveDicomd | None = None,
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes, scan_key, lungs)
        self.dicom = dicom
        self.ledger = Ledger(self.output_dir / "lesions.json", settings={}) if ledger is None else ledger
        columns = ["case", *burden_columns(self.lesions), "lung_from", *ERROR_COLUMNS, *COLUMNS]
        self.ledger.add_table(self.output_dir / "lesions.csv", columns, self._rows)
        self.ledger.add_table(self.output_dir / EACH_LESION, ["case", *EACH_COLUMNS], self._lesion_rows, optional=True)

    def _rows(self, case: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        row = burden_row(case, record["volumes"], record["lung_from"], self.lesions)
        return [row | dict.fromkeys(ERROR_COLUMNS) | record.get("errors", {}) | trust_row(record)]

    def _lesion_rows(self, case: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"case": case, **row} for row in record.get("each_lesion", [])]

    def measure(self, item: Mapping[Hashable, Any], key: Hashable) -> Measured:
        """Measure the mask of a case."""
        scan = self.scan(item)
        mask, _ = to_lps(label_map(item[key]), np.asarray(item[key].affine))
        lung, lung_from = self.lung(item, mask, scan)
        errors = error_row(likely_of(item), scan.voxel_ml, int(np.count_nonzero(lung)))
        return Measured(mask, lung, lung_from, lesion_burden(mask, lung, self.lesions, scan.voxel_ml), errors)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Measure, draw, record, log one line."""
        item = dict(data)
        case, scan = str(item["case"]), self.scan(item)
        styles = [style for style in self.styles if style.name != "background"]
        for key in self.keys:
            mask, lung, lung_from, burden, errors = self.measure(item, key)
            likely = likely_of(item)
            if doubt := implausible(burden, lung, lung_from, scan.voxel_ml):
                item["notes"] = "; ".join(filter(None, [item.get("notes"), doubt]))
            share = burden["share_of_lung"]
            line = "no lung found" if share is None else f"{100 * float(share):.1f} % of the lung, {burden['severity']}"
            source = f"lung found by {lung_from}" if lung_from in FROM.values() else ""
            note = "; ".join(filter(None, [line, source]))
            drawn = np.where((mask == 0) & lung, self.lung_value or 0, mask)
            uncertain = None if likely is None else to_lps(likely.uncertain, np.asarray(item[key].affine))[0]
            path = self.path(item, "_overlay.png")
            item[ERRORS] = errors_in_words(likely, errors)
            parts = [line, in_short(errors), source, item.get("notes")]
            known = textwrap.shorten("; ".join(filter(None, parts)), NOTE)
            draw_overlay(
                path,
                scan.hu,
                drawn,
                styles,
                title=printable(case),
                spacing=scan.spacing,
                note=known,
                uncertain=uncertain,
            )
            if self.dicom is not None:
                self.dicom.report(item, burden, path)
            shape, affine = list(item[key].shape[1:]), np.asarray(item[key].affine).tolist()
            grid = {"shape": shape, "affine": affine, "spacing_known": scan.spacing_known}
            each = lesion_rows(likely, scan.voxel_ml, np.asarray(item[key].affine))
            facts = {"grid": grid, "volumes": burden, "lung_from": lung_from, "errors": errors, "each_lesion": each}
            self.ledger.record(item, {**facts, **trust_facts(item)})
            logger.info("%s: %s, lesions in %s.", case, counted(mask.shape[-1], "slices"), note)
        return item
