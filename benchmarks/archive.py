"""Measure studies per minute of an archive with one worker and with several, on idle cores.

Run      PYTHONPATH=. python benchmarks/archive.py [--studies 40] [--workers 2] [--cpus 1] [--rounds 3]
         [--size 256] [--slices 24] [--folder build/archive]

Phantoms go through ct_drsegunet with the weights that it comes with. Each round runs python -m common.archive with one
worker and with several, in turn, because the speed of a machine can drift. The rate counts from the first study that
is done to the last one, so starting Ray and loading the network are left out; the time of the whole command is given
beside it. The limit is the number of workers, if each has cores of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median

import fire

from common.phantoms.ct.layouts import write_radiopaedia


def measured(scans: Path, output: Path, workers: int, cpus: int) -> tuple[float, float]:
    """Studies per minute while all workers run, and seconds of the whole command."""
    shutil.rmtree(output, ignore_errors=True)
    words = ["-m", "common.archive", scans, "--bundle", "ct_drsegunet", "--output_dir", output]
    choices = {"workers": workers, "cpus": cpus, "memory": 2, "device": "cpu", "gpus": 0}
    options = [str(word) for name, value in choices.items() for word in (f"--{name}", value)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(cpus), "RAY_worker_niceness": "0"}
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, words), *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - start
    lines = [json.loads(line) for line in (output / "studies.jsonl").open()]
    ends = sorted(datetime.strptime(line["finished"], "%Y-%m-%dT%H:%M:%S%z").timestamp() for line in lines)
    return (len(ends) - workers) / (ends[-1] - ends[workers - 1]) * 60, whole


def main(
    studies: int = 40,
    workers: int = 2,
    cpus: int = 1,
    rounds: int = 3,
    size: int = 256,
    slices: int = 24,
    folder: str = "build/archive",
) -> None:
    """Measure, and print the medians."""
    root = Path(folder).absolute()
    shutil.rmtree(root, ignore_errors=True)
    write_radiopaedia(root / "phantoms", patients=studies, size=(size, size), slices=slices)
    found: dict[int, list[tuple[float, float]]] = {1: [], workers: []}
    for number in range(rounds):
        for count, values in found.items():
            values.append(measured(root / "phantoms" / "rp_im", root / f"out_{count}", count, cpus))
            rate, whole = values[-1]
            print(f"round {number + 1}, {count} workers: {rate:.1f} studies a minute, {whole:.0f} s in all")
    rates, times = (
        {count: median(pair[place] for pair in values) for count, values in found.items()} for place in (0, 1)
    )
    faster = rates[workers] / rates[1], times[1] / times[workers]
    print(f"{workers} workers: {faster[0]:.2f} times the rate of one, the whole command {faster[1]:.2f} times as fast")


if __name__ == "__main__":
    fire.Fire(main)
