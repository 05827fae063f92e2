"""Measure the time to the first batch and to the end of an epoch, without a network.

Run      PYTHONPATH=. python benchmarks/reading.py --studies 50 --size 512 --slices 41 --rounds 3 [--data FOLDER]

"Ours" is SliceDataset, which decodes each volume once, with the preprocessing of mosmed_encoders. Each round also
measures

(a) a dataset that loads volume and mask for each slice, as in many published scripts, with the same preprocessing of
    that slice,
(b) the limit: decompressing each file once.

Both datasets feed the same DataLoader, shuffled with the same seed. The studies are copies of a few synthetic patients
in the layout of MosMedData, unless --data names the unpacked download.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose

from common.datasets.ct import mosmed_studies
from common.datasets.slices import SliceDataset
from common.phantoms.ct.layouts import write_mosmed

CONFIG = "bundles/mosmed_encoders/configs/train.yaml"
KEYS = ["image", "label"]
PATIENTS = 3  # different phantoms; the other studies are copies of them
PATIENCE = 30.0  # seconds of the epoch of (a) that are measured; the rest is extrapolated


def preprocessing(size: int) -> Compose:
    """Return the bundle's preprocessing, from paths to float16 and uint8 (1, size, size, Z)."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser["size"] = [size, size]
    return parser.get_parsed_content("train::preprocessing")


class NaiveDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Dataset that loads a complete volume and its mask for each slice."""

    def __init__(self, cases: Sequence[dict[str, Any]], transform: Callable[[Any], Any]) -> None:
        depths = [nibabel.load(case["image"]).shape[2] for case in cases]
        self.slices = [(case, index) for case, depth in zip(cases, depths, strict=True) for index in range(depth)]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case, position = self.slices[index]
        item = dict(case)
        for key in KEYS:
            image: Any = nibabel.load(case[key])
            plane = np.asarray(image.dataobj)[None, :, :, position : position + 1].astype(np.float32)
            item[key] = MetaTensor(torch.from_numpy(plane), affine=torch.from_numpy(image.affine))
        item = self.transform(item)
        return {key: item[key].as_tensor()[..., 0] for key in KEYS}


def write_studies(root: str, studies: int, size: int, slices: int) -> None:
    """Write synthetic patients in the layout of MosMedData, and copies of them with other names."""
    write_mosmed(root, PATIENTS + 1, (size, size), slices)  # the last patient has no mask
    masks = sorted(Path(root).glob("masks/*"))
    for number in range(PATIENTS, studies):
        mask = masks[number % PATIENTS]
        name = mask.name.removesuffix("_mask.nii.gz")
        (image,) = Path(root).glob(f"studies/*/{name}.nii.gz")
        for path in (image, mask):
            shutil.copyfile(path, path.with_name(path.name.replace(name, f"study_{1000 + number}")))


def epoch(make: Callable[[], Any], patience: float = float("inf")) -> tuple[float, float, float]:
    """Return seconds to the first batch and to the end of an epoch, and the share of it that was measured."""
    torch.manual_seed(0)
    start = time.perf_counter()
    loader = DataLoader(make(), batch_size=8, shuffle=True)
    seconds: list[float] = []
    for _ in loader:
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > patience:
            break
    share = len(seconds) / len(loader)
    return seconds[0], seconds[-1] / share, share


def decompress_all(files: Sequence[Path], threads: int) -> tuple[float, int]:
    """Return the seconds to decompress all files, and their decompressed bytes."""
    start = time.perf_counter()
    with ThreadPool(threads) as pool:
        decompressed = sum(pool.imap_unordered(decompress, files))
    return time.perf_counter() - start, decompressed


def decompress(path: Path) -> int:
    """Return the number of bytes of a decompressed file."""
    return len(zlib.decompress(path.read_bytes(), wbits=31))  # 31: with the header of gzip


def peak_gib() -> float:
    """Return the peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50, help="number of studies (default: %(default)s)")
    parser.add_argument("--size", type=int, default=512, help="pixels per side (default: %(default)s)")
    parser.add_argument("--slices", type=int, default=41, help="slices per study (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    parser.add_argument("--data", help="folder with MosMedData's studies/ and masks/ (default: synthetic)")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    threads = torch.get_num_threads()
    ours, naive = "ours: each volume decoded once", "(a) volume loaded for each slice"
    one, several = "(b) limit: decompression only, 1 thread", f"    the same, {threads} threads, as torch uses"
    rows: dict[str, list[tuple[float, float]]] = {ours: [], naive: [], one: [], several: []}
    shares, memory = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.data or f"{folder}/data"
        if not arguments.data:  # in another process, whose memory is not counted
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pool.submit(write_studies, root, arguments.studies, arguments.size, arguments.slices).result()
        cases = mosmed_studies(root)[: arguments.studies]
        files = [Path(case[key]) for case in cases for key in KEYS]
        transform = preprocessing(arguments.size)
        slice_transform = Compose(transform.transforms[1:])  # all transforms except reading
        SliceDataset(cases[:1], transform)  # warm-up: imports, and the first call of each kernel
        before = peak_gib()
        for number in range(arguments.rounds):
            first, complete, _ = epoch(lambda: SliceDataset(cases, transform))
            rows[ours].append((first, complete))
            memory = memory or peak_gib() - before  # of the first round, before anything else has run
            first, complete, share = epoch(lambda: NaiveDataset(cases, slice_transform), PATIENCE)
            rows[naive].append((first, complete))
            shares.append(share)
            for name, workers in ((one, 1), (several, threads)):
                seconds, decompressed = decompress_all(files, workers)
                rows[name].append((seconds, seconds))
            latest = ", ".join(f"{values[-1][0]:.1f} and {values[-1][1]:.1f} s" for values in rows.values())
            print(f"round {number + 1}, first batch and epoch, in the order of the table: {latest}", flush=True)
        disk = sum(file.stat().st_size for file in files)
    setting = f"{len(cases)} studies, {disk / 2**20:.0f} MiB on disk, {decompressed / 2**20:.0f} MiB decompressed"
    print(f"\n{setting}, {threads} threads; medians of {arguments.rounds} rounds")
    print(f"{'':<45}{'first batch':>14}{'of ours':>9}{'epoch':>12}{'of ours':>9}")
    base = [statistics.median(values) for values in zip(*rows[ours], strict=True)]
    for name, values in rows.items():
        first, complete = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:<45}{first:>12.2f} s{first / base[0]:>9.2f}{complete:>10.1f} s{complete / base[1]:>9.2f}")
    if min(shares) < 1:
        print(f"The epoch of (a) is extrapolated from {min(shares):.1%} of it, measured in {PATIENCE:.0f} s.")
    print(f"Peak memory of ours, without Python and its libraries: {memory:.2f} GiB.")


if __name__ == "__main__":
    main()
