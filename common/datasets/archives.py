"""Scans in zip files, unpacked safely to a folder for the time of the run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

LARGEST = 16 * 2**30  # bytes of all files of an archive
RATIO = 200  # of unpacked to packed size; scans are packed to a half or a third


def unpacked(archive: Path) -> tuple[dict[Path, Path], str]:
    """Unpack an archive to a temporary folder, which is removed when the program ends.

    Members with absolute paths or ``..``, links and encrypted files are not unpacked.

    Returns:
        Path of each file and its name in the archive; or none, and why.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [each for each in content.infolist() if not each.is_dir()]
            size = sum(each.file_size for each in members)
            packed = sum(each.compress_size for each in members)
            if size > LARGEST or size > RATIO * max(packed, 1):
                return {}, f"zip that would unpack to {size / 2**30:.1f} GiB"
            if any(each.flag_bits & 1 for each in members):
                return {}, "encrypted zip"
            folder = Path(tempfile.mkdtemp(prefix="scans_"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            found: dict[Path, Path] = {}
            for each in members:
                name = PurePosixPath(each.filename.replace("\\", "/"))
                link = (each.external_attr >> 16) & 0o170000 == 0o120000
                if name.is_absolute() or ".." in name.parts or link or any(part.startswith(".") for part in name.parts):
                    continue
                if "__MACOSX" in name.parts:
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(each) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                found[target] = Path(name)
            return found, ""
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return {}, f"damaged zip ({type(error).__name__})"
