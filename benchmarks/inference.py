"""Measure slices per second of a CT bundle's inference, and of bare loops over the same network in the same run.

Run      PYTHONPATH=. python benchmarks/inference.py [--bundle ct_transfer_unet] [--slices 100] [--rounds 5]
         [--compile True] [--batch 4] [--device cuda]

"Ours" is all that inference.yaml does with one volume: load, orient, normalise, run the network, map the mask back to
the input's grid, save it, draw the overlay, measure the lesion burden. It is compared with

(a) the network in eager float32, one slice at a time, as in most published scripts,
(b) the bare forward pass of the network in the same precision and batch size, without input and output,
(c) on a CPU, the same by OpenVINO in float32 and bfloat16, and by ONNX Runtime in float32, where they are installed.

Each round measures all of them, one after the other, and (b) before and after ours, because the speed of a machine can
drift. The limit is the network's FLOP divided by the speed of a large matrix product, on the same processor in the same
precision.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
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
from common.networks.openvino_network import OpenVinoNetwork, is_installed
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


def by_onnx(network: nn.Module, x: torch.Tensor, folder: Path) -> Callable[[], object] | None:
    """A forward pass by ONNX Runtime; None if it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    path = folder / "model.onnx"
    torch.onnx.export(network, (x,), path, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, inputs)


def workflow(
    bundle: str, scan: Path, folder: Path, device: torch.device, compiled: bool, batch: int, runtime: str = "torch"
) -> ConfigWorkflow:
    """Return the workflow of inference.yaml for one volume, ready to run."""
    settings = {"dataset_dir": str(scan), "output_dir": str(folder / "out"), "weights": str(folder / "model.pt")}
    choices = {"again": True, "compile": compiled, "device": str(device), "slices_at_once": batch}
    choices |= {"amp": True, "runtime": runtime}
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
        peers: dict[str, Callable[[], object] | None] = {}
        if where.type == "cpu":
            peers["(c) ONNX Runtime, float32"] = by_onnx(eager, x[:1], folder)
            if is_installed():
                peers["(c) OpenVINO, float32"] = partial(OpenVinoNetwork(eager, x[:1]), x[:1])
                peers["(c) OpenVINO, bfloat16"] = partial(OpenVinoNetwork(eager, x[:1], bfloat16=True), x[:1])
                workflow(bundle, folder / "warm.nii.gz", folder, where, False, batch, "openvino").run()
        kind = str(dtype).removeprefix("torch.") + (", compiled" if compile else "")
        bare, ours = f"(b) bare forward pass, {kind}, {batch} at once", f"ours, {kind}, load to report"
        fast = "ours, by OpenVINO, load to report"
        rows: list[dict[str, float]] = []
        for _ in range(rounds):
            row = {"(a) eager float32, one slice at a time, network only": seconds(lambda: eager(x[:1]), where, 10)}
            before = seconds(lambda: call(network, x), where, max(1, slices // batch // 2)) / batch
            row[bare] = before
            if folded is not None:
                repeats = max(1, slices // batch // 4)
                row["    the same, batch norms folded as in inference.yaml"] = (
                    seconds(lambda: call(folded, x), where, repeats) / batch
                )
            row |= {name: seconds(peer, where, max(1, slices // 4)) for name, peer in peers.items() if peer is not None}
            run = workflow(bundle, folder / "scan.nii.gz", folder, where, compile, batch)
            if compile:  # a network is compiled once for a folder of volumes, so compilation is not measured
                run.parser.get_parsed_content("inferer").call = warm.parser.get_parsed_content("inferer").call
                run.parser.get_parsed_content("evaluator").network = warm.parser.get_parsed_content("evaluator").network
            row[ours] = seconds(run.run, where) / slices
            if where.type == "cpu" and is_installed():
                run = workflow(bundle, folder / "scan.nii.gz", folder, where, False, batch, "openvino")
                row[fast] = seconds(run.run, where) / slices
            after = seconds(lambda: call(network, x), where, max(1, slices // batch // 2)) / batch
            row[bare] = (before + after) / 2
            row[f"limit: {gflop} GFLOP at the speed of a large matrix product"] = gflop / matrix_rate(where, dtype)
            rows.append(row)
        shape = nibabel.load(next((folder / "out").glob("scan_mask.nii.gz"))).shape
    setting = f"{bundle}: {slices} slices {shape[:2]}, {torch.get_num_threads()} threads, {where}"
    print(f"\n{setting}; medians of {rounds} rounds")
    print(f"{'':<58}{'s/slice':>9}{'slices/s':>10}{'speed':>8}")
    first = next(iter(rows[0]))
    for label in rows[0]:
        value, speed = median(row[label] for row in rows), median(row[first] / row[label] for row in rows)
        print(f"{label:<58}{value:>9.3f}{1 / value:>10.1f}{speed:>7.1f}x")
    ratios = sorted(row[ours] / row[bare] for row in rows)
    print(f"ours over (b): {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    if fast in rows[0]:
        ratios = sorted(row[ours] / row[fast] for row in rows)
        print(f"ours over ours by OpenVINO: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    fire.Fire(main)
