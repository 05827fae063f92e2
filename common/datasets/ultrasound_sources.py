"""Where ultrasound cases come from: public layouts by task, and the synthetic patients that stand for them."""

from __future__ import annotations

from typing import Any

from . import ultrasound_diagnoses, ultrasound_labels
from .sources import Layouts

LAYOUTS: dict[str, Layouts] = {
    "ultrasound labels": {
        "Semantic Lung": (ultrasound_labels.semantic_lung, "images/<patient>_*.png, labels/<patient>_*.png"),
        "CVAT frames": (ultrasound_labels.cvat_frames, "frames/fNNN.png, masks/fNNN.png, annotations.json"),
    },
    "ultrasound diagnoses": {
        "Manifest": (ultrasound_diagnoses.manifest, "manifest.csv with columns file, label, patient"),
        "POCUS": (
            ultrasound_diagnoses.pocus,
            "pocus_videos/{convex,linear}, pocus_images/{convex,linear}, dataset_metadata.csv",
        ),
        "Folders by class": (
            ultrasound_diagnoses.class_folders,
            "normal/, pneumonia/, covid-19/ with <patient>/<file>",
        ),
    },
}
PHANTOMS: dict[str, dict[str, dict[str, Any]]] = {  # by task and word: settings of common.phantoms.phantom_dir
    "ultrasound labels": {"phantom": {"layout": "semantic_lung"}},
    "ultrasound diagnoses": {"phantom": {"layout": "pocus"}},
}
