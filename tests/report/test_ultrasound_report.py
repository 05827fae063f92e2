"""Outputs of ultrasound inference: complete files or none, frames in their places."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from common.datasets.frame_stream import FrameStream
from common.outliers.monitor import Verdict
from common.report.frames import ReportFramesd
from common.report.overlay_clip import painted
from common.report.styles import ClassStyle

METADATA = ROOT / "bundles" / "us_dense_seg" / "configs" / "metadata.json"
NAMES = ["A-line", "B-line", "pleural line", "background"]
STYLES = [ClassStyle("A-line", 1, (0, 0, 255)), ClassStyle("background", 0, (9, 9, 9))]


def frame(case: str, number: int, last: bool, shape: tuple[int, int] = (41, 61), value: int = 1) -> dict[str, Any]:
    """A grey frame, its mask in the upper left corner, and its measures."""
    mask = torch.zeros(1, *shape, dtype=torch.uint8)
    mask[:, :10, :20] = value
    picture = torch.full((1, *shape), 10.0 * number)
    shares = dict.fromkeys((f"share_{name}" for name in NAMES), 0.25)
    facts = {"case": case, "frame": number, "seconds": number / 3, "last": last}
    return {**facts, "picture": picture, "pred": mask, "measures": shares}


def test_colours_mix_with_grey_where_the_class_is_and_nowhere_else() -> None:
    pixels = np.array([[0, 100], [200, 255]], np.uint8)
    mask = np.array([[1, 0], [1, 0]], np.uint8)
    # FILL is 0.38: 0.62 x grey + 0.38 x colour
    assert painted(pixels, mask, STYLES).tolist() == [[[0, 0, 97], [100] * 3], [[124, 124, 221], [255] * 3]]


def test_a_clip_gives_masks_of_its_frames_an_overlay_clip_and_a_figure(tmp_path: Path) -> None:
    report = ReportFramesd("pred", tmp_path, METADATA, NAMES)
    for number in range(20):
        report(frame("sub/clip", number, last=number == 19))
    masks = sorted((tmp_path / "sub" / "clip_masks").iterdir())
    assert [path.name for path in masks] == [f"{number:05d}.png" for number in range(20)]
    mask = np.asarray(Image.open(masks[3]))
    assert mask.shape == (41, 61) and mask[:10, :20].min() == 1 and mask.sum() == 200
    with av.open(str(tmp_path / "sub" / "clip_overlay.mp4")) as container:
        frames = [(each.time, each.to_ndarray(format="rgb24")) for each in container.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx([number / 3 for number in range(20)], abs=0.002)
    below = frames[9][1][25:38, 30:55]  # grey, below caption and mask
    assert below.mean() == pytest.approx(90, abs=3)
    assert (tmp_path / "sub" / "clip_overlay.png").exists()
    with (tmp_path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [str(number) for number in range(20)]
    with (tmp_path / "cases.csv").open() as file:
        (row,) = csv.DictReader(file)
    seen = {name: float(row[f"frames_with_{name}"]) for name in NAMES if name != "background"}
    assert row["frames"] == "20" and "frames_with_background" not in row
    assert seen == {name: float(float(row[f"share_{name}"]) > 0) for name in seen}, "a class is in all frames or none"


def test_a_clip_that_breaks_off_leaves_no_file_and_the_next_one_is_complete(tmp_path: Path) -> None:
    report = ReportFramesd("pred", tmp_path, METADATA, NAMES)
    for number in range(3):
        report(frame("broken", number, last=False))
    report(frame("picture", 0, last=True))
    report(frame("also broken", 0, last=False))
    report.discard()
    left = sorted(path.name for path in tmp_path.iterdir())
    tables = ["labels.ctbl", "labels_itksnap.txt"]
    assert left == ["cases.csv", "cases.json", "frames.csv", *tables, "picture_mask.png", "picture_overlay.png"]
    with (tmp_path / "cases.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["picture"]


def test_a_batch_holds_frames_of_one_case_and_the_last_frame_is_marked(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 1), ("c", 4)):
        pictures = [Image.fromarray(np.full((8, 8), 50 * index, np.uint8)) for index in range(count)]
        if count > 1:
            pictures[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=pictures[1:], duration=100)
        else:
            pictures[0].save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_text("no picture")
    data = [{"case": path.stem, "image": path, "kind": "clip"} for path in sorted(tmp_path.glob("?.*"))]
    stream = FrameStream(data, lambda item: {**item, "image": torch.from_numpy(item["image"])[None]}, batch_size=2)
    batches = list(stream)
    assert [batch["case"] for batch in batches] == [["a"] * 2, ["a"] * 2, ["a"], ["b"], ["c"] * 2, ["c"] * 2]
    assert [batch["last"].tolist() for batch in batches] == [
        *([False, False], [False, False], [True], [True], [False, False], [False, True])
    ]
    assert list(stream.failures) == ["d"]
    with pytest.raises(ValueError, match=r"1 of 4 cases failed:\n  d: .*d\.png"):
        stream.finish({})


def test_an_unusual_clip_has_no_certain_answer_and_other_summaries_stay(tmp_path: Path) -> None:
    report = ReportFramesd("pred", tmp_path, METADATA, NAMES)
    certain = {"diagnosis": "pneumonia", "answer": "pneumonia", "probability_pneumonia": 0.98}
    assert report.answered(certain, Verdict("usual")) == certain
    assert report.answered(certain, Verdict("unusual", "a CT slice")) == {**certain, "answer": "uncertain"}
    assert report.answered({"share_A-line": 0.1}, Verdict("unusual")) == {"share_A-line": 0.1}
