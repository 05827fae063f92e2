"""A study of a PACS through a bundle, and its results back."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom

from ..dicomweb.server import Server
from ..report.dicom.save import ENDINGS
from ..run.steps import run_step

logger = logging.getLogger(__name__)

LEDGER = "lesions.json"  # of an inference
MODALITY = "CT"
KINDS = {"SEG": "segmentation", "SR": "structured report", "OT": "overlay"}  # by modality


def infer_study(
    server: Server, study: str, bundle: Path, outputs: Sequence[str], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fetch the CT series of a study, segment what the bundle chooses of them, and store the results.

    Nothing of the study stays on this computer. All objects of the study are stored in one request, after all of them
    are made; their UIDs are a function of source, weights and result, so that a second run stores nothing twice.

    Args:
        server: that holds the study.
        study: its UID.
        bundle: folder of a CT bundle.
        outputs: ``seg``, and ``sr`` and ``overlay`` if wanted.
        settings: further options of the bundle's inference, such as ``weights``.

    Returns:
        ``study``, ``objects`` (stored now), ``there`` (number of those that were stored before), ``seconds``.

    Raises:
        ServerError: for what the server does not do.
        ValueError: if the study has no CT, or none of its series can be segmented.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pacs-") as made:
        source, target = Path(made) / "study", Path(made) / "out"
        server.fetch_study(study, source, MODALITY)
        options = {"dataset_dir": str(source), "output_dir": str(target), "outputs": list(outputs)}
        run_step("run", [str(bundle / "configs" / "inference.yaml")], {**options, **dict(settings or {})})
        paths = sorted(path for ending in ENDINGS for path in target.rglob(f"*{ending}"))
        if not paths:
            raise ValueError(f"Study {study}: no DICOM object was made. {_reasons(target)}".rstrip())
        stored = set(server.send(paths))
        objects = [
            {"kind": KINDS.get(each.Modality, "object"), "uid": str(each.SOPInstanceUID)}
            for each in (pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
        ]
    new = [each for each in objects if each["uid"] in stored]
    for each in new:
        logger.info("Stored: %s %s.", each["kind"], each["uid"])
    there = len(objects) - len(new)
    if there:
        logger.info("%d of %d objects were in the PACS before.", there, len(objects))
    return {"study": study, "objects": new, "there": there, "seconds": round(time.monotonic() - start, 1)}


def _reasons(output: Path) -> str:
    """What the inference noted on its cases."""
    if not (output / LEDGER).is_file():
        return ""
    cases = json.loads((output / LEDGER).read_text(encoding="utf-8"))["cases"]
    return "; ".join(dict.fromkeys(str(note) for case in cases for note in case["warnings"]))
