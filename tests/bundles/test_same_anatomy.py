"""The same anatomy gives the same mask, whatever the format, the order and the orientation of its slices."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
import torch
from ct_files import LPS, chest, enhanced_ct, places, sampled, save_slice, write_volume
from test_inference import infer


class HalfNetwork(torch.nn.Module):
    """Labels pixels above the middle between the slice's lowest and highest value as ground-glass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) to logits (B, 4, H, W)."""
        bright = torch.where(x > (x.amin((2, 3), True) + x.amax((2, 3), True)) / 2, 20.0, -20.0)
        return torch.cat([bright, x * 0 - 99, x * 0 - 99, -bright], 1)


SHAPE = (64, 64, 20)
AFFINE = np.diag([2.6, 2.2, 6.0, 1.0])  # LPS in mm
AFFINE[:3, 3] = -AFFINE[:3, :3] @ (np.asarray(SHAPE) - 1) / 2


def reordered(codes: str) -> nibabel.Nifti1Image:
    """The chest in another order of axes."""
    image = nibabel.Nifti1Image(sampled(AFFINE, SHAPE), LPS @ AFFINE)
    target = nibabel.orientations.axcodes2ornt(tuple(codes))
    return image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(image.affine), target)
    )


def itk_image(codes: str) -> itk.Image:
    """The chest for MetaImage and NRRD."""
    volume = reordered(codes)
    image = itk.image_from_array(np.ascontiguousarray(np.asarray(volume.dataobj).T))
    affine = LPS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(affine[:3, :3] / spacing))
    return image


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_form_of_one_chest_gives_one_mask(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for codes in ("LPS", "RAS", "PIR", "SAL"):
        nibabel.save(reordered(codes), source / f"nifti_{codes}.nii.gz")
    # Slices across each of the patient's axes, from either end, and in two orders of the files
    for number, codes in enumerate(("LPS", "LPI", "RAS", "LIP", "PIL", "AIR")):
        volume, folder = reordered(codes), source / f"dicom_{codes}"
        uids = {"series": f"1.2.5.{number}", "StudyInstanceUID": f"1.2.3.{number}"}
        write_volume(folder, np.asarray(volume.dataobj), LPS @ volume.affine, **uids)
    save_slice(enhanced_ct(sampled(AFFINE, SHAPE), AFFINE), source / "enhanced.dcm")
    for suffix, codes in (("mha", "LPS"), ("mhd", "RAS"), ("nrrd", "PIR"), ("nhdr", "LPI")):
        itk.imwrite(itk_image(codes), str(source / f"{suffix}_{codes}.{suffix}"))
    infer(source, out)
    masks = {path.name.removesuffix("_mask.nii.gz"): nibabel.load(path) for path in out.rglob("*_mask.nii.gz")}
    assert len(masks) == 4 + 6 + 1 + 4, sorted(masks)
    reference = nibabel.as_closest_canonical(masks["nifti_LPS"])
    expected = np.asarray(reference.dataobj)
    assert 0.05 < (expected == 1).mean() < 0.95
    for name, mask in masks.items():
        turned = nibabel.as_closest_canonical(mask)
        np.testing.assert_array_equal(np.asarray(turned.dataobj), expected, err_msg=name)
        np.testing.assert_allclose(turned.affine, reference.affine, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("degrees", [12.0, -18.0])
def test_a_tilted_scan_gives_the_same_mask_in_the_world(tmp_path: Path, degrees: float) -> None:
    """The mask of the tilted scan, on its tilted slices, is compared with the upright scan's at the same places."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    shape = (128, 128, 80)
    upright = np.diag([1.3, 1.1, 1.5, 1.0])
    tilted = upright.copy()
    tilted[:3, 1] = 0, 1.1 * cosine, -1.1 * sine
    for affine in (upright, tilted):
        affine[:3, 3] = -affine[:3, :3] @ (np.asarray(shape) - 1) / 2
    nibabel.save(nibabel.Nifti1Image(sampled(upright, shape), LPS @ upright), tmp_path / "in.nii.gz")
    write_volume(tmp_path / "series", sampled(tilted, shape), tilted)
    infer(tmp_path / "in.nii.gz", tmp_path / "upright", network=HalfNetwork(), size=[128, 128])
    infer(tmp_path / "series", tmp_path / "tilted", network=HalfNetwork(), size=[128, 128])
    masks = [nibabel.load(next((tmp_path / name).rglob("*_mask.nii.gz"))) for name in ("upright", "tilted")]
    assert masks[1].shape == shape
    stated = f"gantry tilt of {abs(degrees):.1f} degrees"
    (record,) = json.loads((tmp_path / "tilted" / "lesions.json").read_text())["cases"]
    assert any(stated in warning for warning in record["warnings"])
    assert stated in (tmp_path / "tilted" / "run.json").read_text()
    np.testing.assert_allclose(LPS @ masks[1].affine, tilted, atol=1e-3)
    # Each voxel of the tilted mask, at the nearest voxel of the upright one
    points = places(tilted, shape)
    index = np.rint((points - upright[:3, 3]) @ np.linalg.inv(upright[:3, :3]).T).astype(int)
    covered = ((index >= 0) & (index < np.asarray(shape))).all(-1)
    index = index.clip(0, np.asarray(shape) - 1)
    found = np.asarray(masks[1].dataobj)[covered] == 1
    expected = (np.asarray(masks[0].dataobj)[tuple(np.moveaxis(index, -1, 0))] == 1)[covered]
    ground_truth = chest(points)[covered] > -400
    assert dice(found, ground_truth) > 0.99, dice(found, ground_truth)
    assert dice(found, expected) > 0.98, dice(found, expected)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice's coefficient of two masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
