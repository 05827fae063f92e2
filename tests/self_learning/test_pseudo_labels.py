"""Pseudo-labels: MATLAB's structuring elements, k-means and morphology against references, and the command."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from skimage import morphology

from common.datasets.ct import lesions
from common.phantoms.ct.layouts import write_radiopaedia
from common.self_learning.clusters import ClustersInLungd, k_means
from common.self_learning.lungs import LungByThresholdd
from common.self_learning.pseudo_labels import main
from common.self_learning.structuring_elements import disk, line
from common.self_learning.transforms import MiddleSlicesd, OpenAndCloseLesiond
from common.transforms.ct import LoadScand
from common.transforms.masks import ClassIndexd

AIR, LUNG, GLASS, TISSUE = -1000.0, -850.0, -500.0, 40.0  # HU


def drawn(rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows.split()])


def volume(planes: np.ndarray, affine: np.ndarray | None = None) -> MetaTensor:
    """(X, Y) or (X, Y, Z) as (1, X, Y, Z)."""
    planes = planes[..., None] if planes.ndim == 2 else planes
    return MetaTensor(
        torch.from_numpy(planes.astype(np.float32))[None], affine=torch.eye(4) if affine is None else affine
    )


def chest(columns: int = 40, rows: int = 30) -> np.ndarray:
    """A slice (X, Y): a body in air, with two lungs; the right one has a nodule that it encloses."""
    plane = np.full((columns, rows), AIR)
    plane[3:-3, 3:-3] = TISSUE
    plane[6:16, 6:24] = plane[24:34, 6:24] = LUNG
    plane[9:12, 10:13] = TISSUE
    return plane


def test_the_line_of_length_8_at_50_degrees_is_that_of_matlab() -> None:
    expected = drawn("....# ...#. ...#. ..#.. .#... .#... #....")
    np.testing.assert_array_equal(line(8, 50), expected)


def test_lines_are_symmetric_and_as_long_as_rounding_allows() -> None:
    for length in (1, 2, 5, 8, 10, 21):
        for degrees in range(0, 360, 5):
            element = line(length, degrees)
            np.testing.assert_array_equal(element, element[::-1, ::-1])
            assert element.sum() == max(element.shape)
            np.testing.assert_array_equal(element, line(length, degrees + 180))
    assert line(10, 45).shape == (7, 7)  # as MATLAB's documentation prints it
    assert line(8, 0).shape == (1, 9)
    with pytest.raises(ValueError, match="1 pixel long or more, got 0"):
        line(0, 50)


def test_the_disk_of_radius_6_is_the_euclidean_one_without_its_four_tips() -> None:
    rows = "..#######.. .#########. " + "########### " * 7 + ".#########. ..#######.."
    np.testing.assert_array_equal(disk(6), drawn(rows))
    tips = np.argwhere(np.pad(disk(6), 1) != morphology.disk(6, dtype=bool)) - 6
    assert {tuple(tip) for tip in tips.tolist()} == {(-6, 0), (6, 0), (0, -6), (0, 6)}


@pytest.mark.parametrize("radius", range(3, 16))
def test_a_disk_is_a_pixel_dilated_by_lines_in_four_directions(radius: int) -> None:
    def dilated(points: set[tuple[int, int]], step: tuple[int, int], reach: int) -> set[tuple[int, int]]:
        return {(x + k * step[0], y + k * step[1]) for x, y in points for k in range(-reach, reach + 1)}

    extent = 2 * radius / (1 / np.tan(np.pi / 8) + 1 / np.sin(np.pi / 8))
    points = {(0, 0)}
    for step in ((1, 0), (1, 1), (0, 1), (-1, 1)):
        points = dilated(points, step, int(extent / np.hypot(*step)))
    missing = radius - 1 - max(x for x, _ in points)  # two more lines, up to a width of 2 * radius - 1
    points = dilated(dilated(points, (1, 0), missing), (0, 1), missing)
    found = np.argwhere(disk(radius)) - (radius - 1)
    assert {(x, y) for x, y in found.tolist()} == points


def best_parts(values: np.ndarray, count: int) -> np.ndarray:
    """Means of the best clusters of all that there are: in one dimension, each is a run of levels."""
    levels = np.unique(values)
    best = (np.inf, np.empty(0))
    for cuts in combinations(range(1, len(levels)), count - 1):
        parts = [values[(values >= part[0]) & (values <= part[-1])] for part in np.split(levels, cuts)]
        error = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        best = min(best, (error, np.array([part.mean() for part in parts])), key=lambda pair: pair[0])
    return best[1]


def test_k_means_finds_the_best_of_all_partitions_of_a_hand_made_slice() -> None:
    plane = np.zeros((12, 10))
    plane[2:10, 2:8] = [-900, -860, -820, -780, -540, -480]
    plane[4:6, 3] = -300
    classes, centres = k_means(plane)
    np.testing.assert_allclose(centres, best_parts(plane, 3))
    np.testing.assert_allclose(centres, [(8 * -2500 + 6 * -860) / 30, (8 * -1020 + 2 * -300) / 18, 0], atol=1e-9)
    np.testing.assert_array_equal(classes, np.abs(plane[..., None] - centres).argmin(-1))


def test_k_means_finds_the_best_of_all_partitions_of_random_levels() -> None:
    rng = np.random.default_rng(0)  # fifty starts are not all starts: some levels could evade them
    for _ in range(5):
        values = rng.choice(rng.integers(-1000, 400, 14), 300).astype(float)
        np.testing.assert_allclose(k_means(values)[1], best_parts(values, 3))


@pytest.mark.parametrize("outside", [0.0, -1000.0])
def test_clusters_are_background_lung_and_ground_glass_whatever_the_seed(
    outside: float, rng: np.random.Generator
) -> None:
    plane = chest()
    plane[26:32, 8:14] = GLASS
    plane += rng.normal(0, 5, plane.shape)
    lung = np.zeros(plane.shape)
    lung[6:16, 6:24] = lung[24:34, 6:24] = 1
    lung[9:12, 10:13] = 0
    item = {"image": volume(plane), "lung": volume(lung)}
    for seed in range(5):
        found = ClustersInLungd("image", outside=outside, seed=seed)(item)
        np.testing.assert_allclose(found["centres"][0], [outside, LUNG, GLASS], atol=5)
        clusters = found["clusters"][0, ..., 0].numpy()
        assert (clusters[lung == 0] == 0).all()
        assert (clusters[26:32, 8:14] == 2).all()
        assert (clusters[26:32, 15:22] == 1).all()


def test_a_slice_with_two_grey_levels_has_no_three_clusters() -> None:
    item = {"image": volume(np.full((8, 8), LUNG)), "lung": volume(np.eye(8)), "case": "flat"}
    with pytest.raises(ValueError, match="flat: 3 clusters need 3 grey levels or more, got 2"):
        ClustersInLungd("image")(item)


def lung_of(plane: np.ndarray) -> np.ndarray:
    return LungByThresholdd("image")({"image": volume(plane), "case": "a"})["lung"][0, ..., 0].numpy() > 0


def test_lungs_are_the_two_largest_regions_with_their_holes_and_without_the_air_around() -> None:
    plane = chest()
    plane[18:21, 8:11] = AIR  # trachea, the third
    plane[6, 20:24] = TISSUE  # consolidation at the pleura is no hole
    expected = np.zeros(plane.shape, bool)
    expected[6:16, 6:24] = expected[24:34, 6:24] = True
    expected[6, 20:24] = False
    np.testing.assert_array_equal(lung_of(plane), expected)


def test_regions_hold_together_at_corners_and_holes_do_not_leak_through_them() -> None:
    plane = np.full((30, 30), TISSUE)
    plane[4:12, 4:12] = plane[12:20, 12:20] = LUNG  # one region, or else the next would be the third
    plane[24:28, 4:8] = LUNG
    expected = plane == LUNG
    plane[5:11, 5:11] = TISSUE  # a hole
    plane[4, 4] = TISSUE  # beside its corner, and outside
    expected[4, 4] = False
    np.testing.assert_array_equal(lung_of(plane), expected)


def test_of_two_regions_of_the_same_size_the_first_along_x_counts() -> None:
    plane = np.full((40, 30), TISSUE)
    plane[2:12, 2:12] = plane[26:36, 2:12] = plane[14:24, 16:26] = LUNG
    lung = lung_of(plane)
    assert lung[2:12, 2:12].all() and lung[14:24, 16:26].all()
    assert not lung[26:36].any()


def test_a_lung_cut_by_the_border_is_not_air_around_the_body() -> None:
    plane = chest()[8:]  # within the right lung
    lung = lung_of(plane)
    assert lung[:8, 6:24].all() and lung[16:26, 6:24].all()
    assert not lung[-3:].any()


def test_without_lung_the_slice_is_named() -> None:
    planes = np.stack([chest(), np.where(chest() == LUNG, TISSUE, chest())], axis=-1)
    item = {"image": volume(planes), "case": "a", "slices": [9, 10]}
    with pytest.raises(ValueError, match=r"a: a lung is needed in each slice, got 0.0% of slice 10 below -170 HU"):
        LungByThresholdd("image")(item)


def test_grey_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a: pseudo-labels need HU, .* got 0 to 200, declared as HU"):
        LungByThresholdd("image")({"image": volume(np.eye(9) * 200), "case": "a"})
    with pytest.raises(ValueError, match="declared as 8bit"):
        LungByThresholdd("image")({"image": volume(chest()), "case": "a", "intensity": "8bit"})


def step(mask: np.ndarray, element: np.ndarray, take: Callable[[list[bool]], bool]) -> np.ndarray:
    """Erosion (all) or dilation (any), pixel by pixel; nothing lies beyond the border."""
    offsets = np.argwhere(element) - np.array(element.shape) // 2
    result = np.zeros_like(mask)
    for x, y in np.ndindex(mask.shape):
        near = [(x + i, y + j) for i, j in offsets.tolist() if 0 <= x + i < len(mask) and 0 <= y + j < len(mask[0])]
        result[x, y] = take([bool(mask[place]) for place in near])
    return result


def test_morphology_agrees_with_a_loop_over_pixels(rng: np.random.Generator) -> None:
    mask = np.zeros((36, 28), bool)
    mask[:14, 2:18] = mask[20:30, 12:] = mask[30:33, 3:6] = True
    mask ^= rng.random(mask.shape) < 0.03
    expected = mask
    for element, take in ((line(8, 50).T, all), (line(8, 50).T, any), (disk(6), any), (disk(6), all)):
        expected = step(expected, element, take)
    lung = np.ones(mask.shape)
    lung[:, :5] = 0
    item = {"clusters": volume(np.where(mask, 2, 1)), "lung": volume(lung)}
    found = OpenAndCloseLesiond("clusters")(item)["label"][0, ..., 0].numpy()
    np.testing.assert_array_equal(found, expected & (lung > 0))
    assert 0 < found.sum() < mask.size


def test_the_line_rises_to_the_right_of_an_upright_slice() -> None:
    rising = np.zeros((21, 21), bool)  # (X, Y): x runs to the right, y downwards
    for k in range(-8, 9):
        rising[10 + round(2 * k / 3), 10 - k] = True
    kept = []
    for mask in (rising, rising[::-1]):
        item = {"clusters": volume(2 * mask), "lung": volume(np.ones(mask.shape))}
        kept.append(int(OpenAndCloseLesiond("clusters", disk_radius=0)(item)["label"].sum()))
    assert kept[0] >= 7
    assert kept[1] == 0


@pytest.mark.parametrize(("depth", "first"), [(6, 0), (7, 0), (24, 9), (25, 9)])
def test_the_slices_p_minus_3_and_p_minus_2_keep_their_place(depth: int, first: int) -> None:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ tilt @ np.diag([0.7, 0.8, 5.0]), [10, -20, 30]
    planes = np.arange(4 * 3 * depth).reshape(4, 3, depth)
    item = MiddleSlicesd("image")({"image": volume(planes, torch.from_numpy(affine)), "case": "a"})
    np.testing.assert_array_equal(item["image"][0], planes[..., first : first + 2])
    assert item["slices"] == [first + 1, first + 2]
    for index in range(2):
        place = np.asarray(item["image"].affine) @ [1, 2, index, 1]
        np.testing.assert_allclose(place, affine @ [1, 2, first + index, 1])


def test_a_volume_of_five_slices_has_no_p_minus_3() -> None:
    with pytest.raises(ValueError, match=r"a: slices p-3 to p-2 are taken, .* got a volume of 5"):
        MiddleSlicesd("image")({"image": volume(np.zeros((4, 4, 5))), "case": "a"})


def test_the_command_labels_a_folder_that_training_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_radiopaedia(tmp_path / "phantoms", patients=2, size=(128, 128), slices=24, seed=11)
    (root / "rp_im" / "broken.nii.gz").write_bytes(b"no scan")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"1 of 3 cases failed:\n  broken: .*cannot be read"):
        main(["--dataset_dir", str(root / "rp_im"), "--output_dir", str(out)])
    assert "2 of 3 volumes labelled" in capsys.readouterr().out

    hit, drawn_pixels, lungs = 0, 0, []
    classes = ["ground-glass", "lung", "background"]
    cases = lesions(out)
    assert [case["case"] for case in cases] == ["1", "2"]
    for number, case in enumerate(cases, start=1):
        item = LoadScand(["image", "label", "lung"])(case)
        glass = item["label"][0].numpy() == 1
        inside = item["lung"][0].numpy() > 0
        index = ClassIndexd("label", classes)(item)["label"][0].numpy()
        np.testing.assert_array_equal(index, np.select([glass, inside], [0, 1], 2))
        found = nibabel.load(out / "rp_msk" / f"{case['case']}.nii.gz")
        # the same places of the patient, which the two files hold in another order
        there = np.argwhere(np.ones(found.shape)) @ found.affine[:3, :3].T + found.affine[:3, 3]
        for folder in ("rp_im", "rp_msk", "rp_lung_msk"):
            whole = nibabel.load(root / folder / f"{number}.nii.gz")
            back = np.linalg.inv(whole.affine)
            places = np.rint(there @ back[:3, :3].T + back[:3, 3]).astype(int)
            part = np.asarray(whole.dataobj)[tuple(places.T)].reshape(found.shape)
            if folder == "rp_im":
                np.testing.assert_array_equal(part, item["image"][0])
            elif folder == "rp_msk":
                hit += int((glass & (part == 1)).sum())
                drawn_pixels += int(glass.sum() + (part == 1).sum())
            else:
                lungs.append(2 * (inside & (part > 0)).sum() / (inside.sum() + (part > 0).sum()))
    assert 2 * hit / drawn_pixels > 0.7
    assert min(lungs) > 0.95

    with (out / "pseudo_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["slice"]) for row in rows] == [
        (str(number), str(slice_)) for number in (1, 2) for slice_ in (10, 11)
    ]
    for row in rows:
        assert float(row["lung_hu"]) < float(row["ground_glass_hu"]) < float(row["background_hu"])
        share = float(row["ground_glass_mm2"]) / float(row["lung_mm2"])
        assert float(row["share_of_lung"]) == pytest.approx(share, abs=1e-3)
    for case in cases:
        with Image.open(out / f"{case['case']}_pseudo_labels.png") as sheet:
            assert sheet.width == 1600
