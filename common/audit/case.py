"""What an audit leaves: a list and pictures for whoever reads the annotation again.

Source: Maganaris et al., Evaluating transferability for COVID 3D localization using CT SARS-CoV-2 segmentation models,
section 4.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, Orientation

from ..files import whole_file
from ..report.styles import class_styles
from .figure import SHOWN, Surroundings, crop_surroundings, draw_findings, largest_findings
from .findings import KINDS, Finding, findings

logger = logging.getLogger(__name__)

MEASURED = ("region", "region_ml", "slice", "area_mm2", "area_pixels", "mean_hu", "probability")
COLUMNS = ("case", "kind", *MEASURED, "x_mm", "y_mm", "z_mm", "column", "row", "truth", "lung_from")


def _largest_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Order of the table's rows; a pixel counts 1 mm2 where the spacing is unknown."""
    area = row["area_pixels"] if row["area_mm2"] is None else row["area_mm2"]
    return -area, row["case"], KINDS.index(row["kind"]), row["region"], row["slice"]


class AuditCased(MapTransform):
    """List and draw truth outside the lung and lesions that are predicted and not annotated; see ``findings``.

    After every case ``audit.csv`` (a row for each region and slice of all cases so far, largest area first; what is
    unknown is blank) and ``audit.png`` (the largest regions, each in its largest slice) are written anew, whole or not
    at all, so that an interrupted run keeps them. Without truth, all that is predicted is listed, and column ``truth``
    says ``none``. Masks may lie in any axis order; they are turned to LPS.

    A lung found by threshold misses consolidation at the chest wall, so that what the network predicts counts as lung
    there: truth is then outside where neither sees any.

    Args:
        keys: predicted label map, integers (1, X, Y, Z).
        output_dir: folder of the two files.
        metadata, classes: see ``common.report.styles.class_styles``; all but lung and background are lesions.
        scan_key: HU, (1, X, Y, Z) in LPS order.
        lung_key: mask, positive in the lung. The item's ``lung_from``, ``given`` or ``threshold``, goes to the table.
        probability_key: of lesion, 0..1, (1, X, Y, Z); may be absent.
        truth_key: annotated mask, (1, X, Y, Z); may be absent.
        truth_values: values of the truth that are lesions; None takes all above 0.
        margin, smallest: mm and mm2, see ``findings``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        scan_key: str = "scan",
        lung_key: str = "lung",
        probability_key: str = "probability",
        truth_key: str = "label",
        truth_values: Sequence[float] | None = None,
        margin: float = 3.0,
        smallest: float = 20.0,
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.lesions = [style.value for style in class_styles(metadata, classes) if style.is_lesion]
        self.scan_key, self.lung_key = scan_key, lung_key
        self.probability_key, self.truth_key, self.truth_values = probability_key, truth_key, truth_values
        self.limits = {"margin": margin, "smallest": smallest}
        self.to_lps = Orientation(axcodes="LPS", labels=None)
        self.rows: list[dict[str, Any]] = []
        self.cells: dict[Finding, Surroundings] = {}
        self.counts: Counter[str] = Counter()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compare, write, log one line.

        Raises:
            ValueError: for a case without a lung mask, or with a mask whose shape is not the scan's.
        """
        item = dict(data)
        case, scan = str(item["case"]), item[self.scan_key]
        affine, known = np.asarray(scan.affine), bool(scan.meta.get("spacing_known", True))
        hu, lung = scan[0].as_tensor().cpu().numpy(), self._array(item, self.lung_key)
        if lung is None:
            raise ValueError(f"{case}: an audit needs a lung mask, got none under {self.lung_key!r}. Give or make one.")
        truth, probability = self._array(item, self.truth_key), self._array(item, self.probability_key)
        if truth is not None:
            truth = truth > 0 if self.truth_values is None else np.isin(truth, self.truth_values)
        arrays = [hu, lung > 0, np.zeros(hu.shape, bool) if truth is None else truth]
        for key in self.keys:
            arrays[3:] = [np.isin(self._array(item, key), self.lesions)]
            if item.get("lung_from") == "threshold":
                arrays[1] = (lung > 0) | arrays[3]
            try:
                found = findings(truth, arrays[3], arrays[1], hu, probability, affine, known, **self.limits)
            except ValueError as error:
                raise ValueError(f"{case}: {error}") from error
            self._keep(case, found, arrays, nibabel.affines.voxel_sizes(affine)[:2] if known else np.ones(2))
            ends = {"truth": "none" if truth is None else "given", "lung_from": item.get("lung_from", "given")}
            rows = ({**vars(finding), "case": case, **ends} for finding in found)
            self.rows += [{name: row[name] for name in COLUMNS} for row in rows]  # without their pixels
            self._count(case, found, truth is not None, ends["lung_from"] == "threshold")
            self._write()
        return item

    def _array(self, item: Mapping[Hashable, Any], key: Hashable) -> Any:
        """Values (X, Y, Z) in LPS order; None where there are none."""
        mask = item.get(key)
        return None if mask is None else np.asarray(self.to_lps(mask)[0].cpu())

    def _keep(self, case: str, found: Sequence[Finding], arrays: Sequence[np.ndarray], pixel: np.ndarray) -> None:
        """Keep what the sheet shows: of each region its largest slice, of those the largest."""
        slices = {finding.region: finding for finding in sorted(found, key=lambda finding: finding.size)}
        shown = largest_findings([*self.cells, *slices.values()])
        self.cells = {each: self.cells.get(each) or crop_surroundings(case, each, arrays, pixel) for each in shown}

    def _count(self, case: str, found: Sequence[Finding], has_truth: bool, lung_made: bool) -> None:
        """Add a case to the numbers of the sheet, and log it."""
        texts = []
        for kind in KINDS:
            regions = {finding.region: finding.region_ml for finding in found if finding.kind == kind}
            known = [volume for volume in regions.values() if volume is not None]
            self.counts[kind] += len(regions)
            texts.append(
                (len(regions), "region" if len(regions) == 1 else "regions", f" ({sum(known):.1f} ml)" if known else "")
            )
        self.counts.update(cases=1, bare=int(not has_truth), made=int(lung_made))
        (outside, noun, volume), (missed, other_noun, other_volume) = texts
        line = (
            f"{outside} {noun} of truth outside the lung{volume}, {missed} predicted and not annotated{other_volume}."
        )
        if not has_truth:
            line = f"no truth given, so all that is predicted is listed: {missed} {other_noun}{other_volume}."
        elif lung_made and outside:
            line += " The lung was found by threshold, which can miss diseased lung at the wall: better give a mask."
        logger.info("%s: %s", case, line)

    def _write(self) -> None:
        """Both files, beside their places and then over them."""
        self.rows.sort(key=_largest_first)
        with whole_file(self.output_dir / "audit.csv") as table, table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        cases = f"{self.counts['cases']} case{'' if self.counts['cases'] == 1 else 's'}"
        numbers = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        rest = (
            f"; {SHOWN} are shown, the largest of each kind among them"
            if sum(self.counts[kind] for kind in KINDS) > SHOWN
            else ""
        )
        bare = f", {self.counts['bare']} without truth" if self.counts["bare"] else ""
        bare += f", {self.counts['made']} with a lung found by threshold" if self.counts["made"] else ""
        note = f"Regions: {numbers}{rest}" if self.cells else f"No findings in {cases}."
        with whole_file(self.output_dir / "audit.png") as sheet:
            draw_findings(sheet, self.cells, f"Annotation audit of {cases}{bare}", note)
