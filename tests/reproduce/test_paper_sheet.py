"""A paper's figure of slices shows the same slices of every variant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from common.reproduce.command import main
from common.reproduce.sheet import PaperSheet, _ranked, read_sheet, write_sheet

COLOUR = (255, 176, 0)

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
    """Write the files of a finished experiment whose prediction is this part of each slice's first axis."""
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
    """Where in each row of the figure's first column the class is seen, from 0 at the left to 1."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    first = pixels[88:-46, 32 : 32 + (pixels.shape[1] - 50) // 3]
    seen = (np.abs(first - np.array(COLOUR)) <= 40).all(-1)
    return [np.flatnonzero(row.any(0)) / row.shape[1] for row in np.array_split(seen, rows)]


def test_the_figure_has_one_row_per_variant(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(bundles, "unet", slice(4, 16))
    finish(bundles, "vgg19", slice(24, 36))
    assert reproduce(bundles) == 0
    path = bundles.parent / "out" / "fake" / "figure_10.png"
    assert f"Sheet: {path}\n" in capsys.readouterr().out
    page = path.with_name("report.html").read_text()
    assert "fake: the paper&#x27;s results and ours" in page and "figure_10.png" in page and "<td>unet</td>" in page
    image, truth, unet, vgg19 = panels(path, 4)
    assert image.size == truth.size == 0
    assert (unet.min(), unet.max()) == pytest.approx((0.1, 0.4), abs=0.02)
    assert (vgg19.min(), vgg19.max()) == pytest.approx((0.6, 0.9), abs=0.02)


def test_images_of_all_runs_stand_side_by_side_with_each_variants_own_ground_truth(tmp_path: Path) -> None:
    labels = [{"name": "line", "value": 2, "colour": COLOUR}, {"name": "pleura", "value": 5, "colour": (0, 0, 255)}]
    (tmp_path / "metadata.json").write_text(json.dumps({"labels": labels}))

    def saved(name: str, patients: list[str], truth: int, prediction: int) -> Path:
        shape = (len(patients), 40, 40)
        masks = {"truths": np.zeros(shape, np.uint8), "predictions": np.zeros(shape, np.uint8)}
        masks["truths"][:, truth : truth + 8, 10:30] = 1
        masks["predictions"][:, prediction : prediction + 8, 10:30] = 1
        names = np.array(patients)
        np.savez(tmp_path / name, images=np.zeros(shape, np.float16), titles=names, patients=names, **masks)
        return tmp_path / name

    entry = {"name": "figure_2", "classes": ["line", "pleura"], "run": "all", "own_truths": True, "sides": False}
    sheet = read_sheet(entry, ["dense", "sparse"], ["fold0", "fold1"])
    files = {
        "dense": [saved("a.npz", ["A"], 0, 8), saved("b.npz", ["B", "A", "C"], 0, 8)],  # A once more, as with copies
        "sparse": [saved("c.npz", ["A"], 16, 24), saved("d.npz", ["B", "A", "C"], 16, 24)],
    }
    write_sheet(tmp_path / "all.png", sheet, files, tmp_path / "metadata.json", [])
    rows = panels(tmp_path / "all.png", 5)
    assert rows[0].size == 0
    starts = [row.min() for row in rows[1:]]
    assert starts == pytest.approx([0, 0.2, 0.4, 0.6], abs=0.03), "ground truth and prediction, dense then sparse"
    write_sheet(
        tmp_path / "one.png", sheet, {**files, "sparse": [files["sparse"][0], None]}, tmp_path / "metadata.json", []
    )
    widths = [Image.open(tmp_path / name).size[0] for name in ("all.png", "one.png")]
    assert widths[0] > 2 * widths[1], "three patients; one, where the second run is not done for both"


def test_an_unfinished_variant_is_left_out_and_named(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_masks_of_several_classes_are_drawn_in_their_colours(bundles: Path) -> None:
    configs = bundles / "fake" / "configs"
    labels = [{"name": name, "value": value, "colour": COLOUR if value == 2 else [0, 0, 255]} for name, value in
              (("lung", 3), ("infection", 2), ("consolidation", 7))]  # fmt: skip
    (configs / "metadata.json").write_text(json.dumps({"labels": labels}))
    sheet = {"name": "figure_10", "classes": ["consolidation", "infection"]}
    (configs / "reproduce.yaml").write_text(yaml.safe_dump({**PLAN, "sheets": [sheet]}, sort_keys=False))
    masks = np.zeros((3, 40, 40), np.uint8)
    masks[:, 4:16, 10:30], masks[:, 24:36, 10:30] = 1, 2
    finish(bundles, "unet", slice(0), predictions=masks)
    assert reproduce(bundles) == 0
    _, _, unet = panels(bundles.parent / "out" / "fake" / "figure_10.png", 3)
    assert (unet.min(), unet.max()) == pytest.approx((0.6, 0.9), abs=0.02), "the second class alone has this colour"
    finish(bundles, "unet", slice(0), predictions=masks + 1)
    with pytest.raises(ValueError, match=r"classes names 2, the masks of unet \(.*\) hold numbers up to 3"):
        reproduce(bundles)


def test_files_without_slices_are_named(bundles: Path) -> None:
    finish(bundles, "unet", slice(4, 16))
    path = bundles.parent / "out/fake/unet/seed0/eval/chosen_slices.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"unet/seed0/eval/chosen_slices.npz cannot be read: File is not a zip file"):
        reproduce(bundles)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"none of unet, vgg19 has written chosen_slices.npz\. Evaluate with"):
        reproduce(bundles)


def test_the_figure_shows_the_first_run_of_all_variants_by_default() -> None:
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
        ({"run": "seed2"}, "there is no run 'seed2'. Did you mean seed1? Runs: seed0, seed1, all."),
        ({"classes": "infection"}, "classes must be a list of names of the classes that the masks number from 1"),
        ({"sides": 0}, "sheet figure_10: sides is true or false, got 0"),
        ({"window": [1, 0]}, "window is [black, white], two increasing numbers, got [1, 0]."),
        ({"window": 0.4}, "window is [black, white], two increasing numbers, got 0.4."),
        ({"name": 10}, "each sheet must be a mapping with a name"),
    ],
)
def test_mistakes_in_the_plan_of_a_figure_are_named(changes: dict[str, Any], rule: str) -> None:
    entry = {"name": "figure_10", "classes": ["infection"], **changes}
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_sheet(entry, ["unet", "vgg19"], ["seed0", "seed1"])


def test_slices_are_ranked_by_the_dice_of_the_first_variant() -> None:
    """Five slices of 1 x 10 pixels with 4 in the ground truth; Dice by hand."""
    truths = np.zeros((5, 1, 10), np.uint8)
    truths[:4, 0, :4] = 2  # the fifth has no lesion
    found = np.zeros_like(truths)
    for index, (begin, end) in enumerate(((2, 6), (0, 4), (4, 8), (0, 2))):
        found[index, 0, begin:end] = 1  # another class than the truth's counts, too
    content = {"images": truths, "truths": truths, "predictions": found}
    content["titles"] = np.array([f"{name}, slice 0" for name in "abcde"])
    chosen = _ranked({"ours": content, "peer": {**content, "predictions": truths}}, (2, 1, 1))
    # b and e are right, e because nothing is there and nothing is found; d: 2 * 2 / 6; a: 2 * 2 / 8; c: 0
    assert chosen["ours"]["titles"].tolist() == ["b: 1.00", "e: 1.00", "d: 0.67", "c: 0.00"]
    np.testing.assert_array_equal(chosen["peer"]["predictions"], truths[[1, 4, 3, 2]])
    assert _ranked({"ours": content}, (0, 0, 9))["ours"]["titles"].tolist()[-1] == "c: 0.00"
