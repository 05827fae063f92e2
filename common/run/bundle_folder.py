"""The folder of a bundle, and what the bundle says of itself in ``metadata.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUNDLES = Path("bundles")  # of the repository, from whose root commands are run


def bundle_folder(bundle: str | Path) -> Path:
    """Find the folder of a bundle or of an unpacked package.

    Args:
        bundle: path of the folder, or the name of a bundle in ``bundles``.

    Raises:
        FileNotFoundError: if there is none, with the names that there are.

    Example:
        >>> bundle_folder("ct_drsegunet")
        PosixPath('bundles/ct_drsegunet')
    """
    for folder in (Path(bundle), BUNDLES / bundle):
        if (folder / "configs" / "metadata.json").is_file():
            return folder
    known = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/metadata.json"))
    hint = f"Bundles: {', '.join(known)}." if known else "Run from the repository's root, or give the bundle's folder."
    raise FileNotFoundError(f"There is no bundle {str(bundle)!r}. {hint}")


def inference_config(folder: Path) -> Path:
    """The inference config of a bundle's folder: ``.yaml``, or ``.json`` in packages.

    Raises:
        FileNotFoundError: if it has none.
    """
    for ending in ("yaml", "json"):
        if (config := folder / "configs" / f"inference.{ending}").is_file():
            return config
    raise FileNotFoundError(f"{folder} has no inference config in its folder configs. Give another bundle.")


def read_metadata(folder: Path) -> dict[str, Any]:
    """The content of ``configs/metadata.json`` in a bundle's folder.

    Raises:
        FileNotFoundError: if it has none.
    """
    content: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return content


def modality_of(metadata: Mapping[str, Any]) -> str:
    """What the network reads: ``CT`` or ``US``."""
    return str(metadata["network_data_format"]["inputs"]["image"]["modality"])
