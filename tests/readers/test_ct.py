"""Scans of any format are read into one form; bad files are refused by name."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from ct_files import write_dicom, write_series
from monai.transforms import Orientation
from PIL import Image

from common.readers.ct import read
from common.readers.scan import picture_affine


def test_a_dicom_series_and_the_same_nifti_give_one_volume(tmp_path: Path, hu: np.ndarray) -> None:
    write_series(tmp_path / "series", hu)
    affine = np.diag([-0.7, -0.8, 2.5, 1.0])  # columns run to the left, rows to posterior
    affine[:3, 3] = [100.0, 80.0, 0.0]
    nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), affine), tmp_path / "volume.nii.gz")
    lps = Orientation(axcodes="LPS", labels=None)
    series = lps(read(sorted((tmp_path / "series").iterdir())))
    volume = lps(read(tmp_path / "volume.nii.gz"))
    assert np.array_equal(series.numpy(), volume.numpy())
    np.testing.assert_allclose(series.affine, volume.affine, atol=1e-5)
    assert np.array_equal(volume[0, :, :, 1].numpy().T, hu[1]), "LPS: columns first, rows second, slices upwards"


@pytest.mark.parametrize(("thickness", "known"), [(2.5, True), (None, False)])
def test_a_slice_alone_has_the_depth_of_its_thickness(
    tmp_path: Path, hu: np.ndarray, thickness: float | None, known: bool
) -> None:
    write_dicom(tmp_path / "alone.dcm", hu[0], series="1.2.9", z=7.0, instance=1)
    dataset = pydicom.dcmread(tmp_path / "alone.dcm")
    dataset.SliceThickness = thickness
    dataset.save_as(tmp_path / "alone.dcm")
    scan = read(tmp_path / "alone.dcm")
    assert scan.meta["spacing_known"] is known
    if known:
        np.testing.assert_allclose(nibabel.affines.voxel_sizes(np.asarray(scan.affine)), [0.7, 0.8, 2.5], atol=1e-6)


def test_a_missing_slice_in_a_series_is_refused(tmp_path: Path, hu: np.ndarray) -> None:
    write_series(tmp_path / "series", hu)
    (tmp_path / "series" / "001.dcm").unlink()
    with pytest.raises(
        ValueError, match=r"series: 1 slice is missing: 5\.0 mm between 000\.dcm and 002\.dcm; the others lie 2\.50 mm"
    ):
        read(sorted((tmp_path / "series").iterdir()))


def test_both_forms_of_one_real_scan_agree(real_data: Callable[[str], Path]) -> None:
    root = real_data("ct_ibsi_lung")
    lps = Orientation(axcodes="LPS", labels=None)
    series = lps(read(sorted((root / "dicom" / "image").iterdir())))
    volume = lps(read(root / "nifti" / "image" / "phantom.nii.gz"))
    assert series.shape == volume.shape
    np.testing.assert_allclose(series.affine, volume.affine, atol=1e-3)
    assert np.array_equal(series.numpy(), volume.numpy())


def test_metaimage_keeps_its_geometry(real_data: Callable[[str], Path]) -> None:
    scan = read(real_data("ct_elastix_lung") / "3DCT_lung.mha")
    assert scan.shape == (1, 115, 157, 129)
    assert nibabel.aff2axcodes(np.asarray(scan.affine)) == ("L", "P", "S")
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(np.asarray(scan.affine)), [1.366, 1.366, 2.5], atol=1e-3)


# A bright pixel in the first row and the last of six columns; an axis that runs to L or P starts at index 0 there.
@pytest.mark.parametrize(("axes", "expected"), [("PL", (5, 0)), ("LP", (0, 5)), ("AR", (0, 3)), ("RA", (3, 0))])
def test_images_are_rotated_as_declared(tmp_path: Path, axes: str, expected: tuple[int, int]) -> None:
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0, 5] = 200
    Image.fromarray(pixels).save(tmp_path / "slice.png")
    lps = Orientation(axcodes="LPS", labels=None)(read(tmp_path / "slice.png", axes))[0, :, :, 0].numpy()
    assert tuple(np.argwhere(lps == 200)[0]) == expected


@pytest.mark.parametrize("axes", ["LL", "LR", "P", "XY", "LPS"])
def test_impossible_image_axes_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match="Upright is 'PL'"):
        picture_affine(axes)


def test_truncated_nifti_names_the_file(tmp_path: Path, hu: np.ndarray) -> None:
    path = tmp_path / "cut.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.tile(hu, (1, 40, 40)), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz: cannot be read"):
        read(path)
    path.write_bytes(gzip.compress(b"not an image"))
    with pytest.raises(ValueError, match=r"cut\.nii\.gz: cannot be read"):
        read(path)


def test_unreadable_images_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(
        ValueError, match=r"text\.png: .* must hold a png, jpeg, bmp, tiff or webp image, got other content"
    ):
        read(tmp_path / "text.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png: .*8 bits per sample, got I;16"):
        read(tmp_path / "deep.png")
    coloured = np.zeros((4, 4, 3), np.uint8)
    coloured[0, 0] = [255, 0, 0]
    Image.fromarray(coloured).save(tmp_path / "overlay.png")
    with pytest.raises(ValueError, match="must be grey, got colours"):
        read(tmp_path / "overlay.png")


def test_four_dimensional_volumes_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), tmp_path / "perfusion.nii.gz")
    with pytest.raises(ValueError, match=r"perfusion\.nii\.gz: a scan has three axes, got shape \(4, 4, 4, 2\)"):
        read(tmp_path / "perfusion.nii.gz")
