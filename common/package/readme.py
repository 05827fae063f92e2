"""The page of a packaged bundle: its docs, after the front matter that a model hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .configs import relocated_text

TAGS = {"CT": ["ct", "computed-tomography"], "US": ["ultrasound", "lung-ultrasound"]}
PICTURE = re.compile(r"^!\[[^\]]*\]\(\.\./[^)]*\)\n(\n?\*[^*]+\*\n)?", re.MULTILINE)
IN_REPOSITORY = "From the repository's root, in its environment (`make venv`)"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(\.\./[^)]*\)")


def readme(bundle: str, names: str, page: str, metadata: Mapping[str, Any]) -> str:
    """Return the bundle's page without links out of the package, after front matter and the origin of the weights.

    Args:
        bundle: name of the bundle.
        names: names of its configs, ``train|evaluate``.
        page: its ``docs/README.md``.
        metadata: the packaged metadata.
    """
    modality = metadata["network_data_format"]["inputs"]["image"]["modality"]
    licence = "other" if "licence" in metadata["weights"] else "apache-2.0"  # of code and weights together
    front = ["---", f"license: {licence}", "library_name: monai", "tags:"]
    front += [f"- {tag}" for tag in ["monai", "medical", "covid-19", *TAGS[modality]]]
    front += ["---", ""]
    page = LINK.sub(r"\1", PICTURE.sub("", page)).replace(IN_REPOSITORY, "In this folder")
    title, _, body = relocated_text(bundle, names, page).partition("\n")
    return (
        "\n".join([*front, title, "", *_weights(metadata["weights"]), *_use(bundle, metadata)]) + "\n" + body.lstrip()
    )


def _weights(weights: Mapping[str, Any]) -> list[str]:
    lines = [f"> **Weights:** {weights['origin']}", *([f"> {weights['licence']}"] if "licence" in weights else [])]
    if weights["settings"]:
        settings = ", ".join(f"`{name}` {value}" for name, value in weights["settings"].items())
        lines.append(f"> The configs hold the settings that they were trained with: {settings}.")
    return [*lines, f"> Code: {weights['commit']}.", ""]


def _use(bundle: str, metadata: Mapping[str, Any]) -> list[str]:
    inference = "configs/inference.json --dataset_dir /data/scans --output_dir out"
    packages = ["torch", "numpy", *metadata["required_packages_version"]]
    return [
        f"Trained with MONAI {metadata['monai_version']} and PyTorch {metadata['pytorch_version']}; "
        "`configs/metadata.json` names the version of every package. Install them, and run the bundle in its folder, "
        "or from elsewhere with `--bundle_root`:",
        "",
        "```",
        f"pip install monai=={metadata['monai_version']} {' '.join(packages)}",
        f"python -m monai.bundle run --config_file {inference}",
        f"python -m monai.bundle run --config_file {bundle}/{inference} --bundle_root {bundle}",
        "```",
        "",
        "`sha256sum --check sha256sums.txt` checks whether the files are as they were packaged. The bundle's own page "
        "follows. Its results hold for the settings given with them, which may differ from those of these weights. "
        "`python -m common.`, `make`, `benchmarks` and `tests`, which it mentions, exist only in the repository.",
        "",
    ]
