"""Training of the lung network, its data and its comparison with the threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.lung_network.architecture import SIZE, LungNetwork
from common.lungs.augmentation import augmentation
from common.lungs.cases import Case, slices_of
from common.lungs.command import main
from common.lungs.comparison import measure
from common.lungs.phantoms import phantom_slices
from common.run.model_record import read_record
from common.tables import read_csv


def test_scores_by_hand() -> None:
    lesions = np.zeros((10, 4, 2), np.uint8)
    lung = np.zeros((10, 4, 2), bool)
    lung[:, :, 0] = True  # 40 voxels in one of two slices
    lesions[:4, :, 0] = 1  # 16 voxels, 40 %: CT-2
    lesions[8:, :, 0] = 2  # 8 voxels; with them 60 %: CT-3
    mask = lung.copy()
    mask[8:] = False  # without the consolidation
    mask[0, 0, 1] = True  # and one voxel in the slice without lung
    scores = measure(Case("a", lesions, None, "HU", lung, lesions), mask)
    assert scores["dice"] == pytest.approx(2 * 32 / (33 + 40))
    assert scores["ground_glass"] == 1.0 and scores["consolidation"] == 0.0
    assert scores["precision"] == pytest.approx(32 / 33) and scores["surplus"] == 1.0
    assert scores["same_severity"] == 1.0  # lesions outside count as lung: 24 of 41 or of 40, CT-3
    assert measure(Case("b", lesions, None, "8bit", None, lesions), mask) == {"ground_glass": 1.0, "consolidation": 0.0}


def test_synthetic_slices_differ_and_views_of_them_hold_the_same_lung() -> None:
    items = phantom_slices(2, 4)
    assert [tuple(item["image"].shape) for item in items] == [(1, 256, 256)] * 8
    assert not torch.equal(items[0]["image"], items[4]["image"])
    lung = items[int(np.argmax([(item["mask"] > 0).sum() for item in items]))]
    views = [augmentation(seed)(lung) for seed in range(6)]
    for view in views:
        assert view["image"].shape == view["mask"].shape == (1, SIZE, SIZE)
        assert 0 <= view["image"].min() and view["image"].max() <= 1
        assert set(view["mask"].unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
        inside, outside = (view["image"][where] for where in (view["mask"] == 1, view["mask"] == 0))
        if len(inside) > 500 and len(outside) > 500:
            assert inside.median() < outside.mean(), "aerated lung is dark in any window"
    again = augmentation(0)(lung)
    assert torch.equal(again["image"], views[0]["image"]) and not torch.equal(again["image"], views[1]["image"])


def test_training_writes_half_precision_weights_and_their_command(tmp_path: Path) -> None:
    words = ["--patients", "1", "--slices", "2", "--views", "16", "--output", str(tmp_path / "lungs.pt")]
    assert main(["train", *words]) == 0
    state = torch.load(tmp_path / "lungs.pt", weights_only=True)
    LungNetwork().load_state_dict({name: values.float() for name, values in state.items()})
    record = read_record(tmp_path / "lungs.pt")
    assert record["command"].startswith("python -m common.lungs train --patients 1 --slices 2 --views 16")
    assert record["settings"] == {
        **{"patients": 1, "slices": 2, "views": 16, "seed": 0},
        **{"consolidation": 0.5, "healthy": 0.0},
    }


def test_comparison_writes_both_methods(tmp_path: Path) -> None:
    assert main(["compare", "--output_dir", str(tmp_path), "--patients", "1", "--slices", "3"]) == 0
    rows = read_csv(tmp_path / "lungs.csv")
    assert {row["method"] for row in rows} == {"network", "threshold"} and {"dice"} < {row["score"] for row in rows}
    assert [row["method"] for row in read_csv(tmp_path / "lungs_per_case.csv")] == ["network", "threshold"]
    assert (tmp_path / "lungs.png").stat().st_size > 10_000


def test_scans_to_train_on_need_hu_and_a_mask() -> None:
    image = np.zeros((8, 8, 2), np.int16)
    lesions = np.zeros((8, 8, 2), np.uint8)
    lesions[0, 0] = 2
    items = slices_of(Case("a", image, None, "HU", lesions == 0, lesions))
    assert [item["mask"].unique().tolist() for item in items] == [[1, 3]] * 2  # lesions are lung
    with pytest.raises(ValueError, match="b: to train on, a scan needs HU and a lung mask"):
        slices_of(Case("b", image, None))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Say train or compare"),
        (["train", "--output", "a.pt", "--patients", "0"], "--patients must be at least 1, got 0"),
        (["train", "--output", "a.pt", "--share", "1"], "--share must be above 0 and below 1"),
        (["compare", "--output_dir", "out", "--patient", "1"], "There is no option '--patient'. Did you mean --pa"),
    ],
)
def test_mistakes_of_the_command_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(words)
