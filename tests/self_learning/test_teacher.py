"""Learning from slices without labels by an averaged teacher."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from common.run.errors import NothingToDo
from common.self_learning.teacher import TeacherBatch, TeacherLoss, WithUnlabelled, check_start, every_nth


def test_only_confident_pixels_of_the_teacher_count() -> None:
    """Two classes, one labelled and one unlabelled slice of two pixels; worked out by hand."""
    loss = TeacherLoss(lambda logits, label: logits.sum() * 0 + label.float().mean(), weight=2.0, confidence=0.8)
    logits = torch.zeros(2, 2, 1, 2)
    logits[1, 0, 0, 0] = math.log(3)  # the student says 0.75 and 0.25 in the first pixel, 0.5 and 0.5 in the second
    probability = torch.tensor([[[[0.9, 0.6]], [[0.1, 0.4]]]])  # the teacher is sure of the first only
    label = torch.full((1, 1, 1, 2), 5)
    entropy = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert loss(logits, (label, probability)).item() == pytest.approx(5 + 2 * entropy / 2)
    # A slice without lesion between the two, in whose first pixel the student gives background, class 0, 0.75
    several = torch.cat([logits[:1], logits[1:], logits[1:]])
    found = loss(several, (label, probability)).item()
    assert found == pytest.approx(5 + 2 * entropy / 2 - (math.log(0.75) + math.log(0.5)) / 2)


def test_the_teacher_sees_what_is_undisturbed_and_is_not_trained() -> None:
    class Doubles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.factor * x, torch.zeros_like(x)], 1)

    teacher = Doubles().train()
    images = {
        name: torch.full((1, 1, 2, 2), value)
        for name, value in (("image", 1.0), ("label", 0.0), ("unlabelled", 9.0), ("clean", 1.5))
    }
    slices, (label, probability) = TeacherBatch(teacher)(images, "cpu")
    assert slices[:, 0, 0, 0].tolist() == [1.0, 9.0]
    assert probability[0, 0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-3)))
    assert not probability.requires_grad and not teacher.training and torch.equal(label, images["label"])
    images["healthy"] = torch.full((2, 1, 2, 2), 7.0)
    slices, (label, probability) = TeacherBatch(teacher)(images, "cpu")
    assert slices[:, 0, 0, 0].tolist() == [1.0, 7.0, 7.0, 9.0], "labelled, healthy, without label"
    assert len(label) == len(probability) == 1


def test_each_labelled_slice_comes_with_a_random_one_without_label() -> None:
    labelled = [{"image": number, "label": number} for number in range(3)]
    unlabelled = [{"image": 10 + number, "clean": 20 + number} for number in range(5)]
    pairs = WithUnlabelled(labelled, unlabelled)
    torch.manual_seed(0)
    seen = [pairs[index % 3] for index in range(60)]
    assert [item["label"] for item in seen] == [0, 1, 2] * 20
    assert {item["unlabelled"] for item in seen} == set(range(10, 15))
    assert all(item["clean"] == item["unlabelled"] + 10 for item in seen)
    assert not any("healthy" in item for item in seen)
    both = WithUnlabelled(labelled, unlabelled, [{"image": 30}, {"image": 31}])
    assert {both[0]["healthy"] for _ in range(20)} == {30, 31}
    with pytest.raises(ValueError, match="--unlabelled must be a folder of scans or pictures, got none"):
        WithUnlabelled(labelled, [])


def test_a_slice_is_either_healthy_or_unknown(tmp_path: Path) -> None:
    class Slices(list[dict[str, Any]]):
        data = property(lambda self: self)

    unlabelled, healthy = (Slices({"image": tmp_path / name} for name in names) for names in ("ab", "bc"))
    with pytest.raises(ValueError, match=r"1 files are given as --unlabelled and as --healthy, such as .*b\."):
        WithUnlabelled([{}], unlabelled, healthy)


def test_held_out_pictures_are_not_learned_from_without_label(tmp_path: Path) -> None:
    for name, grey in (("a", 10), ("b", 90), ("c", 200)):
        Image.fromarray(np.full((16, 16), grey, np.uint8)).save(tmp_path / f"{name}.png")
    elsewhere = tmp_path / "labelled"
    elsewhere.mkdir()
    for name in "ab":
        shutil.copy(tmp_path / f"{name}.png", elsewhere / f"other_{name}.png")
    held_out: dict[str, Any] = {"training": [{"image": elsewhere / "other_a.png"}], "validation": []}
    found = every_nth(tmp_path, 1, "LP", held_out)
    assert {Path(case["case"]).name for case in found} >= {"a", "b", "c"}
    held_out["validation"] = [{"image": elsewhere / "other_b.png"}]
    with pytest.raises(ValueError, match=r"\d of its \d files are held out or have labels: "):
        every_nth(tmp_path, 1, "LP", held_out)
    with pytest.raises(ValueError, match=r"--healthy .*: 2 of its \d files are held out or have labels"):
        every_nth(elsewhere, 1, "LP", held_out, option="healthy")
    with pytest.raises(FileNotFoundError, match=r"--healthy .*missing: there is no such folder"):
        every_nth([tmp_path, tmp_path / "missing"], 1, "LP", {}, option="healthy")
    with pytest.raises(FileNotFoundError, match=r"Several are written as \"\['a','b'\]\""):
        every_nth(f"{tmp_path},{elsewhere}", 1, "LP", {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToDo, match=r"--unlabelled .*empty: No scan in"):
        every_nth(tmp_path / "empty", 1, "LP", {})
    assert every_nth("", 1, "LP", held_out) == []
    assert len(every_nth(f"[{tmp_path},{elsewhere}]", 1, "LP", {})) == 7, "as a command line gives it"
    assert len(every_nth([tmp_path, elsewhere], 2, "LP", {})) == 4, "every second of five, and of two"


def test_a_teacher_that_has_learned_nothing_is_refused() -> None:
    check_start("level_1/model.pt", resume=False)
    check_start("none", resume=True)
    with pytest.raises(ValueError, match=r"--pretrained must be weights that have learned from the labelled slices"):
        check_start("none", resume=False)
