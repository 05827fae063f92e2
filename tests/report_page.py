"""A finished inference over phantoms, whose report can be looked at: ``python tests/report_page.py FOLDER``.

Its masks are the phantoms' own labels, so that no weights are needed. One case has failed, and one has a name that
would be HTML (none of the picture in the docs).
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from common.phantoms.ct.chest_ct import chest_ct
from common.report.case import ReportCased
from common.report.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
METADATA = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
CLASSES = ["ground-glass", "consolidation", "lung", "background"]
NASTY = "<script>alert(1)\"'><img src=x onerror=alert(2)>&amp;"
FAILED, REASON = "patient_6", "patient_6: slices are missing between 3 and 4 (gap 15.0 mm). Copy the series again."
NOTE = "slice spacing deviates by 0.08 mm"


def finished_run(folder: Path, size: tuple[int, int] = (96, 96), slices: int = 8, fourth: str = NASTY) -> Path:
    """Write the outputs of an inference over six phantoms, and return its report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({
        "command": "python -m monai.bundle run --dataset_dir phantoms </script>",
        "started": "2026-03-01T09:00:00+0000",
        "not_read": {"notes.txt": "unknown format"},
    }))  # fmt: skip
    settings = {"threshold": 0.5, "size": [512, 512], "model": {"_target_": "x"}, "weights": "$os.path"}
    (folder / "config.json").write_text(json.dumps(settings))
    ledger = Ledger(folder / "lesions.json", metadata=METADATA, settings={})
    report = ReportCased("pred", folder, METADATA, CLASSES, ledger=ledger)
    ledger.start()
    for number in range(6):
        item = case(number, size, slices)
        if number == 4:
            item["case"] = fourth
        if number == 2:
            item["notes"] = NOTE
        if number == 5:
            item["pred"] *= 0
            item["scan"] = item["scan"] * 0  # no lung
        report(item)
    ledger.finish({FAILED: REASON})
    return folder / "report.html"


def case(number: int, size: tuple[int, int], slices: int) -> dict[str, Any]:
    """A phantom with its labels as prediction, as inference has it at its last step."""
    phantom = chest_ct(number, size=size, slices=slices)
    mask = np.where(phantom.lesion > 0, phantom.lesion, 3 * phantom.lung).astype(np.uint8)
    affine = torch.diag(torch.tensor([-phantom.spacing[0], -phantom.spacing[1], phantom.spacing[2], 1.0]))
    return {
        "case": f"CT-{number % 5}/patient_{number}",
        "scan": MetaTensor(torch.from_numpy(phantom.image)[None], affine=affine),
        "pred": MetaTensor(torch.from_numpy(mask)[None], affine=affine),
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    print(finished_run(Path(sys.argv[1]), size=(256, 256), slices=30, fourth="CT-4/patient_4"))
