"""The record of a self-learning run, and the folders of its levels."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import complete_file
from ..settings import check_same

logger = logging.getLogger(__name__)

RECORD = "self_learning.json"
RESULTS = ("scores.csv", "agreement.csv", "self_learning.png")


def level_folder(output_dir: Path, number: int) -> Path:
    """Folder of a level, counted from 1."""
    return output_dir / f"level_{number}"


def labels_folder(output_dir: Path, number: int) -> Path:
    """Folder of the labels that a level made, in the Radiopaedia layout; those of level 0 are the pseudo-labels."""
    return level_folder(output_dir, number) / "labels" if number else output_dir / "pseudo_labels"


def start_record(output_dir: Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """The record of an earlier run to continue, or a new one.

    Args:
        output_dir: folder of the run.
        settings: of this run, ``levels`` among them.
        resume: continue the run that the folder holds. If False, everything that an earlier run wrote is removed.

    Returns:
        ``settings``; ``sets`` of cases; ``left_out``, the reason by case; ``finished`` stages.

    Raises:
        ValueError: if the earlier run had other settings; further levels may follow its own.
    """
    path, now = output_dir / RECORD, json.loads(json.dumps(settings))
    if resume and path.is_file():
        record = json.loads(path.read_text())
        before = record["settings"]
        same_levels = {**now, "levels": now["levels"][: len(before["levels"])]}
        check_same(before, same_levels, output_dir, "self-learning", "start again without --resume")
        return {**record, "settings": now}
    if path.is_file():
        logger.warning(
            "Starting again: labels and levels in %s are removed. Use --resume True to continue.", output_dir
        )
        _remove(output_dir, levels=len(json.loads(path.read_text())["settings"]["levels"]))
    elif resume:
        logger.warning("Resume: no %s yet, so self-learning starts from the beginning.", path)
    return {"settings": now, "sets": {}, "left_out": {}, "finished": []}


def save_record(output_dir: Path, record: Mapping[str, Any]) -> None:
    """Write the record, completely or not at all."""
    with complete_file(output_dir / RECORD) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def _remove(output_dir: Path, levels: int) -> None:
    """Remove the outputs of an earlier run, its record first."""
    (output_dir / RECORD).unlink()
    numbers = range(1, levels + 1)
    folders = [labels_folder(output_dir, 0), output_dir / "truth", *(level_folder(output_dir, n) for n in numbers)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for name in RESULTS:
        (output_dir / name).unlink(missing_ok=True)
