"""CT DICOM of any order, orientation and spacing becomes the right volume, or is refused with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import itk
import nibabel
import numpy as np
import pydicom
import pytest
from ct_files import LPS, ct_slice, enhanced_ct, sampled, save_slice, write_series, write_volume

from common.datasets.ct.folder import inference_cases
from common.readers.ct import read
from common.readers.dicom_headers import read_headers
from common.readers.dicom_series import series_of, tilt
from common.readers.dicom_volume import read_series

SHAPE = (12, 10, 8)
COSINE, SINE = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
# Columns of an LPS affine: step from column to column, from row to row, from slice to slice
GRIDS = {
    "axial, upwards": [(14, 0, 0), (0, 13, 0), (0, 0, 16)],
    "axial, downwards": [(14, 0, 0), (0, 13, 0), (0, 0, -16)],
    "axial, prone": [(-14, 0, 0), (0, -13, 0), (0, 0, 16)],
    "coronal": [(14, 0, 0), (0, 0, -13), (0, 16, 0)],
    "sagittal": [(0, 14, 0), (0, 0, -13), (16, 0, 0)],
    "oblique": [(14 * COSINE, 14 * SINE, 0), (-13 * SINE, 13 * COSINE, 0), (0, 0, 16)],
    "doubly oblique": [
        (14 * COSINE, 14 * SINE, 0),
        (-13 * SINE * COSINE, 13 * COSINE**2, 13 * SINE),
        (16 * SINE**2, -16 * SINE * COSINE, 16 * COSINE),
    ],
}


def grid(steps: list[tuple[float, float, float]]) -> np.ndarray:
    """LPS affine whose grid has its centre near the chest's."""
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(steps)
    affine[:3, 3] = -affine[:3, :3] @ (np.asarray(SHAPE) - 1) / 2
    return affine


@pytest.mark.parametrize("name", GRIDS)
def test_every_voxel_is_where_the_header_places_it(tmp_path: Path, name: str, rng: np.random.Generator) -> None:
    affine = grid(GRIDS[name])
    hu = sampled(affine, SHAPE)
    assert len(np.unique(hu)) == 4, "air, lung, tissue and lesion"
    paths = write_volume(tmp_path, hu, affine)
    volume = read_series(list(rng.permutation(paths)))
    np.testing.assert_array_equal(volume.values, sampled(LPS @ volume.affine, SHAPE))
    # The slices are stored along the normal, which is the product of rows and columns
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    against = normal @ affine[:3, 2] < 0
    expected = affine.copy()
    if against:
        expected[:3, 3] += affine[:3, 2] * (SHAPE[2] - 1)
        expected[:3, 2] *= -1
    np.testing.assert_allclose(LPS @ volume.affine, expected, atol=1e-6)
    assert volume.meta["notes"] == "" and volume.meta["spacing_known"]


def test_itk_places_the_slices_equally(tmp_path: Path) -> None:
    affine = grid(GRIDS["doubly oblique"])
    paths = write_volume(tmp_path, sampled(affine, SHAPE), affine)
    volume = read_series(paths)
    image = itk.imread([str(path) for path in paths])
    index = [5, 3, 6]
    point = list(image.TransformIndexToPhysicalPoint(index))
    np.testing.assert_allclose((LPS @ volume.affine @ [*index, 1])[:3], point, atol=1e-3)


def test_display_settings_leave_the_hu_alone(tmp_path: Path) -> None:
    hu = sampled(grid(GRIDS["axial, upwards"]), SHAPE).transpose(2, 1, 0)
    plain = read_series(write_series(tmp_path / "plain", hu))
    for name, elements in {
        "monochrome1": {"PhotometricInterpretation": "MONOCHROME1"},
        "window": {"WindowCenter": -600, "WindowWidth": 1500},
        "inverse": {"PresentationLUTShape": "INVERSE"},
        "no frame of reference": {"FrameOfReferenceUID": None},
    }.items():
        odd = read_series(write_series(tmp_path / name, hu, **elements))
        np.testing.assert_array_equal(odd.values, plain.values, err_msg=name)
        np.testing.assert_array_equal(odd.affine, plain.affine)


@pytest.mark.parametrize(
    ("orientation", "step", "note"),
    [
        ((1, 2e-10, 0, 0, 1, 0), 2.5, ""),
        ((1, 1e-4, 0, -1e-4, 1, 0), 2.5, ""),
        ((1, 0, 0, 0, 1, 0), 1.25, "slice positions deviate by up to 0.10 mm from even spacing"),  # 0, 1.2, 2.5, 3.8
    ],
)
def test_rounded_headers_are_one_volume(tmp_path: Path, orientation: tuple[float, ...], step: float, note: str) -> None:
    hu = sampled(grid(GRIDS["axial, upwards"]), SHAPE).transpose(2, 1, 0)
    paths = []
    for index, pixels in enumerate(hu):
        odd = index % 2 == 1
        place = (-100.0, -80.0, round(step * index, 1))
        dataset = ct_slice(pixels, position=place, instance=index, **({"orientation": orientation} if odd else {}))
        dataset.PixelSpacing = ["0.8000001" if odd else "0.8", "0.7"]
        paths.append(save_slice(dataset, tmp_path / f"{index}.dcm"))
    volume = read_series(paths)
    np.testing.assert_array_equal(volume.values, hu.transpose(2, 1, 0))
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(volume.affine), [0.7, 0.8, step], atol=0.01)
    assert volume.meta["notes"] == note


def test_a_slice_turned_by_a_degree_is_no_part_of_the_volume(tmp_path: Path) -> None:
    hu = sampled(grid(GRIDS["axial, upwards"]), SHAPE).transpose(2, 1, 0)
    paths = write_series(tmp_path, hu)
    turned = np.deg2rad(1)
    orientation = (np.cos(turned), np.sin(turned), 0, -np.sin(turned), np.cos(turned), 0)
    save_slice(ct_slice(hu[3], position=(-100, -80, 7.5), orientation=orientation), paths[3])
    with pytest.raises(ValueError, match=r"1 slice is missing: 5\.0 mm .*003\.dcm \(another orientation\)"):
        read_series(paths)


def test_copies_count_once_and_scouts_are_left_out(tmp_path: Path) -> None:
    hu = sampled(grid(GRIDS["axial, upwards"]), SHAPE).transpose(2, 1, 0)
    paths = write_series(tmp_path, hu)
    shutil.copy(paths[3], tmp_path / "003 (1).dcm")
    sent_twice = pydicom.dcmread(paths[5])  # the same image, sent twice: another header, the same pixels
    sent_twice.InstanceCreationTime = "101112"
    save_slice(sent_twice, tmp_path / "b005.dcm")
    scout = ct_slice(np.zeros((30, 40), int), orientation=(1, 0, 0, 0, 0, -1), instance=99)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_slice(scout, tmp_path / "scout.dcm")
    volume = read_series(sorted(tmp_path.iterdir()))
    np.testing.assert_array_equal(volume.values, hu.transpose(2, 1, 0))
    assert volume.meta["notes"] == "2 copies of slices are left out"
    _, omitted = series_of(read_headers(sorted(tmp_path.iterdir()))[0])
    assert {path.name: why for path, why in omitted} == {
        "003 (1).dcm": "copy of 003.dcm",
        "b005.dcm": "copy of 005.dcm",
        "scout.dcm": "scout",
    }


def ramp(folder: Path, heights: list[float]) -> list[Path]:
    """Axial slices of 10 HU per mm at given heights."""
    return [
        save_slice(
            ct_slice(np.full((4, 5), round(10 * z)), position=(0, 0, z), instance=index), folder / f"{index:02d}.dcm"
        )
        for index, z in enumerate(heights)
    ]


def test_lost_slices_are_refused_or_interpolated(tmp_path: Path) -> None:
    paths = ramp(tmp_path, [0, 3, 6, 15, 18])  # 9 and 12 are lost
    with pytest.raises(
        ValueError,
        match=r"2 slices are missing: 9\.0 mm between 02\.dcm and 03\.dcm; the others lie 3\.00 mm apart\..*--gaps",
    ):
        read_series(paths)
    volume = read_series(paths, gaps="resample")
    np.testing.assert_allclose(volume.values[2, 2], [0, 30, 60, 90, 120, 150, 180])
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 3])
    assert volume.meta["notes"] == "2 slices interpolated in 1 gap"


def test_uneven_slices_are_refused_or_put_on_an_even_grid(tmp_path: Path) -> None:
    paths = ramp(tmp_path, [0, 3, 6, 10, 13])
    with pytest.raises(ValueError, match=r"the slices are unevenly spaced: 4\.0 mm between 02\.dcm and 03\.dcm"):
        read_series(paths)
    volume = read_series(paths, gaps="resample")
    np.testing.assert_allclose(volume.values[0, 0], [0, 32.5, 65, 97.5, 130])  # 10 HU per mm, 13 mm in four steps
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 3.25])


def test_slices_at_one_place_and_without_position_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all 4 slices lie at one position"):
        read_series(ramp(tmp_path / "one", [7, 7.0001, 7.0002, 7.0003]))
    paths = write_series(tmp_path / "none", np.zeros((3, 4, 5), int), ImagePositionPatient=None)
    with pytest.raises(ValueError, match="state no position or orientation of the slices, so their order is unknown"):
        read_series(paths)


@pytest.mark.parametrize("degrees", [-20.0, 0.05, 15.0])
def test_a_tilted_gantry_gives_a_sheared_grid(tmp_path: Path, degrees: float) -> None:
    """Planes tilted about the left-right axis, a table that moves 12 mm along the patient."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = grid([(14, 0, 0), (0, 13 * cosine, -13 * sine), (0, 0, 12)])
    paths = write_volume(tmp_path, sampled(affine, SHAPE), affine)
    volume = read_series(paths)
    np.testing.assert_allclose(LPS @ volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.values, sampled(affine, SHAPE))
    (series,), _ = series_of(read_headers(paths)[0])
    assert tilt(series) == pytest.approx(abs(degrees), abs=0.01)
    expected = f"gantry tilt of {abs(degrees):.1f} degrees" if abs(degrees) > 0.1 else ""
    assert volume.meta["notes"] == expected
    # ITK reads each slice where the volume has it
    for index in (0, SHAPE[2] - 1):
        corner = list(itk.imread(str(paths[index])).GetOrigin())
        np.testing.assert_allclose((LPS @ volume.affine @ [0, 0, index, 1])[:3], corner, atol=1e-4)


@pytest.mark.parametrize(
    "elements",
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"AcquisitionNumber": 9}, {"AcquisitionNumber": 10}),
        ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101530"}),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ({}, {}),
    ],
)
def test_two_phases_under_one_uid_are_told_apart(tmp_path: Path, elements: tuple[dict, dict]) -> None:
    for phase, more in enumerate(elements):
        for index in range(5):
            dataset = ct_slice(
                np.full((4, 5), 100 * phase), position=(0, 0, 3 * index), instance=10 * phase + index, **more
            )
            save_slice(dataset, tmp_path / f"{phase}{index}.dcm")
    slices, failed = read_headers(sorted(tmp_path.iterdir()))
    series, omitted = series_of(slices)
    assert not failed and not omitted
    assert [each.description for each in series] == ["chest, phase 1", "chest, phase 2"]
    for phase, each in enumerate(series):
        assert [path.name for path in each.files] == [f"{phase}{index}.dcm" for index in range(5)]
        assert each.problem == ""
        assert (read_series(each.files).values == 100 * phase).all()


@pytest.mark.parametrize("order", [None, [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 7, 1, 6, 2, 5, 4]])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_enhanced_ct_is_the_same_volume(tmp_path: Path, order: list[int] | None, photometric: str) -> None:
    affine = grid(GRIDS["oblique"])
    dataset = enhanced_ct(sampled(affine, SHAPE), affine, order)
    dataset.PhotometricInterpretation = photometric
    volume = read_series([save_slice(dataset, tmp_path / "scan.dcm")])
    assert volume.values.shape == SHAPE
    np.testing.assert_array_equal(volume.values, sampled(LPS @ volume.affine, SHAPE))


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    hu = sampled(grid(GRIDS["axial, upwards"]), SHAPE).transpose(2, 1, 0)
    paths = write_series(tmp_path, hu)
    for path in paths:
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_series(paths).values, hu.transpose(2, 1, 0))
    (case,) = inference_cases(tmp_path)
    assert len(case["image"]) == len(hu)


def test_slices_without_usable_pixels_are_named(tmp_path: Path) -> None:
    hu = np.zeros((3, 40, 50), int)
    paths = write_series(tmp_path / "cut", hu)
    paths[1].write_bytes(paths[1].read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"001\.dcm: its pixels are incomplete, 3000 of 4000 bytes"):
        read_series(paths)
    with pytest.raises(ValueError, match=r"000\.dcm: it holds no pixels"):
        read_series(write_series(tmp_path / "none", hu, PixelData=None))
    colours = ct_slice(hu[0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    path = save_slice(colours, tmp_path / "colours.dcm")
    with pytest.raises(ValueError, match=rf"^{path}: it holds colours, not HU\. Export it again\.$"):
        read(path)


LOSSLESS = ("Explicit", "Implicit", "BigEndian", "Deflated", "Process14", "JPEGLSLossless", "LosslessOnly", "RLE")


def test_lossless_compression_gives_equal_hu(real_data: Callable[[str], Path]) -> None:
    root = real_data("dicom_ct_odd") / "transfer_syntaxes"
    plain = read_series([root / "CTImage.dcm"])
    files = [path for path in root.glob("CTImage.dcm_*") if any(word in path.name for word in LOSSLESS)]
    assert len(files) == 9
    for path in files:
        volume = read_series([path])
        np.testing.assert_array_equal(volume.values, plain.values, err_msg=path.name)
        np.testing.assert_allclose(volume.affine, plain.affine, atol=1e-6)
    for number in ("4.51", "4.53", "4.55"):
        (path,) = root.glob(f"*{number}.dcm")
        with pytest.raises(ValueError, match=r"its compression cannot be decoded here"):
            read_series([path])


def test_odd_geometry_of_real_scanners(real_data: Callable[[str], Path]) -> None:
    root = real_data("dicom_ct_odd") / "geometry"
    tilted = read_series(sorted((root / "gantrytilting" / "001").iterdir()))
    assert "gantry tilt of 14" in tilted.meta["notes"]
    with pytest.raises(ValueError, match=r"1 slice is missing: 10\.0 mm between .*; the others lie 5\.00 mm apart"):
        read_series(sorted((root / "gap").iterdir()))
    assert read_series(sorted((root / "gap").iterdir()), gaps="resample").values.shape[-1] == 5
    with pytest.raises(ValueError, match="all 4 slices lie at one position"):
        read_series(sorted((root / "one_position").iterdir()))
