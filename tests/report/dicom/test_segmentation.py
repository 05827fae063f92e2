"""DICOM segmentations: every voxel in its place, read back by hand from the file."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import torch
from conftest import ROOT
from ct_files import LPS, enhanced_ct, save_slice, write_volume
from monai.data import MetaTensor

from common.readers.ct import read
from common.report.dicom.save import SaveDicomd
from common.report.dicom.segmentation import segmentation as of_source
from common.report.dicom.source import Algorithm, read_source
from common.report.styles import ClassStyle

pytestmark = pytest.mark.filterwarnings("ignore:The string")  # of pydicom, on the short name of the test's patient
SHAPE = (14, 11, 5)  # columns, rows, slices
STYLES = [
    ClassStyle("ground-glass", 1, (255, 176, 0), ("DCM", "112120", "Ground glass opacity")),
    ClassStyle("lung", 3, (100, 143, 255), ("SCT", "39607008", "Lung")),
    ClassStyle("background", 0, (0, 0, 0)),
]
MADE_BY = Algorithm("ct_drsegunet", "0.1.0", "ab" * 32)
OBLIQUE = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]]) @ np.array(
    [[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]
)


def grids() -> dict[str, np.ndarray]:
    """Affines (4, 4), LPS: axes flipped and permuted, oblique, a tilted gantry."""
    spacing = np.diag([0.7, 0.8, 2.5])
    found = {}
    for signs in product((1, -1), repeat=3):
        found["".join("+-"[sign < 0] for sign in signs)] = np.diag(signs) @ spacing
    found["coronal"] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) @ spacing
    found["sagittal"] = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]]) @ spacing
    found["oblique"] = OBLIQUE @ spacing
    found["tilted gantry"] = spacing + np.array([[0, 0, 0], [0, 0, 0.6], [0, 0, 0]])
    affines = {}
    for name, axes in found.items():
        affines[name] = np.eye(4)
        affines[name][:3, :3], affines[name][:3, 3] = axes, (-40.0, 25.0, -110.5)
    return affines


def segmentation(mask, affine, files, *more):  # type: ignore[no-untyped-def]
    return of_source(mask, read_source(files, affine), *more)


def mask_of(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Values 0, 1 and 3 without any symmetry; the last slice is empty."""
    mask = np.random.default_rng(0).choice(np.array([0, 1, 3], np.uint8), shape, p=[0.5, 0.2, 0.3])
    mask[..., -1] = 0
    return mask


def voxels_of(path: Path) -> dict[str, set[tuple[float, ...]]]:
    """Places (LPS, tenths of mm) of the voxels of each segment, by the elements of the file alone."""
    file = pydicom.dcmread(path)
    shared = file.SharedFunctionalGroupsSequence[0]
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    size = file.Rows * file.Columns
    bits = np.unpackbits(np.frombuffer(file.PixelData, np.uint8), bitorder="little")[: size * file.NumberOfFrames]
    labels = {each.SegmentNumber: each.SegmentLabel for each in file.SegmentSequence}
    found: dict[str, set[tuple[float, ...]]] = {label: set() for label in labels.values()}
    frames = bits.reshape(-1, file.Rows, file.Columns)
    for plane, groups in zip(frames, file.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        label = labels[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        for row, column in np.argwhere(plane):
            found[label].add(rounded(origin + column * across * axes[0] + row * down * axes[1]))
    return found


def rounded(place: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(place + 1e-6, 1) + 0.0)


def expected(mask: np.ndarray, affine: np.ndarray) -> dict[str, set[tuple[float, ...]]]:
    """Places of the voxels of each class, by the affine (LPS)."""
    return {
        style.name: {rounded(affine[:3, :3] @ index + affine[:3, 3]) for index in np.argwhere(mask == style.value)}
        for style in STYLES[:2]
    }


@pytest.mark.parametrize("name", grids())
def test_every_voxel_of_a_series_is_in_its_place(name: str, tmp_path: Path) -> None:
    affine = grids()[name]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine)
    scan = read(files)
    to_file = np.linalg.inv(LPS @ np.asarray(scan.affine)) @ affine  # the reader may sort slices the other way
    mask = mask_of() if np.allclose(to_file, np.eye(4), atol=1e-3) else mask_of()[..., ::-1]
    made = segmentation(mask, np.asarray(scan.affine, float), files[::-1], STYLES, MADE_BY)
    made.save_as(tmp_path / "mask.dcm")
    assert voxels_of(tmp_path / "mask.dcm") == expected(mask_of(), affine)
    assert made.FrameOfReferenceUID == "1.2.4" and made.StudyInstanceUID == "1.2.3"


def test_every_voxel_of_an_enhanced_file_is_in_its_place_whatever_the_order_of_its_frames(tmp_path: Path) -> None:
    affine = grids()["oblique"]
    file = save_slice(enhanced_ct(np.full(SHAPE, -800, np.int16), affine, order=[2, 0, 4, 1, 3]), tmp_path / "in.dcm")
    scan = read(file)
    same = np.allclose(LPS @ np.asarray(scan.affine), affine, atol=1e-3)
    mask = mask_of() if same else mask_of()[..., ::-1]
    segmentation(mask, np.asarray(scan.affine, float), [file], STYLES, MADE_BY).save_as(tmp_path / "mask.dcm")
    assert voxels_of(tmp_path / "mask.dcm") == expected(mask_of(), affine)


def test_a_fractional_segmentation_holds_each_probability_in_its_place(tmp_path: Path) -> None:
    affine = grids()["oblique"]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine)
    (tmp_path / "model.pt").write_bytes(b"weights")
    channels = ["background", "lung", "ground-glass"]  # in another order than the segments
    probabilities = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    probabilities[..., -1] = 0  # no frame
    save = SaveDicomd(
        "pred",
        tmp_path,
        ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json",
        ["ground-glass", "lung", "background"],
        [{"case": "a", "image": files, "kind": "dicom"}],
        tmp_path / "model.pt",
        kind="fractional",
        probabilities=channels,
    )
    pred = MetaTensor(torch.from_numpy(mask_of()[None]), affine=torch.from_numpy(LPS @ affine))
    save({"case": "a", "pred": pred, "probability": torch.from_numpy(probabilities), "kind": "dicom"})
    file = pydicom.dcmread(tmp_path / "a_mask.dcm")
    assert (
        file.SegmentationType,
        file.SegmentationFractionalType,
        file.MaximumFractionalValue,
        file.NumberOfFrames,
    ) == (
        *("FRACTIONAL", "PROBABILITY"),
        *(255, 2 * (SHAPE[2] - 1)),
    )
    labels = {each.SegmentNumber: each.SegmentLabel for each in file.SegmentSequence}
    for plane, groups in zip(file.pixel_array, file.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        column, row, place = np.linalg.inv(affine)[:3] @ [*origin, 1]
        assert np.allclose([column, row, place], [0, 0, round(place)], atol=1e-3)
        channel = channels.index(labels[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber])
        assert np.array_equal(plane, probabilities[channel, ..., round(place)].T)


def test_a_case_without_probabilities_says_so_and_goes_on(tmp_path: Path) -> None:
    affine = grids()["+++"]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine)
    (tmp_path / "model.pt").write_bytes(b"weights")
    metadata = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
    cases = [{"case": "a", "image": files, "kind": "dicom"}]
    save = SaveDicomd("pred", tmp_path, metadata, ["lung"], cases, tmp_path / "model.pt", kind="fractional")
    pred = MetaTensor(torch.from_numpy(mask_of()[None]), affine=torch.from_numpy(LPS @ affine))
    item = save({"case": "a", "pred": pred, "kind": "dicom"})
    assert "no DICOM SEG" in item["notes"] and not list(tmp_path.glob("*.dcm"))


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_the_object_says_what_it_shows_and_what_made_it(kind: str, tmp_path: Path) -> None:
    affine = grids()["oblique"]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine)
    ras = LPS @ affine
    made = segmentation(mask_of(), ras, files, STYLES, MADE_BY, kind)
    made.save_as(tmp_path / "mask.dcm")
    again = segmentation(mask_of(), ras, files, STYLES, MADE_BY, kind)
    other = segmentation(mask_of(), ras, files, STYLES, Algorithm("ct_drsegunet", "0.1.0", "cd" * 32), kind)
    assert again.SOPInstanceUID == made.SOPInstanceUID != other.SOPInstanceUID
    assert again.SeriesInstanceUID == made.SeriesInstanceUID != other.SeriesInstanceUID
    back = highdicom.seg.segread(tmp_path / "mask.dcm")
    described = back.get_segment_description(1)
    assert (described.segment_label, described.segmented_property_type.value) == ("ground-glass", "112120")
    assert described.algorithm_identification.parameters == {"weights SHA-256": "ab" * 32}
    assert described.RecommendedDisplayCIELabValue is not None
    volume = back.get_volume(combine_segments=True, rescale_fractional=False)
    numbered = np.zeros(4, np.uint8)
    numbered[[1, 3]] = 1, 2
    found = np.asarray(volume.array).transpose(2, 1, 0)  # (slices, rows, columns), without empty slices
    full = numbered[mask_of()[..., :-1]]
    assert np.array_equal(found[..., : full.shape[2]], full) or np.array_equal(found[..., ::-1], full)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize(
    ("name", "kind"), [("+++", "binary"), ("oblique", "binary"), ("tilted gantry", "binary"), ("oblique", "fractional")]
)
def test_dciodvfy_finds_no_error(name: str, kind: str, tmp_path: Path) -> None:
    more = {
        "StudyID": "1",
        "StudyDate": "20200101",
        "StudyTime": "100000",
        "ReferringPhysicianName": "",
        "SeriesNumber": 3,
    }
    more |= {"AccessionNumber": "", "PatientBirthDate": "", "PatientSex": "", "PositionReferenceIndicator": ""}
    affine = grids()[name]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine, **more)
    values = np.stack([mask_of() / 3] * 2) if kind == "fractional" else mask_of()
    segmentation(values, LPS @ affine, files, STYLES, MADE_BY, kind).save_as(tmp_path / "mask.dcm")
    told = subprocess.run(["dciodvfy", str(tmp_path / "mask.dcm")], capture_output=True, text=True, check=False)
    errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
    assert not errors, "\n".join(errors)


def test_only_dicom_cases_get_one_and_a_series_without_positions_says_why_not(tmp_path: Path) -> None:
    affine = grids()["+++"]
    files = write_volume(tmp_path / "in", np.full(SHAPE, -800, np.int16), affine)
    bare = write_volume(tmp_path / "bare", np.full((14, 11, 1), -800, np.int16), affine, series="1.2.9")
    for path in bare:
        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    cases = [
        {"case": "a", "image": files, "kind": "dicom"},
        {"case": "b", "image": bare, "kind": "dicom"},
        {"case": "c", "image": [tmp_path / "c.nii.gz"], "kind": "nifti"},
    ]
    metadata = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
    save = SaveDicomd("pred", tmp_path / "out", metadata, ["ground-glass", "lung", "background"], cases, weights)
    notes = {}
    for case in cases:
        shape = SHAPE if case["case"] != "b" else (14, 11, 1)
        pred = MetaTensor(torch.from_numpy(mask_of(shape)[None]), affine=torch.from_numpy(LPS @ affine))
        item = save({"case": case["case"], "pred": pred, "kind": case["kind"]})
        notes[case["case"]] = item.get("notes", "")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["a_mask.dcm"]
    assert notes["a"] == notes["c"] == ""
    assert "no DICOM SEG: " in notes["b"] and "needs the position of each slice, got none" in notes["b"]
    assert voxels_of(tmp_path / "out" / "a_mask.dcm") == expected(mask_of(), affine)
