"""Masks: labels become classes; pixels outside the lungs are set to one value."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from common.transforms.masks import ClassIndexd, LesionMaskd, LungMaskd, OutsideLungd

MEDSEG = ["ground-glass", "consolidation", "lung", "background"]


def compose(lesions: list[float], lung: list[float] | None, classes: list[str]) -> list[int]:
    item = {
        "image": MetaTensor(torch.zeros(1, len(lesions), 1, 1)),
        "label": MetaTensor(torch.tensor(lesions)[None, :, None, None]),
    }
    if lung is not None:
        item["lung"] = MetaTensor(torch.tensor(lung)[None, :, None, None])
    return ClassIndexd("label", classes)(item)["label"].flatten().tolist()


def test_lesions_take_precedence_over_lung_and_effusion_is_background() -> None:
    #                                none, lung, ggo outside lung mask, ggo, consolidation, effusion
    assert compose([0, 0, 1, 1, 2, 3], [0, 2, 0, 1, 1, 0], MEDSEG) == [3, 2, 0, 0, 1, 3]


def test_three_classes_count_consolidation_as_ground_glass() -> None:
    assert compose([0, 0, 1, 2], [0, 1, 1, 1], ["ground-glass", "lung", "background"]) == [2, 1, 0, 0]


def test_infection_takes_both_kinds_of_lesion_and_lung_is_background() -> None:
    assert compose([0, 0, 1, 2, 3], [0, 1, 1, 1, 1], ["infection", "background"]) == [1, 1, 0, 0, 1]


def test_without_a_lung_mask_lung_stays_background() -> None:
    assert compose([0, 1, 2], None, MEDSEG) == [3, 0, 1]


def test_unknown_label_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0, 1 \(ground-glass\), 2 \(consolidation\), 3 \(effusion\), got 0, 7\."):
        compose([0, 7], None, MEDSEG)


def test_masks_of_another_shape_are_refused() -> None:
    item = {"image": MetaTensor(torch.zeros(1, 4, 4, 2)), "label": MetaTensor(torch.zeros(1, 4, 4, 3))}
    with pytest.raises(ValueError, match=r"lesion mask must have the image's shape \(4, 4, 2\), got \(4, 4, 3\)"):
        ClassIndexd("label", MEDSEG)(item)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 3)])
def test_pixels_outside_the_lung_take_one_value_and_those_inside_do_not_change(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    lung = torch.zeros(shape, dtype=torch.uint8)
    lung[0, 1] = 1
    item = OutsideLungd(keys="image", value=-3.0)({"image": image, "lung": lung})
    assert torch.equal(item["image"][0, 1], image[0, 1]) and (item["image"][0, 0] == -3).all()
    assert (image >= 0).all(), "what came in is as it was"


def test_an_image_of_a_normal_slice_needs_no_mask_of_lesions() -> None:
    image = MetaTensor(torch.rand(1, 4, 5, 1))
    known = LesionMaskd("truth", empty_if_normal=True)
    assert known({"image": image, "label": 0})["truth"].sum() == 0
    given = MetaTensor(torch.ones(1, 4, 5, 1))
    assert known({"image": image, "label": 1, "truth": given})["truth"].sum() == 20
    with pytest.raises(ValueError, match="x: label 0 says that there is no lesion, but 20 pixels of its mask are one"):
        known({"case": "x", "image": image, "label": 0, "truth": given})
    with pytest.raises(ValueError, match="x: label 1 says that there is a lesion, but its mask is empty"):
        known({"case": "x", "image": image, "label": 1, "truth": torch.zeros_like(given)})
    several = {key: MetaTensor(torch.ones(1, 4, 5, 2)) for key in ("image", "truth")}
    assert known({**several, "label": 0})["truth"].any(), "the label of a slice says nothing of its volume"
    with pytest.raises(KeyError, match="truth"):
        known({"image": image, "label": 1})


def test_a_scan_is_no_lung_mask() -> None:
    image = MetaTensor(torch.full((1, 4, 4, 2), -800.0))
    with pytest.raises(ValueError, match=r"x: a lung mask is 0 outside the lungs and positive in them, got -800 in"):
        LungMaskd("lung")({"case": "x", "image": image, "lung": image.clone()})


def test_a_slice_without_lung_has_no_heat_where_that_is_allowed() -> None:
    item = {"pred": torch.rand(1, 4, 4), "lung": torch.zeros(1, 4, 4)}
    assert not OutsideLungd("pred", may_be_empty=True)(item)["pred"].any()


@pytest.mark.parametrize(
    ("lung", "message"),
    [
        (
            torch.zeros(1, 4, 4),
            r"study_7: the lung mask must be positive in the lung, got only zeros, shape \(1, 4, 4\)",
        ),
        (torch.ones(1, 2, 2), r"study_7: the lung mask must have the image's shape \(1, 4, 4\), got \(1, 2, 2\)"),
    ],
)
def test_an_empty_lung_mask_and_one_of_another_shape_are_refused(lung: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutsideLungd(keys="image")({"image": torch.ones(1, 4, 4), "lung": lung, "case": "study_7"})


def test_lesions_that_do_not_count_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    mask = MetaTensor(torch.tensor([0.0, 1, 2, 3]).reshape(1, 4, 1, 1))
    masks = LesionMaskd("label", values=[1, 2])
    for case in ("a", "b"):
        made = masks({"label": mask, "case": case})["label"]
        assert made.flatten().tolist() == [0, 1, 1, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "Masks hold effusion (3), first in a. It counts as background, because --infection_values is [1, 2]."
    ]


def test_mosmed_encoders_counts_consolidation() -> None:
    config = ConfigParser.load_config_file("bundles/mosmed_encoders/configs/train.yaml")
    assert config["infection_values"] == [1, 2]
