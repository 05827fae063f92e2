"""The Dockerfile as instructions, and the files that a build is given."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KNOWN = (
    *("ARG", "FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "LABEL"),
    *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
)


@dataclass
class Instruction:
    name: str
    rest: str
    options: dict[str, str] = field(default_factory=dict)


def instructions(text: str) -> list[Instruction]:
    """The instructions in order; raises ValueError for one that ``container_image.py`` does not know."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, rest = line.split(maxsplit=1)
        if name not in KNOWN:
            raise ValueError(f"Dockerfile: {name} must be one of {', '.join(KNOWN)}. Add it to tests/container.")
        instruction = Instruction(name, rest)
        while option := re.match(r"--([a-z-]+)=(\S+)\s+", instruction.rest):
            instruction.options[option[1]] = option[2]
            instruction.rest = instruction.rest[option.end() :]
        found.append(instruction)
    return found


def words(rest: str) -> list[str]:
    """What ENTRYPOINT, CMD and the CMD of HEALTHCHECK run, which must be written as a JSON list."""
    return json.loads(rest.removeprefix("CMD "))


def pair(rest: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Key and value of ARG, ENV or LABEL."""
    key, _, value = rest.partition("=")
    return key, expand(shlex.split(value)[0] if value else "", known)


def expand(text: str, known: Mapping[str, str]) -> str:
    """Fill in variables, as Docker does: an unknown one is empty."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: known.get(found[1] or found[2], ""), text)


def context(root: Path = ROOT) -> Iterator[Path]:
    """The files below a folder that its .dockerignore lets into a build, relative to it."""
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    for top in sorted(root.iterdir()):
        if not _ignored(Path(top.name), rules):  # an environment or demo in the checkout is not searched
            for path in sorted([top, *top.rglob("*")]):
                relative = path.relative_to(root)
                if path.is_file() and not _ignored(relative, rules):
                    yield relative


def _ignored(path: Path, rules: list[str]) -> bool:
    """Whether the last rule that matches a path or a folder above it leaves it out."""
    names = [path.as_posix(), *(parent.as_posix() for parent in path.parents[:-1])]
    ignored = False
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, name) for name in names):
            ignored = not rule.startswith("!")
    return ignored
