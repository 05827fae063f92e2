"""A package fits MONAI Deploy's bundle operator, and gives the masks of inference there.

What the operator does with ``models/model.ts`` is repeated here with MONAI alone; ``make test-monaideploy`` runs the
operator itself.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform
from small_packages import write_scans

from common import load
from common.readers.ct import in_memory

pytest_plugins = ["package_fixtures"]
pytestmark = pytest.mark.slow  # the packages are built for more than ten seconds

CT = ["ct_drsegunet", "ct_transfer_unet", "ct_weak_gan", "mosmed_encoders"]
LUNG = 3  # in saved masks, of networks that do not give it


def operator(model: Path, scan: MetaTensor) -> torch.Tensor:
    """The mask (1, X, Y, Z) of a scan (X, Y, Z), as ``MonaiBundleInferenceOperator`` makes it of ``model.ts``."""
    with zipfile.ZipFile(model) as archive:  # it reads only what lies below a folder with the file's name
        texts = {name: archive.read(f"{model.stem}/extra/{name}.json") for name in ("metadata", "inference")}
    parser = ConfigParser(json.loads(texts["inference"]))
    parser.read_meta(json.loads(texts["metadata"]))
    parser["amp"] = False  # so that masks are equal, not nearly
    parser.parse()
    device, inferer = parser.get_parsed_content("device"), parser.get_parsed_content("inferer")
    before, after = (parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing"))
    for transforms in (before, after):
        assert isinstance(transforms, Compose) and isinstance(transforms.transforms[0], MapTransform)
    data_format = parser["_meta_"]["network_data_format"]
    assert [each["type"] for side in ("inputs", "outputs") for each in data_format[side].values()] == ["image"] * 2
    (name,), (output,) = data_format["inputs"], data_format["outputs"]
    item: dict[str, Any] = before({name: scan})
    network = torch.jit.load(model, map_location=device).eval()
    others = {key: value[None] for key, value in item.items() if isinstance(value, torch.Tensor) and key != name}
    with torch.no_grad():
        found = inferer(inputs=item[name][None].to(device), network=network, **others)
        mask: torch.Tensor = after({output: found[0], **item})[output]
    return mask


@pytest.mark.parametrize("bundle", CT, indirect=True)
def test_the_operator_gives_the_mask_of_inference_on_an_oblique_scan(bundle: Path, tmp_path: Path) -> None:
    write_scans(tmp_path)
    file = nibabel.load(tmp_path / "ct.nii.gz")
    values, affine = np.asarray(file.dataobj), torch.as_tensor(file.affine)
    scan = MetaTensor(torch.from_numpy(values), meta={"affine": affine, "original_affine": affine, "space": "RAS"})
    expected = load(ROOT / "bundles" / bundle.name, bundle / "models" / "model.pt", amp=False)(tmp_path / "ct.nii.gz")
    wanted = expected.mask if bundle.name == "ct_drsegunet" else np.where(expected.mask == LUNG, 0, expected.mask)
    mask = operator(bundle / "models" / "model.ts", scan)
    assert len(np.unique(wanted)) > 1
    np.testing.assert_array_equal(mask[0].numpy(), wanted)


@pytest.mark.parametrize("bundle", CT, indirect=True)
def test_the_config_in_the_folder_is_that_of_the_torchscript_and_saves_nothing(bundle: Path) -> None:
    config = (bundle / "configs" / "monai_deploy.json").read_bytes()
    files = {"inference.json": ""}
    torch.jit.load(bundle / "models" / "model.ts", _extra_files=files)
    assert files["inference.json"] == config
    assert b"scripts.report" not in config and b"output_dir" not in config and b'"run"' not in config


def test_a_scan_in_memory_needs_its_place() -> None:
    values, affine = torch.zeros(8, 8, 2), torch.diag(torch.tensor([0.7, 0.7, 5.0, 1.0]))
    for scan, reason in (
        (MetaTensor(values), "needs its affine"),
        (MetaTensor(values, meta={"affine": affine, "space": "LPS"}), "is RAS, got LPS"),
        (MetaTensor(values[None].repeat(2, 1, 1, 1), affine=affine), r"got the shape \(2, 8, 8, 2\)"),
        (MetaTensor(values, affine=torch.zeros(4, 4)), r"The affine is a matrix \(4, 4\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            in_memory(scan)
    taken = in_memory(MetaTensor(values.to(torch.int16), affine=affine))
    assert taken.shape == (1, 8, 8, 2) and taken.dtype == torch.float32
    assert torch.equal(taken.affine, affine.double()) and torch.equal(taken.meta["original_affine"], affine.double())
