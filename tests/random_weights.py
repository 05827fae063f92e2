"""Random weights of a small network of ct_drsegunet with their record, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from common.networks.by_name import segmentation_network
from common.run.model_record import save_weights


def write_random_weights(folder: Path, settings: dict[str, Any]) -> Path:
    """A U-Net for ground-glass, consolidation and background, with a record of these settings."""
    torch.manual_seed(0)
    record = {
        "bundle": "ct_drsegunet",
        "settings": settings,
        "classes": ["ground-glass", "consolidation", "background"],
    }
    save_weights(segmentation_network("unet", 1, 3).state_dict(), folder / "model.pt", record)
    return folder / "model.pt"
