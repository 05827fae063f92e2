"""Annotation audit by hand-worked numbers, on phantoms and by pixels of its figure."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from common.audit.case import COLUMNS, AuditCased
from common.audit.findings import KINDS, Finding, findings
from common.phantoms.ct.chest_ct import chest_ct

SHAPE = (80, 60, 10)
TURN = np.deg2rad(20)
# voxels of 1 x 2 x 5 mm (0.01 ml) in LPS order, turned by 20 degrees about the axis of the body
OBLIQUE = np.array(
    [
        [-np.cos(TURN), 2 * np.sin(TURN), 0, 10],
        [-np.sin(TURN), -2 * np.cos(TURN), 0, 20],
        [0, 0, 5, -300],
        [0, 0, 0, 1],
    ]
)
SQUARE = np.diag([-1.0, -1.0, 5.0, 1.0])
CLASSES = ["ground-glass", "consolidation", "lung", "background"]


def box(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> np.ndarray:
    """True from the first to before the last index along each axis."""
    mask = np.zeros(SHAPE, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


LUNG = box((5, 75), (5, 55), (0, 9))  # slice 10 shows none
NOTHING = np.zeros(SHAPE, bool)
AIR = np.full(SHAPE, -800.0, np.float32)


def audit(
    truth: np.ndarray | None,
    prediction: np.ndarray,
    lung: np.ndarray = LUNG,
    affine: np.ndarray = SQUARE,
    **options: Any,
) -> list[Finding]:
    """Findings in a scan of -800 HU, without probability."""
    return findings(truth, prediction, lung, AIR, None, affine, **options)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A bundle's metadata with the classes of the CT bundles."""
    path = tmp_path / "metadata.json"
    labels = [{"name": name, "value": (index + 1) % 4, "colour": [0, 0, 0]} for index, name in enumerate(CLASSES)]
    path.write_text(json.dumps({"labels": labels}))
    return path


def case(name: str, truth: np.ndarray | None, lesion: np.ndarray, affine: np.ndarray = SQUARE) -> dict[str, Any]:
    """What inference has of a case: lesion where it is predicted, lung around it."""

    def tensor(values: np.ndarray) -> MetaTensor:
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(values))[None], affine=torch.from_numpy(affine))

    item = {"scan": tensor(AIR), "lung": tensor(LUNG.astype(np.uint8)), "probability": tensor(lesion * np.float32(0.8))}
    item["pred"] = tensor(np.where(lesion, 2, np.where(LUNG, 3, 0)).astype(np.uint8))
    if truth is not None:
        item["label"] = tensor(truth.astype(np.float32))
    return {"case": name, **item}


def table(folder: Path) -> list[dict[str, str]]:
    """Rows of the audit's table."""
    with (folder / "audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(folder: Path) -> np.ndarray:
    """The figure without its legend, (rows, columns, 3)."""
    with Image.open(folder / "audit.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[:-40]


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Number of pixels of about this colour."""
    return int((np.abs(picture - np.array(colour)) <= 30).all(-1).sum())


def test_numbers_of_a_lesion_that_is_not_annotated() -> None:
    # 6 x 4 pixels of 2 mm2 through slices 3 and 4: 48 mm2 in each, 48 voxels of 0.01 ml
    lesion = box((20, 26), (30, 34), (2, 4))
    hu, probability = AIR.copy(), np.zeros(SHAPE, np.float32)
    hu[20:23, 30:34, 2], hu[23:26, 30:34, 2], hu[20:26, 30:34, 3] = -600, -500, -300
    probability[20:26, 30:34, 2], probability[20:26, 30:34, 3] = 0.75, 0.5
    lower, upper = findings(NOTHING, lesion, LUNG, hu, probability, OBLIQUE)
    assert (lower.kind, lower.region, lower.region_ml, lower.slice) == ("not annotated", 1, 0.48, 3)
    assert (lower.area_mm2, lower.area_pixels, lower.mean_hu, lower.probability) == (48.0, 24, -550.0, 0.75)
    assert (upper.region, upper.region_ml, upper.slice, upper.mean_hu, upper.probability) == (1, 0.48, 4, -300.0, 0.5)
    assert (lower.column, lower.row) == (22.5, 31.5)
    x = -22.5 * np.cos(TURN) + 31.5 * 2 * np.sin(TURN) + 10
    y = -22.5 * np.sin(TURN) - 31.5 * 2 * np.cos(TURN) + 20
    assert (lower.x_mm, lower.y_mm, lower.z_mm) == (round(x, 1), round(y, 1), -290.0)
    assert upper.z_mm == -285.0


def test_ground_truth_outside_the_lung_is_found_with_its_slice() -> None:
    inside, outside = box((20, 30), (20, 30), (3, 6)), box((0, 5), (20, 28), (6, 7))
    # the columns beside the lung count too, although they lie within the margin
    (found,) = audit(inside | outside, inside | outside)
    assert (found.kind, found.slice, found.area_mm2, found.column, found.row) == (KINDS[0], 7, 40.0, 2.0, 23.5)


def test_ground_truth_may_reach_beyond_the_lung_by_the_margin() -> None:
    truth = box((2, 20), (20, 30), (3, 4))  # 3 mm beyond
    assert audit(truth, truth) == []
    assert [found.area_mm2 for found in audit(truth, truth, margin=2.9)] == [30.0]


def test_in_a_slice_without_lung_every_pixel_of_ground_truth_counts() -> None:
    truth = box((20, 30), (20, 30), (8, 10))  # inside the lung in slice 9, in slice 10 there is none
    assert [(found.slice, found.area_mm2) for found in audit(truth, truth)] == [(10, 100.0)]


def test_a_lesion_removed_from_the_ground_truth_is_found() -> None:
    kept, taken = box((10, 25), (10, 25), (2, 6)), box((40, 48), (30, 40), (1, 5))
    found = audit(kept, kept | taken)
    assert [(each.kind, each.region, each.slice, each.area_mm2) for each in found] == [
        ("not annotated", 1, number, 80.0) for number in (2, 3, 4, 5)
    ]
    assert {each.region_ml for each in found} == {1.6}  # 320 voxels of 5 mm3


def test_the_unannotated_part_of_a_lesion_is_found_completely() -> None:
    truth, prediction = box((10, 25), (10, 30), (2, 3)), box((10, 35), (10, 30), (2, 3))
    (found,) = audit(truth, prediction)
    assert (found.area_mm2, found.column) == (200.0, 29.5), "what lies within the margin of truth belongs to it"


def test_the_rim_around_an_annotated_lesion_is_not_listed() -> None:
    truth = box((20, 40), (20, 40), (2, 5))
    assert audit(truth, box((18, 42), (18, 42), (2, 5))) == []
    bulge = box((42, 52), (28, 32), (3, 4))
    found = audit(truth, box((18, 42), (18, 42), (2, 5)) | bulge)
    assert [each.slice for each in found] == [4]
    assert found[0].area_mm2 < 60 and found[0].column > 40, "the bulge and not the rim around the lesion"


def test_regions_are_numbered_by_volume_and_small_slices_are_left_out() -> None:
    small, large = box((10, 16), (10, 15), (2, 3)), box((40, 46), (30, 35), (2, 5))
    tip = box((42, 44), (31, 34), (5, 6))  # 6 mm2: in the volume, not in the list
    outside = box((0, 2), (10, 40), (7, 8))
    found = audit(outside, small | large | tip, margin=2.0)
    assert [(each.kind, each.region, each.slice) for each in found] == [
        *(("not annotated", 1, number) for number in (3, 4, 5)),
        ("truth outside lung", 2, 8),
        ("not annotated", 3, 3),
    ]
    assert found[0].region_ml == 0.48  # 96 voxels of 5 mm3
    assert audit(None, tip) == []
    assert len(audit(None, tip, smallest=6.0)) == 1


def test_unknown_spacing_counts_pixels() -> None:
    truth, prediction = box((2, 20), (20, 30), (3, 4)), box((40, 46), (30, 34), (3, 4))
    (found,) = audit(truth, truth | prediction, affine=OBLIQUE, spacing_known=False)
    assert (found.area_pixels, found.area_mm2, found.region_ml, found.x_mm) == (24, None, None, None)
    assert (found.column, found.row, found.size) == (42.5, 31.5, 24)


def test_areas_do_not_depend_on_where_the_lesion_lies(rng: np.random.Generator) -> None:
    x, y, z = (int(rng.integers(0, size)) for size in (SHAPE[0] - 7, SHAPE[1] - 7, SHAPE[2]))
    lesion = box((x, x + 8), (y, y + 8), (z, z + 1))
    (found,) = audit(NOTHING, lesion, affine=OBLIQUE)
    assert (found.area_mm2, found.slice, found.column, found.row) == (128.0, z + 1, x + 3.5, y + 3.5)


def test_ground_truth_that_the_network_rejects_is_found_with_its_probability() -> None:
    """Three annotated boxes of 10 x 8 pixels: accepted, doubtful, rejected; and one outside the lung."""
    accepted, doubtful = box((10, 20), (10, 18), (2, 3)), box((30, 40), (10, 18), (2, 3))
    rejected, outside = box((50, 60), (10, 18), (2, 4)), box((76, 80), (40, 58), (2, 3))
    probability = (0.9 * accepted + 0.3 * doubtful + 0.04 * rejected).astype(np.float32)
    truth = accepted | doubtful | rejected | outside

    def kinds(prediction: np.ndarray = accepted, **options: Any) -> list[tuple[Any, ...]]:
        found = findings(truth, prediction, LUNG, AIR, probability, SQUARE, **options)
        return [(each.kind, each.slice, each.area_mm2, each.probability) for each in found if each.kind != KINDS[0]]

    assert kinds() == [("truth rejected", 3, 80.0, 0.04), ("truth rejected", 4, 80.0, 0.04)]
    assert kinds(reject_below=0.0) == kinds(reject_below=0.04) == []
    assert ("truth rejected", 3, 80.0, 0.3) in kinds(reject_below=0.31), "the doubtful one too"
    assert len(kinds(reject_below=0.31)) == 3
    assert findings(truth, accepted, LUNG, AIR, None, SQUARE)[0].kind == KINDS[0], "without probability none"
    with pytest.raises(ValueError, match=r"rejected must be 0..1, got 1.5"):
        kinds(reject_below=1.5)


def test_the_rim_of_ground_truth_around_an_accepted_lesion_is_not_rejected() -> None:
    truth, accepted = box((20, 40), (20, 40), (3, 4)), box((22, 38), (22, 38), (3, 4))
    assert findings(truth, accepted, LUNG, AIR, accepted.astype(np.float32), SQUARE) == [], "2 mm all around"
    wider = truth | box((40, 48), (26, 34), (3, 4))
    (found,) = findings(wider, accepted, LUNG, AIR, accepted.astype(np.float32), SQUARE)
    assert (found.kind, found.slice) == ("truth rejected", 4) and found.column > 40


def test_arguments_of_findings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"the scan's shape .* got .*'prediction': \(79, 60, 10\)"):
        audit(NOTHING, NOTHING[1:])
    with pytest.raises(ValueError, match="got -1 and 20"):
        audit(NOTHING, NOTHING, margin=-1)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_a_clean_phantom_has_no_findings(seed: int) -> None:
    ct = chest_ct(seed=seed, size=(128, 128), slices=12)
    lesion, affine = ct.lesion > 0, np.diag([-ct.spacing[0], -ct.spacing[1], ct.spacing[2], 1.0])
    assert lesion.any()
    assert findings(lesion, lesion, ct.lung > 0, ct.image, None, affine) == []


@pytest.mark.parametrize("seed", [2, 6])
def test_errors_planted_in_a_phantom_are_found(seed: int) -> None:
    ct = chest_ct(seed=seed, size=(128, 128), slices=12)
    lesion, affine = ct.lesion > 0, np.diag([-ct.spacing[0], -ct.spacing[1], ct.spacing[2], 1.0])
    truth = lesion.copy()
    truth[:, :, 4] = False
    truth[2:8, 3:9, 7] = True  # in the air around the patient
    found = findings(truth, lesion, ct.lung > 0, ct.image, None, affine)
    outside, *missed = sorted(found, key=lambda each: KINDS.index(each.kind))
    assert (outside.kind, outside.slice, outside.area_pixels) == ("truth outside lung", 8, 36)
    assert {each.slice for each in missed} == {5}
    assert sum(each.area_pixels for each in missed) == pytest.approx(np.count_nonzero(lesion[:, :, 4]), rel=0.05)


def test_table_and_figure_keep_all_cases(tmp_path: Path, metadata: Path, caplog: pytest.LogCaptureFixture) -> None:
    transform = AuditCased("pred", tmp_path / "out", metadata, CLASSES)
    annotated, missed, outside = (
        box((10, 25), (10, 25), (2, 6)),
        box((40, 48), (30, 40), (1, 3)),
        box((0, 5), (20, 28), (6, 7)),
    )
    with caplog.at_level(logging.INFO, logger="common.audit.case"):
        transform(case("one", annotated | outside, annotated | missed))
        first = table(tmp_path / "out")
        transform({**case("two", None, box((50, 60), (30, 40), (1, 2))), "lung_from": "threshold"})
    rows = table(tmp_path / "out")
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["case"], row["kind"], row["slice"], row["area_mm2"]) for row in rows] == [
        ("two", "not annotated", "2", "100.0"),
        ("one", "not annotated", "2", "80.0"),
        ("one", "not annotated", "3", "80.0"),
        ("one", "truth outside lung", "7", "40.0"),
    ], "largest area first"
    assert rows[1:] == first
    assert [(row["truth"], row["lung_from"], row["probability"]) for row in rows[:2]] == [
        ("none", "threshold", "0.8"),
        ("given", "given", "0.8"),
    ]
    assert caplog.messages == [
        "one: 1 region (0.2 ml) of truth outside the lung, 1 region (0.8 ml) predicted but not annotated, "
        "0 regions of truth rejected.",
        "two: no truth was given, so all predicted lesions are listed: 1 region (0.5 ml).",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.csv", "audit.png"]
    assert drawn(pixels(tmp_path / "out"), (255, 176, 0)) > 100, "truth"
    assert drawn(pixels(tmp_path / "out"), (220, 38, 127)) > 100, "prediction"
    assert drawn(pixels(tmp_path / "out"), (100, 143, 255)) > 100, "lung"


def test_a_run_without_findings_writes_both_files(tmp_path: Path, metadata: Path) -> None:
    transform = AuditCased("pred", tmp_path, metadata, CLASSES)
    lesion = box((10, 25), (10, 25), (2, 6))
    transform(case("one", lesion, lesion))
    assert (tmp_path / "audit.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert drawn(pixels(tmp_path), (220, 38, 127)) == 0


def test_the_figure_shows_each_region_of_both_kinds_once(tmp_path: Path, metadata: Path) -> None:
    transform = AuditCased("pred", tmp_path, metadata, CLASSES)
    outside = box((0, 5), (20, 26), (6, 7))  # 30 mm2, smaller than all others
    for number in range(7):
        missed = box((20, 30), (10, 20), (1, 5)) | box((50, 60), (30, 40 + number), (2, 6))
        transform(case(f"case {number}", outside if number == 0 else NOTHING, missed))
    shown = list(transform.shown)
    assert len(shown) == 12 and [each.size for each in shown] == sorted((each.size for each in shown), reverse=True)
    assert [each.kind for each in shown].count("truth outside lung") == 1
    assert len({(transform.shown[each].case, each.region) for each in shown}) == 12
    assert all(array.base is None for cell in transform.shown.values() for array in (cell.image, *cell.areas))
    assert len(table(tmp_path)) == 57, "the table has all of them"
    assert pixels(tmp_path).shape[1] == 1600


def test_masks_in_any_axis_order_give_the_same_rows(tmp_path: Path, metadata: Path) -> None:
    annotated, missed = box((10, 25), (10, 25), (2, 6)), box((40, 48), (30, 40), (1, 3))
    lps = case("one", annotated, annotated | missed, OBLIQUE)
    flipped = dict(lps)
    turned = OBLIQUE @ np.array([[0, -1, 0, SHAPE[0] - 1], [1, 0, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1]])
    for key in ("pred", "lung", "label", "probability"):
        values = lps[key].as_tensor().flip(1, 3).transpose(1, 2).contiguous()
        flipped[key] = MetaTensor(values, affine=torch.from_numpy(turned))
    for name, item in (("a", lps), ("b", flipped)):
        AuditCased("pred", tmp_path / name, metadata, CLASSES)(item)
    assert table(tmp_path / "a") == table(tmp_path / "b") != []


def test_volumes_of_an_image_are_blank(tmp_path: Path, metadata: Path) -> None:
    item = case("picture", None, box((40, 48), (30, 40), (1, 2)))
    item["scan"].meta["spacing_known"] = False
    del item["probability"]
    AuditCased("pred", tmp_path, metadata, CLASSES)(item)
    (row,) = table(tmp_path)
    assert [row[name] for name in ("region_ml", "area_mm2", "x_mm", "probability")] == [""] * 4
    assert (row["area_pixels"], row["column"], row["row"]) == ("80", "43.5", "34.5")


def test_truth_values_select_the_lesions(tmp_path: Path, metadata: Path) -> None:
    truth = np.zeros(SHAPE, np.float32)
    truth[10:20, 10:20, 2], truth[0:5, 10:20, 4] = 1, 3  # effusion lies outside the lung
    item = case("one", truth, truth == 1)
    AuditCased("pred", tmp_path / "all", metadata, CLASSES)(item)
    AuditCased("pred", tmp_path / "two", metadata, CLASSES, truth_values=[1, 2])(item)
    assert (len(table(tmp_path / "all")), len(table(tmp_path / "two"))) == (1, 0)


def test_a_case_that_does_not_fit_is_named(tmp_path: Path, metadata: Path) -> None:
    transform = AuditCased("pred", tmp_path, metadata, CLASSES)
    item = case("folder/one", NOTHING, NOTHING)
    with pytest.raises(ValueError, match=r"folder/one: .*the scan's shape .*'truth': \(80, 60, 9\)"):
        transform({**item, "label": item["label"][..., 1:]})
    with pytest.raises(ValueError, match="folder/one: an audit needs a lung mask, got none under 'lung'"):
        transform({**item, "lung": None})
    assert list(tmp_path.glob("audit.*")) == []
