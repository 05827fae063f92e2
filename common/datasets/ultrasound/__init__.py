"""Lung ultrasound datasets by what their cases are labelled with. A new public source is added here.

Each function lists the cases of a folder as dicts with ``image`` (path), ``label``, ``case``, ``patient`` (None where
the source names none) and ``source``. ``root`` is the folder that a public source was unpacked to, or ``phantom`` for
synthetic patients. All raise FileNotFoundError when the folder is missing, has another layout, or an image lacks its
label.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...phantoms.ultrasound.folder import phantom_dir
from ..sources import Layout, find_cases
from . import diagnosis_sources, pixel_label_sources

PIXEL_LABELS = {
    "Semantic Lung": Layout(pixel_label_sources.semantic_lung, "images/<patient>_*.png, labels/<patient>_*.png"),
    "CVAT frames": Layout(pixel_label_sources.cvat_frames, "frames/fNNN.png, masks/fNNN.png, annotations.json"),
}
DIAGNOSES = {
    "Manifest": Layout(diagnosis_sources.manifest, "manifest.csv with columns file, label, patient"),
    "POCUS": Layout(
        diagnosis_sources.pocus, "pocus_videos/{convex,linear}, pocus_images/{convex,linear}, dataset_metadata.csv"
    ),
    "Folders by class": Layout(diagnosis_sources.class_folders, "normal/, pneumonia/, covid-19/ with <patient>/<file>"),
}


def pixel_labels(root: str | Path) -> list[dict[str, Any]]:
    """Images whose ``label`` is the path of an index picture: Semantic Lung, or frames with masks drawn in CVAT."""
    return find_cases(root, PIXEL_LABELS, {"phantom": {"layout": "semantic_lung"}}, phantom_dir)


def diagnoses(root: str | Path) -> list[dict[str, Any]]:
    """Images and clips whose ``label`` is a diagnosis: a table of files, POCUS, or a folder for each diagnosis."""
    return find_cases(root, DIAGNOSES, {"phantom": {"layout": "pocus"}}, phantom_dir)
