"""Curves of heat agree with scikit-learn and with numbers worked by hand; pictures show what was parted."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from common.reproduce.command import main
from common.reproduce.curves import read_curves, write_curves
from common.weak_gan.picture import SeparationPicture
from common.weak_gan.scores import LocalisationScores


def given(engine: Any, batch: Any) -> Any:
    """Take a batch for the output of a network."""
    engine.state.output = batch
    engine.fire_event(IterationEvents.MODEL_COMPLETED)  # which has both decollated
    return engine.state.output


def evaluate(heats: Any, truths: Any, *handlers: Any, **more: torch.Tensor) -> None:
    """Run an evaluator whose output holds these slices (N, X, Y), and ``more`` of them."""
    data = [
        {
            "image": torch.as_tensor(np.asarray(heat, np.float32))[None] * 2 - 1,
            "pred": torch.as_tensor(np.asarray(heat, np.float32))[None],
            **({} if truths is None else {"truth": torch.as_tensor(np.asarray(truths[index]).astype(np.uint8))[None]}),
            **{key: value[index] for key, value in more.items()},
            "case": f"case{index // 2}",
            "slice": index,
        }
        for index, heat in enumerate(heats)
    ]
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=2),
        network=torch.nn.Identity(),
        iteration_update=given,
        val_handlers=list(handlers),
    ).run()


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def scores(folder: Path, heats: Any, truths: Any, **options: Any) -> dict[str, dict[str, float | None]]:
    """``scores.csv`` by row, None where it is blank."""
    evaluate(heats, truths, LocalisationScores(folder, **options))
    rows = {row.pop("row"): row for row in table(folder / "scores.csv")}
    return {name: {key: float(v) if v else None for key, v in row.items()} for name, row in rows.items()}


def test_areas_and_dice_agree_with_scikit_learn_on_random_heat(rng: np.random.Generator, tmp_path: Path) -> None:
    truths = rng.random((5, 40, 40)) < 0.1
    truths[3:] = False
    heats = np.clip(rng.normal(0.2 + 0.4 * truths, 0.25), 0, 1).astype(np.float32)
    found = scores(tmp_path, heats, truths)
    pooled, averaged = found["pooled pixels"], found["mean over slices with lesions"]
    # Heat is counted in bins, which moves an area a little
    assert pooled["pr_area"] == pytest.approx(average_precision_score(truths.ravel(), heats.ravel()), abs=2e-3)
    per_slice = [average_precision_score(t.ravel(), h.ravel()) for t, h in zip(truths[:3], heats[:3], strict=True)]
    assert averaged["pr_area"] == pytest.approx(np.mean(per_slice), abs=2e-3)
    assert (pooled["slices"], averaged["slices"]) == (5, 3)
    curve = table(tmp_path / "curve.csv")
    for row in curve:
        taken = heats > np.float32(row["threshold"])
        for name, score in (("precision", precision_score), ("recall", recall_score), ("dice_pooled", f1_score)):
            assert float(row[name]) == pytest.approx(score(truths.ravel(), taken.ravel()), abs=1e-6), (name, row)
        per_slice = [f1_score(t.ravel(), h.ravel()) for t, h in zip(truths[:3], taken[:3], strict=True)]
        assert float(row["dice_slices"]) == pytest.approx(np.mean(per_slice), abs=1e-6)
    assert pooled["best_dice"] == max(float(row["dice_pooled"]) for row in curve)
    points = np.array([[float(row["precision"]), float(row["recall"])] for row in table(tmp_path / "pr_curve.csv")])
    assert 100 < len(points) <= 200 and (np.diff(points[:, 1]) > 0).all() and (points[0, 1], points[-1, 1]) == (0, 1)
    thinned = np.diff(points[:, 1], prepend=0) @ points[:, 0]
    assert thinned == pytest.approx(pooled["pr_area"], abs=0.01)


def test_dice_at_a_threshold_is_worked_by_hand(tmp_path: Path) -> None:
    # Above 0.4: 2 of 3 lesion pixels and 1 other in the first slice, 1 of 1 in the second; 0.4 itself is not above.
    heats = [[[0.9, 0.5, 0.4], [0.6, 0.0, 0.4]], [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    truths = [[[1, 1, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]
    found = scores(tmp_path, heats, truths)
    assert found["pooled pixels"]["dice_at_threshold"] == pytest.approx(2 * 3 / (4 + 4), abs=1e-6)
    averaged = found["mean over slices with lesions"]
    assert averaged["dice_at_threshold"] == pytest.approx((2 * 2 / (3 + 3) + 1) / 2, abs=1e-6)
    # Above 0.35, all 4 lesion pixels and 2 others: 8 / 10. The first of equal thresholds is told.
    assert found["pooled pixels"]["best_dice"] == pytest.approx(0.8, abs=1e-6)
    assert found["pooled pixels"]["best_threshold"] == pytest.approx(0.05)
    # Hottest first: 1.0 and 0.9 hit, 0.6 misses, 0.5 hits, both of 0.4 come together.
    area = (1 + 1 + 3 / 4 + 4 / 6) / 4
    assert found["pooled pixels"]["pr_area"] == pytest.approx(area, abs=1e-6)
    assert scores(tmp_path, heats, truths, threshold=0.39)["pooled pixels"]["dice_at_threshold"] == pytest.approx(0.8)


def test_heat_that_is_the_truth_scores_one_and_its_inverse_the_prevalence(tmp_path: Path) -> None:
    truth = np.zeros((2, 10, 10))
    truth[0, :2, :5] = 1
    perfect = scores(tmp_path, truth, truth)
    assert [perfect["pooled pixels"][key] for key in ("pr_area", "dice_at_threshold", "best_dice")] == [1, 1, 1]
    inverted = scores(tmp_path, 1 - truth, truth)["pooled pixels"]
    assert (inverted["pr_area"], inverted["dice_at_threshold"]) == (pytest.approx(10 / 200), 0)


def test_heat_of_zero_finds_nothing_and_of_one_half_everything(tmp_path: Path) -> None:
    truth = np.zeros((1, 10, 10))
    truth[0, :2] = 1
    for heat, dice, precision in ((0.0, 0, ""), (0.5, 2 * 20 / (20 + 100), "0.200000")):
        found = scores(tmp_path, np.full((1, 10, 10), heat), truth)["pooled pixels"]
        assert found["pr_area"] == pytest.approx(0.2), "all pixels come together"
        assert found["dice_at_threshold"] == pytest.approx(dice, abs=1e-6)
        assert table(tmp_path / "curve.csv")[7]["precision"] == precision
    assert [row["dice_pooled"] == "0.000000" for row in table(tmp_path / "curve.csv")].index(True) == 9, "at 0.5"


def test_without_lesions_there_are_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scores(tmp_path, np.full((3, 4, 4), 0.7), np.zeros((3, 4, 4)))
    assert [row.pop("slices") for row in found.values()] == [3, 0]
    assert {value for row in found.values() for value in row.values()} == {None}
    assert table(tmp_path / "pr_curve.csv") == []
    assert [(row["precision"], row["dice_pooled"]) for row in table(tmp_path / "curve.csv")][12:14] == [
        ("0.000000", ""),
        ("", ""),
    ]
    assert "nan" not in capsys.readouterr().out
    assert (tmp_path / "localisation.png").is_file()


def test_heat_beyond_its_range_is_refused_with_its_slice(tmp_path: Path) -> None:
    heats = np.zeros((3, 4, 4))
    for value in (-0.5, 1.5, np.nan):
        heats[2, 0, 0] = value
        with pytest.raises(ValueError, match=r"case1, slice 2: heat lies in 0\.\.1, got .* Clip it"):
            scores(tmp_path, heats, np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match=r"The threshold is in 0\.\.1, below 1, by steps of 0.001, got 0.4005"):
        LocalisationScores(tmp_path, threshold=0.4005)


def test_a_sheet_shows_the_slice_with_most_lesion_of_each_case(tmp_path: Path) -> None:
    truths = np.zeros((6, 8, 8))
    for index, area in enumerate((1, 3, 2, 0, 5, 6)):
        truths[index, 0, :area] = 1
    picture = SeparationPicture(tmp_path / "sheet.png", columns=2)
    normal = torch.zeros(6, 1, 8, 8)
    evaluate(1 - truths, truths, picture, normal=normal)
    kept = sorted((lesion, title) for lesion, title, _ in picture.best.values())
    assert kept == [(3.0, "case0, slice 1"), (6.0, "case2, slice 5")]
    whole = Image.open(tmp_path / "sheet.png").size
    evaluate(1 - truths, None, picture)
    assert {title for _, title, _ in picture.best.values()} == {"case1, slice 3", "case0, slice 0"}, "by mean heat"
    bare = Image.open(tmp_path / "sheet.png").size
    assert bare[1] < 0.6 * whole[1], "without rows of normal versions and truth"


PLAN: dict[str, Any] = {
    "steps": {"evaluating": ["train.yaml"]},
    "variants": {"ours": {}, "cam": {}, "grad_cam": {}},
    "seeds": [0],
    "tables": [{"name": "table_1", "columns": {"area": {"row": "pooled pixels", "column": "pr_area"}}}],
    "curves": [{"name": "figure_2", "file": "pr_curve.csv", "x": "recall", "y": "precision", "steps": True}],
}


def finish(root: Path, variant: str, points: str) -> None:
    """Leave what a finished experiment leaves."""
    folder = root / "out" / "fake" / variant / "seed0"
    (folder / "eval").mkdir(parents=True)
    record = {"finished": ["evaluating"], "settings": {"dataset_dir": "phantom"}, "seconds": 1.0, "commit": "1"}
    (folder / "experiment.json").write_text(json.dumps(record))
    (folder / "eval" / "scores.csv").write_text("row,pr_area\npooled pixels,0.5\n")
    (folder / "eval" / "pr_curve.csv").write_text(points)


def test_a_papers_curves_are_drawn_of_the_variants_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = tmp_path / "bundles" / "fake" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text("epochs: 1\n")
    (configs / "reproduce.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    finish(tmp_path, "ours", "precision,recall\n1,0\n1,0.5\n,0.7\n0.25,1\n")
    finish(tmp_path, "grad_cam", "precision,recall\n")
    drawn: list[Any] = []
    written: list[str] = []
    monkeypatch.setattr("common.report.canvas.save", lambda figure, path: drawn.append((figure, path)))
    monkeypatch.setattr("common.report.canvas.write", lambda *given: written.append(given[3]))
    given = ["fake", "--output_dir", str(tmp_path / "out"), "--tables_only"]
    assert main(given, tmp_path / "bundles") == 0
    ((figure, path),) = drawn
    assert capsys.readouterr().out.endswith(f"Curves: {path}\n") and path.name == "figure_2.png"
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["ours", "grad_cam: no numbers"]
    assert lines["ours"].get_xydata().tolist() == [[0, 1], [0.5, 1], [1, 0.25]]
    assert lines["ours"].get_drawstyle() == "steps-pre"
    assert written[0] == "figure_2" and written[1].endswith("Shown: seed0 of each variant. INCOMPLETE: without cam.")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"colour": 1}, "curves figure_2 has name, file, x, y, and maybe title, variants"),
        ({"variants": ["vgg"]}, "curves figure_2: no variant is called 'vgg'; there are ours, cam."),
        ({"run": "seed2"}, "curves figure_2: no run is called 'seed2'; there are seed0."),
        ({"steps": "pre"}, "curves figure_2: steps is true or false, got 'pre'."),
        ({"name": 2}, "each of curves is a mapping with a name"),
    ],
)
def test_mistakes_in_curves_are_named(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_curves({**PLAN["curves"][0], **changes}, ["ours", "cam"], ["seed0"])


def test_a_file_without_the_column_is_named_with_those_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("threshold,recall\n0.5,1\n")
    curves = read_curves(PLAN["curves"][0], ["ours"], ["seed0"])
    with pytest.raises(ValueError, match=r"curve.csv: no column is called 'precision'; there are threshold, recall\."):
        write_curves(tmp_path / "figure.png", curves, {"ours": tmp_path / "curve.csv"}, [])
    with pytest.raises(FileNotFoundError, match=r"figure_2: none of ours has left pr_curve.csv\. Evaluate them first"):
        write_curves(tmp_path / "figure.png", curves, {"ours": None}, [])
