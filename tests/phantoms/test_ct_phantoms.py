"""Tests of the synthetic chest CT phantoms: reproducible, anatomically oriented, truly labelled, readable as stored."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from common.phantoms.ct import layouts
from common.phantoms.ct.chest_ct import ChestCT, chest_ct
from common.phantoms.ct.figure import draw_ct_phantoms
from common.phantoms.ct.folder import phantom_dir
from common.phantoms.ct.layouts import write_radiopaedia
from common.phantoms.ct.medseg_layouts import lung_crop, write_medseg, write_medseg_arrays, write_medseg_pictures
from common.phantoms.ct.nifti_files import lps_affine
from common.phantoms.ct.scanner import SECOND, STANDARD, Scanner

SMALL = (96, 96)
# Patients with both kinds of lesion.
SEEDS = (2, 22, 30)


@pytest.fixture(scope="module")
def patients() -> list[ChestCT]:
    return [chest_ct(seed, SMALL, 12) for seed in SEEDS]


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_seed_names_the_patient() -> None:
    first, again, other = (chest_ct(seed, (64, 64), 4) for seed in (5, 5, 6))
    for name in ("image", "lesion", "lung"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.image != other.image).mean() > 0.5
    assert (first.lung != other.lung).any()


def test_types_and_ranges(patients: list[ChestCT]) -> None:
    for ct in patients:
        assert ct.image.dtype == np.int16 and ct.lesion.dtype == ct.lung.dtype == np.uint8
        assert ct.image.shape == ct.lesion.shape == ct.lung.shape == (*SMALL, 12)
        assert ct.image.min() >= -1024 and ct.image.max() <= 3071
        assert set(np.unique(ct.lesion)) <= {0, 1, 2} and set(np.unique(ct.lung)) == {0, 1}
        assert ct.spacing[:2] == (3.75, 3.75) and 15 < ct.spacing[2] < 32


def test_labels_agree_with_the_image(patients: list[ChestCT]) -> None:
    for ct in patients:
        assert not ct.lesion[ct.lung == 0].any()
        healthy, glass, solid = (np.median(ct.image[(ct.lung == 1) & (ct.lesion == k)]) for k in (0, 1, 2))
        assert -930 < healthy < -760
        assert -750 < glass < -300
        assert -250 < solid < 90


def test_without_lesions_only_lesions_change() -> None:
    sick, well = (chest_ct(2, SMALL, 8, lesions=flag) for flag in (True, False))
    assert sick.lesion.any() and not well.lesion.any()
    np.testing.assert_array_equal(sick.lung, well.lung)
    change = sick.image.astype(int) - well.image
    assert np.median(change[sick.lesion == 1]) > 100
    assert np.percentile(np.abs(change[sick.lung == 0]), 90) <= 1


def test_orientation() -> None:
    """The heart takes room from the left lung, the spine lies behind the lungs' middle, the apex is the narrow end."""
    patients = [chest_ct(seed, SMALL, 12, lesions=False) for seed in SEEDS]
    middle = SMALL[0] // 2
    assert sum(int(ct.lung[:middle].sum()) for ct in patients) > sum(int(ct.lung[middle:].sum()) for ct in patients)
    for ct in patients:
        x, y, _ = np.nonzero(ct.lung)
        low_half = ct.image[:, :, 3:7]
        mediastinum = (np.abs(low_half) < 200) & (np.abs(np.arange(SMALL[0]) - x.mean()) < 22)[:, None, None]
        front = np.arange(SMALL[1]) < y.mean()
        hearts = np.nonzero(mediastinum & front[None, :, None])[0]
        assert hearts.mean() > x.mean() + 0.5
        central = slice(middle - 10, middle + 10)
        assert np.nonzero(ct.image[central] > 350)[1].mean() > y.mean() + 4
        # The lungs narrow towards the apex.
        assert ct.lung[:, :, -2].sum() < 0.8 * ct.lung[:, :, 6].sum()


def test_one_patient_may_be_sampled_at_two_resolutions() -> None:
    fine, coarse = chest_ct(1, (192, 192), 8), chest_ct(1, (64, 64), 8)
    assert dice(fine.lung[1::3, 1::3] > 0, coarse.lung > 0) > 0.95
    assert dice(fine.lesion[1::3, 1::3] > 0, coarse.lesion > 0) > 0.85
    assert fine.spacing[2] == coarse.spacing[2]


def test_second_scanner_differs_as_stated() -> None:
    standard, second = (chest_ct(4, (256, 256), 2, scanner).image.astype(float) for scanner in (STANDARD, SECOND))
    liver = (slice(88, 104), slice(110, 126), 0)
    assert second[liver].mean() - standard[liver].mean() == pytest.approx(40, abs=6)
    assert standard[liver].std() == pytest.approx(STANDARD.noise, rel=0.3)
    assert second[liver].std() == pytest.approx(SECOND.noise, rel=0.3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"size": (16, 64)}, "size"),
        ({"slices": 0}, "slices"),
        ({"field_of_view": 50.0}, "field_of_view"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        chest_ct(**{"seed": 0, **arguments})  # type: ignore[arg-type]


def test_bad_scanner_is_refused() -> None:
    with pytest.raises(ValueError, match="slice_thickness"):
        Scanner(slice_thickness=0)
    with pytest.raises(ValueError, match="noise"):
        Scanner(noise=-1)


def test_radiopaedia_layout(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "volumes", patients=2, size=(64, 64), slices=5)
    for number, order in ((1, "LPS"), (2, "RAS")):
        ct = chest_ct(number - 1, (64, 64), 5)
        for folder, expected in (("rp_im", ct.image), ("rp_msk", ct.lesion), ("rp_lung_msk", ct.lung)):
            stored = nib.Nifti1Image.from_filename(root / folder / f"{number}.nii.gz")
            assert "".join(nib.aff2axcodes(stored.affine)) == order
            turned = stored.as_reoriented(
                nib.orientations.ornt_transform(
                    nib.io_orientation(stored.affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
                )
            )
            np.testing.assert_array_equal(np.asarray(turned.dataobj), expected)
            assert np.asarray(stored.dataobj).dtype == expected.dtype
            np.testing.assert_allclose(turned.affine, lps_affine(expected.shape, ct.spacing), atol=1e-4)


def test_medseg_layouts_hold_the_same_slices(tmp_path: Path) -> None:
    volume = write_medseg(tmp_path / "stack", slices=3, size=(96, 64))
    arrays = write_medseg_arrays(tmp_path / "arrays", slices=3, size=(96, 64))
    pictures = write_medseg_pictures(tmp_path / "pictures", slices=3, size=(96, 64))
    names = ("tr_im", "tr_mask", "tr_lungmasks_updated")
    image, lesion, lung = (
        np.asarray(nib.Nifti1Image.from_filename(volume / f"{name}.nii.gz").dataobj) for name in names
    )
    assert image.shape == (96, 64, 3) and (lesion > 0).any(axis=(0, 1)).all()

    images, masks = (np.load(arrays / f"{name}_medseg.npy") for name in ("images", "masks"))
    assert images.shape == (3, 64, 96, 1) and masks.shape == (3, 64, 96, 4)
    assert images.dtype == masks.dtype == np.float32
    np.testing.assert_array_equal(images[..., 0], image.transpose(2, 1, 0))
    np.testing.assert_array_equal(masks.sum(axis=-1), 1)
    np.testing.assert_array_equal(masks[..., 0], (lesion == 1).transpose(2, 1, 0))
    np.testing.assert_array_equal(masks[..., 3], (lung == 0).transpose(2, 1, 0))

    for k in range(3):
        crop = lung_crop(lung[:, :, k])
        picture, classes, infection = (
            np.asarray(Image.open(pictures / name))
            for name in (f"Imgs/{k + 1}.jpg", f"GT_multiclass/{k + 1}.png", f"GT_infection/{k + 1}.png")
        )
        np.testing.assert_array_equal(classes, lesion[:, :, k][crop])
        np.testing.assert_array_equal(infection, np.where(classes > 0, 255, 0))
        grey = np.clip((image[:, :, k][crop] + 1000.0) / 1100.0 * 255, 0, 255)
        assert picture.dtype == np.uint8 and np.abs(picture - grey).mean() < 6


def test_writers_refuse_bad_numbers_and_full_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patients"):
        write_radiopaedia(tmp_path / "a", patients=0)
    with pytest.raises(ValueError, match="slices"):
        write_medseg(tmp_path / "b", slices=0)
    with pytest.raises(ValueError, match="seed"):
        write_medseg_pictures(tmp_path / "c", seed=-1)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="full"):
        write_radiopaedia(tmp_path / "full", patients=1, size=(32, 32), slices=1)
    assert (tmp_path / "full" / "note.txt").read_text() == "kept"


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "save_nifti", stop)
    with pytest.raises(KeyboardInterrupt):
        write_radiopaedia(tmp_path / "volumes", patients=1, size=(32, 32), slices=1)
    assert not list(tmp_path.iterdir())


def test_phantom_dir_makes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COVID_LUNG_CACHE", str(tmp_path))
    settings = {"patients": 1, "size": (32, 32), "slices": 2}
    with caplog.at_level("INFO"):
        first = phantom_dir("radiopaedia", **settings)
    assert "synthetic" in caplog.text and str(first) in caplog.text
    assert first.parent == tmp_path and "v1" in first.name and "32x32" in first.name
    made = (first / "rp_im" / "1.nii.gz").stat().st_mtime_ns
    assert phantom_dir("radiopaedia", seed=0, **settings) == first
    assert (first / "rp_im" / "1.nii.gz").stat().st_mtime_ns == made
    assert phantom_dir("radiopaedia", seed=1, **settings) != first
    with pytest.raises(ValueError, match="layout"):
        phantom_dir("elsewhere")
    with pytest.raises(ValueError, match="colour"):
        phantom_dir("medseg", colour=1)


def test_the_figure_shows_labels_in_colour_below_the_image(tmp_path: Path) -> None:
    picture = np.asarray(Image.open(draw_ct_phantoms(tmp_path / "figure.png", patients=1, seed=1)))
    assert picture.ndim == 3 and picture.shape[2] == 3
    top, bottom = np.split(picture, 2)
    assert (top[..., 0] == top[..., 1]).all() and (bottom[..., 0] != bottom[..., 2]).any()
