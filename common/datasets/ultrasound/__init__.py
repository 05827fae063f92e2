"""Lung ultrasound datasets by what their cases are labelled with. A new public source is added here.

Each function lists the cases of a folder as dicts with ``image`` (path), ``label``, ``case``, ``patient`` (None where
the source names none) and ``source``. ``root`` is the folder that a public source was unpacked to, or ``phantom`` for
synthetic patients. ``datalist`` is a table of your own cases in place of the folder (see
``common.datasets.table.own_cases``). All raise FileNotFoundError when the folder is missing, has another layout, or an
image lacks its label, and ValueError for rows of a table that cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...phantoms.ultrasound.folder import phantom_dir
from ...settings import check_names
from ..sources import Layout, find_cases
from ..table import NONE, given_table, own_cases, read_label_map, with_options
from . import diagnosis_sources, pixel_label_sources

PIXEL_LABELS = {
    "Semantic Lung": Layout(pixel_label_sources.semantic_lung, "images/<patient>_*.png, labels/<patient>_*.png"),
    "CVAT frames": Layout(pixel_label_sources.cvat_frames, "frames/fNNN.png, masks/fNNN.png, annotations.json"),
}
PHANTOMS = {"phantom": {"layout": "semantic_lung"}, "phantom_varied": {"layout": "varied"}}
DIAGNOSES = {
    "Manifest": Layout(
        diagnosis_sources.manifest, "manifest.csv with columns file, label, patient; or sub-folders with one each"
    ),
    "POCUS": Layout(
        diagnosis_sources.pocus, "pocus_videos/{convex,linear}, pocus_images/{convex,linear}, dataset_metadata.csv"
    ),
    "Folders by class": Layout(diagnosis_sources.class_folders, "normal/, pneumonia/, covid-19/ with <patient>/<file>"),
}


def pixel_labels(
    root: str | Path, datalist: str | Path = NONE, label_map: Any = None, phantoms: str = "phantom"
) -> list[dict[str, Any]]:
    """Images whose ``label`` is the path of an index picture: Semantic Lung, or frames with masks drawn in CVAT.

    Args:
        root: see above.
        datalist: see above.
        label_map: class of each value in label images, see ``common.datasets.table.read_label_map``; by default those
            that the config declares.
        phantoms: which synthetic patients the ``root`` ``phantom`` stands for: ``phantom``, four as in the paper, or
            ``phantom_varied``, 96 with both probes and all diagnoses.

    Raises:
        ValueError: for other ``phantoms``.
    """
    check_names("source of synthetic patients", [phantoms], PHANTOMS)
    values = read_label_map(label_map)
    if given_table(datalist, root):
        return with_options(own_cases(datalist, "mask"), values, False)
    source = phantoms if str(root) == "phantom" else ""
    return with_options(find_cases(root, PIXEL_LABELS, PHANTOMS, phantom_dir, source), values, False)


def diagnoses(root: str | Path, datalist: str | Path = NONE) -> list[dict[str, Any]]:
    """Images and clips whose ``label`` is a diagnosis: a table of files, POCUS, or a folder for each diagnosis.

    Args:
        root: see above.
        datalist: see above; ``label`` is a diagnosis, as in ``manifest.csv``.
    """
    if given_table(datalist, root):
        return own_cases(datalist, "class", diagnosis_sources.LABELS)
    return find_cases(root, DIAGNOSES, {"phantom": {"layout": "pocus"}}, phantom_dir)
