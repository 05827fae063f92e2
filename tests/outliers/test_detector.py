"""What is usual is learned from features, kept in the record, and told from what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from common.outliers.changes import FIRST, PARTS, SECOND, changed
from common.outliers.detector import Detector, Direction, Gaussian, fit


def features(rng: np.random.Generator, count: int, move: float = 0.0, turned: bool = False) -> dict[str, np.ndarray]:
    """Features of slices: of four dimensions, one of them far more spread; differences of halves with a mean of 1."""
    plain = rng.normal(size=(count, 4)) * [10, 1, 1, 0.1] + move
    halves, other = (rng.normal(size=(count, 4)) * 0.2 + 1 for _ in range(2))
    found = dict(zip(PARTS, (plain, plain, *(2 * [-halves if turned else halves])), strict=True))
    return found | {changed(axis): -other for axis in (FIRST, SECOND)}


def fitted(rng: np.random.Generator, patients: int = 60, slices: int = 4) -> Detector:
    owners = [f"p{number // slices}" for number in range(patients * slices)]
    sources = ["a" if int(owner[1:]) % 2 else "b" for owner in owners]
    return fit(features(rng, len(owners)), sources, owners, owners)


def test_distance_with_all_components_is_that_of_mahalanobis(rng: np.random.Generator) -> None:
    x = rng.normal(size=(400, 3)) @ np.array([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5]])
    fit_all = Gaussian.fit(x, ["one"] * len(x))
    within, beyond = fit_all.distances(x[:5]).T
    inverse = np.linalg.inv(np.cov(x.T, bias=True))
    expected = [mahalanobis(each, x.mean(0), inverse) ** 2 / 3 for each in x[:5]]
    assert within == pytest.approx(expected, rel=1e-6)
    assert beyond == pytest.approx(0, abs=1e-6)


def test_distance_is_to_the_nearest_source(rng: np.random.Generator) -> None:
    x = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(100, 1, (50, 2))])
    two = Gaussian.fit(x, ["near"] * 50 + ["far"] * 50)
    assert two.distances(np.array([[100.0, 100.0]]))[0, 0] < 1
    assert two.distances(np.array([[50.0, 50.0]]))[0, 0] > 100


def test_a_direction_tells_images_from_mirror_images(rng: np.random.Generator) -> None:
    """Six features with a mean of half a deviation: 0.5 sqrt(6) = 1.22 deviations, below which are 89 %."""
    side = Direction.fit(rng.normal(0.5, 1, (400, 6)), rng.normal(-0.5, 1, (400, 6)))
    plain, turned = side.logits(rng.normal(0.5, 1, (400, 6))), side.logits(rng.normal(-0.5, 1, (400, 6)))
    assert (plain < 0).mean() == pytest.approx(0.89, abs=0.05)
    assert (turned > 0).mean() == pytest.approx(0.89, abs=0.05)
    assert (turned.mean() - plain.mean()) / 2 == pytest.approx(side.scale, rel=0.25)


def test_a_constant_difference_of_halves_tells_nothing(rng: np.random.Generator) -> None:
    """A network's borders make a difference that is the same in images and mirror images."""
    both = [rng.normal(5, 1, (200, 4)) for _ in range(4)]
    side = Direction.fit(*both[:2])
    assert (side.logits(both[3]) > 0).mean() == pytest.approx((side.logits(both[2]) > 0).mean(), abs=0.2)


def test_unseen_patients_are_usual_and_moved_or_turned_ones_are_not(rng: np.random.Generator) -> None:
    detector = fitted(rng)
    plain = [max(detector.scores(features(rng, 4)).values()) for _ in range(200)]
    assert np.mean(np.array(plain) > 1) < 0.15
    assert all(detector.scores(features(rng, 4, move=6))["texture"] > 1 for _ in range(20))
    turned = detector.scores(features(rng, 4, turned=True))
    assert turned["first axis"] > 1 and turned["second axis"] > 1 and turned["texture"] < 1.5


def test_limits_hold_the_stated_share_of_held_out_cases_of_each_source(rng: np.random.Generator) -> None:
    """One source varies three times as much as the other: the limit is that of the wider one."""
    narrow, wide = features(rng, 200), features(rng, 200)
    both = {name: np.concatenate([narrow[name], 3 * wide[name]]) for name in narrow}
    names = [f"p{number}" for number in range(400)]
    detector = fit(both, ["narrow"] * 200 + ["wide"] * 200, names, names)
    unseen = features(rng, 400)
    flagged = [
        max(detector.scores({name: 3 * values[index : index + 1] for name, values in unseen.items()}).values()) > 1
        for index in range(400)
    ]
    assert 0.002 < np.mean(flagged) < 0.12


def test_an_axis_along_which_images_look_alike_is_not_judged(rng: np.random.Generator) -> None:
    alike = features(rng, 100)
    alike["second axis"], alike[changed("second axis")] = rng.normal(size=(2, 100, 4))
    names = [f"p{number}" for number in range(100)]
    detector = fit(alike, ["a"] * 100, names, names)
    assert list(detector.directions) == ["first axis"]
    assert detector.data["directions_told"]["second axis"] < 0.7


def test_the_record_gives_the_same_scores(rng: np.random.Generator) -> None:
    detector = fitted(rng)
    again = Detector.from_record(json.loads(json.dumps(detector.to_record())))
    x = features(rng, 8, move=1)
    assert again.scores(x) == pytest.approx(detector.scores(x), rel=0.01)
    assert again.data["patients"] == 60


def test_channels_that_hardly_change_neither_decide_nor_overflow_in_the_record(rng: np.random.Generator) -> None:
    """Half of the channels are dead, as in small networks; a change of 1e-9 in them must not outweigh the others."""
    known = features(rng, 240)
    dead = {name: np.concatenate([values, rng.normal(0, 1e-9, values.shape)], 1) for name, values in known.items()}
    for axis in (FIRST, SECOND):
        dead[changed(axis)][:, 4:] += 1e-9
    names = [f"p{number}" for number in range(240)]
    detector = fit(dead, ["a"] * 240, names, names)
    assert max(np.abs(side.weights).max() for side in detector.directions.values()) < 1e4
    x = {name: values[:8] for name, values in dead.items()}
    again = Detector.from_record(json.loads(json.dumps(detector.to_record())))
    assert again.scores(x) == pytest.approx(detector.scores(x), rel=0.02)


def test_a_damaged_record_is_named(rng: np.random.Generator) -> None:
    record = fitted(rng).to_record()
    infinite = json.loads(json.dumps(record))
    infinite["directions"]["first axis"]["weights"]["scale"] = float("inf")
    del record["gaussians"]["texture"]["rest"]
    for damaged in (record, infinite):
        with pytest.raises(ValueError, match=r"usual data is damaged.*Copy model\.json again"):
            Detector.from_record(damaged)


def test_few_patients_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="At least 5 patients are needed, got 2"):
        fit(features(rng, 8), ["a"] * 8, ["p1", "p2"] * 4, ["p1", "p2"] * 4)
