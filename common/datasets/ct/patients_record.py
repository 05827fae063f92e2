"""Which patients the weights have seen: ``patients.csv`` beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import sha256
from ...run.model_record import weights_files
from ...tables import read_csv, write_csv
from .slice_sets import Case

logger = logging.getLogger(__name__)
RECORD = "patients.csv"


def record_sets(sets: Mapping[str, Sequence[Case]], folder: str | Path, start: str | Path = "") -> None:
    """Record the patients that weights have seen: ``patients.csv`` with source, patient, set, slices and SHA-256.

    Args:
        sets: from ``slice_sets``; the test is not recorded.
        folder: of the weights.
        start: weights that training started from; their own record is included.

    Raises:
        ValueError: when there is nothing to train on.
    """
    if not sets["training"]:
        raise ValueError("There is no slice to train on: all cases are in the set test. Change the table's column set.")
    rows = read_record(start) if str(start) else []
    for name in ("training", "validation"):
        files: dict[str, list[Case]] = {}
        for case in sets[name]:
            files.setdefault(str(case["image"]), []).append(case)
        rows += [
            {
                **{"source": cases[0]["source"], "patient": cases[0]["patient"], "set": name},
                **{"slices": str(len(cases)), "sha256": sha256(Path(path))},
            }
            for path, cases in files.items()
        ]
    columns = ["source", "patient", "set", "slices", "sha256"]
    write_csv(Path(folder) / RECORD, columns, ([row[column] for column in columns] for row in rows))


def read_record(weights: str | Path) -> list[dict[str, str]]:
    """Read ``patients.csv`` beside the weights; empty if there is no such file."""
    path = Path(weights).with_name(RECORD)
    return read_csv(path) if path.is_file() else []


def warn_of_shared_patients(cases: Sequence[Case], weights: Any, use: str = "test") -> list[str]:
    """Warn of patients that the weights were trained or validated on.

    Patients are compared by the content of their image files, not by name.

    Args:
        cases: to be used, with ``image``, ``source`` and ``patient``.
        weights: the checkpoint, or the members of an ensemble, with ``patients.csv`` beside each.
        use: purpose of the cases, for the message.

    Returns:
        The shared patients, as source/patient.
    """
    files = weights_files(weights, several=True)
    seen = {row["sha256"]: f"{row['source']}/{row['patient']}" for file in files for row in read_record(file)}
    if not seen:
        logger.info("%s has no %s beside it: it is unknown whether it has seen these patients.", weights, RECORD)
        return []
    shared = []
    for path, case in {str(case["image"]): case for case in cases}.items():
        earlier = seen.get(sha256(Path(path)))
        if earlier is not None:
            name = f"{case['source']}/{case['patient']}"
            shared.append(name if name == earlier else f"{name} (there {earlier})")
    if shared:
        logger.warning(
            "The weights have seen %d patients of the %s, so the scores are too high: %s. Use other patients.",
            *(len(shared), use, ", ".join(shared)),
        )
    return shared
