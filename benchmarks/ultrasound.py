"""Measure frames per second of ultrasound inference, and of the bare forward pass in the same run.

Run      PYTHONPATH=. python benchmarks/ultrasound.py --seconds 10 --rounds 3

Each round measures, for a clip of synthetic lung ultrasound, the bare forward pass over the same number of frames in
the same precision, reading the clip alone, and all of inference.yaml: reading, network, masks, overlay, tables. The
limit is the FLOP of the forward pass (2 per multiplication and addition) divided by the speed of a large matrix
product.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow
from torch.utils.flop_counter import FlopCounterMode

from common.inferers import FastCall, mixed_precision
from common.networks.unet import classic_unet
from common.phantoms.ultrasound.clip_file import write_mp4
from common.phantoms.ultrasound.image import lung_ultrasound_clip
from common.readers.ultrasound.frames import frames

CONFIG = "bundles/us_dense_seg/configs/inference.yaml"


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_rate(dtype: torch.dtype, size: int = 4096) -> float:
    """Return FLOP per second of a large matrix product, as the processor's greatest speed."""
    a, b = torch.randn(2, size, size).to(dtype)
    return 2 * size**3 / min(seconds_of(lambda: a @ b) for _ in range(3))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clip (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="frames per second of the clip (default: %(default)s)")
    parser.add_argument(
        "--frames_per_second", type=float, default=3.0, help="frames per second that are read (default: %(default)s)"
    )
    parser.add_argument("--filters", type=int, default=64, help="channels of the first level (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(464, 624), help="rows, columns (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    arguments = parser.parse_args()
    dtype = mixed_precision(torch.device("cpu")) or torch.float32
    rows: dict[str, list[float]] = {"bare forward pass": [], "reading alone": [], "inference.yaml": [], "limit": []}
    with tempfile.TemporaryDirectory() as folder:
        clip, weights = Path(folder) / "clip.mp4", Path(folder) / "model.pt"
        write_mp4(
            clip,
            [frame.image for frame in lung_ultrasound_clip(0, seconds=arguments.seconds, rate=arguments.rate)],
            arguments.rate,
        )
        network = classic_unet(1, 7, arguments.filters).eval()
        torch.save(network.state_dict(), weights)
        count = sum(1 for _ in frames(clip, arguments.frames_per_second))
        image, call = torch.rand(1, 1, *arguments.size), FastCall(amp=True)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(image)
        flop = counter.get_total_flops()

        def bare() -> None:
            with torch.no_grad():
                for _ in range(count):
                    call(network, image)

        def infer() -> None:
            workflow = ConfigWorkflow(
                CONFIG, workflow_type="infer", dataset_dir=str(clip), weights=str(weights), filters=arguments.filters,
                size=list(arguments.size), frames_per_second=arguments.frames_per_second, output_dir=f"{folder}/out",
                again=True,
            )  # fmt: skip
            workflow.initialize()
            workflow.run()

        with contextlib.redirect_stdout(io.StringIO()):
            infer()  # warm-up: imports, and the first call of each kernel
        for number in range(arguments.rounds):
            for name, work in (
                ("bare forward pass", bare),
                ("reading alone", lambda: list(frames(clip, 3))),
                ("inference.yaml", infer),
            ):
                with contextlib.redirect_stdout(io.StringIO()):
                    rows[name].append(seconds_of(work) / count)
            rows["limit"].append(flop / matrix_rate(dtype))
            print(f"round {number + 1}: " + ", ".join(f"{name} {values[-1]:.3f}" for name, values in rows.items()))
    print(f"\n{count} frames, {flop / 1e9:.1f} GFLOP each, {dtype}; s per frame, medians of {arguments.rounds} rounds")
    base = statistics.median(rows["bare forward pass"])
    for name, values in rows.items():
        middle = statistics.median(values)
        print(f"{name:<20}{middle:>8.3f} s{1 / middle:>9.2f} frames/s{middle / base:>7.2f} of the bare forward pass")


if __name__ == "__main__":
    main()
