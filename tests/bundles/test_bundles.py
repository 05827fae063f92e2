"""Metadata, configs, code and docs of a bundle say the same, and MONAI finds what it looks for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.nifti_files import save_nifti
from common.phantoms.ultrasound.image import lung_ultrasound
from common.report.styles import class_styles

BUNDLES = sorted(path.parent.parent.relative_to(ROOT) for path in ROOT.glob("bundles/*/configs/metadata.json"))


def load(bundle: Path, name: str) -> dict[str, Any]:
    return ConfigParser.load_config_file(str(bundle / "configs" / name))


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_metadata_is_valid(bundle: Path) -> None:
    schema = json.loads((ROOT / "tests" / "data" / "meta_schema_20240725.json").read_text())
    jsonschema.validate(load(bundle, "metadata.json"), schema)


def test_metadata_names_the_versions_that_are_tested(bundle: Path) -> None:
    metadata = load(bundle, "metadata.json")
    pins = dict(
        re.findall(r"^([\w-]+)==([\w.]+)(?:; python_version >= .*)?$", (ROOT / "constraints.txt").read_text(), re.M)
    )
    assert metadata["version"] in metadata["changelog"]
    named = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    named |= metadata["required_packages_version"]
    assert named == {package: pins[package] for package in named}


def test_classes_order_and_values_agree_everywhere(bundle: Path) -> None:
    metadata, train, inference = (load(bundle, name) for name in ("metadata.json", "train.yaml", "inference.yaml"))
    channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    outputs = [channels[str(index)] for index in range(len(channels))]
    labels = [entry["name"] for entry in metadata["labels"]]
    assert train["label_names"] == inference["label_names"]
    chosen = train["label_names"][train.get("classes") or train.get("labels") or train.get("pretraining")]
    assert labels[: len(chosen)] == chosen, "the default's classes come first, in channel order"
    # A lung that the network does not give, whether it takes it or not, stands in saved masks all the same
    given = {name for names in train["label_names"].values() for name in names}
    assert set(labels) - given <= {"lung"} and given <= set(labels)
    taken = set(metadata["network_data_format"]["inputs"]["image"]["channel_def"].values()) & set(labels)
    expected = [name for name in outputs if name in labels] if "diagnoses" not in train else outputs
    assert train.get("diagnoses", chosen) == inference.get("diagnoses", chosen) == expected
    assert inference["mask_values"] == {entry["name"]: entry["value"] for entry in metadata["labels"]}
    table = (bundle / "docs" / "README.md").read_text()
    for index, entry in enumerate(metadata["labels"]):
        channel = index if entry["name"] in given else "input" if entry["name"] in taken else "none"
        if entry["name"] in outputs:
            channel = outputs.index(entry["name"])
        if index >= len(chosen) and entry["name"] in given:
            channel = train["label_names"][_set_of(train, entry["name"])].index(entry["name"])
        red, green, blue = entry["colour"]
        row = f"| {channel} | {entry['name']} | {entry['value']} | {red}, {green}, {blue} |"
        assert row in table, f"docs/README.md lacks the row {row}"


def _set_of(train: dict[str, Any], name: str) -> str:
    """The set of classes that alone has this one."""
    return next(word for word, names in train["label_names"].items() if name in names)


def test_colours_are_distinct_and_those_of_the_pictures(bundle: Path) -> None:
    labels = load(bundle, "metadata.json")["labels"]
    for key in ("colour", "value"):
        assert len({str(entry[key]) for entry in labels}) == len(labels), key
    styles = class_styles(bundle / "configs" / "metadata.json", [entry["name"] for entry in labels])
    assert [(style.name, style.value, list(style.colour)) for style in styles] == [
        (entry["name"], entry["value"], entry["colour"]) for entry in labels
    ]


def test_training_and_inference_agree_on_what_the_weights_depend_on(bundle: Path) -> None:
    train, inference = (load(bundle, name) for name in ("train.yaml", "inference.yaml"))
    assert train["network_def"] == inference["network_def"]
    words = re.findall(r"@(\w+)", json.dumps([train["network_def"], train.get("segmentation")]))
    shared = {"size", *words} | ({"window"} & train.keys())
    shared |= {"threshold"} & train.keys() | {"infection_values"} & train.keys() & inference.keys()
    assert {key: train[key] for key in shared} == {key: inference[key] for key in shared}


@pytest.mark.parametrize("name", ["ct_drsegunet", "ct_transfer_unet", "mosmed_encoders"])
def test_a_slice_reaches_the_network_alike_in_training_and_inference(name: str, tmp_path: Path) -> None:
    phantom = chest_ct(3, size=(64, 64), slices=4)
    for file, array in (("image", phantom.image), ("label", phantom.lesion), ("lung", phantom.lung)):
        save_nifti(tmp_path / f"{file}.nii.gz", array, phantom.spacing, order="RAS")
    seen = []
    for config, key in (("train", "train::preprocessing"), ("inference", "preprocessing")):
        parser = ConfigParser()
        parser.read_config(f"bundles/{name}/configs/{config}.yaml")
        parser["size"] = [96, 80]
        parser.parse()
        needed = ("image", "label", "lung") if config == "train" else ("image", "lung")
        paths = {file: tmp_path / f"{file}.nii.gz" for file in needed}
        image = parser.get_parsed_content(key)({**paths, "intensity": "HU"})["image"]
        seen.append(image.as_tensor().half())  # what training holds in memory
    assert seen[0].shape == (2 if name == "ct_transfer_unet" else 1, 96, 80, 4)
    assert torch.equal(seen[0], seen[1])


@pytest.mark.usefixtures("small_phantoms")
@pytest.mark.parametrize(("config", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_monai_finds_every_property(bundle: Path, config: str, kind: str, tmp_path: Path) -> None:
    for name in ("scan.nii.gz", "clip.mp4"):
        (tmp_path / name).touch()
    overrides: dict[str, Any] = {"output_dir": str(tmp_path / "out"), "initialize": []}
    if kind == "infer":
        overrides["dataset_dir"] = str(tmp_path)
    workflow = ConfigWorkflow(config_file=str(bundle / "configs" / config), workflow_type=kind, **overrides)
    workflow.initialize()
    assert workflow.check_properties() in (None, [])


def test_the_network_takes_and_gives_what_metadata_says(bundle: Path) -> None:
    files = {
        "config_file": str(bundle / "configs" / "inference.yaml"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
    }
    verify_net_in_out("network_def", device="cpu", **files)


def test_configs_can_be_read_in_one_sitting(bundle: Path) -> None:
    for path in (bundle / "configs").glob("*.yaml"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if len(line) > 120] == [], path.name
        # The list of a paper's tables and figures is read one entry at a time
        assert len(lines) <= (200 if path.name == "reproduce.yaml" else 160), path.name


POSITION_IN_KEY = re.compile(r"(::|#)-?\d")  # train::handlers::3
POSITION_IN_EXPRESSION = re.compile(r"(@[\w:.]+|\))\[\s*-?[\d:]|\.transforms\[")  # @masks.transforms[:4]


def positions(config: Any) -> list[str]:
    """Keys and expressions that count the items of a list, instead of naming one."""
    if isinstance(config, dict):
        keys = [key for key in config if POSITION_IN_KEY.search(str(key))]
        return keys + [found for value in config.values() for found in positions(value)]
    if isinstance(config, list):
        return [found for value in config for found in positions(value)]
    if isinstance(config, str) and config.startswith(("$", "@", "%")):
        return [config] if POSITION_IN_KEY.search(config) or POSITION_IN_EXPRESSION.search(config) else []
    return []


def test_configs_name_what_they_switch_and_never_count_positions(bundle: Path) -> None:
    for path in (bundle / "configs").glob("*.yaml"):
        assert positions(load(bundle, path.name)) == [], path.name


@pytest.mark.parametrize(
    "config",
    [
        {"train::handlers::3": {}},
        {"+train#handlers#0::_disabled_": True},
        {"masks": ["@train::preprocessing::transforms::1"]},
        {"masks": {"transforms": "$@train::preprocessing.transforms[:4]"}},
        {"post_transforms": "$list(@postprocessing.transforms)[0]"},
        {"post_transforms": "$[@postprocessing.transforms[step] for step in (0, 1, 5)]"},
        {"a_min": "$@window[0]"},
    ],
)
def test_a_position_in_a_config_is_found(config: dict[str, Any]) -> None:
    assert len(positions(config)) == 1


def test_what_a_config_takes_by_name_is_no_position() -> None:
    allowed = [
        '$@cases["test"]',
        "$@losses[@objective]",
        "$lambda pred, label: @loss(pred, label[:, 0])",
        "$[*@size, -1]",
    ]
    assert positions(allowed) == []


def test_error_messages_do_not_stand_in_configs(bundle: Path) -> None:
    for path in (bundle / "configs").glob("*.yaml"):
        assert not {"remedy", "advice", "words"} & set(re.findall(r"\w+(?=:)", path.read_text())), path.name


def test_every_training_can_run_in_several_processes(bundle: Path) -> None:
    train, several = load(bundle, "train.yaml"), load(bundle, "multi_gpu_train.yaml")
    assert train["is_main"] is True and several["is_main"] == {"_target_": "common.run.distributed.is_main"}
    for part in ("train", "validate"):
        assert train[part]["tensorboard"]["_disabled_"] == "$not @is_main"


def test_lists_of_handlers_take_each_by_its_name(bundle: Path) -> None:
    train = load(bundle, "train.yaml")
    for part in ("train", "validate"):
        assert all(handler.removeprefix(f"%{part}::") in train[part] for handler in train[part]["handlers"])
        assert len(set(train[part]["handlers"])) == len(train[part]["handlers"])


def test_code_tells_no_machine_and_no_user() -> None:
    """No absolute path of a machine in what is published."""
    texts = [
        path
        for pattern in ("common/**/*.py", "bundles/*/configs/*", "bundles/*/docs/*.md", "*.md")
        for path in ROOT.glob(pattern)
    ]
    assert len(texts) > 20
    assert [str(path) for path in texts if re.search(r"/(root|home)/\w", path.read_text(errors="ignore"))] == []


def network_input(bundle: Path, folder: Path) -> torch.Tensor:
    """What the network takes of a synthetic patient with extreme values, by the preprocessing of ``inference.yaml``."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.update({"size": [64, 64], "isolated": False})
    parser.parse()
    if bundle.name.startswith("us_"):
        frame = lung_ultrasound(0, size=(96, 128)).image
        frame[:16], frame[16:32] = 0, 255
        item: dict[str, Any] = {"image": frame}
    else:
        phantom = chest_ct(3, size=(64, 64), slices=4)
        extreme, lung = phantom.image.copy(), phantom.lung > 0
        columns = np.indices(lung.shape)[0]
        extreme[lung & (columns < 24)], extreme[lung & (columns > 40)] = 3000, -1400  # metal, padding
        save_nifti(folder / "image.nii.gz", extreme, phantom.spacing)
        save_nifti(folder / "lung.nii.gz", phantom.lung, phantom.spacing)
        item = {"image": folder / "image.nii.gz"}
        if bundle.name != "ct_drsegunet":  # which takes no lung mask
            item["lung"] = folder / "lung.nii.gz"
        else:
            parser["min_lung"] = 0
            parser.parse()
    return parser.get_parsed_content("preprocessing")(item)["image"].as_tensor()


def test_metadata_states_the_range_of_what_the_network_takes(bundle: Path, tmp_path: Path) -> None:
    stated = load(bundle, "metadata.json")["network_data_format"]["inputs"]["image"]["value_range"]
    image = network_input(bundle, tmp_path)
    if stated:
        assert (float(image.min()), float(image.max())) == pytest.approx(stated, abs=1e-3)
    else:  # normalised, which has no bounds
        deviation, mean = torch.std_mean(image, dim=(0, 1, 2), correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0)
        torch.testing.assert_close(deviation, torch.ones_like(mean), atol=1e-4, rtol=0)


def test_metadata_states_the_range_of_what_the_network_gives(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    if "filters" in parser:
        parser["filters"] = 4
    parser.parse()
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        for weight in list(network.parameters())[-6:]:
            weight.mul_(1e3)  # any bound is then the network's own
        pred = network(torch.rand(1, 2 if bundle.name == "ct_transfer_unet" else 1, 64, 64) * 2 - 1)
    stated = load(bundle, "metadata.json")["network_data_format"]["outputs"]["pred"]["value_range"]
    low, high = stated or (-float("inf"), float("inf"))
    assert low <= pred.min() and pred.max() <= high
    assert stated or pred.min() < 0 or pred.max() > 1, "logits have no bounds"
