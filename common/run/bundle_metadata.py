"""What a bundle says of itself in ``metadata.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_metadata(bundle: Path) -> dict[str, Any]:
    """The content of ``configs/metadata.json`` in a bundle's folder.

    Raises:
        FileNotFoundError: if it has none.
    """
    content: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return content


def modality_of(metadata: Mapping[str, Any]) -> str:
    """What the network reads: ``CT`` or ``US``."""
    return str(metadata["network_data_format"]["inputs"]["image"]["modality"])
