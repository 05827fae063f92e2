"""Classes of a bundle as its ``metadata.json`` declares them: name, value in saved masks, colour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODE = ("scheme", "value", "meaning")


@dataclass(frozen=True)
class ClassStyle:
    """Name, value and colour of a class.

    Args:
        name: ``lung`` is drawn as an outline, ``background`` not at all, all others are lesions.
        value: its value in masks.
        colour: red, green, blue, 0..255.
        code: scheme, value and meaning of the class in DICOM, such as ``("SCT", "39607008", "Lung")``; empty if it has
            none.
    """

    name: str
    value: int
    colour: tuple[int, int, int]
    code: tuple[str, ...] = ()

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
        metadata: path of a bundle's ``metadata.json`` with ``labels``: a list of ``{name, value, colour}``, with
            ``code: {scheme, value, meaning}`` where DICOM has one.
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
    return [_style(declared[name]) for name in classes]


def _style(entry: Mapping[str, Any]) -> ClassStyle:
    """The style that an entry of ``labels`` declares."""
    code = tuple(entry["code"][part] for part in CODE) if "code" in entry else ()
    return ClassStyle(entry["name"], entry["value"], tuple(entry["colour"]), code)
