"""The cases of a folder, whichever public layout it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..statistics import counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """How a public download lies in its folder.

    Args:
        cases: lists the cases of a folder; an empty list where the folder has another layout.
        files: the files that it is recognised by, for messages.
    """

    cases: Callable[[Path], list[dict[str, Any]]]
    files: str


def find_cases(
    root: str | Path,
    layouts: Mapping[str, Layout],
    phantoms: Mapping[str, Mapping[str, Any]],
    make_phantoms: Callable[..., Path],
    source: str = "",
) -> list[dict[str, Any]]:
    """List the cases of whichever layout a folder has; ``phantom`` makes and lists synthetic patients.

    Args:
        root: the folder that a public source was unpacked to, or ``phantom``.
        layouts: by name, in the order in which they are tried.
        phantoms: synthetic sources by name: arguments of ``make_phantoms``.
        make_phantoms: makes a folder of synthetic patients, once.
        source: the layout to take where a folder may hold several, or a name in ``phantoms``; by default the first
            that fits.

    Returns:
        Dicts with ``image`` (path), ``label``, ``case``, ``patient`` (None where the source names none) and ``source``.

    Raises:
        FileNotFoundError: when the folder is missing, has none of the layouts, or an image lacks its mask.
        ValueError: for an unknown source, or one that does not go with the folder.
    """
    if source and source not in (*layouts, *phantoms):
        raise ValueError(f"Unknown source {source!r}. Choose one of {', '.join([*layouts, *phantoms])}.")
    if source in layouts:
        layouts = {source: layouts[source]}
        if str(root) == "phantom":
            raise ValueError(f"The source {source} is read from a folder, got none. Give the unpacked download.")
    elif source in phantoms and str(root) != "phantom":
        raise ValueError(f"The source {source} needs no folder, got {root}. Say what it holds: {', '.join(layouts)}.")
    if str(root) == "phantom":
        root = make_phantoms(**phantoms[source or "phantom"])
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}. Give the unpacked download with --dataset_dir, or 'phantom'.")
    for name, layout in layouts.items():
        cases = layout.cases(root)
        if cases:
            logger.info("%s in %s: %s.", source or name, root, counted(len(cases), "cases"))
            return [{**case, "source": source if source in phantoms else case["source"]} for case in cases]
    known = "; ".join(layout.files for layout in layouts.values())
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{root} has none of the known layouts: {known}. It holds: {found}.")
