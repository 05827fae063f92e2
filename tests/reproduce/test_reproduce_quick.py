"""All bundles' tables by one command each, in quick settings: the runs' own numbers, and nothing run twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import ROOT
from csv_rows import rows_by_name

from common.reproduce.command import main
from common.reproduce.plan import read_plan, run_name

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prepared_processes", "small_phantoms")]
BUNDLES = sorted(path.parent.name for path in ROOT.glob("bundles/*/configs/"))
SETTINGS = {"mosmed_encoders": {"batch_size": 12, "memory": True}}  # its costs are measured on a batch


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all experiments, for some bundles start from the weights of others."""
    return tmp_path_factory.mktemp("reproduced")


def reproduce(bundle: str, output: Path) -> Path:
    """Folder of a bundle's tables."""
    settings = [word for name, value in SETTINGS.get(bundle, {}).items() for word in (f"--{name}", str(value))]
    assert main([bundle, "--quick", "--jobs", "2", "--output_dir", str(output), *settings]) == 0
    return output / "quick" / bundle


def shown(value: str) -> str:
    """A score as the table spells it."""
    return f"{float(value):.6g}" if value and math.isfinite(float(value)) else ""


@pytest.mark.parametrize("bundle", BUNDLES)
def test_one_command_writes_all_tables_and_figures_of_a_bundle(
    bundle: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, plan = reproduce(bundle, output), read_plan(bundle, ROOT / "bundles")
    run = run_name(plan.repeats[0])
    assert {path.name for path in folder.glob("*/*/")} == {run}, "the first run of each variant alone"
    for variant, design in plan.variants.items():
        step = next(iter(plan.files(variant)))
        config = json.loads((folder / variant / run / "eval" / f"config_{step}.json").read_text())
        settings = {
            key: value for key, value in {**design, **plan.quick, **SETTINGS.get(bundle, {})}.items() if key in config
        }
        assert {key: config[key] for key in settings} == settings
    for table in plan.tables:
        measured = rows_by_name(folder / f"{table.name}.csv")
        assert list(measured) == [*table.variants, *table.quoted]
        for variant, row in [(name, measured[name]) for name in table.variants]:
            assert row[plan.word] == "1 of 1"
            for heading, (file, line, column) in table.columns.items():
                scores = rows_by_name(folder / variant / run / "eval" / file)
                assert row[f"{heading} mean"] == shown(scores[line][column]), f"{variant}, {heading}"
                mean, _ = table.paper_score(variant, heading)
                assert row[f"{heading} paper mean"] == shown(str(mean or "")), f"{variant}, {heading}"
        text = (folder / f"{table.name}.md").read_text()
        assert "Data: synthetic phantoms. QUICK RUN" in text
        assert "INCOMPLETE" not in text and "has a number in row" not in text
    for name in [each.name for each in (*plan.tables, *plan.sheets, *plan.curves)]:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    capsys.readouterr()
    reproduce(bundle, output)
    assert "starts; log in" not in capsys.readouterr().out


def test_the_diagnosis_starts_from_the_weights_of_its_labels(output: Path) -> None:
    folder = reproduce("us_reverse_transfer", output)
    for labels in ("dense", "sparse"):
        log = (folder / labels / "fold0" / "log.txt").read_text()
        assert f"us_dense_seg/{labels}/fold0/models/model.pt, all 46 tensors" in log
    assert "Starts from us_dense_seg, trained on synthetic phantoms." in (folder / "table_2.md").read_text()
