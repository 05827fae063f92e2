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
from ..report.dicom.objects import ENDINGS
from ..run.bundle_folder import modality_of, read_metadata
from ..run.errors import CasesFailed, origin
from ..run.steps import run_step
from ..statistics import counted

logger = logging.getLogger(__name__)

LEDGERS = {"CT": "lesions.json", "US": "cases.json"}  # of an inference, by the modality of the bundle
LACKING = "no DICOM "  # in the note on an object that could not be made
KINDS = {"SEG": "segmentation", "SR": "structured report", "OT": "overlay"}  # by modality


def infer_study(
    server: Server, study: str, bundle: Path, outputs: Sequence[str], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fetch the CT or the ultrasound of a study, run the bundle on what it chooses of it, and store the results.

    Nothing of the study stays on this computer. All objects of the study are stored in one request, after all of them
    are made; their UIDs are a function of source, weights and result, so that a second run stores nothing twice. A
    series or a clip that fails does not keep the results of the others from the PACS.

    Args:
        server: that holds the study.
        study: its UID.
        bundle: folder of the bundle.
        outputs: of CT ``seg``, ``sr``, ``overlay``; of ultrasound ``overlay``, ``sr``.
        settings: further options of the bundle's inference, such as ``weights``.

    Returns:
        ``study``, ``objects`` (stored now), ``there`` (number of those that were stored before), ``seconds``.

    Raises:
        ServerError: for what the server does not do.
        ValueError: if the study has nothing for this bundle, or no object can be made of it.
        CasesFailed: if some cases failed; the objects of the others are stored.
    """
    start, modality = time.monotonic(), modality_of(read_metadata(bundle))
    with tempfile.TemporaryDirectory(prefix="pacs-") as made:
        source, target = Path(made) / "study", Path(made) / "out"
        server.fetch_study(study, source, modality)
        options = {"dataset_dir": str(source), "output_dir": str(target), "outputs": list(outputs)}
        failure = _run(bundle, {**options, **dict(settings or {})})
        lacking = _reasons(target / LEDGERS[modality])
        paths = sorted(path for ending in ENDINGS for path in target.rglob(f"*{ending}"))
        if not paths:
            raise failure or ValueError(f"Study {study}: no DICOM object was made. {lacking}".rstrip())
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
    if failure is not None:
        raise CasesFailed(f"{failure}\nThe results of the others are in the PACS: {counted(len(objects), 'objects')}.")
    if lacking:
        raise CasesFailed(
            f"Study {study}: not everything could be made: {lacking}\nThe rest is in the PACS: "
            f"{counted(len(objects), 'objects')}."
        )
    return {"study": study, "objects": new, "there": there, "seconds": round(time.monotonic() - start, 1)}


def _run(bundle: Path, options: Mapping[str, Any]) -> CasesFailed | None:
    """Run a bundle's inference; what failed, if only some cases did."""
    try:
        run_step("run", [str(bundle / "configs" / "inference.yaml")], options)
    except Exception as error:  # MONAI wraps it
        cause = origin(error)
        if isinstance(cause, CasesFailed):
            return cause
        raise
    return None


def _reasons(ledger: Path) -> str:
    """Which objects an inference could not make, and why."""
    if not ledger.is_file():
        return ""
    cases = json.loads(ledger.read_text(encoding="utf-8"))["cases"]
    return "; ".join(dict.fromkeys(str(note) for case in cases for note in case["warnings"] if LACKING in str(note)))
