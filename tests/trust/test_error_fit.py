"""Expected errors hold in new cases, and follow what tells them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.reliability.error_model import CERTAIN, ErrorModel
from common.reliability.measures import Measures
from common.trust.error_fit import FEWEST, Example, cross_validated, fit


def example(random: np.random.Generator, number: int, agreement: bool = True, useful: bool = True) -> Example:
    """A case whose Dice is 0.9 x agreement, with an error of volume that grows with the disagreement."""
    agree = random.uniform(0.4, 1.0)
    found = float(random.integers(500, 5000))
    truth = round(max(0.0, found + random.normal(0.5, 1) * (1 - agree) * found))
    dice = np.clip(0.9 * agree + random.normal(0, 0.03), 0, 1)
    measures = Measures(found, agree * found, found, 0.1 * found, agree if agreement else None)
    lesions = random.uniform(0.5, 1.0, 4)
    real = (random.random(4) < (lesions - 0.5) * 2) if useful else random.random(4) < 0.5
    predictors = np.stack([lesions, np.log(random.uniform(0.01, 1, 4))], 1)
    each = (0.2 + 0.6 * predictors[:, 0] + 0.05 * predictors[:, 1] + random.normal(0, 0.04, 4)).clip(0, 1)
    both = round(dice * (found + truth) / 2)
    names = f"case {number}", f"patient {number // 2}"
    return Example(*names, measures, truth, both, lesions, real * 1.0, predictors, each)


def examples(count: int, seed: int = 0, **options: bool) -> list[Example]:
    random = np.random.default_rng(seed)
    return [example(random, number, **options) for number in range(count)]


def test_intervals_hold_nine_of_ten_volumes_of_new_cases() -> None:
    """Over 40 studies of 50 cases each; new cases are from the same population."""
    held = []
    for seed in range(40):
        model = fit(examples(50, seed))
        bounds = [(model.interval(each.measures), each.truth) for each in examples(100, 1000 + seed)]
        held += [limits is not None and limits[0] <= truth <= limits[1] for limits, truth in bounds]
    assert 0.88 <= np.mean(held) <= 0.95


def test_the_dice_is_told_by_the_agreement_and_its_error_is_that_of_new_cases() -> None:
    model = fit(examples(200))
    assert (model.predictor, model.scale) == ("agreement", "agreement")
    assert (model.intercept, model.slope) == pytest.approx((0, 0.9), abs=0.03)
    assert model.dice_error == pytest.approx(0.03, abs=0.006)


def test_without_mirror_images_the_probabilities_tell() -> None:
    known = examples(60, agreement=False)
    model = fit(known)
    assert model.predictor == "expected" and model.scale in ("wrong", "found")
    assert model.interval(known[0].measures) is not None


def test_a_case_without_mirror_images_has_no_dice_of_a_model_that_takes_them() -> None:
    model, case = fit(examples(60)), examples(1)[0].measures
    assert model.dice(replace(case, agreement=None)) is None and model.interval(replace(case, agreement=None)) is None


def test_where_nothing_was_found_the_volume_has_an_upper_bound_only() -> None:
    model = fit(examples(60))
    nothing = Measures(0, 0.0, 100.0, 100.0)
    assert model.dice(nothing) is None
    assert model.interval(nothing) == (0, pytest.approx(100 * model.none))


def test_uncertain_lesions_are_those_of_which_fewer_than_two_in_three_are_real() -> None:
    """A lesion of probability p is real in 2p - 1 of the cases: two thirds at 0.833."""
    assert pytest.approx(0.833, abs=0.03) == fit(examples(500)).doubt
    assert CERTAIN == pytest.approx(2 / 3)


def test_lesions_are_not_called_uncertain_by_a_probability_that_says_nothing() -> None:
    model = fit(examples(400, useful=False))
    assert model.doubt in (0.0, 1.0), "either all or none"


def test_no_patient_is_learned_from_where_it_is_judged() -> None:
    """A patient with an error like no other: with it the model would hold its volume."""
    known = examples(20)
    known[0] = replace(known[0], truth=100_000)
    known[1] = replace(known[1], truth=100_000, patient=known[0].patient)
    bounds = cross_validated(known)[0].interval
    assert bounds is not None and bounds[1] < 100_000
    everything = fit(known).interval(known[0].measures)
    assert everything is not None and everything[1] >= 100_000


def test_a_record_gives_the_model_again_and_a_damaged_one_is_refused() -> None:
    model = replace(fit(examples(40)), data={"cases": 40})
    again = ErrorModel.from_record(model.to_record())
    assert again.data == model.data and again.high == pytest.approx(model.high, abs=1e-5)
    assert again.lesion is not None and again.lesion.error == pytest.approx(model.lesion.error, abs=1e-5)
    assert ErrorModel.from_record({**model.to_record(), "lesion": None}).lesion is None, "of an earlier version"
    for damage in ({"low": "x"}, {"scale": "size"}, {"high": float("nan")}, {"more": 1}, {"lesion": {"size": 1}}):
        with pytest.raises(ValueError, match="on errors is damaged"):
            ErrorModel.from_record({**model.to_record(), **damage})


def test_too_few_cases_or_patients_are_refused() -> None:
    with pytest.raises(ValueError, match=f"At least {FEWEST} cases of 5 patients .* got 9 of 5, out of 9 cases"):
        fit(examples(9))
    with pytest.raises(ValueError, match="got 20 of 1, out of 20 cases"):
        fit([replace(each, patient="one") for each in examples(20)])


def test_the_dice_of_a_lesion_is_told_by_probability_and_size() -> None:
    one = fit(examples(300)).lesion
    assert one is not None
    assert (one.intercept, one.probability, one.size) == pytest.approx((0.2, 0.6, 0.05), abs=0.04)
    assert one.error == pytest.approx(0.04, abs=0.006)
    judged, known = cross_validated(examples(60)), examples(60)
    errors = np.concatenate([own.each_dice - each.each_dice for own, each in zip(judged, known, strict=True)])
    assert np.abs(errors).mean() == pytest.approx(0.04 * np.sqrt(2 / np.pi), abs=0.006)


def test_the_dice_of_a_lesion_by_hand() -> None:
    """Two lesions touch one of four voxels, with one and two voxels of it; a third is false."""
    lesion, truth = np.zeros((2, 12, 9, 1), bool)
    truth[2:6, 2] = True
    lesion[2:4, 2] = True  # two of four: 2 x 2 / (2 + 4)
    lesion[5, 2:4] = True  # one of its two: 2 x 1 / (2 + 4)
    lesion[9, 7] = True
    found = Example.of("a", "a", np.full(lesion.shape, 255, np.uint8), lesion, truth, None)
    assert sorted(found.each_dice.tolist()) == pytest.approx([0, 1 / 3, 2 / 3])
    assert found.predictors[:, 0].tolist() == [1, 1, 1]
    assert sorted(found.predictors[:, 1].tolist()) == pytest.approx(np.log([1 / 5, 2 / 5, 2 / 5]).tolist())
