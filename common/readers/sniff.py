"""Tell DICOM by content: its files are often named by a UID, ``slice.001`` or ``IM0001``."""

from __future__ import annotations

from pathlib import Path

import pydicom

DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, the index of a disc
GROUPS = (b"\x08\x00", b"\x02\x00")  # a DICOM file without preamble starts with one of these groups


def is_dicom(path: Path) -> bool:
    """Whether a file holds DICOM: by its preamble, else by parsing its start."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
        if head[128:] == b"DICM":
            return True
        if head[:2] not in GROUPS or len(head) < 132:
            return False
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "Rows"], force=True)
    except Exception:  # the file cannot be opened, or whatever pydicom raises for one of another kind
        return False
    return "SOPClassUID" in header
