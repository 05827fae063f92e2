"""Masks lie on the input's own grid, and one bad case affects no other."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pytest
import torch
from ct_files import LPS, sampled, write_dicom, write_series, write_volume
from monai.bundle import ConfigWorkflow
from PIL import Image

from common.report import case

TISSUE, AIR = 200, -1000  # HU


class BrightNetwork(torch.nn.Module):
    """Classifies pixels above the slice's mean as ground-glass, all others as background, so that its mask is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) to logits (B, 4, H, W)."""
        bright = 40.0 * (x > 0) - 20.0
        return torch.cat([bright, x * 0 - 99, x * 0 - 99, -bright], 1)


def infer(
    dataset_dir: Path,
    output_dir: Path,
    network: torch.nn.Module | None = None,
    bundle: str = "ct_drsegunet",
    **overrides: Any,
) -> None:
    """Run a bundle's inference.yaml with a network that needs no weights."""
    settings = {
        "dataset_dir": str(dataset_dir),
        "output_dir": str(output_dir),
        "initialize": [],
        "min_lung": 0,  # boxes, no chests
        "weights": "unused.pt",  # in place of those that come with the bundle, whose record would be read
        "size": [64, 64],
        "amp": False,
    }
    workflow = ConfigWorkflow(
        config_file=f"bundles/{bundle}/configs/inference.yaml", workflow_type="infer", **{**settings, **overrides}
    )
    workflow.parser["model"] = (network or BrightNetwork()).eval()
    output_dir.mkdir(parents=True, exist_ok=True)
    workflow.initialize()
    workflow.run()


def scan(shape: tuple[int, int, int]) -> np.ndarray:
    """Air with a bright box off every axis of symmetry."""
    values = np.full(shape, AIR, np.int16)
    values[shape[0] // 8 : shape[0] // 2, shape[1] // 2 : 7 * shape[1] // 8, 1:3] = TISSUE
    return values


def tilted(degrees: float) -> np.ndarray:
    """RAS affine of an oblique volume in LPS order, anisotropic, off centre, with a gantry-like tilt."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.7, -0.8, 5.0])
    affine[:3, 3] = [12.5, -40.25, 310.0]
    return affine


AFFINES = {
    "LPS": np.array([[-0.7, 0, 0, 90], [0, -0.8, 0, 80], [0, 0, 5, -20], [0, 0, 0, 1.0]]),
    "RAS": np.array([[0.7, 0, 0, -90], [0, 0.8, 0, -80], [0, 0, 5, -20], [0, 0, 0, 1.0]]),
    "tilted": tilted(17),
}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("shape", [(64, 64, 5), (48, 80, 4)])
def test_a_mask_lies_on_the_grid_of_its_input(tmp_path: Path, name: str, shape: tuple[int, int, int]) -> None:
    values = scan(shape)
    nibabel.save(nibabel.Nifti1Image(values, AFFINES[name]), tmp_path / "in.nii.gz")
    infer(tmp_path / "in.nii.gz", tmp_path / "out")
    mask = nibabel.load(tmp_path / "out" / "in_mask.nii.gz")
    assert mask.shape == shape
    np.testing.assert_array_equal(mask.affine, nibabel.load(tmp_path / "in.nii.gz").affine)
    found, expected = np.asarray(mask.dataobj) == 1, values == TISSUE
    if shape[:2] == (64, 64):
        np.testing.assert_array_equal(found, expected)  # no resampling: voxel for voxel
    else:
        overlap = 2 * (found & expected).sum() / (found.sum() + expected.sum())
        assert overlap > 0.93  # the box's edge may move by a pixel of 64 x 64


def test_the_axis_order_of_a_scan_does_not_change_where_its_mask_lies(tmp_path: Path) -> None:
    """A network that is not symmetric sees one orientation, whatever the file's."""
    lps = nibabel.Nifti1Image(scan((64, 64, 5)), AFFINES["LPS"])
    for codes in ("LPS", "RAS", "PLS", "SAL"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt(("L", "P", "S")), nibabel.orientations.axcodes2ornt(tuple(codes))
        )
        nibabel.save(lps.as_reoriented(turn), tmp_path / f"{codes}.nii.gz")
    infer(tmp_path, tmp_path / "out", exclude="out*")
    masks = [nibabel.load(tmp_path / "out" / f"{codes}_mask.nii.gz") for codes in ("LPS", "RAS", "PLS", "SAL")]
    for mask in masks:
        canonical = nibabel.as_closest_canonical(mask)
        reference = nibabel.as_closest_canonical(masks[0])
        np.testing.assert_array_equal(canonical.dataobj, reference.dataobj)
        np.testing.assert_allclose(canonical.affine, reference.affine, atol=1e-4)


def test_in_a_mixed_folder_only_the_bad_files_have_no_mask(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    values = scan((64, 64, 5))
    nibabel.save(nibabel.Nifti1Image(values, AFFINES["RAS"]), source / "good.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), AFFINES["RAS"]), source / "nan.nii.gz")
    broken = values.astype(np.float32)
    broken[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(broken, AFFINES["RAS"]), source / "nan.nii.gz")
    grey = np.clip((values + 1000) / 8, 0, 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grey, AFFINES["RAS"]), source / "grey.nii.gz")
    (source / "cut.nii.gz").write_bytes((source / "good.nii.gz").read_bytes()[:200])
    Image.fromarray(grey[:, :, 1].T).save(source / "slice.png")
    write_series(source / "series", values.transpose(2, 1, 0))
    write_dicom(source / "one" / "alone.dcm", values[:, :, 1].T, series="1.2.77", z=0, instance=1)
    with pytest.raises(Exception) as error:
        infer(source, out)
    message = str(error.value.__cause__ or error.value)
    assert "3 of 7 cases failed" in message
    for name in ("nan: intensities must be finite", "grey: declared as HU", "cut.nii.gz: cannot be read"):
        assert name in message
    written = {path.relative_to(out).as_posix() for path in out.rglob("*mask*")}
    assert written == {"good_mask.nii.gz", "slice_mask.png", "series_mask.nii.gz", "one/alone_mask.nii.gz"}
    with (out / "lesions.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    refused = rows.pop("grey")
    assert refused["trust"] == "refused" and refused["trust_reason"].startswith("declared as HU")
    assert rows.keys() == {"good", "slice", "series", "one/alone"}, "files that cannot be read have no row"
    voxel_ml = 0.7 * 0.8 * 5.0 / 1000
    assert float(rows["good"]["ground_glass_ml"]) == pytest.approx((values == TISSUE).sum() * voxel_ml, abs=0.001)
    assert rows["slice"]["ground_glass_ml"] == "", "files of images record no pixel size"
    assert all((out / f"{case}_overlay.png").stat().st_size > 1000 for case in rows)
    mask = np.asarray(Image.open(out / "slice_mask.png"))
    np.testing.assert_array_equal(mask, (values[:, :, 1].T == TISSUE))


def test_both_forms_of_one_real_scan_give_one_mask(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    infer(real_data("ct_ibsi_lung"), tmp_path, exclude="*mask*", size=[128, 128])
    masks = [nibabel.as_closest_canonical(nibabel.load(path)) for path in sorted(tmp_path.rglob("*_mask.nii.gz"))]
    assert len(masks) == 2 and masks[0].shape == (204, 201, 60)
    np.testing.assert_array_equal(*(np.asarray(mask.dataobj) for mask in masks))
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-3)


def test_real_slices_and_metaimage_complete(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    infer(real_data("ct_ny_sbu_covid_dcm"), tmp_path / "slices")
    assert len(list((tmp_path / "slices").rglob("*_mask.nii.gz"))) == 14
    infer(real_data("ct_elastix_lung"), tmp_path / "volume", exclude="*mask*,*segmentation*")
    masks = {path.name: nibabel.load(path) for path in (tmp_path / "volume").glob("*_mask.nii.gz")}
    assert masks["3DCT_lung_mask.nii.gz"].shape == (115, 157, 129)


def test_a_rotated_image_gives_a_mask_with_the_same_rotation(tmp_path: Path) -> None:
    values = np.clip((scan((64, 64, 5))[:, :, 1] + 1000) / 8, 0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "side.png")  # rows run to the patient's left, as in MedSeg's images
    infer(tmp_path / "side.png", tmp_path / "out", picture_axes="LP")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "side_mask.png")), values > 0)


def test_a_case_that_fails_after_the_network_affects_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "third"):
        nibabel.save(nibabel.Nifti1Image(scan((64, 64, 5)), AFFINES["LPS"]), tmp_path / f"{name}.nii.gz")
    original = case.draw_overlay

    def fails_once(path: Path, *arguments: Any, **settings: Any) -> None:
        if "second" in str(path):
            raise ZeroDivisionError("no pixels")
        original(path, *arguments, **settings)

    monkeypatch.setattr(case, "draw_overlay", fails_once)
    with pytest.raises(Exception) as error:
        infer(tmp_path, tmp_path / "out", exclude="out*")
    assert "1 of 3 cases failed:\n  second: no pixels" in str(error.value.__cause__ or error.value)
    assert {path.name for path in (tmp_path / "out").glob("*_overlay.png")} == {
        "first_overlay.png",
        "third_overlay.png",
    }


def test_an_interrupted_run_leaves_no_half_written_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nibabel.save(nibabel.Nifti1Image(scan((64, 64, 5)), np.diag([-1.0, -1, 5, 1])), tmp_path / "in.nii.gz")

    def interrupted(image: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(nibabel, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        infer(tmp_path / "in.nii.gz", tmp_path / "out")
    assert not (tmp_path / "out" / "in_mask.nii.gz").exists()


def chest_scan(path: Path, image_class: type = nibabel.Nifti1Image, dtype: str = "<i2") -> Any:
    """The scan, saved with a qform and an sform that differ by a shift and a turn, as registration leaves them."""
    endianness = "big" if dtype.startswith(">") else "little"
    header = image_class.header_class(endianness=endianness)
    image = image_class(scan((64, 64, 5)).astype(dtype), AFFINES["LPS"], header)
    angle = np.deg2rad(5)
    moved = np.eye(4)
    moved[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved[:3, 3] = 20, 0, 0
    image.set_qform(AFFINES["LPS"], 1)
    image.set_sform(moved @ AFFINES["LPS"], 2)
    nibabel.save(image, path)
    return image


@pytest.mark.parametrize(
    ("image_class", "dtype"),
    [(nibabel.Nifti1Image, "<i2"), (nibabel.Nifti1Image, ">i2"), (nibabel.Nifti2Image, "<i2")],
)
def test_a_mask_repeats_both_forms_of_its_scan(tmp_path: Path, image_class: type, dtype: str) -> None:
    """Programs that read the qform and those that read the sform show the mask on the scan."""
    chest_scan(tmp_path / "in.nii.gz", image_class, dtype)
    infer(tmp_path / "in.nii.gz", tmp_path / "out")
    paths = tmp_path / "in.nii.gz", tmp_path / "out" / "in_mask.nii.gz"
    source, mask = (nibabel.load(path) for path in paths)
    assert isinstance(mask, image_class) and mask.header.endianness == source.header.endianness
    for name in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "pixdim"):
        np.testing.assert_array_equal(mask.header[name], source.header[name], err_msg=name)
    if image_class is nibabel.Nifti1Image:  # ITK does not read NIfTI-2
        first, second = (itk.imread(str(path)) for path in paths)
        np.testing.assert_array_equal(np.asarray(first.GetOrigin()), np.asarray(second.GetOrigin()))
        np.testing.assert_array_equal(*(itk.array_from_matrix(each.GetDirection()) for each in (first, second)))
    np.testing.assert_array_equal(np.asarray(mask.dataobj) == 1, scan((64, 64, 5)) == TISSUE)


def test_results_in_the_folder_of_scans_are_not_segmented_again(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(scan((64, 64, 5)), AFFINES["LPS"]), tmp_path / "scan.nii.gz")
    grey = np.clip((scan((64, 64, 5))[:, :, 1] + 1000) / 8, 0, 255).astype(np.uint8)
    Image.fromarray(grey.T).save(tmp_path / "slice.png")
    start = [{"_target_": "common.run.start.start_run", "output_dir": str(tmp_path / "out")}]
    for _ in range(2):
        infer(tmp_path, tmp_path / "out", initialize=start)
        assert {path.name for path in tmp_path.rglob("*_mask*")} == {"scan_mask.nii.gz", "slice_mask.png"}


class MeanNetwork(torch.nn.Module):
    """Labels pixels above the slice's mean as infection."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to logits (B, 1, H, W)."""
        return 40.0 * (x[:, :1] > x[:, :1].mean((2, 3), keepdim=True)) - 20.0


@pytest.mark.parametrize("bundle", ["mosmed_encoders", "ct_transfer_unet", "ct_drsegunet"])
def test_lung_masks_in_any_order_of_axes_give_one_result(tmp_path: Path, bundle: str) -> None:
    """A DICOM series and masks of other tools, in the order of ITK, of nibabel, and with slices downwards."""
    affine = np.diag([5.0, 5.0, 10.0, 1.0])
    shape = (32, 32, 8)
    affine[:3, 3] = -affine[:3, :3] @ (np.asarray(shape) - 1) / 2
    hu = sampled(affine, shape)
    write_volume(tmp_path / "scans" / "patient", hu, affine)
    lung = nibabel.Nifti1Image((hu == -850).astype(np.uint8), LPS @ affine)
    results = []
    for codes in ("LPS", "RAS", "LPI", "SAR"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(lung.affine), nibabel.orientations.axcodes2ornt(tuple(codes))
        )
        (tmp_path / codes).mkdir()
        nibabel.save(lung.as_reoriented(turn), tmp_path / codes / "patient.nii.gz")
        infer(
            tmp_path / "scans",
            tmp_path / "out" / codes,
            BrightNetwork() if bundle == "ct_drsegunet" else MeanNetwork(),
            bundle=bundle,
            lung_masks=str(tmp_path / codes),
            size=[32, 32],
        )
        (path,) = (tmp_path / "out" / codes).rglob("*_mask.nii.gz")
        results.append((np.asarray(nibabel.load(path).dataobj), (path.parent / "lesions.csv").read_text()))
    assert set(np.unique(results[0][0])) == ({0, 1} if bundle == "ct_drsegunet" else {0, 1, 3})
    (row,) = csv.DictReader(results[0][1].splitlines())
    assert row["lung_from"] == "given" and float(row["lung_ml"]) == pytest.approx(
        ((hu == -850) | (np.asarray(results[0][0]) == 1)).sum() * 0.25, rel=1e-4
    ), "what is given, and the lesions outside it"
    for mask, table in results[1:]:
        np.testing.assert_array_equal(mask, results[0][0])
        assert table == results[0][1]
