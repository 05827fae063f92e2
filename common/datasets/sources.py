"""The cases of a folder, whichever public layout it has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Layouts = dict[str, tuple[Callable[[Path], list[dict[str, Any]]], str]]  # by name: what lists it, and its files


def sources_of(task: str) -> tuple[Layouts, dict[str, dict[str, Any]]]:
    """Layouts and synthetic patients of a task; the other modality's are not imported, a packaged bundle lacks them."""
    if task.startswith("ultrasound"):
        from . import ultrasound_sources

        return ultrasound_sources.LAYOUTS[task], ultrasound_sources.PHANTOMS[task]
    from . import ct_sources

    return ct_sources.LAYOUTS[task], ct_sources.PHANTOMS[task]


def datalist(root: str | Path, task: str = "CT lesions", source: str = "") -> list[dict[str, Any]]:
    """List the cases of whichever public layout a folder has; ``phantom`` makes and lists synthetic ones.

    Args:
        root: the folder that a public source was unpacked to, or the word ``phantom``.
        task: ``CT lesions``, ``CT infection``, ``MosMedData``, ``image labels``, ``ultrasound labels`` or ``ultrasound
            diagnoses``: whose layouts to look for.
        source: the layout to take where a folder may hold several; of ``CT infection`` ``radiopaedia``,
            ``coronacases``, ``mosmed``, or ``phantom`` and ``phantom_second_scanner``, which need no folder; of ``image
            labels`` the first three, ``table``, ``cc_ccii`` or ``phantom``.

    Returns:
        Dicts with ``image`` (path), ``label`` (path, the diagnosis, or 0 or 1), ``case``, ``patient`` (None where the
        source names none) and ``source``. CT has ``lung`` (path, may be absent), ``intensity`` (``HU`` or ``8bit``),
        and ``slice`` where a case is one slice of a file. MosMedData has ``severity``: the class of the study's
        folder, ``CT-0`` to ``CT-4``, or None.

    Raises:
        FileNotFoundError: when the folder is missing, has none of the known layouts, or an image lacks its mask.
        ValueError: for an unknown source, one that does not go with the folder, or a study that is there twice.
    """
    layouts, phantoms = sources_of(task)
    if source and source not in (*layouts, *phantoms):
        raise ValueError(f"Unknown source {source!r}. Choose one of {', '.join([*layouts, *phantoms])}.")
    if source in layouts:
        layouts = {source: layouts[source]}
        if str(root) == "phantom":
            raise ValueError(f"The source {source} is read from a folder, got none. Give the unpacked download.")
    elif source in phantoms and str(root) != "phantom":
        raise ValueError(f"The source {source} needs no folder, got {root}. Say what it holds: {', '.join(layouts)}.")
    if str(root) == "phantom":
        from ..phantoms import phantom_dir

        root = phantom_dir(**phantoms[source or "phantom"])
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}. Give the unpacked download with --dataset_dir, or 'phantom'.")
    for name, (listed, _) in layouts.items():
        cases = listed(root)
        if cases:
            logger.info("%s in %s: %d cases.", source or name, root, len(cases))
            return [{**case, "source": source if source in phantoms else case["source"]} for case in cases]
    known = "; ".join(files for _, files in layouts.values())
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{root} has none of the known layouts: {known}. It holds: {found}.")
