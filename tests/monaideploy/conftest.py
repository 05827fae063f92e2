"""Packages, and a DICOM series in the folder that mercure would give."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from ct_files import LPS, write_volume


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--packages", type=Path, required=True, help="folder that small_packages.py has written")


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    """Packages of all bundles, and a scan."""
    folder: Path = request.config.getoption("--packages")
    return folder.resolve()


@pytest.fixture(scope="session")
def unpacked(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    for package in sorted(packages.glob("*.zip")):
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def series(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oblique scan as an axial DICOM series of square pixels, and the file that mercure adds."""
    folder = tmp_path_factory.mktemp("incoming")
    scan = nibabel.load(packages / "ct.nii.gz")
    affine = scan.affine.copy()
    affine[:3, 1] *= np.linalg.norm(affine[:3, 0]) / np.linalg.norm(affine[:3, 1])
    named = {
        "SeriesNumber": 1,
        "StudyID": "1",
        "AccessionNumber": "1",
        "Manufacturer": "none",
        "StudyDescription": "CT",
    }
    dated = {
        f"{level}{kind}": "20260101" if kind == "Date" else "120000"
        for level in ("Study", "Series")
        for kind in ("Date", "Time")
    }
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PositionReferenceIndicator": ""}
    person = {"PatientName": "A^B", "PatientBirthDate": "", "PatientSex": "", "ReferringPhysicianName": ""}
    write_volume(folder, np.asarray(scan.dataobj), LPS @ affine, **named, **dated, **kind, **person)
    (folder / "task.json").write_text("{}")
    return folder
