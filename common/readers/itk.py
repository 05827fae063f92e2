"""MetaImage and NRRD, whose headers may name their data in another file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .reasons import printable
from .refused import Refused
from .volume import LPS_TO_RAS, Volume

HEADER = 65536  # bytes; the longest header that is searched
DATA_FILE = re.compile(rb"data\s*file\s*[=:]\s*([^\n]*?)\s*$", re.IGNORECASE | re.MULTILINE)  # as loosely as ITK


def read_itk(path: Path) -> Volume:
    """Read a MetaImage or NRRD volume in the order of the file.

    Returns:
        float32 with its RAS affine in mm.

    Raises:
        Refused: when the header names data outside its own folder, or a file that does not exist.
    """
    data_files(path)
    import itk  # here, because it takes a second to import and only MetaImage and NRRD need it

    image = itk.imread(str(path))
    if itk.template(image)[0] is itk.VectorImage or image.GetNumberOfComponentsPerPixel() > 1:
        raise Refused("a scan must hold one number per voxel, got several. Export HU.")
    values = np.ascontiguousarray(itk.array_view_from_image(image), np.float32).T  # (x, y, z)
    size = values.ndim
    affine = np.eye(4)
    directions = np.asarray(itk.array_from_matrix(image.GetDirection())) * np.asarray(image.GetSpacing())
    affine[:size, :size][:3, :3] = directions[:3, :3]
    affine[: min(size, 3), 3] = np.asarray(image.GetOrigin())[:3]
    return Volume(values, LPS_TO_RAS @ affine, {})


def data_files(path: Path) -> list[Path]:
    """Return the files that hold the data of a header; empty if the header's file holds them itself.

    Raises:
        Refused: as ``read_itk``.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
    is_nrrd = head.startswith(b"NRRD")
    found = DATA_FILE.findall(re.split(rb"\r?\n\r?\n", head)[0] if is_nrrd else head)
    if not found and len(head) == HEADER and (not is_nrrd or not re.search(rb"\n\r?\n", head)):
        raise Refused(f"its header does not end within {HEADER // 1024} KiB. Export it again.")
    files = []
    for match in found:
        name = printable(match.decode("utf-8", "replace"))
        if name.upper() in ("LOCAL", "INTERNAL"):
            continue
        if name.upper().startswith("LIST") or "%" in name:
            raise Refused(f"its data must be in one file, got {name!r}. Save the volume as one file.")
        if Path(name).name != name:
            raise Refused(
                f"its header names data outside its own folder ({name}), which are not read. Put both files into one "
                "folder, with the plain file name in the header."
            )
        if not (path.parent / name).is_file():
            raise Refused(f"its header names the data file {name}, which is not beside it. Copy both files.")
        files.append(path.parent / name)
    return files
