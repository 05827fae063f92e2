"""Classes of a bundle as its ``metadata.json`` declares them: name, value in saved masks, colour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClassStyle:
    """Name, value and colour of a class.

    Args:
        name: ``lung`` is drawn as an outline, ``background`` not at all, all others are lesions.
        value: its value in masks.
        colour: red, green, blue, 0..255.
    """

    name: str
    value: int
    colour: tuple[int, int, int]

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Colour in 0..1."""
        return (self.colour[0] / 255, self.colour[1] / 255, self.colour[2] / 255)

    @property
    def is_lesion(self) -> bool:
        """Whether the class is neither lung nor background."""
        return self.name not in ("lung", "background")


def class_styles(metadata: str | Path, classes: Sequence[str]) -> list[ClassStyle]:
    """Look up classes of a bundle, in the given order.

    Args:
        metadata: path of a bundle's ``metadata.json`` with ``labels``: a list of ``{name, value, colour}``.
        classes: names to look up.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not declare a class.
    """
    path = Path(metadata)
    if not path.is_file():
        raise FileNotFoundError(f"No metadata at {path}. Give the bundle's folder with --bundle_root.")
    declared = {entry["name"]: entry for entry in json.loads(path.read_text())["labels"]}
    unknown = [name for name in classes if name not in declared]
    if unknown:
        raise ValueError(f"{path} declares {', '.join(declared)}, not {', '.join(unknown)}. Use its class names.")
    return [ClassStyle(name, declared[name]["value"], tuple(declared[name]["colour"])) for name in classes]
