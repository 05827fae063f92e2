"""Measure slices per second of a CT bundle's inference, and of bare loops over the same network in the same run.

Run      PYTHONPATH=. python benchmarks/inference.py [--bundle ct_transfer_unet] [--slices 100] [--rounds 5]
         [--compile True] [--batch 4] [--device cuda]

"Ours" is all that inference.yaml does with one volume: load, orient, normalise, run the network, map the mask back to
the input's grid, save it, draw the overlay, measure the lesion burden. It is compared with

(a) the network in eager float32, one slice at a time, as in most published scripts,
(b) the bare forward pass of the network in the same precision and batch size, without input and output.

Each round measures all of them, and (b) before and after ours, because the speed of a machine can drift. The limit is
the network's FLOP divided by the speed of a large matrix product, on the same processor in the same precision.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

import fire
import nibabel
import torch
from monai.bundle import ConfigWorkflow
from torch import nn

from common.inferers import FastCall, mixed_precision
from common.networks.blocks import fold_batch_norm
from common.networks.drsegunet import DRSegUNet
from common.networks.encoder_unet import EncoderUNet
from common.networks.unet import classic_unet
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.nifti_files import save_nifti

# network, input channels, pixels per side, GFLOP of one slice (forward)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, float]] = {
    "ct_drsegunet": (DRSegUNet, 1, 512, 71.3),
    "ct_transfer_unet": (partial(classic_unet, 2, 1), 2, 320, 150.4),
    "mosmed_encoders": (partial(EncoderUNet, "unet"), 1, 512, 384.7),  # the default encoder, which is the largest
}


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Return the mean wall time of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int = 4096) -> float:
    """Return GFLOP/s of a square matrix product, as the processor's greatest speed."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    a @ b
    return 2 * size**3 / seconds(lambda: a @ b, device, 5) / 1e9


def workflow(bundle: str, scan: Path, folder: Path, device: torch.device, compiled: bool, batch: int) -> ConfigWorkflow:
    """Return the workflow of inference.yaml for one volume, ready to run."""
    settings = {"dataset_dir": str(scan), "output_dir": str(folder / "out"), "weights": str(folder / "model.pt")}
    choices = {"again": True, "compile": compiled, "device": str(device), "slices_at_once": batch}
    config = f"bundles/{bundle}/configs/inference.yaml"
    run = ConfigWorkflow(config_file=config, workflow_type="infer", **settings, **choices)
    logging.disable(logging.INFO)
    run.initialize()
    return run


@torch.inference_mode()
def main(
    bundle: str = "ct_drsegunet",
    slices: int = 100,
    rounds: int = 5,
    compile: bool = False,
    device: str = "",
    batch: int = 0,
) -> None:
    """Measure and print the table; device and batch size are those of inference.yaml by default."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = mixed_precision(where) or torch.float32
    make, channels, size, gflop = NETWORKS[bundle]
    network: Any = make().eval()
    if bundle == "ct_drsegunet":
        network.head.bias[2] += 100.0  # all pixels become lung, which costs as much as a trained network's lung
    batch = batch or (16 if where.type == "cuda" else 1)  # as in inference.yaml
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(network.state_dict(), folder / "model.pt")
        phantom = chest_ct(0, size=(512, 512), slices=20)
        repeated = phantom.image.repeat(-(-slices // 20), axis=2)[..., :slices]
        save_nifti(folder / "scan.nii.gz", repeated, phantom.spacing)
        save_nifti(folder / "warm.nii.gz", phantom.image[..., : 2 * batch], phantom.spacing)
        network.to(where)
        x = torch.randn(batch, channels, size, size, device=where)
        eager = make().eval().to(where)
        call = FastCall(amp=True, compile=compile)
        folded = fold_batch_norm(network) if bundle == "ct_drsegunet" else None  # as in its inference.yaml
        warm = workflow(bundle, folder / "warm.nii.gz", folder, where, compile, batch)
        warm.run()  # compiles, and triggers late imports
        rows: list[list[float]] = []
        for _ in range(rounds):
            a = seconds(lambda: eager(x[:1]), where, 10)
            before = seconds(lambda: call(network, x), where, max(1, slices // batch // 2)) / batch
            fold = float("nan")
            if folded is not None:
                fold = seconds(lambda: call(folded, x), where, max(1, slices // batch // 4)) / batch
            run = workflow(bundle, folder / "scan.nii.gz", folder, where, compile, batch)
            if compile:  # a network is compiled once for a folder of volumes, so compilation is not measured
                run.parser.get_parsed_content("inferer").call = warm.parser.get_parsed_content("inferer").call
                run.parser.get_parsed_content("evaluator").network = warm.parser.get_parsed_content("evaluator").network
            ours = seconds(run.run, where) / slices
            after = seconds(lambda: call(network, x), where, max(1, slices // batch // 2)) / batch
            rows.append([a, (before + after) / 2, fold, ours, gflop / matrix_rate(where, dtype)])
        shape = nibabel.load(next((folder / "out").glob("scan_mask.nii.gz"))).shape
    kind = str(dtype).removeprefix("torch.") + (", compiled" if compile else "")
    setting = f"{bundle}: {slices} slices {shape[:2]}, {torch.get_num_threads()} threads, {where}"
    print(f"\n{setting}; medians of {rounds} rounds")
    print(f"{'':<58}{'s/slice':>9}{'slices/s':>10}{'speed':>8}")
    labels = (
        "(a) eager float32, one slice at a time, network only",
        f"(b) bare forward pass, {kind}, {batch} at once",
        "    the same, batch norms folded as in inference.yaml",
        f"ours, {kind}, load to report",
        f"limit: {gflop} GFLOP at the speed of a large matrix product",
    )
    for index, label in enumerate(labels):
        if isnan(rows[0][index]):
            continue
        value, speed = median(row[index] for row in rows), median(row[0] / row[index] for row in rows)
        print(f"{label:<58}{value:>9.3f}{1 / value:>10.1f}{speed:>7.1f}x")
    ratios = sorted(row[3] / row[1] for row in rows)
    print(f"ours over (b): {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    fire.Fire(main)
