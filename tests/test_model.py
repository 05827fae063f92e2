"""``common.load``: what a notebook gets is what the command line writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import LoadImage
from PIL import Image

from common import load
from common.datasets.ultrasound import diagnoses
from common.phantoms.ct.folder import phantom_dir
from common.report.burden import burden_columns

CT = {
    "ct_drsegunet": {"lesion_threshold": 0.3, "probabilities": True},
    "ct_transfer_unet": {"filters": 4, "probabilities": True},
    "mosmed_encoders": {"encoder": "mobilenetv2", "probabilities": True},
    "ct_weak_gan": {"filters": 4},
}
ULTRASOUND = {"us_dense_seg": {"filters": 4, "probabilities": True}, "us_reverse_transfer": {"filters": 4}}
CHOICES = {"amp": False, "size": [64, 64]}


def weights(bundle: str, settings: dict[str, Any], folder: Path) -> Path:
    """Random weights of a bundle's network."""
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / bundle / "configs" / "inference.yaml"))
    parser.update(settings)
    torch.manual_seed(3)
    torch.save(parser.get_parsed_content("model").state_dict(), folder / f"{bundle}.pt")
    return folder / f"{bundle}.pt"


def by_command(bundle: str, settings: dict[str, Any], dataset_dir: Path, output_dir: Path) -> list[dict[str, str]]:
    """Run inference as the command line does; the rows of its table of cases."""
    settings = {**settings, "dataset_dir": str(dataset_dir), "output_dir": str(output_dir), "isolated": False}
    config = str(ROOT / "bundles" / bundle / "configs" / "inference.yaml")
    workflow = ConfigWorkflow(config_file=config, workflow_type="infer", **settings)
    workflow.initialize()
    workflow.run()
    table = output_dir / ("cases.csv" if bundle.startswith("us_") else "lesions.csv")
    with table.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def study(phantom_cache: Path) -> Path:
    """A chest CT on an oblique grid, with slices along the second axis of the file."""
    plain = nibabel.load(next((phantom_dir(patients=1, size=(96, 96), slices=8, seed=31) / "rp_im").iterdir()))
    angle = np.deg2rad(10)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    swap = np.eye(4)[[0, 2, 1, 3]]
    image = nibabel.Nifti1Image(np.asarray(plain.dataobj).swapaxes(1, 2), turn @ plain.affine @ swap)
    nibabel.save(image, phantom_cache / "oblique.nii.gz")
    return phantom_cache / "oblique.nii.gz"


@pytest.mark.parametrize("bundle", CT)
def test_a_ct_model_gives_the_command_lines_mask_and_table(bundle: str, study: Path, tmp_path: Path) -> None:
    settings = {**CHOICES, **CT[bundle]}
    settings["weights"] = str(weights(bundle, settings, tmp_path))
    (row,) = by_command(bundle, settings, study, tmp_path / "out")
    saved = nibabel.load(tmp_path / "out" / "oblique_mask.nii.gz")
    model = load(ROOT / "bundles" / bundle, **settings)
    image = nibabel.load(study)
    given = (study, LoadImage(ensure_channel_first=True)(study), (np.asarray(image.dataobj), image.affine))
    for scan in given:
        found = model(scan[0], affine=scan[1]) if isinstance(scan, tuple) else model(scan)
        np.testing.assert_array_equal(found.mask, np.asarray(saved.dataobj))
        np.testing.assert_array_equal(np.asarray(found), found.mask)
        if "probabilities" in settings:
            maps = [nibabel.load(tmp_path / "out" / f"oblique_probability_{name}.nii.gz") for name in model.names]
            saved_maps = np.stack([np.asarray(each.dataobj) for each in maps])
            np.testing.assert_allclose(found.probabilities, saved_maps, atol=1e-6)
        np.testing.assert_allclose(found.affine, saved.affine, atol=1e-4)
        assert set(np.unique(found.mask)) <= {0, *found.classes.values()}
        for name in set(burden_columns([])) & row.keys():
            expected = row[name] if name == "severity" else float(row[name])
            assert found.volumes[name] == (expected if name == "severity" else pytest.approx(expected, abs=5e-4)), name


def test_an_array_lies_as_its_axes_say(study: Path, tmp_path: Path) -> None:
    """The same scan, turned to other directions, gives the same mask turned in the same way."""
    model = load(
        ROOT / "bundles" / "ct_drsegunet", weights("ct_drsegunet", CHOICES, tmp_path), lesion_threshold=0.3, **CHOICES
    )
    hu = np.asarray(nibabel.load(study).dataobj).swapaxes(1, 2)  # L, P, S
    plain = model(hu, spacing=(0.8, 0.9, 4.0))
    np.testing.assert_allclose(plain.affine, np.diag([-0.8, -0.9, 4.0, 1.0]), atol=1e-9)
    turned = model(hu[::-1].transpose(2, 0, 1), spacing=(4.0, 0.8, 0.9), axes="SRP")
    assert len(np.unique(plain.mask)) > 1
    np.testing.assert_array_equal(turned.mask, plain.mask[::-1].transpose(2, 0, 1))
    assert turned.volumes == plain.volumes
    voxel = 0.8 * 0.9 * 4.0 / 1000
    assert plain.volumes["ground_glass_ml"] == pytest.approx((plain.mask == 1).sum() * voxel, abs=5e-4)


@pytest.mark.parametrize("bundle", ULTRASOUND)
def test_an_ultrasound_model_gives_the_command_lines_masks_and_table(
    bundle: str, small_phantoms: None, tmp_path: Path
) -> None:
    settings = {**CHOICES, **ULTRASOUND[bundle]}
    settings["weights"] = str(weights(bundle, settings, tmp_path))
    model = load(ROOT / "bundles" / bundle, **settings)
    paths = sorted({Path(case["image"]) for case in diagnoses("phantom")})
    still = next(path for path in paths if path.suffix == ".png")
    clip = next(path for path in paths if path.suffix != ".png")
    for path in (still, clip):
        (row,) = by_command(bundle, settings, path, tmp_path / path.stem)
        found = model(path)
        masks = sorted((tmp_path / path.stem).rglob("*_mask*/*.png")) or [
            tmp_path / path.stem / f"{still.stem}_mask.png"
        ]
        saved = np.stack([np.asarray(Image.open(mask)) for mask in masks])
        np.testing.assert_array_equal(found.mask, saved if len(saved) > 1 else saved[0])
        if "probabilities" in settings:
            files = sorted((tmp_path / path.stem).rglob("*.npz"))
            maps = np.stack([np.load(file)["probabilities"] for file in files])
            assert found.probabilities.astype(np.float16).tolist() == (maps if len(maps) > 1 else maps[0]).tolist()
        assert found.affine is None and found.volumes.keys() == row.keys() - {"case", "frames", "trust", "trust_reason"}
        for name, value in found.volumes.items():
            expected = value if isinstance(value, str) else pytest.approx(value, abs=1e-5)
            assert (row[name] if isinstance(value, str) else float(row[name])) == expected, name
    frame = np.asarray(Image.open(still).convert("L"))
    np.testing.assert_array_equal(model(frame).mask, model(still).mask)


def test_mistakes_are_named(study: Path, tmp_path: Path) -> None:
    root = ROOT / "bundles" / "ct_drsegunet"
    with pytest.raises(FileNotFoundError, match=r"There is no bundle 'nowhere'\. (Bundles: ct_drsegunet, |Run from)"):
        load("nowhere")
    with pytest.raises(ValueError, match=r"no setting 'sise'. Did you mean --size"):
        load(root, sise=[64, 64])
    with pytest.raises(ValueError, match=r"load: lesion_threshold must be a number from 0 to 1, got 2"):
        load(root, lesion_threshold=2)
    with pytest.raises(FileNotFoundError, match=r"No weights at missing\.pt"):
        load(root, "missing.pt")
    model = load(root, weights("ct_drsegunet", CHOICES, tmp_path), **CHOICES)
    hu = np.asarray(nibabel.load(study).dataobj)
    for arguments, message in (
        ({"image": hu}, "An array needs its spacing"),
        ({"image": hu, "spacing": (1, 1, 0)}, "three sizes of a voxel in mm"),
        ({"image": hu, "spacing": (1, 1, 1), "axes": "LLS"}, "Axes are three letters"),
        ({"image": hu, "spacing": 3}, "three sizes of a voxel in mm"),
        ({"image": hu, "affine": np.eye(3)}, r"The affine is a matrix \(4, 4\)"),
        ({"image": hu, "affine": np.zeros((4, 4))}, r"The affine is a matrix \(4, 4\)"),
        ({"image": hu[:0], "spacing": (1, 1, 1)}, r"\(X, Y, Z\) in HU, got the shape"),
        ({"image": hu[0], "spacing": (1, 1, 1)}, r"\(X, Y, Z\) in HU, got the shape"),
        ({"image": hu + 1024, "spacing": (1, 1, 1)}, "array: declared as HU, but a chest CT has air"),
        ({"image": tmp_path / "nowhere.nii.gz"}, r"^No such file or folder: .*nowhere\.nii\.gz\.$"),
        ({"image": hu, "spacing": (1, 1, 1), "series": "all"}, "series: for files only"),
        ({"image": study, "mirror": True}, "model: there is no choice 'mirror'. Choices: exclude, gaps, include"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            model(**arguments)
    for name in ("a", "b"):
        nibabel.save(nibabel.load(study), tmp_path / f"{name}.nii.gz")
    with pytest.raises(ValueError, match=r"one case at a time, got 2 \(a, b"):
        model(tmp_path, include="?")
