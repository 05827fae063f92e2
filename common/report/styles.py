"""Classes of a bundle as its ``metadata.json`` declares them: name, value in saved masks, colour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .figures import ClassStyle


def class_styles(metadata: str | Path, classes: Sequence[str]) -> list[ClassStyle]:
    """Styles of ``classes`` in the given order.

    Args:
        metadata: path of a bundle's ``metadata.json`` with ``labels``: a list of ``{name, value, colour}``.
        classes: names to look up.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it does not declare a class.
    """
    path = Path(metadata)
    if not path.is_file():
        raise FileNotFoundError(f"No metadata at {path}. Give the bundle's folder with --bundle_root.")
    declared = {entry["name"]: entry for entry in json.loads(path.read_text())["labels"]}
    unknown = [name for name in classes if name not in declared]
    if unknown:
        raise ValueError(f"{path} declares {', '.join(declared)}, not {', '.join(unknown)}. Use its class names.")
    return [ClassStyle(name, declared[name]["value"], tuple(declared[name]["colour"])) for name in classes]
