"""One step of a bundle, run in the test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow


def run(step: str, files: list[str], folder: Path, **settings: Any) -> ConfigWorkflow:
    """Run a step with its weights and results in one folder."""
    paths = {"ckpt_dir": str(folder), "output_dir": str(folder)}
    workflow = ConfigWorkflow(config_file=files, run_id=step, **{**paths, **settings})
    workflow.initialize()
    workflow.run()
    return workflow
