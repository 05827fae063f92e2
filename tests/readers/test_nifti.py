"""NIfTI: the affine that is stated soundly, and files that are no scans."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from common.readers.ct import read

QFORM = np.diag([-0.7, -0.8, 2.5, 1.0])
SFORM = np.array([[0.0, -0.8, 0, 20], [0.7, 0, 0, -30], [0, 0, 2.5, 7], [0, 0, 0, 1]])
BROKEN = {
    "zeros": np.diag([0.0, 0, 0, 1]),
    "flat": np.diag([0.7, 0.8, 0, 1]),
    "nan": np.full((4, 4), np.nan),
}


def saved(path: Path, sform: np.ndarray | None, sform_code: int, qform: np.ndarray | None, qform_code: int) -> Path:
    """A small volume with the given forms, written into the header's bytes where nibabel refuses them."""
    image = nibabel.Nifti1Image(np.arange(64 * 3, dtype=np.int16).reshape(8, 8, 3), QFORM)
    image.header.set_qform(QFORM if qform is None else qform, qform_code)
    image.header.set_sform(None, 0)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[252:256] = np.array([qform_code, sform_code], "<i2").tobytes()
    if sform is not None:
        raw[280:328] = sform[:3].astype("<f4").tobytes()
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("sform", "sform_code", "qform_code", "expected"),
    [
        (SFORM, 1, 1, SFORM),
        (SFORM, 2, 1, SFORM),
        (SFORM, 1, 0, SFORM),
        (SFORM, 0, 1, QFORM),
        (BROKEN["zeros"], 1, 1, QFORM),
        (BROKEN["flat"], 1, 1, QFORM),
        (BROKEN["nan"], 2, 1, QFORM),
    ],
)
def test_the_sound_form_is_taken(
    tmp_path: Path, sform: np.ndarray, sform_code: int, qform_code: int, expected: np.ndarray
) -> None:
    scan = read(saved(tmp_path / "scan.nii", sform, sform_code, None, qform_code))
    np.testing.assert_allclose(scan.affine, expected, atol=1e-5)


@pytest.mark.parametrize(("sform", "code"), [(None, 0), (BROKEN["zeros"], 1)])
def test_without_a_form_the_orientation_must_be_declared(tmp_path: Path, sform: np.ndarray | None, code: int) -> None:
    path = saved(tmp_path / "scan.nii", sform, code, None, 0)
    with pytest.raises(
        ValueError, match=r"scan\.nii: its header states no orientation .*--orientation, for example LAS"
    ):
        read(path)
    for letters, expected in (("LAS", np.diag([-0.7, 0.8, 2.5, 1])), ("RAS", np.diag([0.7, 0.8, 2.5, 1]))):
        np.testing.assert_allclose(read(path, orientation=letters).affine, expected, atol=1e-5)
    # Rows run to the patient's left, columns to posterior: 0.7 mm of the first axis lie along y
    turned = read(path, orientation="PLS").affine
    np.testing.assert_allclose(turned, [[0, -0.8, 0, 0], [-0.7, 0, 0, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]], atol=1e-5)
    for letters in ("LA", "LRS", "XYZ"):
        with pytest.raises(ValueError, match="--orientation is three letters such as LAS or RAS"):
            read(path, orientation=letters)


def test_a_stated_orientation_is_kept_whatever_is_declared(tmp_path: Path) -> None:
    path = saved(tmp_path / "scan.nii", SFORM, 1, None, 1)
    np.testing.assert_allclose(read(path, orientation="LAS").affine, SFORM, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [(np.complex64, "got complex ones"), ([("R", "u1"), ("G", "u1"), ("B", "u1")], r"got colours \(R, G, B\)")],
)
def test_complex_numbers_and_colours_are_refused(tmp_path: Path, dtype: object, reason: str) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 3), dtype), QFORM), tmp_path / "scan.nii")
    with pytest.raises(ValueError, match=rf"scan\.nii: .*{reason}"):
        read(tmp_path / "scan.nii")


def test_an_impossible_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path / "scan.nii", SFORM, 1, None, 1)
    raw = bytearray(path.read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"scan\.nii: its header states 30000 x 30000 x 30000 voxels"):
        read(path)


def test_every_number_type_gives_the_same_hu(tmp_path: Path) -> None:
    """Stored values with slope 0.5 and intercept -1024, floats, big-endian, NIfTI-2, further axes of length 1."""
    hu = np.arange(-1000, -1000 + 8 * 8 * 3).reshape(8, 8, 3)
    images = {
        "float64": nibabel.Nifti1Image(hu.astype(np.float64), QFORM),
        "big": nibabel.Nifti1Image(hu.astype(">i2"), QFORM, nibabel.Nifti1Header(endianness=">")),
        "nifti2": nibabel.Nifti2Image(hu.astype(np.int16), QFORM),
        "fifth": nibabel.Nifti1Image(hu.astype(np.int16)[..., None, None], QFORM),
        "stored": nibabel.Nifti1Image(((hu + 1024) * 2).astype(np.int16), QFORM),
    }
    for name, image in images.items():
        nibabel.save(image, tmp_path / f"{name}.nii")
    raw = bytearray((tmp_path / "stored.nii").read_bytes())
    raw[112:120] = np.array([0.5, -1024], "<f4").tobytes()
    (tmp_path / "stored.nii").write_bytes(raw)
    nibabel.save(nibabel.Nifti1Pair(hu.astype(np.int16), QFORM), tmp_path / "pair.img")
    for path in (*(tmp_path / f"{name}.nii" for name in images), tmp_path / "pair.img"):
        scan = read(path)
        np.testing.assert_array_equal(scan[0].numpy(), hu, err_msg=path.name)
        np.testing.assert_allclose(scan.affine, QFORM, atol=1e-6)
