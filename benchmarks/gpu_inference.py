"""One volume segmented by ct_drsegunet's inference.yaml, file to file, beside a plain script and the network alone.

Run      PYTHONPATH=. python benchmarks/gpu_inference.py

Called by benchmarks/gpu.py. The volume repeats a few phantom slices; weights are random.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines.utils import IterationEvents

from benchmarks.gpu_bench import BUNDLE, Bench, gflop_of, phantom, report, started, this_bench
from common.phantoms.ct.nifti_files import save_nifti

CONFIG = BUNDLE / "configs" / "inference.yaml"
LUNG = 2  # channel


class Inference:
    """Segmentation of one volume, file to file, by inference.yaml and by a plain script.

    Args:
        bench: the device.
        folder: receives weights, volumes and masks.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder, scale = bench, folder, bench.scale
        config = ConfigParser()
        config.read_config(str(CONFIG))
        self.batch: int = config.get_parsed_content("slices_at_once")
        network = config.get_parsed_content("network_def").eval()
        with torch.no_grad():
            network.head.bias[LUNG] += 100.0  # calls everything lung: a mask as simple as that of a trained network
        torch.save(network.state_dict(), folder / "model.pt")
        self.gflop = gflop_of(network, scale.size, training=False)
        self.network = network.to(bench.device).to(memory_format=torch.channels_last)
        made = phantom(scale.size, scale.slices)
        for name, slices in (("scan", scale.slices), ("warm", 2 * self.batch)):
            save_nifti(folder / f"{name}.nii.gz", made.image[..., :slices], made.spacing)

    @torch.inference_mode()
    def forward(self) -> float:
        """Seconds of the network alone for as many slices as the volume has."""
        x = torch.randn(self.batch, 1, *[self.bench.scale.size] * 2, device=self.bench.device)
        x = x.contiguous(memory_format=torch.channels_last)
        batches = -(-self.bench.scale.slices // self.batch)
        began = self.bench.now()
        for _ in range(batches):
            with self.bench.autocast(self.bench.half):
                self.network(x)
        return (self.bench.now() - began) / (batches * self.batch) * self.bench.scale.slices

    @torch.inference_mode()
    def plain_script(self, name: str) -> float:
        """Seconds of a script without checks, overlay and report."""
        began = self.bench.now()
        image: Any = nibabel.load(self.folder / f"{name}.nii.gz")
        volume = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))  # (X, Y, Z)
        slices = volume.clamp(-1000, 100).movedim(-1, 0)[:, None]  # (Z, 1, X, Y)
        slices = (slices - slices.mean((2, 3), keepdim=True)) / slices.std((2, 3), keepdim=True)
        masks = []
        for part in slices.split(self.batch):
            x = part.to(self.bench.device).contiguous(memory_format=torch.channels_last)
            with self.bench.autocast(self.bench.half):
                masks.append(self.network(x).argmax(1).byte().cpu())
        mask = torch.cat(masks).movedim(0, -1).numpy()  # (X, Y, Z)
        nibabel.save(nibabel.Nifti1Image(mask, image.affine), self.folder / "plain.nii.gz")
        return self.bench.now() - began

    def bundle(self, name: str) -> dict[str, float]:
        """Seconds of inference.yaml, in all and by step."""
        now = self.bench.now
        marks: dict[str, float] = {}
        network: list[float] = []

        def mark(step: str) -> None:
            marks.setdefault(step, now())

        began = now()
        files = {"dataset_dir": str(self.folder / f"{name}.nii.gz"), "weights": str(self.folder / "model.pt")}
        parser = started(CONFIG, "infer", self.folder, {**files, "size": [self.bench.scale.size] * 2, "again": True})
        evaluator = parser.get_parsed_content("evaluator")
        evaluator.add_event_handler(Events.GET_BATCH_STARTED, mark, "asked")
        evaluator.add_event_handler(Events.GET_BATCH_COMPLETED, mark, "read")
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, mark, "decided")
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, mark, "saved")
        evaluator.network.register_forward_pre_hook(lambda *_: network.append(-now()))
        evaluator.network.register_forward_hook(lambda *_: network.append(network.pop() + now()))
        parser.get_parsed_content("run")
        seconds = {
            "network": sum(network),
            "reading and preparing": marks["read"] - marks["asked"],
            "copies and decisions": marks["decided"] - marks["read"] - sum(network),
            "mask, overlay and report": marks["saved"] - marks["decided"],
        }
        whole = now() - began
        return {"all": whole, **seconds, "config, weights and table": whole - sum(seconds.values())}


def inference(bench: Bench) -> None:
    """The network alone, a plain script, and inference.yaml with where its time goes."""
    slices = bench.scale.slices
    with tempfile.TemporaryDirectory() as folder:
        volume = Inference(bench, Path(folder))
        row = partial(bench.row, batch=volume.batch, images=slices, gflop=volume.gflop)
        bench.clear()
        volume.forward()
        network = statistics.median(volume.forward() for _ in range(bench.scale.rounds))
        alone = row(f"bare loop, {bench.precision}, network alone", seconds=network)
        volume.plain_script("warm")
        bench.clear()
        plain = row(f"bare loop, {bench.precision}, file to file", seconds=volume.plain_script("scan"))
        volume.bundle("warm")
        bench.clear()
        seconds = volume.bundle("scan")
        row("inference.yaml, file to file", seconds=seconds.pop("all"), bare=plain)
        row("inference.yaml, its network", seconds=seconds.pop("network"), bare=alone)
        for step, taken in seconds.items():
            report(what=f"inference.yaml, {step}", seconds=taken)
        files = ("scan.nii.gz", "out/scan_mask.nii.gz")
        given, got = (nibabel.load(volume.folder / file).shape for file in files)
        if given != got:
            raise RuntimeError(f"The mask must have the scan's shape {given}, got {got}.")


if __name__ == "__main__":
    inference(this_bench())
