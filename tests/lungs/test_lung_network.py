"""The lung network: what ships, its masks on synthetic patients, and which lung a case gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from common.costs import gflop
from common.files import sha256
from common.lung_mask import lung_mask
from common.lung_network.architecture import SIZE, LungNetwork
from common.lung_network.methods import LUNGS, find_lung
from common.lung_network.segment import WEIGHTS, lung_by_network, lung_network
from common.lungs.cases import Case
from common.lungs.comparison import measure
from common.phantoms.ct.chest_ct import ChestCT, chest_ct
from common.run.model_record import read_record
from common.transforms.masks import LungMaskd


@pytest.fixture(scope="module")
def sick() -> ChestCT:
    """A patient with consolidation, whom the network was not trained on."""
    return chest_ct(2, size=(160, 160), slices=12)


@pytest.fixture(scope="module")
def found(sick: ChestCT) -> np.ndarray:
    return lung_by_network(sick.image)


def test_the_weights_that_ship_are_small_and_say_where_they_come_from() -> None:
    state = torch.load(WEIGHTS, weights_only=True)
    assert {values.dtype for values in state.values()} == {torch.float16}
    assert WEIGHTS.stat().st_size < 2e6
    record = read_record(WEIGHTS)  # refuses the record of other weights
    assert record["sha256"] == sha256(WEIGHTS) and record["command"].startswith("python -m common.lungs train")
    assert {"data", "licence", "intended_use", "not_for", "scores"} <= record.keys()
    assert sum(values.numel() for values in LungNetwork().parameters()) == record["parameters"]
    assert gflop(LungNetwork(), (1, 1, SIZE, SIZE)) == pytest.approx(record["gflop_per_slice"], abs=0.005)


def test_lungs_of_a_patient_with_their_consolidation(sick: ChestCT, found: np.ndarray) -> None:
    true, consolidation = sick.lung > 0, sick.lesion == 2
    by_threshold = lung_mask(sick.image, sick.spacing)
    scores, others = (measure(case_of(sick), lung) for lung in (found, by_threshold))
    assert found.dtype == bool and found.shape == true.shape and consolidation.sum() > 500
    assert scores["dice"] > max(0.93, others["dice"])
    assert scores["consolidation"] > others["consolidation"] + 0.2, "consolidated lung is lung"


def test_grey_levels_of_the_lung_window_give_the_same_lung(sick: ChestCT, found: np.ndarray) -> None:
    grey = np.clip((sick.image + 1350.0) / 1500 * 255, 0, 255).round()
    same = find_lung(grey, None, "network", "8bit")
    assert measure(case_of(sick, found), same)["dice"] > 0.995


def test_a_slice_has_the_same_lung_alone_and_in_its_volume(sick: ChestCT, found: np.ndarray) -> None:
    index = int(sick.lung.sum(axis=(0, 1)).argmax())
    alone = lung_by_network(sick.image[..., index : index + 1])[..., 0]
    assert (alone != found[..., index]).mean() < 0.002  # single slices have other small regions


@pytest.mark.parametrize("value", [-1000.0, 40.0])
def test_nothing_is_found_where_there_is_nothing(value: float) -> None:
    noise = np.random.default_rng(0).normal(value, 20, (96, 96, 2))
    assert lung_by_network(noise).mean() < 0.03


def test_images_that_are_no_volume_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(X, Y, Z\), got \(8, 8\)"):
        lung_by_network(np.zeros((8, 8)))
    with pytest.raises(ValueError, match="finite"):
        lung_by_network(np.full((8, 8, 1), np.nan))


def case_of(ct: ChestCT, lung: np.ndarray | None = None) -> Case:
    return Case("a", ct.image, ct.spacing, "HU", ct.lung > 0 if lung is None else lung, ct.lesion)


def item_of(ct: ChestCT) -> dict[str, object]:
    affine = np.diag([-ct.spacing[0], -ct.spacing[1], ct.spacing[2], 1.0])
    return {"case": "p1", "image": MetaTensor(torch.from_numpy(ct.image)[None].float(), affine=affine)}


def test_which_lung_a_case_gets(sick: ChestCT, found: np.ndarray) -> None:
    item = item_of(sick)
    network, threshold = (LungMaskd("lung", lungs=lungs)(item) for lungs in LUNGS[:2])
    assert (network["lung_from"], threshold["lung_from"]) == ("lung network", "threshold")
    assert np.array_equal(np.asarray(network["lung"][0]) > 0, found)
    assert np.array_equal(np.asarray(threshold["lung"][0]) > 0, lung_mask(sick.image, sick.spacing))
    mask = MetaTensor(torch.from_numpy(sick.lung)[None], affine=item["image"].affine)  # type: ignore[attr-defined]
    for lungs in LUNGS:  # a mask that a case brings is always taken
        given = LungMaskd("lung", lungs=lungs)({**item, "lung": mask})
        assert given["lung_from"] == "given" and np.array_equal(given["lung"][0], sick.lung)


def test_a_case_without_mask_and_contradictions_are_refused(sick: ChestCT) -> None:
    with pytest.raises(ValueError, match=r"p1: --lungs given needs a lung mask of every case.*--lungs network"):
        LungMaskd("lung", lungs="given")(item_of(sick))
    with pytest.raises(ValueError, match="--lungs must be one of network, threshold, given, got 'otsu'"):
        LungMaskd("lung", lungs="otsu")


def test_real_lung(real_data: Callable[[str], Path]) -> None:
    itk = pytest.importorskip("itk")
    folder = real_data("ct_elastix_lung")
    names = ("3DCT_lung.mha", "3DCT_lung_baseline_mask.mha")
    image, known = (itk.array_from_image(itk.imread(folder / name)).T for name in names)
    scores = measure(Case("elastix", image, None, "HU", known > 0), lung_by_network(image))
    assert scores["dice"] > 0.97 and scores["surplus"] == 0.0


def test_real_consolidation_at_the_wall(real_data: Callable[[str], Path]) -> None:
    import pydicom

    folder = real_data("ct_ny_sbu_covid_dcm")
    inside = {"A056642_19001229-053": [(196, 339), (363, 309)], "A098752_19010127-128": [(160, 356), (185, 342)]}
    inside["A046441_19010101-23"] = [(101, 246), (144, 317), (322, 344)]
    for name, places in inside.items():
        header = pydicom.dcmread(folder / f"{name}.dcm")
        hu = header.pixel_array.T[..., None] * float(header.RescaleSlope) + float(header.RescaleIntercept)
        mask = lung_by_network(hu)[..., 0]
        assert all(mask[place] for place in places), name


def test_weights_are_loaded_once(tmp_path: Path) -> None:
    assert lung_network() is lung_network()
