"""Lung ultrasound with pixel labels: the Semantic Lung layout, and frames with masks drawn in CVAT."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..pairs import partners

logger = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
CVAT_VALUES = {"background": 0, "pleural line": 1, "A-line": 2}
CVAT_NAMES = {"lungslidingpresent": "pleural line", "aline": "A-line"}  # CVAT's label names in annotations.json


def semantic_lung(root: Path) -> list[dict[str, Any]]:
    """Semantic Lung (Gare et al., section 2.2): images/<patient>_*.png, labels/<patient>_*.png.

    Labels are index images; the config declares which index is which class. The patient is the part of the name before
    the first underscore.

    Raises:
        ValueError: for a name without underscore.
    """
    if not (root / "images").is_dir() or not (root / "labels").is_dir():
        return []
    cases = []
    for name, (image, label) in sorted(partners(root / "images", root / "labels", PICTURES, (".png",)).items()):
        patient, underscore, _ = name.partition("_")
        if not underscore:
            raise ValueError(
                f"{image}: a name must begin with the patient and an underscore, as in A_01.png. Rename it."
            )
        cases.append({"image": image, "label": label, "patient": patient, "case": name, "source": "semantic lung"})
    return cases


def cvat_frames(root: Path) -> list[dict[str, Any]]:
    """Frames of one clip with masks drawn in CVAT (Hliboky et al.): frames/fNNN.png, masks/fNNN.png, annotations.json.

    Masks hold 0 background, 1 pleural line, 2 A-line. Frames without a drawn pleural line are left out, because its
    pixels would count as background. The clip is of one patient, whom the source does not name.
    """
    annotations = root / "annotations.json"
    if not annotations.is_file() or not (root / "frames").is_dir():
        return []
    drawn: dict[int, set[str]] = {}
    try:
        for shape in json.loads(annotations.read_text(encoding="utf-8-sig"))[0]["shapes"]:
            drawn.setdefault(int(shape["frame"]), set()).add(CVAT_NAMES.get(shape["label"], shape["label"]))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{annotations}: must hold shapes with frame and label, as CVAT exports them, got other content. Export it "
            "again."
        ) from error
    complete = {f"f{frame:03d}" for frame, names in drawn.items() if names >= set(CVAT_NAMES.values())}
    pairs = partners(root / "frames", root / "masks", PICTURES, (".png",))
    left_out = sorted(set(pairs) - complete)
    if left_out:
        logger.info("%d of %d frames have no label of the pleural line and are left out.", len(left_out), len(pairs))
    return [
        {
            **{"image": image, "label": label, "case": name, "patient": None, "source": "cvat"},
            "label_values": CVAT_VALUES,
        }
        for name, (image, label) in sorted(pairs.items())
        if name in complete
    ]
