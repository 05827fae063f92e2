"""Carries out the Dockerfile without Docker and without a registry: each stage is a folder, Debian by debootstrap."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile import expand, instructions, pair, words

DEBIAN = re.compile(r"debian:(\w+)-slim")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "/run/host"  # where RUN sees files of this machine


@dataclass
class Image:
    """A root file system, and what the Dockerfile says of it."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "0:0"
    labels: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"


def build(context: Path, work: Path, given: Mapping[str, str]) -> Image:
    """Carry out the Dockerfile of a folder.

    Args:
        context: the folder, with no other files than a build is given.
        work: receives the root file systems.
        given: values of ARG, as ``--build-arg`` gives them.
    """
    before: dict[str, str] = {}  # ARG above the first FROM
    stages: dict[str, Image] = {}
    image, args = None, {}
    for step in instructions((context / "Dockerfile").read_text()):
        print(f"{step.name} {step.rest}", flush=True)
        if step.name == "FROM":
            base, _, name = expand(step.rest, before).partition(" AS ")
            image, args = _stage(base, stages, work, work / f"stage{len(stages)}"), {}
            stages[name or "last"] = image
        elif step.name == "ARG":
            key, default = pair(step.rest, {**before, **args})
            (before if image is None else args)[key] = given.get(key, default)
        elif image is None:
            raise ValueError(f"Dockerfile: {step.name} must come after FROM.")
        elif step.name == "RUN":
            _run(image, {**image.env, **args}, step.rest)
        elif step.name == "COPY":
            source = stages[step.options["from"]].root if "from" in step.options else context
            _copy(source, image, *step.rest.split())
        else:
            _set(image, step.name, step.rest, {**args, **image.env})
    assert image is not None
    return image


def _stage(base: str, stages: Mapping[str, Image], work: Path, root: Path) -> Image:
    """A copy of an earlier stage, or of a new Debian."""
    start = deepcopy(stages[base]) if base in stages else Image(_debian(base, work))
    subprocess.run(["cp", "--archive", "--reflink=auto", start.root, root], check=True)
    start.root = root
    return start


def _debian(base: str, work: Path) -> Path:
    found = DEBIAN.fullmatch(base)
    if not found:
        raise ValueError(
            f"Dockerfile: the base must be debian:<release>-slim, got {base}. Nothing else can be made here."
        )
    root = work / found[1]
    if not root.is_dir():
        with (work / "debootstrap.log").open("w") as log:
            subprocess.run(["debootstrap", "--variant=minbase", found[1], root], check=True, stdout=log)
    return root


def _set(image: Image, name: str, rest: str, known: Mapping[str, str]) -> None:
    if name == "ENV":
        key, value = pair(rest, known)
        image.env[key] = value
    elif name == "LABEL":
        key, value = pair(rest, known)
        image.labels[key] = value
    elif name == "WORKDIR":
        image.workdir = rest
        (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        image.user = rest
    elif name == "STOPSIGNAL":
        image.stop_signal = rest
    elif name == "HEALTHCHECK":
        image.health = words(rest)
    elif name == "ENTRYPOINT":
        image.entrypoint, image.command = words(rest), []
    else:
        image.command = words(rest)


def _copy(source: Path, image: Image, *names: str) -> None:
    """Copy files into a folder, or a folder's content to a folder."""
    *sources, target = names
    to = image.root / os.path.join(image.workdir, target).lstrip("/")
    for name in sources:
        path = source / name.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)


def _run(image: Image, env: Mapping[str, str], command: str) -> None:
    """Run a command in the root, with this machine's network and settings of pip."""
    settings, places = pip_settings()
    root = shlex.quote(str(image.root))
    script = [f"mount -t proc proc {root}/proc", f"mount -t tmpfs tmpfs {root}/run"]  # leaves nothing in the image
    for place in places:
        shown = shlex.quote(f"{image.root}{HOST}{place}")
        script += [f"mkdir -p {shown}"] if place.is_dir() else [f"mkdir -p $(dirname {shown})", f"touch {shown}"]
        script += [f"mount --bind {shlex.quote(str(place))} {shown}"]
    inner = f"cd {image.workdir} && {command}"
    script.append(f"exec chroot {root} /bin/sh -c {shlex.quote(inner)}")
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec", "\n".join(script)],
        env={"DEBIAN_FRONTEND": "noninteractive", **settings, **env},
        check=True,
    )


def pip_settings() -> tuple[dict[str, str], list[Path]]:
    """How pip is set up on this machine: as environment variables, and the files and folders that they name."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings: dict[str, str] = {}
    places: set[Path] = set()
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        words = []
        for word in str(ast.literal_eval(value)).split():
            place = Path(word.removeprefix("file://"))
            if place.is_absolute() and place.exists():
                places.add(place.parent if place.name == "simple" else place)  # an index in files, and its files
                word = word.replace(str(place), f"{HOST}{place}")
            words.append(word)
        settings["PIP_" + key.split(".")[-1].upper().replace("-", "_")] = " ".join(words)
    return settings, sorted(places)
