"""MONAI's federated client trains and evaluates the supervised bundles from weights that a server sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from common.phantoms.ct.layouts import write_mosmed, write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures
from common.phantoms.ultrasound.layouts import write_pocus, write_semantic_lung

pytestmark = pytest.mark.slow

Weights = dict[str, torch.Tensor]

TRAIN, EVALUATE = "configs/train.yaml", "configs/evaluate.yaml"
# By bundle: the writer of its data, the writer's settings, the bundle's
BUNDLES: dict[str, tuple[Callable[..., Path], dict[str, Any], dict[str, Any]]] = {
    "ct_drsegunet": (write_medseg_pictures, {"slices": 8, "size": (64, 64)}, {}),
    "us_dense_seg": (
        write_semantic_lung,
        {"patients": 3, "images": 6, "size": (64, 96)},
        {"filters": 4, "augmentation": "none"},
    ),
    "us_reverse_transfer": (
        write_pocus,
        {"patients": 9, "clips": 1, "seconds": 1.0, "rate": 3.0, "size": (64, 96)},
        {"filters": 4, "pretraining": "none"},
    ),
    "ct_transfer_unet": (
        write_radiopaedia,
        {"patients": 5, "size": (64, 64), "slices": 6},
        {"filters": 4, "source": "radiopaedia", "batch_size": 4, "training_slices": 8, "validation_slices": 4},
    ),
    "mosmed_encoders": (
        write_mosmed,
        {"patients": 4, "size": (64, 64), "slices": 4},
        {"encoder": "mobilenetv2", "encoder_weights": "none", "batch_size": 4},
    ),
    "ct_weak_gan": (
        write_radiopaedia,
        {"patients": 4, "size": (64, 64), "slices": 6},
        {"filters": 4, "source": "radiopaedia"},
    ),
}
SUPERVISED = [name for name in BUNDLES if name != "ct_weak_gan"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a bundle's phantoms at a site, written on the first call."""
    folders: dict[tuple[str, int], Path] = {}

    def find(bundle: str, site: int = 1) -> Path:
        if (bundle, site) not in folders:
            write, settings, _ = BUNDLES[bundle]
            folders[bundle, site] = write(tmp_path_factory.mktemp(bundle) / "data", seed=site, **settings)
        return folders[bundle, site]

    return find


def settings_of(bundle: str, dataset_dir: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """What a site sets: its data, its folders, and here small pictures."""
    places = {"dataset_dir": str(dataset_dir), "ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
    return {**BUNDLES[bundle][2], **places, "size": [48, 48], **settings}


def client(bundle: str, dataset_dir: Path, folder: Path, difference: bool = False, **settings: Any) -> MonaiAlgo:
    """A site that has initialised; it evaluates without weights of its own."""
    chosen = settings_of(bundle, dataset_dir, folder, **settings)
    algo = MonaiAlgo(
        f"bundles/{bundle}",
        send_weight_diff=difference,
        config_train_filename=TRAIN,
        train_kwargs=dict(chosen),
        config_evaluate_filename=[TRAIN, EVALUATE],
        eval_kwargs={**chosen, "initialize": []},
    )
    algo.initialize(extra={ExtraItems.CLIENT_NAME: folder.name, ExtraItems.APP_ROOT: str(ROOT)})
    return algo


def own(network: torch.nn.Module) -> Weights:
    """A copy: on a CPU a client's weights are those that it goes on training."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def train(algo: MonaiAlgo, weights: Weights) -> Weights:
    """One round."""
    algo.train(ExchangeObject(weights=weights))
    return {name: value.clone() for name, value in algo.get_weights().weights.items()}


def evaluate(algo: MonaiAlgo, weights: Weights) -> dict[str, float]:
    return dict(algo.evaluate(ExchangeObject(weights=weights)).metrics)


@pytest.mark.parametrize("bundle", SUPERVISED)
def test_a_round_gives_weights_that_inference_takes_and_that_score_as_the_runner_says(
    bundle: str, data: Callable[..., Path], tmp_path: Path
) -> None:
    algo = client(bundle, data(bundle), tmp_path)
    before = own(algo.trainer.network)
    after = train(algo, before)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    executed = algo.get_weights().statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]
    assert executed == len(algo.trainer.data_loader) > 0  # what a server weights the sites by

    inference = ConfigParser()
    inference.read_config(ROOT / "bundles" / bundle / "configs" / "inference.yaml")
    chosen = settings_of(bundle, data(bundle), tmp_path)
    inference.update({name: value for name, value in chosen.items() if name in inference})
    inference.get_parsed_content("network_def").load_state_dict(after)

    scores = evaluate(algo, after)
    assert all(isinstance(score, float) for score in scores.values()), scores
    torch.save(after, tmp_path / "models" / "model.pt")
    (tmp_path / "models" / "model.json").unlink()  # of the site's own weights
    files = [str(ROOT / "bundles" / bundle / name) for name in (TRAIN, EVALUATE)]
    runner = ConfigWorkflow(config_file=files, run_id="evaluating", logging_file=False, **chosen)
    runner.initialize()
    runner.run()
    assert scores == pytest.approx(dict(runner.evaluator.state.metrics), nan_ok=True)


def test_training_starts_from_the_servers_weights(data: Callable[..., Path], tmp_path: Path) -> None:
    algo = client("us_dense_seg", data("us_dense_seg"), tmp_path, difference=True, learning_rate=0.0)
    given = {name: torch.randn_like(value) for name, value in own(algo.trainer.network).items()}
    difference = train(algo, given)
    assert algo.get_weights().weight_type == WeightType.WEIGHT_DIFF
    assert difference.keys() == given.keys()
    assert all(not value.any() for value in difference.values())
    assert all(torch.equal(value, given[name]) for name, value in own(algo.trainer.network).items())


def test_rounds_of_a_site_alone_are_a_plain_training(
    data: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = "us_reverse_transfer"
    algo = client(bundle, data(bundle), tmp_path / "site")
    start = weights = own(algo.trainer.network)
    for _ in range(3):
        weights = train(algo, weights)
    assert "will be overwritten" not in caplog.text
    plain = ConfigWorkflow(
        config_file=str(ROOT / "bundles" / bundle / TRAIN),
        logging_file=False,
        **settings_of(bundle, data(bundle), tmp_path / "plain", epochs=3),
    )
    plain.initialize()
    plain.trainer.network.load_state_dict(start)
    plain.run()
    expected = plain.trainer.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def test_the_mean_of_two_sites_learns_what_both_look_for(data: Callable[..., Path], tmp_path: Path) -> None:
    bundle = "us_dense_seg"
    settings = {"learning_rate": 3e-3, "batch_size": 2, "augmentation": "sixfold"}
    sites = [client(bundle, data(bundle, site), tmp_path / f"site-{site}", **settings) for site in (1, 2)]
    mean = own(sites[0].trainer.network)
    first = [evaluate(site, mean)["val_mean_iou"] for site in sites]
    for _ in range(3):
        parts = [train(site, mean) for site in sites]
        assert any(not torch.equal(parts[0][name], parts[1][name]) for name in mean)
        mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in mean}
    last = [evaluate(site, mean)["val_mean_iou"] for site in sites]
    assert all(after > before + 0.03 for before, after in zip(first, last, strict=True)), (first, last)


def test_batch_norm_statistics_travel_with_the_weights(data: Callable[..., Path], tmp_path: Path) -> None:
    algo = client("ct_drsegunet", data("ct_drsegunet"), tmp_path)
    before = own(algo.trainer.network)
    after = train(algo, before)
    statistics = [name for name in before if "running_" in name]
    assert statistics and all(not torch.equal(before[name], after[name]) for name in statistics)
    mean = {name: (before[name] + after[name]) / 2 for name in before}  # counts of batches become fractions
    evaluate(algo, mean)
    held = algo.evaluator.network.state_dict()
    assert all(torch.equal(held[name], mean[name].to(held[name])) for name in mean)


def test_the_weakly_supervised_gan_is_refused(data: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"trainer must be SupervisedTrainer, but got: .*common\.weak_gan\.trainer\.Separation"
    ):
        client("ct_weak_gan", data("ct_weak_gan"), tmp_path)
