"""Kill workers, driver and Ray at random moments of a run over an archive, and compare with an undisturbed run.

Run      PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/archive_kills.py [--studies 1000] [--kills 20] [--seed 0]
         [--folder build/archive_kills] [--disk True]

Small phantoms go through ct_drsegunet with a small network of random weights. Between starts and ends of
python -m common.archive, SIGKILL hits a worker, the driver, the process that waits for the driver, or one of Ray's.
After each end the same command is started again, as a scheduler would. Then, each followed by the same command: the
share of the scans disappears in the middle of a run; and, as root, the disk of the results fills up.

It fails unless each study is done once, no result lacks or is left over, and tables, picture and masks are the same
bytes as those of the undisturbed run. It ends no process that it has not started.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fire
import psutil
import torch
from monai.bundle import ConfigParser

from common.package.weights import make_network
from common.phantoms.ct.layouts import write_radiopaedia
from common.run.model_record import save_weights

BUNDLE = "ct_drsegunet"
SETTINGS = {"size": [64, 64], "batch_size": 4, "dataset_dir": "phantom"}
RAY = ("gcs_server", "raylet", "dashboard", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "log_monitor")
KINDS = ("worker", "worker", "worker", "driver", "waiting", "ray", "ray")
COMPARED = ("studies.csv", "summary.md", "archive.png")
ENDED = {0: "all done", 4: "stopped, run again", 5: "full disk", -9: "killed"}


def write_weights(folder: Path) -> Path:
    """Random weights of a small network, and the record of their training."""
    trained = {**ConfigParser.load_config_file(f"bundles/{BUNDLE}/configs/train.yaml"), **SETTINGS}
    torch.manual_seed(0)
    fixed = {
        name: trained["window"] if isinstance(trained[name], dict) else trained[name]
        for name in trained["recorded"]["fixed"]
    }
    save_weights(
        make_network(trained).state_dict(), folder / "model.pt", {"bundle": BUNDLE, "settings": fixed, "data": {}}
    )
    return folder / "model.pt"


def command(scans: Path, weights: Path, output: Path) -> list[str]:
    words = ["-m", "common.archive", scans, "--bundle", BUNDLE, "--weights", weights, "--output_dir", output]
    return [sys.executable, *map(str, words), "--workers", "2", "--cpus", "1", "--memory", "1", "--isolated", "False"]


def run(words: list[str], log: Path, disturb: Callable[[psutil.Process], None] = lambda process: None) -> int:
    """Run a command, disturbed meanwhile; returns its exit code."""
    with log.open("a") as file:
        process = psutil.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        disturb(process)
        return int(process.wait())


def victim(process: psutil.Process, kind: str, choice: random.Random) -> psutil.Process | None:
    """A process of the run that is of a kind."""
    children = process.children(recursive=True)
    if kind == "waiting":
        return process
    named = [(each, " ".join(each.cmdline())) for each in children]
    if kind == "driver":
        found = [each for each, line in named if "multiprocessing.spawn" in line]
    elif kind == "worker":
        found = [each for each, line in named if line.startswith("ray::Worker")]
    else:
        found = [each for each, line in named if any(name in line for name in RAY)]
    return choice.choice(found) if found else None


class Kills:
    """SIGKILL at random moments, as many as there are left."""

    def __init__(self, count: int, seed: int) -> None:
        self.left, self.random, self.done = count, random.Random(seed), Counter[str]()

    def __call__(self, process: psutil.Process) -> None:
        while self.left and process.poll() is None:
            kind = self.random.choice(KINDS)
            end = time.monotonic() + self.random.uniform(2, 20)
            try:
                found = None
                while process.poll() is None and (time.monotonic() < end or found is None):
                    time.sleep(0.1)
                    found = victim(process, kind, self.random)
                if found is None or process.poll() is not None:
                    continue
                line = " ".join(found.cmdline())
                found.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            name = next((name for name in RAY if name in line), kind) if kind == "ray" else kind
            self.done[name] += 1
            self.left -= 1
            print(f"  killed: {name}", flush=True)


def until_done(words: list[str], log: Path, disturb: Callable[[psutil.Process], None]) -> Counter[str]:
    """Run a command again and again until all is done; how often it ended in which way."""
    ends: Counter[str] = Counter()
    for _ in range(100):
        code = run(words, log, disturb)
        ends[ENDED.get(code, f"exit code {code}")] += 1
        if code == 0:
            return ends
    raise SystemExit(f"Not done after 100 runs: {dict(ends)}. See {log}.")


def digest(output: Path) -> dict[str, str]:
    """Hashes of what must be the same: tables, picture, masks."""
    files = [output / name for name in COMPARED] + sorted(output.glob("studies/**/*_mask.nii.gz"))
    return {str(file.relative_to(output)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check(name: str, output: Path, reference: Path, scans: list[str]) -> None:
    """Each study once, none lost, the same bytes as the undisturbed run."""
    rows = list(csv.DictReader((output / "studies.csv").open()))
    lines = [json.loads(line) for line in (output / "studies.jsonl").open()]
    wanted = [f"scans/{name}" for name in scans]
    for found in ([row["study"] for row in rows], [line["study"] for line in lines]):
        assert sorted(found) == sorted(wanted), f"{name}: studies are lost or double"
    assert {row["status"] for row in rows} == {"done"}, f"{name}: {Counter(row['status'] for row in rows)}"
    places = [str(path.parent.relative_to(output / "studies")) for path in output.glob("studies/**/study.json")]
    assert sorted(places) == sorted(wanted), f"{name}: results are lost or double"
    assert not list(output.glob(".parts/*")), f"{name}: parts are left"
    with sqlite3.connect(output / "journal.sqlite") as base:
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    assert digest(output) == digest(reference), f"{name}: results differ from those of the undisturbed run"
    attempts = Counter(line["attempts"] for line in lines)
    print(f"{name}: {len(rows)} studies once, same bytes as undisturbed. Studies by failed attempts: {dict(attempts)}")


def main(
    studies: int = 1000, kills: int = 20, seed: int = 0, folder: str = "build/archive_kills", disk: bool = True
) -> None:
    """Run it; see the head of this file."""
    root = Path(folder).absolute()
    shutil.rmtree(root, ignore_errors=True)
    write_radiopaedia(root / "phantoms", patients=studies, size=(64, 64), slices=3)
    (root / "phantoms" / "rp_im").rename(root / "scans")
    names, weights = sorted(os.listdir(root / "scans")), write_weights(root)
    outputs = {name: root / name / "out" for name in ("undisturbed", "killed", "share", "disk")}
    for output in outputs.values():
        output.parent.mkdir()

    def words(name: str) -> list[str]:
        return command(root / "scans", weights, outputs[name])

    until_done(words("undisturbed"), root / "undisturbed.log", lambda process: None)
    check("undisturbed", outputs["undisturbed"], outputs["undisturbed"], names)

    killing = Kills(kills, seed)
    ends = until_done(words("killed"), root / "killed.log", killing)
    print(f"Killed: {dict(killing.done)}. Ends of the command: {dict(ends)}")
    assert not killing.left, f"{killing.left} kills were not needed: give more --studies"
    check("killed", outputs["killed"], outputs["undisturbed"], names)

    def unmount(process: psutil.Process) -> None:
        results = outputs["share"] / "studies" / "scans"
        while process.poll() is None and len(list(results.glob("*"))) < min(5, studies // 2):
            time.sleep(0.1)
        (root / "scans").rename(root / "away")
        process.wait()
        (root / "away").rename(root / "scans")

    code = run(words("share"), root / "share.log", unmount)
    assert code == 4, f"a share that is lost ends with 4, got {code}"
    until_done(words("share"), root / "share.log", lambda process: None)
    check("unreadable share", outputs["share"], outputs["undisturbed"], names)

    if not disk or os.geteuid() != 0:
        print("full disk: not tried; it needs root, for a file system of its own")
        return
    used = sum(path.stat().st_size for path in outputs["undisturbed"].rglob("*") if path.is_file())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used // 2}", "none", root / "disk"], check=True)
    try:
        code = run(words("disk"), root / "disk.log")
        assert code == 5, f"a full disk ends with 5, got {code}"
        print("full disk:", (root / "disk.log").read_text().strip().splitlines()[-1])
        subprocess.run(["mount", "-o", f"remount,size={used * 4}", root / "disk"], check=True)
        until_done(words("disk"), root / "disk.log", lambda process: None)
        check("full disk", outputs["disk"], outputs["undisturbed"], names)
    finally:
        subprocess.run(["umount", root / "disk"], check=True)


if __name__ == "__main__":
    fire.Fire(main)
