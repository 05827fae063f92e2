"""The ledger of CT inference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..readers.itk import data_files
from ..readers.refused import Refused
from .ledger import Ledger


class ScanLedger(Ledger):
    """A ``Ledger`` that counts the data beside a header as input: ``.raw`` of MetaImage and NRRD, ``.hdr`` of NIfTI."""

    def files(self, case: Mapping[str, Any]) -> dict[str, list[Path]]:
        """Input files of a case by key, data files included."""
        return {key: [*paths, *beside(paths)] for key, paths in super().files(case).items()}


def beside(paths: list[Path]) -> list[Path]:
    """Files that hold what the given ones lack; empty if they are complete, or cannot be read."""
    found = []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in (".mhd", ".nhdr"):
            try:
                found += data_files(path)
            except (OSError, Refused):
                continue
        elif suffix in (".img", ".hdr"):
            other = path.with_suffix(".hdr" if suffix == ".img" else ".img")
            found += [other] if other.is_file() else []
    return found
