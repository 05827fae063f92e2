"""The app of docs/monai-deploy.md, with MONAI Deploy's own operators, gives the masks of inference as DICOM."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monai-deploy.md"
LUNG = 3  # in saved masks, of networks that do not give it
BUNDLES = ["ct_drsegunet", "ct_transfer_unet", "ct_weak_gan", "mosmed_encoders"]
CONTEXT = "app_context=context,"


def apps(bundle: Path) -> dict[str, str]:
    """The app of the page, and what the page makes of it to take the folder in place of ``model.ts``."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (options,) = re.findall(r"`(bundle_path=.*?)`", PAGE.read_text())
    folder = text.replace(CONTEXT, f"{CONTEXT} {options},").replace(
        "import IOMapping", "import BundleConfigNames, IOMapping"
    )
    folder = re.sub(r"bundle = .*", f"bundle = Path({str(bundle)!r})", folder)
    folder = re.sub(r"sys\.path\.insert.*", "", folder).replace('Path("ct_drsegunet")', "bundle")
    return {"model": str(text), "folder": folder}


def run(*words: object, cwd: Path) -> str:
    """Run this environment's Python, which finds nothing of the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def in_float32(bundle: Path) -> None:
    """Let both configs of the operator compute as every processor does: masks are then equal, not nearly."""
    config, model = bundle / "configs" / "monai_deploy.json", bundle / "models" / "model.ts"
    inside = {"metadata.json": "", "inference.json": ""}
    network = torch.jit.load(model, _extra_files=inside)
    assert inside["inference.json"] == config.read_bytes()
    config.write_text(json.dumps(json.loads(config.read_text()) | {"amp": False}))
    torch.jit.save(network, model, _extra_files={**inside, "inference.json": config.read_bytes()})


def segmented(path: Path, series: Path) -> tuple[np.ndarray, list[str]]:
    """Label map (X, Y, Z) of a DICOM segmentation, and the names of its segments."""
    seg = highdicom.seg.segread(path)
    source = sorted((pydicom.dcmread(file) for file in series.glob("*.dcm")), key=lambda each: int(each.InstanceNumber))
    frames = seg.get_pixels_by_source_instance(
        [each.SOPInstanceUID for each in source],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    return np.asarray(frames).transpose(2, 1, 0), [each.segment_label for each in seg.SegmentSequence]


@pytest.mark.parametrize("name", BUNDLES)
def test_the_app_of_the_page_gives_the_masks_of_inference(
    name: str, unpacked: Path, series: Path, tmp_path: Path
) -> None:
    bundle = unpacked / name
    words = ["--config_file", bundle / "configs" / "inference.json", "--bundle_root", bundle, "--amp", False]
    run("-m", "monai.bundle", "run", *words, "--dataset_dir", series, "--output_dir", tmp_path / "own", cwd=tmp_path)
    in_float32(bundle)
    (own,) = (tmp_path / "own").rglob("*_mask.nii.gz")
    wanted = np.asarray(nibabel.load(own).dataobj)
    if name != "ct_drsegunet":
        wanted = np.where(wanted == LUNG, 0, wanted)
    assert len(np.unique(wanted)) > 1

    for kind, text in apps(bundle).items():
        (tmp_path / f"{kind}.py").write_text(text)
        model = ["--model", bundle / "models" / "model.ts"] if kind == "model" else []
        run(f"{kind}.py", "--input", series, "--output", tmp_path / kind, *model, cwd=tmp_path)
        (path,) = (tmp_path / kind).glob("*.dcm")
        mask, names = segmented(path, series)
        np.testing.assert_array_equal(mask, wanted, err_msg=kind)
        assert names[0] == {"ct_drsegunet": "ground-glass", "ct_weak_gan": "lesion"}.get(name, "infection")
