"""Chosen slices are those that were asked for, and a paper's sheet of them is of one and the same data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.engines import SupervisedEvaluator
from PIL import Image

from common.handlers.chosen_slices import ChosenSlices
from common.reproduce.command import main
from common.reproduce.sheet import PaperSheet, read_sheet

COLOUR = (255, 176, 0)


def samples(areas: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Slices of 4 x 5 pixels of each case, with so many positive ones; their numbers start at 3."""
    made = []
    for case, slices in areas.items():
        for index, area in enumerate(slices):
            label = torch.zeros(20)
            label[:area] = 1
            image = torch.full((2, 4, 5), index / 8)
            made.append({"image": image, "label": label.reshape(1, 4, 5), "case": case, "slice": index + 3})
    return made


def chosen(folder: Path, data: list[dict[str, Any]], **options: Any) -> dict[str, np.ndarray]:
    """What is kept of an evaluation that predicts the image, in batches that reach across cases."""
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=4),
        network=torch.nn.Identity(),
        val_handlers=[ChosenSlices(folder, **options)],
    ).run()
    with np.load(folder / "chosen_slices.npz", allow_pickle=False) as file:
        return dict(file)


AREAS = {"a": [9, 0, 0], "b": [0, 2, 9, 3, 0, 0, 0], "c": [1, 1, 5]}  # 9, 14 and 7 positive pixels


def test_slices_of_the_case_with_most_infection_are_spread_evenly(tmp_path: Path) -> None:
    kept = chosen(tmp_path, samples(AREAS), count=4)
    assert kept["titles"].tolist() == [f"b, slice {number}" for number in (3, 5, 7, 9)]
    assert kept["truths"].sum((1, 2)).tolist() == [0, 9, 0, 0]
    assert kept["images"][:, 0, 0].tolist() == [0, 0.25, 0.5, 0.75]
    assert kept["predictions"].sum((1, 2)).tolist() == [0, 0, 0, 20], "above 0.5"
    assert {key: (kept[key].dtype.name, kept[key].shape) for key in ("images", "truths", "predictions")} == {
        "images": ("float16", (4, 4, 5)), "truths": ("uint8", (4, 4, 5)), "predictions": ("uint8", (4, 4, 5))
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["chosen_slices.npz"]


def test_slices_are_chosen_by_number_and_case(tmp_path: Path) -> None:
    kept = chosen(tmp_path, samples(AREAS), case="c", slices=[5, 3])
    assert kept["titles"].tolist() == ["c, slice 5", "c, slice 3"]
    assert kept["truths"].sum((1, 2)).tolist() == [5, 1]
    assert chosen(tmp_path, samples(AREAS), case="c")["titles"].tolist() == [f"c, slice {n}" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"case": "d"}, "No case 'd' was evaluated. Give one of a, b, c."),
        ({"slices": [4, 2]}, "b has no slice 2. Choose from its 7 slices, with numbers from 3 to 9."),
        ({"count": 0}, "At least one slice must be saved, got count=0."),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(tmp_path: Path, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        chosen(tmp_path, samples(AREAS), **options)


def test_cases_whose_slices_are_mixed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a: its slices must follow one another, got c between them"):
        chosen(tmp_path, samples(AREAS) + samples({"a": [1]}))


PLAN: dict[str, Any] = {
    "steps": {"evaluating": ["train.yaml"]},
    "variants": {"unet": {}, "vgg19": {}},
    "seeds": [0, 1],
    "tables": [{"name": "table_1", "columns": {"mean": {"row": "volumes", "column": "mean"}}}],
    "sheets": [{"name": "figure_10", "title": "Figure 10", "classes": ["infection"], "window": [-1, 0.4]}],
}


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A folder with one bundle of two variants."""
    configs = tmp_path / "bundles" / "fake" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text("epochs: 1\n")
    (configs / "reproduce.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    (configs / "metadata.json").write_text(
        json.dumps({"labels": [{"name": "infection", "value": 2, "colour": COLOUR}]})
    )
    return tmp_path / "bundles"


def finish(bundles: Path, variant: str, area: slice, **changes: np.ndarray) -> None:
    """Leave what a finished experiment leaves, whose prediction is this part of each slice's first axis."""
    folder = bundles.parent / "out" / "fake" / variant / "seed0"
    (folder / "eval").mkdir(parents=True, exist_ok=True)
    record = {"finished": ["evaluating"], "settings": {"dataset_dir": "phantom"}, "seconds": 1.0, "commit": "1"}
    (folder / "experiment.json").write_text(json.dumps(record))
    (folder / "eval" / "scores.csv").write_text("row,mean\nvolumes,0.5\n")
    predictions = np.zeros((3, 40, 40), np.uint8)
    predictions[:, area, 10:30] = 1
    content = {"images": np.zeros((3, 40, 40), np.float16), "truths": np.zeros((3, 40, 40), np.uint8)}
    content |= {"predictions": predictions, "titles": np.array(["a, slice 1", "a, slice 2", "a, slice 3"]), **changes}
    np.savez(folder / "eval" / "chosen_slices.npz", **content)


def reproduce(bundles: Path) -> int:
    return main(["fake", "--output_dir", str(bundles.parent / "out"), "--tables_only"], bundles)


def panels(path: Path, rows: int) -> list[np.ndarray]:
    """Where in each row of the sheet's first column the class is seen, from 0 at the left to 1."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    first = pixels[88:-46, 32 : 32 + (pixels.shape[1] - 50) // 3]
    seen = (np.abs(first - np.array(COLOUR)) <= 40).all(-1)
    return [np.flatnonzero(row.any(0)) / row.shape[1] for row in np.array_split(seen, rows)]


def test_a_sheet_has_a_row_for_each_variant(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(bundles, "unet", slice(4, 16))
    finish(bundles, "vgg19", slice(24, 36))
    assert reproduce(bundles) == 0
    path = bundles.parent / "out" / "fake" / "figure_10.png"
    assert capsys.readouterr().out.endswith(f"Sheet: {path}\n")
    image, truth, unet, vgg19 = panels(path, 4)
    assert image.size == truth.size == 0
    assert (unet.min(), unet.max()) == pytest.approx((0.1, 0.4), abs=0.02)
    assert (vgg19.min(), vgg19.max()) == pytest.approx((0.6, 0.9), abs=0.02)


def test_a_variant_that_is_not_done_is_left_out_and_named(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("common.report.canvas.write", lambda *given: written.append(given[3]))
    finish(bundles, "vgg19", slice(4, 16))
    assert reproduce(bundles) == 0
    _, _, vgg19 = panels(bundles.parent / "out" / "fake" / "figure_10.png", 3)
    assert vgg19.size
    note = "Data: synthetic phantoms. Shown: seed0 of each variant. INCOMPLETE: without unet."
    assert written[-2:] == ["Figure 10", note], "after those of the table"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"images": np.ones((3, 40, 40), np.float16)}, "images"),
        ({"titles": np.array(["a, slice 1", "a, slice 2", "b, slice 3"])}, "titles"),
    ],
)
def test_slices_of_other_data_are_refused_after_the_tables(
    bundles: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, np.ndarray], what: str
) -> None:
    finish(bundles, "unet", slice(4, 16))
    finish(bundles, "vgg19", slice(4, 16), **changes)
    rule = rf"figure_10: {what} of vgg19 \(.*\) differ from those of unet\. Run both on the same data, with the same"
    with pytest.raises(ValueError, match=rule):
        reproduce(bundles)
    assert "table_1.md" in capsys.readouterr().out


def test_files_without_slices_are_named(bundles: Path) -> None:
    finish(bundles, "unet", slice(4, 16))
    path = bundles.parent / "out/fake/unet/seed0/eval/chosen_slices.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"unet/seed0/eval/chosen_slices.npz cannot be read: File is not a zip file"):
        reproduce(bundles)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"none of unet, vgg19 has written chosen_slices.npz\. Evaluate with"):
        reproduce(bundles)


def test_a_sheet_shows_the_first_run_of_all_variants_unless_told_otherwise() -> None:
    sheet = read_sheet({"name": "figure_10", "classes": ["infection"]}, ["unet", "vgg19"], ["seed0", "seed1"])
    variants, slices = ["unet", "vgg19"], "chosen_slices.npz"
    assert sheet == PaperSheet("figure_10", "figure_10", variants, "seed0", slices, ["infection"], None)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"variant": ["unet"]},
            "sheet figure_10: there is no key 'variant'. Did you mean variants? Keys: name,",
        ),
        (
            {"variants": ["resnet"]},
            "sheet figure_10: there is no variant 'resnet'. Did you mean unet? Variants: unet, vgg19.",
        ),
        ({"variants": "unet"}, "variants must be a list of one or more variants, got 'unet'"),
        ({"run": "seed2"}, "there is no run 'seed2'. Did you mean seed1? Runs: seed0, seed1."),
        ({"classes": ["infection", "lung"]}, "classes is a list of one name, because the masks are 0 and 1"),
        ({"window": [1, 0]}, "window is [black, white], two increasing numbers, got [1, 0]."),
        ({"window": 0.4}, "window is [black, white], two increasing numbers, got 0.4."),
        ({"name": 10}, "each sheet must be a mapping with a name"),
    ],
)
def test_mistakes_in_a_sheet_are_named(changes: dict[str, Any], rule: str) -> None:
    entry = {"name": "figure_10", "classes": ["infection"], **changes}
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_sheet(entry, ["unet", "vgg19"], ["seed0", "seed1"])
