"""The weights that come with ct_drsegunet: what they are, that their card is true, and that they work after cloning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from csv_rows import rows_by_name

from common import load
from common.networks.by_name import segmentation_network
from common.phantoms.ct.chest_ct import ChestCT, chest_ct
from common.run.model_record import read_record

BUNDLE = Path("bundles/ct_drsegunet")
WEIGHTS = BUNDLE / "models" / "model.pt"
TABLE = BUNDLE / "docs" / "cross_validation.csv"
KINDS = ("infection", "ground-glass", "consolidation")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.fixture(scope="module")
def patient() -> ChestCT:
    """A synthetic patient in HU; the weights have seen pictures of patients only."""
    return chest_ct(2, size=(192, 192), slices=10)


@pytest.fixture(scope="module")
def mask(patient: ChestCT) -> np.ndarray:
    return np.asarray(load(BUNDLE)(patient.image, spacing=patient.spacing).mask)


def test_they_are_small_and_say_where_they_come_from() -> None:
    state = torch.load(WEIGHTS, weights_only=True)
    assert WEIGHTS.stat().st_size < 11e6
    assert {value.dtype for value in state.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in state.values() if value.ndim == 1} == {torch.float32}
    record = read_record(WEIGHTS)  # refuses the record of other weights
    network = segmentation_network(record["settings"]["network"], 1, len(record["classes"]))
    network.load_state_dict(state)
    assert sum(weight.numel() for weight in network.parameters()) == record["card"]["parameters"] == 5_016_659
    assert {"data", "licence", "intended_use", "not_for", "commands"} <= record["card"].keys()
    assert "non-commercial" in record["card"]["licence"] and len(record["data"]["training"]) == 50
    assert all(value is None or not str(value).startswith(("/work", "/home", "/tmp")) for value in strings(record))


def strings(value: object) -> list[str]:
    """All texts of a record."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def test_the_card_holds_the_numbers_of_the_cross_validation() -> None:
    """Card, metadata and page against the table that ``common.reproduce`` wrote from the tables of evaluating."""
    measured = rows_by_name(TABLE)["unlabelled"]
    card = read_record(WEIGHTS)["card"]["scores"]
    metrics = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["eval_metrics"]
    page = Path("docs/shipped-weights.md").read_text()
    assert measured["folds"] == "5 of 5"
    for kind in KINDS:
        mean = float(measured[f"{kind} mean"])
        assert card[kind] == metrics[f"{kind} Dice, five-fold cross-validation on MedSeg"] == round(mean, 3)
        assert f"{kind} {mean:.3f}" in page


def test_the_page_holds_the_numbers_of_the_parts() -> None:
    page = Path("docs/shipped-weights.md").read_text()
    for name, row in rows_by_name(Path("docs/shipped-weights-parts.csv")).items():
        cells = [
            f"{float(row[f'{kind} mean']):.3f} ({float(row[f'{kind} low']):.3f} to {float(row[f'{kind} high']):.3f})"
            for kind in KINDS
        ]
        assert row["folds"] == "5 of 5" and " | ".join(cells).replace("0.000 (0.000 to 0.000)", "0.000") in page, name


def test_lesions_of_a_scan_in_hu_are_found_and_almost_nothing_else(patient: ChestCT, mask: np.ndarray) -> None:
    lesion, lung = patient.lesion > 0, patient.lung > 0
    assert dice(mask > 0, lesion) > 0.4  # 0.48; large consolidation is missed at its middle
    assert (mask[~lung] > 0).mean() < 0.01, "hardly a lesion in chest wall, heart or liver"


def test_float32_and_bfloat16_give_the_same_mask(patient: ChestCT, mask: np.ndarray) -> None:
    """As two machines would, one of which computes in bfloat16."""
    exact = np.asarray(load(BUNDLE, amp=False)(patient.image, spacing=patient.spacing).mask)
    assert dice(mask > 0, exact > 0) > 0.98
