"""Intervals, paired comparisons and corrections agree with SciPy and with hand-worked numbers, and keep their claim."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from common.statistics import (
    ABSENT,
    FEWEST,
    Estimate,
    ScoreSums,
    bootstrap_estimates,
    holm,
    interval_over,
    mean_interval,
    paired,
    parts_of,
    tail,
)

SCORES = [0.61, 0.72, 0.80, 0.55, 0.69, 0.77, 0.41, 0.66]


def test_the_interval_is_scipys_percentile_interval_at_the_widened_level() -> None:
    level = 1 - 2 * tail(len(SCORES))
    rng = np.random.default_rng(0)
    reference = stats.bootstrap((SCORES,), np.mean, method="percentile", confidence_level=level, rng=rng)
    found = mean_interval(SCORES)
    assert found.value == pytest.approx(0.65125)
    assert found[1:3] == pytest.approx(tuple(reference.confidence_interval), abs=1e-9)
    assert found == mean_interval(SCORES) and mean_interval(np.full(6, 0.5))[:3] == (0.5, 0.5, 0.5)


def test_the_widened_level_is_hesterbergs() -> None:
    # n = 10: t is 2.262, times the root of 10 / 9 is 2.385, which a normal distribution exceeds in 0.85 %
    assert tail(10) == pytest.approx(0.00855, abs=1e-5)
    assert tail(10**6) == pytest.approx(0.025, abs=1e-6)


@pytest.mark.parametrize(
    ("patients", "shape"), [(10, "even"), (20, "even"), (40, "even"), (20, "lesions"), (40, "lesions")]
)
def test_of_simulated_studies_the_interval_holds_the_truth_in_93_to_97_percent(patients: int, shape: str) -> None:
    studies, rng = 1500, np.random.default_rng(3)
    draw = {"even": lambda size: rng.normal(0.6, 0.1, size), "lesions": lambda size: rng.beta(5, 2, size)}[shape]
    truth = {"even": 0.6, "lesions": 5 / 7}[shape]
    found = bootstrap_estimates(draw((patients, studies)), lambda sums: sums / patients, resamples=1999)
    held = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.93 <= held <= 0.97, held


def test_slices_of_a_patient_are_drawn_together_and_the_claim_holds_for_them_too() -> None:
    studies, patients, slices, rng = 1500, 15, 6, np.random.default_rng(5)
    of_patients = rng.normal(0.6, 0.1, (patients, 1, studies))
    scores = of_patients + rng.normal(0, 0.05, (patients, slices, studies))

    def held(units: np.ndarray) -> float:
        found = bootstrap_estimates(units, lambda sums: sums / (patients * slices), resamples=1999)
        return float(np.mean([each.low <= 0.6 <= each.high for each in found]))

    assert 0.93 <= held(scores.sum(1)) <= 0.97
    assert held(scores.reshape(-1, studies)) < 0.75, "slices as if each were a patient's"


def test_an_interval_of_a_pooled_score_is_computed_anew_from_each_sample(rng: np.random.Generator) -> None:
    hits, size = rng.integers(5, 50, (2, 12, 3))  # three slices of each of twelve patients
    owners = np.repeat([f"p{number}" for number in range(12)], 3)
    sums = ScoreSums(owners.tolist(), "patients")
    sums.add("pooled", "dice", hits.ravel(), (hits + size).ravel())
    found = sums.estimates()["pooled", "dice"]
    assert found.value == pytest.approx(hits.sum() / (hits + size).sum()) and found.units == 12
    drawn = rng.integers(0, 12, (20000, 12))
    samples = hits.sum(1)[drawn].sum(1) / (hits + size).sum(1)[drawn].sum(1)
    assert found[1:3] == pytest.approx(np.quantile(samples, [tail(12), 1 - tail(12)]), abs=0.006)


def test_too_few_patients_have_no_interval_and_the_table_says_why() -> None:
    few = mean_interval(SCORES[: FEWEST - 1])
    assert few.value == pytest.approx(0.67) and np.isnan(few[1:3]).all() and few.units == 4
    assert interval_over({"dice": few}, "patients") == "none: 4 patients, 5 needed"
    many, one = Estimate(0.5, 0.4, 0.6, 12), Estimate(0.5, units=1)
    assert interval_over({"dice": many, "recall": Estimate(float("nan"))}, "patients") == "12 patients"
    row = {"dice": many, "nsd": few, "recall": many, "f1": one}
    assert interval_over(row, "patients") == ("dice, recall: 12 patients; nsd, f1: none: 1 to 4 patients, 5 needed")
    assert interval_over({}, "slices") == "none: 0 slices, 5 needed"
    # Five slices of one patient are one patient; a class that two of them lack leaves three
    assert mean_interval(SCORES, ["a"] * 8).units == 1
    assert mean_interval([0.5, np.nan, 0.7, np.nan, 0.9]).units == 3


def test_runs_are_averaged_and_a_patient_of_several_runs_is_one(tmp_path: Path) -> None:
    for run, scores in enumerate((SCORES[:6], SCORES[2:])):
        sums = ScoreSums([f"p{number + 2 * run}" for number in range(6)], "patients")
        sums.add("mean", "dice", scores)
        sums.save(tmp_path / f"{run}.npz")
    both = ScoreSums.of_runs([tmp_path / "0.npz", tmp_path / "1.npz"])
    found = both.estimates()["mean", "dice"]
    assert found.value == pytest.approx((np.mean(SCORES[:6]) + np.mean(SCORES[2:])) / 2)
    assert found.units == 8 and found.low < found.value < found.high and both.word == "patients"


def test_a_paired_comparison_agrees_with_scipy_and_takes_patients_not_slices() -> None:
    first, second = np.array(SCORES), np.add(SCORES, [0.05, 0.02, -0.01, 0.11, 0.06, 0.03, 0.2, 0.04])
    found = paired(first, second)
    assert found.difference.value == pytest.approx(0.0625) and found.pairs == 8
    assert found.p == pytest.approx(stats.wilcoxon(second - first).pvalue) == pytest.approx(2 / 128)
    assert found.difference == mean_interval(second - first)
    twice = paired(np.repeat(first, 3), np.repeat(second, 3), np.repeat(list("abcdefgh"), 3).tolist())
    assert twice.p == found.p and twice.pairs == 24 and twice.difference.units == 8
    assert paired(first, first).p == 1 and np.isnan(paired([np.nan], [0.5]).p)


def test_holms_correction_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, which must not fall
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1, 1] and holm([]) == []
    assert holm([float("nan"), 0.02, 0.04]) == pytest.approx([float("nan"), 0.04, 0.04], nan_ok=True)


def test_a_class_that_few_patients_have_keeps_its_interval_without_a_warning() -> None:
    values = [0.5, 0.7, 0.6, 0.8, 0.9, *[np.nan] * 30]  # some samples of 35 patients draw none of the five
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mean_interval(values)
    assert found.units == 5 and 0.5 <= found.low < 0.7 < found.high <= 0.9


def test_the_rule_for_absent_classes_is_the_same_sentence_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "statistics.md").read_text()
    assert ABSENT in " ".join(page.replace("\n> ", " ").split())


def test_parts_hold_whole_patients_and_an_equal_share_of_each_group() -> None:
    owners = [f"{group}{number}" for group in "ab" for number in range(10) for _ in range(3)]
    part = parts_of(owners, 5, [owner[0] for owner in owners])
    for owner in owners:
        assert len({number for name, number in zip(owners, part, strict=True) if name == owner}) == 1
    for group in "ab":
        counts = np.bincount([number for name, number in zip(owners, part, strict=True) if name[0] == group])
        assert counts.tolist() == [6] * 5
