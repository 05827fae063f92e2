"""Builds the image without Docker and tries it: ``make container-check``, as root on Debian or Ubuntu.

``container_image.py`` carries out the Dockerfile in a root file system of debootstrap. Then the image is run
as ``docker run --network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges`` would, in
namespaces of its own. The weights inside are trained on synthetic patients for this check.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from container_image import Image, build
from dockerfile import ROOT, context

sys.path.insert(0, str(ROOT))
from common.package.build import package
from common.phantoms.ct.layouts import write_radiopaedia

CONFIGS = "bundles/ct_drsegunet/configs"
INFERENCE = ["run", "--config_file", f"{CONFIGS}/inference.yaml", "--size", "[64,64]"]
TRAINING = ["run", "training", "--config_file", f"{CONFIGS}/train.yaml", "--size", "[64,64]"]
STRANGER = "4321:4321"  # unknown to the image, as the user of --user is
IMPORTED = "av, gdcm, highdicom, itk, matplotlib, nibabel, numpy, pydicom, scipy, skimage, sklearn, tensorboard, torch"
NRRD = "path = '/tmp/a.nrrd'; itk.imwrite(itk.image_from_array(numpy.ones((4, 5, 6), 'f4')), path); itk.imread(path)"
CONNECT = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"  # an address for documentation
SECONDS = 300  # at most, until a training has begun, and until it has ended after the signal


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the image without Docker, and try it.")
    parser.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE", help="as for docker build")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the root file systems")
    options = parser.parse_args()
    missing = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing or os.geteuid():
        sys.exit(f"This must run as root, with debootstrap and util-linux installed. Missing: {missing or 'root'}.")
    work = Path(tempfile.mkdtemp(prefix="container-check-"))
    work.chmod(0o755)
    try:
        write_radiopaedia(work / "data", patients=5, size=(64, 64), slices=8)
        make_context(work)
        image = build(work / "context", work, dict(argument.split("=", 1) for argument in options.build_arg))
        check(image, work)
    finally:
        if options.keep:
            print(f"The root file systems are in {work}.")
        else:
            shutil.rmtree(work)


def make_context(work: Path) -> None:
    """What a build is given, with weights of ``ct_drsegunet`` that are trained now; and a package of them."""
    folder, models = work / "context", work / "models"
    for path in [Path("Dockerfile"), *(path for path in context() if "models" not in path.parts)]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    trained = models / "ct_drsegunet"
    places = ["--dataset_dir", work / "data", "--ckpt_dir", trained, "--output_dir", trained]
    subprocess.run([sys.executable, "-m", "monai.bundle", *TRAINING, *places, "--epochs", "1"], cwd=ROOT, check=True)
    (folder / "bundles/ct_drsegunet/models").mkdir()
    for path in trained.glob("model.*"):
        shutil.copy2(path, folder / "bundles/ct_drsegunet/models")
    shutil.unpack_archive(
        package("ct_drsegunet", work, models, "synthetic patients", allow_dirty=True), work / "package"
    )


def check(image: Image, work: Path) -> None:
    """Run the image in the ways that ``docs/container.md`` describes; the first thing that is wrong ends it."""
    size = subprocess.run(["du", "-sm", image.root], capture_output=True, text=True, check=True).stdout.split()[0]
    passed(f"built, {size} MiB: {image.labels}")
    call(image, image.health, entry=False)
    call(image, ["python", "-c", f"import {IMPORTED}; {NRRD}"], entry=False)
    passed(f"healthy, and these load: {IMPORTED}")
    assert "COMMANDS" in call(image, image.command)
    call(image, ["sh", "-c", f"test $(id -u):$(id -g) = {image.user} && ! test -w / && ! test -w /opt"], entry=False)
    for place in ("/", "/etc", "/opt/venv", image.workdir):
        said = call(image, ["touch", f"{place}/file"], entry=False, user="0:0", fails=True)
        assert "Read-only file system" in said, said
    passed(f"runs as {image.user}; nothing can be written to the root, even by user 0")
    assert "Network is unreachable" in call(image, ["python", "-c", CONNECT], entry=False, fails=True)
    passed("no network")

    out = folder_of(work / "inside", image.user)
    call(image, [*INFERENCE, "--output_dir", "/out"], {"/out": f"{out}"})
    masks(out, image.user, 1)
    passed("the weights inside segment a synthetic patient")
    out = folder_of(work / "mapped", STRANGER)
    volumes = {"/data": f"{work}/data/rp_im:ro", "/out": f"{out}"}
    call(image, [*INFERENCE, "--dataset_dir", "/data", "--output_dir", "/out"], volumes, user=STRANGER)
    masks(out, STRANGER, 5)
    passed(f"a folder of five scans, mounted read-only, is segmented as user {STRANGER}, who owns the masks")
    out = folder_of(work / "packaged", STRANGER)
    volumes["/out"], volumes["/bundle"] = f"{out}", f"{work}/package/ct_drsegunet:ro"
    places = ["--bundle_root", "/bundle", "--dataset_dir", "/data", "--output_dir", "/out"]
    call(image, ["run", "--config_file", "/bundle/configs/inference.json", *places], volumes, user=STRANGER)
    masks(out, STRANGER, 5)
    passed("a package, mounted read-only, segments them too")
    phantoms = ["python", "-m", "common.phantoms", "--patients", "1", "--output", "/tmp/phantoms.png"]
    call(image, phantoms, entry=False)
    passed("commands of common run")
    said = call(image, INFERENCE, fails=True)
    assert "Traceback" not in said and "must be a writable folder" in said, said
    passed(f"without --output_dir it says: {said.splitlines()[-1]}")

    out = folder_of(work / "training", STRANGER)
    volumes = {"/data": f"{work}/data:ro", "/out": f"{out}"}
    training = [*TRAINING, "--dataset_dir", "/data", "--ckpt_dir", "/out/models", "--output_dir", "/out"]
    call(image, [*training, "--epochs", "1"], volumes, user=STRANGER)
    assert (out / "models/model.pt").stat().st_uid == int(STRANGER.split(":")[0])
    shutil.rmtree(out / "models")
    command = container(image, [*training, "--epochs", "1000"], volumes, STRANGER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        wait_until(lambda: (out / "models/last.pt").exists())
        first = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()[0]
        os.kill(int(first), signal.Signals[image.stop_signal])
        said = run.communicate(timeout=SECONDS)[0]
    assert run.returncode == 128 + signal.SIGINT, said
    passed(f"trains; {image.stop_signal} ends a training with exit code {run.returncode}: {said.splitlines()[-1]}")


def call(
    image: Image,
    arguments: Sequence[str],
    volumes: Mapping[str, str] | None = None,
    user: str = "",
    entry: bool = True,
    fails: bool = False,
) -> str:
    """Run the image, and return what it printed; exits if it fails, or does not although it must."""
    command = container(image, arguments, volumes or {}, user, entry)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if bool(done.returncode) != fails:
        sys.exit(f"{shlex.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def container(
    image: Image, arguments: Sequence[str], volumes: Mapping[str, str], user: str = "", entry: bool = True
) -> list[str]:
    """The command that runs an image; volumes by their place in it, such as ``{"/data": "/host/scans:ro"}``."""
    root = str(image.root)
    script = []
    for target in volumes:
        (image.root / target.lstrip("/")).mkdir(exist_ok=True)  # as Docker does
    script += [f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}", f"mount -t proc proc {root}/proc"]
    script += [f"mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs {root}/tmp"]
    script += [f"mount -t tmpfs -o noexec,nosuid,nodev,mode=1777,size=64m tmpfs {root}/dev/shm"]
    for target, volume in volumes.items():
        source, _, mode = volume.partition(":")
        script.append(f"mount --bind {source} {root}{target}")
        script += [f"mount -o remount,bind,{mode} {root}{target}"] if mode else []
    variables = [f"{key}={value}" for key, value in image.env.items()]
    inner = ["env", "-i", "-C", image.workdir, *variables, *(image.entrypoint if entry else []), *arguments]
    uid, gid = (user or image.user).split(":")
    rights = f"--reuid {uid} --regid {gid} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs"
    script.append(f"exec chroot {root} setpriv {rights} {shlex.join(inner)}")
    namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child"]
    return ["unshare", *namespaces, "/bin/sh", "-ec", "\n".join(script)]


def folder_of(path: Path, user: str) -> Path:
    """A folder that belongs to a user."""
    path.mkdir()
    os.chown(path, *map(int, user.split(":")))
    return path


def masks(folder: Path, user: str, count: int) -> None:
    """Check that there are as many masks, and that all files belong to the user."""
    assert len(list(folder.rglob("*_mask.nii.gz"))) == count, sorted(folder.rglob("*"))
    owners = {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in folder.rglob("*")}
    assert owners == {user}, owners


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for it; raises TimeoutError after ``SECONDS``."""
    end = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"Nothing after {SECONDS} s.")
        time.sleep(0.5)


def passed(what: str) -> None:
    print(f"PASSED {what}", flush=True)


if __name__ == "__main__":
    main()
