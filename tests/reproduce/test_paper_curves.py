"""A paper's curves are drawn from finished experiments; mistakes in their plan are named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.reproduce.command import main
from common.reproduce.curves import read_curves, write_curves

PLAN: dict[str, Any] = {
    "steps": {"evaluating": ["train.yaml"]},
    "variants": {"ours": {}, "cam": {}, "grad_cam": {}},
    "seeds": [0],
    "tables": [{"name": "table_1", "columns": {"area": {"row": "pooled pixels", "column": "pr_area"}}}],
    "curves": [{"name": "figure_2", "file": "pr_curve.csv", "x": "recall", "y": "precision", "steps": True}],
}


def finish(root: Path, variant: str, points: str) -> None:
    """Write the files of a finished experiment."""
    folder = root / "out" / "fake" / variant / "seed0"
    (folder / "eval").mkdir(parents=True)
    record = {"finished": ["evaluating"], "settings": {"dataset_dir": "phantom"}, "seconds": 1.0, "commit": "1"}
    (folder / "experiment.json").write_text(json.dumps(record))
    (folder / "eval" / "scores.csv").write_text("row,pr_area\npooled pixels,0.5\n")
    (folder / "eval" / "pr_curve.csv").write_text(points)


def test_a_papers_curves_show_the_finished_variants(
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
    _, (figure, path) = drawn  # after the table
    assert f"Curves: {path}\n" in capsys.readouterr().out and path.name == "figure_2.png"
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["ours", "grad_cam: no numbers"]
    assert lines["ours"].get_xydata().tolist() == [[0, 1], [0.5, 1], [1, 0.25]]
    assert lines["ours"].get_drawstyle() == "steps-pre"
    assert written[-2] == "figure_2" and written[-1].endswith("Shown: seed0 of each variant. INCOMPLETE: without cam.")


def test_axes_reach_as_far_as_the_numbers_where_they_are_no_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,0.5\n20,40\n")
    drawn: list[Any] = []
    monkeypatch.setattr("common.report.canvas.save", lambda figure, path: drawn.append(figure))
    entry = {"name": "figure_25", "file": "metrics.csv", "x": "epoch", "y": "loss", "scales": {"x": "free", "y": "log"}}
    curves = read_curves(entry, ["ours"], ["seed0"])
    write_curves(tmp_path / "figure.png", curves, {"ours": tmp_path / "metrics.csv"}, [])
    (axes,) = drawn[0].axes
    assert axes.get_yscale() == "log" and axes.get_ylim()[1] > 40 and axes.get_xlim()[1] > 20


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"colour": 1}, "curves figure_2: there is no key 'colour'. Keys: name, file, x, y, title, variants"),
        ({"variants": ["vgg"]}, "curves figure_2: there is no variant 'vgg'. Variants: ours, cam."),
        ({"run": "seed2"}, "curves figure_2: there is no run 'seed2'. Did you mean seed0? Runs: seed0."),
        ({"steps": "pre"}, "curves figure_2: steps is true or false, got 'pre'."),
        ({"scales": {"x": "logarithmic"}}, "curves figure_2: scales: there is no scale 'logarithmic'."),
        ({"scales": {"z": "log"}}, "curves figure_2: scales: there is no axis 'z'."),
        ({"name": 2}, "each of curves must be a mapping with a name"),
    ],
)
def test_mistakes_in_curves_are_named(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_curves({**PLAN["curves"][0], **changes}, ["ours", "cam"], ["seed0"])


def test_a_file_without_the_column_is_named_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("threshold,recall\n0.5,1\n")
    curves = read_curves(PLAN["curves"][0], ["ours"], ["seed0"])
    with pytest.raises(ValueError, match=r"no column is named 'precision'. Its columns: threshold, recall\."):
        write_curves(tmp_path / "figure.png", curves, {"ours": tmp_path / "curve.csv"}, [])
    with pytest.raises(FileNotFoundError, match=r"none of ours has written pr_curve.csv\. Evaluate them first"):
        write_curves(tmp_path / "figure.png", curves, {"ours": None}, [])
