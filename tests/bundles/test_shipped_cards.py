"""The weights that come with the bundles: cards that are true and complete, and inference right after cloning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bundle_steps import run
from csv_rows import rows

from common.run.model_record import read_record

BUNDLES = sorted(path.parent.parent.name for path in Path("bundles").glob("*/models/model.json"))
CARD = {"data", "licence", "intended_use", "not_for", "scores", "scores_of", "commands", "parameters", "trained"}
TOGETHER = 80e6  # bytes


def weights_of(bundle: str) -> Path:
    return Path("bundles") / bundle / "models" / "model.pt"


def texts(value: object) -> list[str]:
    """All texts of a record."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_all_bundles_come_with_weights_and_together_they_are_small() -> None:
    assert sorted(path.name for path in Path("bundles").iterdir() if path.is_dir()) == BUNDLES
    assert sum(weights_of(bundle).stat().st_size for bundle in BUNDLES) < TOGETHER


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_card_is_complete_and_page_and_metadata_hold_its_numbers(bundle: str) -> None:
    record = read_record(weights_of(bundle))  # refuses the record of other weights
    card, folder = record["card"], Path("bundles") / bundle
    assert card.keys() >= CARD and "Diagnosis" in card["not_for"] and card["scores"]
    assert not any(text.startswith(("/work", "/home", "/tmp")) for text in texts(record))
    state = torch.load(weights_of(bundle), weights_only=True)
    assert {value.dtype for value in state.values() if value.ndim > 1} == {torch.float16}
    metrics = json.loads((folder / "configs" / "metadata.json").read_text())["eval_metrics"]
    page = (folder / "docs" / "README.md").read_text() + Path("docs/shipped-weights.md").read_text()
    assert sorted(metrics.values()) == sorted(card["scores"].values())
    assert "## Shipped weights" in page
    for score in card["scores"].values():
        assert f"{score:.3f}" in page, score


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_inference_runs_right_after_cloning(bundle: str, tmp_path: Path) -> None:
    run("run", [f"bundles/{bundle}/configs/inference.yaml"], tmp_path, isolated=False)
    table = rows(tmp_path / ("cases.csv" if bundle.startswith("us_") else "lesions.csv"))
    assert table and all(row["case"] for row in table)
    assert list(tmp_path.rglob("*_overlay.png"))
