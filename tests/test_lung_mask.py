"""Lung mask by threshold, on synthetic bodies with known lungs and on real scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.lung_mask import lung_mask
from common.phantoms.ct.chest_ct import chest_ct

SPACING = (2.0, 2.0, 5.0)
SHAPE = (200, 180, 12)
LUNGS = (((60, 90), (32, 50)), ((140, 90), (32, 50)))  # centre and half axes in pixels


def ellipse(shape: tuple[int, ...], centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    """Filled ellipse (X, Y, 1) that broadcasts over slices."""
    x, y = np.ogrid[: shape[0], : shape[1]]
    return (((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1)[..., None]


def body(rng: np.random.Generator, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Chest in HU with noise, table and trachea; and its lungs."""
    image = np.full(shape, -1000.0)
    image[20:180, 170:172] = 100.0  # table
    image[20:180, 172:178] = -930.0  # its foam, as dark as lung
    image[np.broadcast_to(ellipse(shape, (100, 90), (92, 72)), shape)] = 40.0
    lungs = np.zeros(shape, dtype=bool)
    for centre, axes in LUNGS:
        lungs |= ellipse(shape, centre, axes)
    image[lungs] = -850.0
    image[np.broadcast_to(ellipse(shape, (60, 100), (4, 4)), shape)] = 40.0  # a vessel, part of the lung
    image[np.broadcast_to(ellipse(shape, (100, 70), (6, 6)), shape)] = -1000.0  # trachea
    return image + rng.normal(0, 20, shape), lungs


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two bool arrays."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_finds_lungs_without_outside_air_table_and_trachea(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    mask = lung_mask(image, SPACING)
    assert mask.dtype == bool and mask.shape == image.shape
    assert dice(mask, lungs) > 0.97
    assert mask[60, 100].all(), "vessels belong to the lung"
    assert not mask[100, 70].any(), "the trachea does not"
    assert not mask[:, 168:].any() and not mask[:4].any()


@pytest.mark.parametrize("low", [-2000.0, -3024.0, -1350.0, -1000.0])
def test_padding_and_clipping_change_nothing(rng: np.random.Generator, low: float) -> None:
    image, lungs = body(rng)
    image[~np.broadcast_to(ellipse(SHAPE, (100, 90), (98, 98)), SHAPE)] = low
    assert dice(lung_mask(np.maximum(image, low).astype(np.float32), SPACING), lungs) > 0.97


def test_lung_cut_by_padding(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    seen = np.broadcast_to(ellipse(SHAPE, (100, 90), (65, 65)), SHAPE)  # a field of view that cuts both lungs
    image[~seen] = -3024.0
    assert dice(lung_mask(image, SPACING), lungs & seen) > 0.95


def test_trachea_that_opens_into_the_lung(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    image[86:101, 68:73, 5:8] = -1000.0  # a main bronchus; the lung begins at 92
    mask = lung_mask(image, SPACING)
    assert dice(mask, lungs) > 0.97
    assert np.count_nonzero(mask[95:106, 65:76]) == 0


@pytest.mark.parametrize("crop", [np.s_[:100], np.s_[40:], np.s_[:, 60:150], np.s_[45:155, 50:130]])
def test_crop_through_the_lungs(rng: np.random.Generator, crop: tuple[slice, ...]) -> None:
    image, lungs = body(rng)
    assert dice(lung_mask(image[crop], SPACING), lungs[crop]) > 0.97


def test_single_slice(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    assert dice(lung_mask(image[:, :, :1], SPACING), lungs[:, :, :1]) > 0.97


@pytest.mark.parametrize("window", [(-1350.0, 150.0), (-1000.0, 100.0)])
def test_image_of_any_window(rng: np.random.Generator, window: tuple[float, float]) -> None:
    image, lungs = body(rng)
    crop = np.s_[20:180, 30:150, :1]
    grey = np.clip((image[crop] + 1250) / 1500, 0, 1).round(2)
    mask = lung_mask(window[0] + grey * (window[1] - window[0]))
    assert dice(mask, lungs[crop]) > 0.96


def test_fine_grid_of_odd_size(rng: np.random.Generator) -> None:
    image, lungs = body(rng, (*SHAPE[:2], 2))
    fine, known = (np.repeat(np.repeat(each, 2, 0), 2, 1)[:-1] for each in (image, lungs))
    mask = lung_mask(fine.astype(np.int16), (1.0, 1.0, 5.0))
    assert mask.shape == fine.shape == (399, 360, 2)
    assert dice(mask, known) > 0.97


def test_lungs_that_disease_cut_into_pieces(rng: np.random.Generator) -> None:
    image, lungs = body(rng, (*SHAPE[:2], 1))
    for y in (70, 90, 110):
        image[:, y : y + 4][lungs[:, y : y + 4]] = 30.0
    assert dice(lung_mask(image, SPACING), lungs) > 0.95


# centres and half axes in pixels
WALL = {
    "side": ((31, 95), (9, 14)),
    "back": ((152, 136), (12, 9)),
    "back and side": ((166, 122), (10, 10)),
}
NOT_WALL = {
    "heart": ((116, 100), (14, 20)),
    "spine": ((122, 128), (11, 14)),
    "parasternal": ((148, 40), (14, 8)),
    "liver": ((40, 95), (30, 30)),
    "effusion": ((60, 190), (120, 66)),  # level, no lung is left behind it
}


def dense(image: np.ndarray, lungs: np.ndarray, centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    """Fill an ellipse of lung with soft tissue; returns what was filled."""
    filled = lungs & ellipse(image.shape, centre, axes)
    image[filled] += 890.0
    return filled


@pytest.mark.parametrize("place", WALL)
@pytest.mark.parametrize("spacing", [SPACING, None])
def test_consolidation_at_the_chest_wall(
    rng: np.random.Generator, place: str, spacing: tuple[float, float, float] | None
) -> None:
    image, lungs = body(rng)
    consolidation = dense(image, lungs, *WALL[place])
    mask = lung_mask(image, spacing)
    assert mask[consolidation].mean() > 0.7, "the straight line across its opening leaves the rest out"
    assert dice(mask, lungs) > 0.995
    assert mask[~lungs].mean() < 0.001, "chest wall taken for lung"


@pytest.mark.parametrize("place", NOT_WALL)
def test_dense_tissue_away_from_the_wall_stays_out(rng: np.random.Generator, place: str) -> None:
    image, lungs = body(rng)
    organ = dense(image, lungs, *NOT_WALL[place])
    mask = lung_mask(image, SPACING)
    assert mask[organ].mean() < 0.03
    assert dice(mask, lungs & ~organ) > 0.995


def test_a_single_lung_keeps_its_hollows(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    consolidation = dense(image, lungs, *WALL["side"])
    assert lung_mask(image[:100], SPACING)[consolidation[:100]].mean() < 0.1


@pytest.mark.parametrize(("hu", "taken"), [(-250.0, True), (-100.0, False)])
def test_partly_consolidated_lung_and_fat(rng: np.random.Generator, hu: float, taken: bool) -> None:
    image, lungs = body(rng)
    y = np.arange(SHAPE[1])[:, None]
    image[lungs & (y >= 118)] = 40.0
    band = lungs & (y >= 118) & (y < 124)
    image[band] = hu + rng.normal(0, 20, np.count_nonzero(band))
    share = lung_mask(image, SPACING)[band].mean()
    assert share > 0.7 if taken else share < 0.05  # 0.14 by closing alone


@pytest.mark.parametrize(("seed", "least", "of_consolidation"), [(12, 0.965, 0.6), (22, 0.893, 0.22), (26, 0.93, 0.3)])
def test_phantoms_with_consolidation(seed: int, least: float, of_consolidation: float) -> None:
    # closing alone: Dice 0.957, 0.880, 0.918, and 12% of consolidation
    ct = chest_ct(seed, (256, 256), 24)
    mask = lung_mask(ct.image, ct.spacing)
    assert dice(mask, ct.lung > 0) > least
    assert mask[ct.lesion == 2].mean() > of_consolidation
    assert (ct.lung > 0)[mask].mean() > 0.955, "not bought with chest wall"


@pytest.mark.parametrize("seed", [3, 27])
def test_phantoms_without_consolidation(seed: int) -> None:
    ct = chest_ct(seed, (256, 256), 24)
    assert dice(lung_mask(ct.image, ct.spacing), ct.lung > 0) > 0.974  # closing alone: 0.977 and 0.980


@pytest.mark.parametrize("value", [-1000.0, 40.0])
def test_no_lung(rng: np.random.Generator, value: float) -> None:
    assert not lung_mask(np.full((64, 64, 3), value), (5.0, 5.0, 5.0)).any()
    assert not lung_mask(np.full((64, 64, 3), value)).any()
    assert not lung_mask(rng.normal(value, 20, (64, 64, 3)), (5.0, 5.0, 5.0)).any()


def test_abdomen_has_no_lung(rng: np.random.Generator) -> None:
    image, lungs = body(rng)
    image[lungs] = 40.0
    image[np.broadcast_to(ellipse(SHAPE, (70, 60), (12, 9)), SHAPE)] = -1000.0  # gas in the stomach
    assert not lung_mask(image, SPACING).any()


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(X, Y, Z\), got \(8, 8\)"):
        lung_mask(np.zeros((8, 8)))
    with pytest.raises(ValueError, match="finite"):
        lung_mask(np.full((8, 8, 1), np.nan))
    with pytest.raises(ValueError, match="positive lengths"):
        lung_mask(np.zeros((8, 8, 1)), (1.0, 0.0, 1.0))


def test_real_lung(real_data: Callable[[str], Path]) -> None:
    itk = pytest.importorskip("itk")
    folder = real_data("ct_elastix_lung")
    scan = itk.imread(folder / "3DCT_lung.mha")
    image, known = (itk.array_from_image(each).T for each in (scan, itk.imread(folder / "3DCT_lung_baseline_mask.mha")))
    spacing = (1.366, 1.366, 2.5)
    assert dice(lung_mask(image, spacing), known.astype(bool)) > 0.98
    clipped = np.clip(image[..., ::3], -1000, 100)
    assert dice(lung_mask(clipped, spacing), known[..., ::3].astype(bool)) > 0.98


def test_real_hemithorax_crop(real_data: Callable[[str], Path]) -> None:
    import nibabel

    scan = nibabel.nifti1.load(real_data("ct_ibsi_lung") / "nifti" / "image" / "phantom.nii.gz")
    mask = lung_mask(scan.get_fdata(dtype=np.float32), (0.977, 0.977, 3.0))
    assert mask[:, 0].any(), "the lung reaches the anterior border"
    assert not mask[:10].any() and not mask[:, -10:].any(), "no outside air"
    assert 1.1e6 < mask.sum() * 0.977 * 0.977 * 3.0 < 1.4e6  # mm3; by eye the contour is right


def test_real_slices_with_padding(real_data: Callable[[str], Path]) -> None:
    import pydicom

    for path in sorted(real_data("ct_ny_sbu_covid_dcm").glob("*.dcm")):
        header = pydicom.dcmread(path)
        hu = header.pixel_array.T[..., None] * float(header.RescaleSlope) + float(header.RescaleIntercept)
        pixel = float(header.PixelSpacing[0])
        mask = lung_mask(hu, (pixel, pixel, 5.0))
        area = mask.sum() * pixel**2 / 100
        assert 25 < area < 450, f"{path.name}: {area:.0f} cm2"
        assert not mask[:, 430:].any(), f"{path.name}: table taken for lung"


def test_real_consolidation_at_the_wall_but_no_organs(real_data: Callable[[str], Path]) -> None:
    import pydicom

    folder = real_data("ct_ny_sbu_covid_dcm")
    inside = {"A056642_19001229-053": [(196, 339), (363, 309)], "A098752_19010127-128": [(160, 356), (185, 342)]}
    inside["A046441_19010101-23"] = [(101, 246), (144, 317), (322, 344)]
    outside = {"A072894_19010103-40": [(345, 310), (240, 250)], "A072894_19001203-066": [(300, 340)]}  # effusion, heart
    outside |= {"A098752_19010127-128": [(150, 230), (180, 200)], "A067967_19001006-028": [(180, 280), (370, 300)]}
    for points, known in ((inside, True), (outside, False)):
        for name, places in points.items():
            header = pydicom.dcmread(folder / f"{name}.dcm")
            hu = header.pixel_array.T[..., None] * float(header.RescaleSlope) + float(header.RescaleIntercept)
            pixel = float(header.PixelSpacing[0])
            mask = lung_mask(hu, (pixel, pixel, 5.0))[..., 0]
            assert [bool(mask[place]) for place in places] == [known] * len(places), name


def test_real_images_with_drawn_lesions(real_data: Callable[[str], Path]) -> None:
    from PIL import Image

    folder = real_data("ct_medseg_slices") / "train"
    found = {1: 0, 2: 0}
    drawn = {1: 0, 2: 0}
    for path in sorted((folder / "Imgs").glob("*.jpg")):
        picture = np.array(Image.open(path).convert("L"))[
            ..., None
        ]  # rows run to the patient's left, columns to the back
        lesions = np.array(Image.open(folder / "GT_multiclass" / f"{path.stem}.png"))[..., None]
        mask = lung_mask(picture)
        for value in found:
            found[value] += np.count_nonzero(mask & (lesions == value))
            drawn[value] += np.count_nonzero(lesions == value)
    assert found[1] > 0.97 * drawn[1], "ground-glass"
    assert found[2] > 0.78 * drawn[2], "consolidation; 64% without steps 6 and 8"
