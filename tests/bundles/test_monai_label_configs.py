"""What MONAI Label asks of configs and networks, without its server; tests/monailabel runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser

from common.datasets.slices import SliceDataset
from common.networks.by_name import segmentation_network
from common.networks.encoder_unet import EncoderUNet
from common.networks.unet import classic_unet
from common.package.configs import packaged, read_configs
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.nifti_files import save_nifti
from common.readers import dicom

NETWORKS: dict[str, Any] = {
    "drsegunet": lambda dropout: segmentation_network("drsegunet", 1, 4, filters=2, dropout=dropout),
    "unet": lambda dropout: segmentation_network("unet", 1, 4, filters=2, dropout=dropout),
    "classic_unet": lambda dropout: classic_unet(1, 4, filters=2, dropout=dropout),
    "encoder_unet": lambda dropout: EncoderUNet("mobilenetv2", dropout=dropout),
}
CLASSES = {"ct_drsegunet": 4, "ct_transfer_unet": 1, "mosmed_encoders": 1, "us_dense_seg": 7}


@pytest.fixture
def scan(tmp_path: Path) -> dict[str, Path]:
    """An image and a label map as inference saves it and annotators correct it: 3 is lung."""
    phantom = chest_ct(2, size=(64, 64), slices=4)
    label = np.where(phantom.lesion > 0, phantom.lesion, 3 * phantom.lung).astype(np.uint8)
    for name, array in (("image", phantom.image), ("label", label), ("lung", phantom.lung), ("lesion", phantom.lesion)):
        save_nifti(tmp_path / f"{name}.nii.gz", array, phantom.spacing, order="RAS")
    return {path.name.partition(".")[0]: path for path in tmp_path.iterdir()}


def parser_of(bundle: str, config: str, **settings: Any) -> ConfigParser:
    """A config with what the packager merges into it for MONAI Label."""
    parser = ConfigParser(read_configs(ROOT / "bundles" / bundle / "configs")[config])
    for key, value in settings.items():
        parser[key.replace("__", "::")] = value
    parser.parse()
    return parser


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_changes_neither_weights_nor_evaluation_but_each_pass_in_training(name: str) -> None:
    torch.manual_seed(0)  # two draws of few maps may be alike
    plain, dropping = NETWORKS[name](0.0).eval(), NETWORKS[name](0.5).eval()
    dropping.load_state_dict(plain.state_dict())  # strict
    x = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(plain(x), dropping(x))
        for module in dropping.modules():
            module.train(isinstance(module, torch.nn.Dropout2d))
        assert not torch.equal(dropping(x), dropping(x))


@pytest.mark.parametrize("bundle", CLASSES)
def test_with_dropout_inference_gives_probabilities_to_score_uncertainty_by(bundle: str, tmp_path: Path) -> None:
    small = {"encoder": "mobilenetv2"} if bundle == "mosmed_encoders" else {"filters": 2}
    small = {} if bundle == "ct_drsegunet" else small
    parser = parser_of(bundle, "inference", size=[32, 32], network_def__dropout=0.2, output_dir=str(tmp_path), **small)
    channels = 2 if bundle == "ct_transfer_unet" else 1
    image = torch.rand(1, channels, 32, 32) if bundle == "us_dense_seg" else torch.rand(1, channels, 32, 32, 2)
    with torch.inference_mode():
        data = {"pred": parser.get_parsed_content("inferer")(image, parser.get_parsed_content("network_def").eval())[0]}
    for transform in parser.get_parsed_content("post_transforms"):
        data = transform(data)
    probabilities = data["pred"]
    assert probabilities.shape == (CLASSES[bundle], *image.shape[2:])
    assert 0 <= probabilities.min() and probabilities.max() <= 1
    if CLASSES[bundle] > 1:
        torch.testing.assert_close(torch.as_tensor(probabilities).sum(0), torch.ones(image.shape[2:]))


def test_nothing_is_written_where_masks_are_made_for_another_program(tmp_path: Path) -> None:
    for bundle in ("ct_drsegunet", "ct_weak_gan"):
        parser_of(bundle, "inference", output_dir=str(tmp_path / "out")).get_parsed_content("post_transforms")
    assert not (tmp_path / "out").exists()


def test_a_label_map_with_lung_is_the_truth_of_lesion_mask_and_lung_mask(scan: dict[str, Path]) -> None:
    read = parser_of("ct_drsegunet", "train", size=[64, 64]).get_parsed_content("train::dataset::transform")
    bare = read({"image": str(scan["image"]), "label": str(scan["label"])})
    public = {"image": scan["image"], "label": scan["lesion"], "lung": scan["lung"], "case": "a", "intensity": "HU"}
    assert set(torch.unique(bare["label"]).tolist()) == {0, 1, 2, 3}
    assert torch.equal(bare["label"], read(public)["label"])


def test_without_validation_cases_those_of_training_are_taken_and_it_is_said(
    scan: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    pair = {"image": str(scan["image"]), "label": str(scan["label"])}
    cases = {"train__dataset__data": [pair], "validate__dataset__data": []}
    dataset = parser_of("ct_drsegunet", "train", size=[64, 64], **cases).get_parsed_content("validate::dataset")
    assert isinstance(dataset, SliceDataset) and len(dataset) == 4
    assert "No cases to validate with: the 1 of training are taken" in caplog.text


NEEDS = ("monai_label", "bare_pairs", "for_scoring", "post_transforms", "when_empty")


@pytest.mark.parametrize("bundle", [*CLASSES, "ct_weak_gan", "us_reverse_transfer"])
def test_what_monai_label_needs_stands_in_its_overlays_alone_and_in_the_package(bundle: str) -> None:
    folder = ROOT / "bundles" / bundle / "configs"
    own = {name: ConfigParser.load_config_file(folder / f"{name}.yaml") for name in ("train", "inference")}
    merged = read_configs(folder)
    assert not any(f'"{need}"' in json.dumps(own) for need in NEEDS) and "CheckpointLoader" not in json.dumps(own)
    assert "post_transforms" in merged["inference"]
    assert ("monai_label" in merged["train"]) == (bundle in CLASSES)
    assert not [name for name in merged if name.startswith("monai_label")], "they are no configs of their own"
    handlers = packaged(bundle, merged, {})["train"]["train"]["handlers"]
    targets = [handler["_target_"] for handler in handlers]  # MONAI Label reads them, before anything is resolved
    assert ("CheckpointLoader" in targets) == (bundle in CLASSES)
    named = [name.replace("%", "$lambda: @") for name in own["train"]["train"]["handlers"]]
    assert targets[: len(named)] == named


def test_a_packaged_handler_is_the_one_of_its_name_and_can_be_switched_off() -> None:
    handlers = ["%train::kept", "%train::dropped"]
    parts = {
        "kept": {"_target_": "builtins.dict", "a": 1},
        "dropped": {"_target_": "builtins.dict", "_disabled_": False},
    }
    made = packaged("any", {"train": {"train": {**parts, "handlers": handlers}}}, {})["train"]
    parser = ConfigParser(made)
    parser["train::kept::a"], parser["train::dropped::_disabled_"] = 2, True  # as overlays do
    assert parser.get_parsed_content("train::handlers") == [{"a": 2}]


def test_no_module_needs_pydicom_3_to_be_imported() -> None:
    """MONAI Label's environment has pydicom 2, without ``pydicom.pixels``; images and NIfTI are read with it."""
    for path in (ROOT / "common").rglob("*.py"):
        assert not re.search(r"^(from|import) pydicom\.pixels", path.read_text(), re.MULTILINE), path


def test_a_pydicom_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "version", lambda _: "2.4.5")
    with pytest.raises(
        ValueError, match=r"pydicom 3 or later, got 2\.4\.5\. Update pydicom and highdicom, or give NIfTI"
    ):
        dicom.check_pydicom()
    monkeypatch.setattr(dicom, "version", lambda _: "3.0.2")
    dicom.check_pydicom()
