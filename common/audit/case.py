"""Outputs of an audit: a table and a figure of the places where the annotation should be read again.

Source: Maganaris et al., Evaluating transferability for COVID 3D localization using CT SARS-CoV-2 segmentation models,
section 4.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from nibabel.affines import voxel_sizes

from ..files import complete_file
from ..report.html.scores import write_findings_page
from ..report.scan_report import Scan, ScanReport, lps_array
from ..tables import write_csv
from .figure import SHOWN, Surroundings, crop_surroundings, draw_findings, largest_findings
from .findings import KINDS, Finding, findings

logger = logging.getLogger(__name__)

MEASURED = ("region", "region_ml", "slice", "area_mm2", "area_pixels", "mean_hu", "probability")
COLUMNS = ("case", "kind", *MEASURED, "x_mm", "y_mm", "z_mm", "column", "row", "truth", "lung_from")


def _largest_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Order of the table's rows; a pixel counts 1 mm2 if the spacing is unknown."""
    area = row["area_pixels"] if row["area_mm2"] is None else row["area_mm2"]
    return -area, row["case"], KINDS.index(row["kind"]), row["region"], row["slice"]


class AuditCased(ScanReport):
    """List and draw ground truth outside the lung, predicted lesions that are not annotated, and rejected ground truth.

    See ``findings`` for the three kinds.

    After every case, ``audit.csv`` and ``audit.png`` are written again, completely or not at all, so that an
    interrupted run keeps them. The table has a row for each region and slice of all cases so far, largest area first;
    unknown values are blank. The figure shows the largest regions, each in its largest slice. Without ground truth, all
    predicted lesions are listed, and the column ``truth`` says ``none``. Masks may lie in any axis order.

    A lung that was found, not given, may lack consolidation, so predicted lesions count as lung there. Ground
    truth then lies outside only if it is neither in the lung nor in a predicted lesion.

    It is also the ledger of ``common.datasets.inference.ScanDataset``: an audit takes all cases each time, and at its
    end ``finish`` writes ``report.html``.

    Args:
        keys: predicted label map, integers (1, X, Y, Z).
        output_dir: folder of the two files.
        metadata: path of the bundle's ``metadata.json``.
        classes: names of the classes; all but lung and background are lesions.
        scan_key: HU, (1, X, Y, Z) in LPS order.
        lung_key: mask, positive in the lung. The item's ``lung_from`` goes to the table.
        probability_key: of lesion, 0..1, (1, X, Y, Z); may be absent.
        truth_key: annotated mask, (1, X, Y, Z); may be absent.
        truth_values: values of the annotated mask that are lesions; None takes all above 0.
        margin: in mm, see ``findings``.
        smallest: area in mm2, see ``findings``.
        reject_below: probability, see ``findings``.
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
        reject_below: float = 0.1,
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes, scan_key)
        self.lung_key, self.probability_key = lung_key, probability_key
        self.truth_key, self.truth_values = truth_key, truth_values
        self.limits = {"margin": margin, "smallest": smallest, "reject_below": reject_below}
        self.rows: list[dict[str, Any]] = []
        self.shown: dict[Finding, Surroundings] = {}
        self.counts: Counter[str] = Counter()
        self.done: set[str] = set()

    def __contains__(self, case: str) -> bool:
        return case in self.done

    def start(self, cases: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Take all cases."""
        return cases

    def begin(self, case: Mapping[str, Any]) -> None:
        """Nothing is kept of an earlier run."""

    def finish(self, failures: Mapping[str, str]) -> None:
        """Write ``report.html``: all findings, and the cases that failed."""
        lines, figures = self._summary(), [self.output_dir / "audit.png"]
        write_findings_page(self.output_dir, COLUMNS[1:], self.rows, lines, figures, failures, "kind")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compare, write, log one line.

        Raises:
            ValueError: for a case without a lung mask, or with a mask whose shape is not the scan's.
        """
        item = dict(data)
        case, scan = str(item["case"]), self.scan(item)
        lung, truth, probability = (
            None if item.get(key) is None else lps_array(item[key])
            for key in (self.lung_key, self.truth_key, self.probability_key)
        )
        if lung is None:
            raise ValueError(f"{case}: an audit needs a lung mask, got none under {self.lung_key!r}. Give or make one.")
        if truth is not None:
            truth = truth > 0 if self.truth_values is None else np.isin(truth, self.truth_values)
        sources = {"truth": "none" if truth is None else "given", "lung_from": item.get("lung_from", "given")}
        for key in self.keys:
            predicted = np.isin(lps_array(item[key]), list(self.lesions.values()))
            inside = lung > 0 if sources["lung_from"] == "given" else (lung > 0) | predicted
            try:
                found = findings(
                    truth, predicted, inside, scan.hu, probability, scan.affine, scan.spacing_known, **self.limits
                )
            except ValueError as error:
                raise ValueError(f"{case}: {error}") from error
            annotated = np.zeros(scan.hu.shape, bool) if truth is None else truth
            self._keep(case, found, scan, [inside, annotated, predicted])
            rows = ({**vars(finding), "case": case, **sources} for finding in found)
            self.rows += [{name: row[name] for name in COLUMNS} for row in rows]  # without their pixels
            self._count(case, found, sources)
            self._write()
        self.done.add(case)
        return item

    def _keep(self, case: str, found: Sequence[Finding], scan: Scan, masks: Sequence[np.ndarray]) -> None:
        """Keep what the figure shows: the largest regions, each in its largest slice."""
        pixel = voxel_sizes(scan.affine)[:2] if scan.spacing_known else np.ones(2)
        slices = {finding.region: finding for finding in sorted(found, key=lambda finding: finding.size)}
        shown = largest_findings([*self.shown, *slices.values()])
        arrays = [scan.hu, *masks]
        self.shown = {each: self.shown.get(each) or crop_surroundings(case, each, arrays, pixel) for each in shown}

    def _count(self, case: str, found: Sequence[Finding], sources: Mapping[str, str]) -> None:
        """Add a case to the numbers of the figure, and log it."""
        outside, missed, rejected = (_regions(kind, found) for kind in KINDS)
        without_truth, found_lung = sources["truth"] == "none", sources["lung_from"] != "given"
        self.counts.update(dict(zip(KINDS, (outside.count, missed.count, rejected.count), strict=True)))
        self.counts.update(cases=1, without_truth=int(without_truth), found_lung=int(found_lung))
        line = (
            f"{outside} of truth outside the lung, {missed} predicted but not annotated, {rejected} of truth rejected."
        )
        if without_truth:
            line = f"no truth was given, so all predicted lesions are listed: {missed}."
        elif found_lung and outside.count:
            line += f" The lung was found by {sources['lung_from']}, which can miss diseased lung: better give a mask."
        logger.info("%s: %s", case, line)

    def _write(self) -> None:
        """Write both files."""
        self.rows.sort(key=_largest_first)
        write_csv(self.output_dir / "audit.csv", COLUMNS, (list(row.values()) for row in self.rows), form="")
        with complete_file(self.output_dir / "audit.png") as part:
            draw_findings(part, self.shown, *self._summary())

    def _summary(self) -> tuple[str, str]:
        """How many cases were audited, and what was found."""
        counts = self.counts
        title = f"Annotation audit of {counts['cases']} case{'' if counts['cases'] == 1 else 's'}"
        title += f", {counts['without_truth']} without truth" if counts["without_truth"] else ""
        title += f", {counts['found_lung']} without lung mask" if counts["found_lung"] else ""
        note = f"Regions: {', '.join(f'{counts[kind]} {kind}' for kind in KINDS)}" if self.shown else "No findings."
        if sum(counts[kind] for kind in KINDS) > SHOWN:
            note += f"; {SHOWN} are shown, the largest of each kind among them"
        return title, note


@dataclass(frozen=True)
class _Regions:
    """The regions of one kind in a case: how many, and their volume in ml, None if it is unknown."""

    count: int
    ml: float | None

    def __str__(self) -> str:
        volume = "" if self.ml is None else f" ({self.ml:.1f} ml)"
        return f"{self.count} region{'' if self.count == 1 else 's'}{volume}"


def _regions(kind: str, found: Sequence[Finding]) -> _Regions:
    volumes = {finding.region: finding.region_ml for finding in found if finding.kind == kind}
    known = [volume for volume in volumes.values() if volume is not None]
    return _Regions(len(volumes), sum(known) if known else None)
