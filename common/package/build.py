"""Write the zip of a bundle, and its entry in ``model_info.json``."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import complete_file, sha256
from ..run.record import git_commit
from .archive import read_sums, size_without_weights, sums, write_zip
from .configs import MONAI_DEPLOY, packaged, read_configs, targets, trained_settings
from .metadata import packaged_metadata
from .readme import readme
from .scripts import scripts
from .verify import MODEL_INFO
from .weights import (
    check_output,
    command,
    fill,
    make_network,
    on_phantoms,
    origin,
    published_record,
    torchscript,
    training_run,
    weights_record,
)

ROOT = Path(__file__).resolve().parents[2]
ALSO = ("docs/data_license.txt", "configs/logging.conf")  # packaged without changes


def bundles() -> list[str]:
    """Return the names of the repository's bundles."""
    return sorted(path.parent.parent.name for path in ROOT.glob("bundles/*/configs/metadata.json"))


def package(
    bundle: str,
    output_dir: str | Path = "dist",
    models_dir: str | Path | None = None,
    data: str = "",
    allow_dirty: bool = False,
) -> Path:
    """Write ``<bundle>_v<version>.zip``, the same bytes for the same commit and weights.

    Args:
        bundle: name of the bundle.
        output_dir: receives the zip and ``model_info.json``.
        models_dir: holds a folder with the bundle's name, which was both ``--ckpt_dir`` and ``--output_dir`` of the
            training. By default the bundle's own ``models`` and ``eval``.
        data: what the weights were trained on; required unless it was phantoms, or their record has a card.
        allow_dirty: package files that are not committed; the metadata record it.

    Returns:
        Path of the zip.

    Raises:
        FileNotFoundError: if the bundle is unknown, or weights or the record of their training are missing.
        ValueError: if files are not committed, the changelog lacks the version, the weights do not fit the network, or
            the data have no name.

    Example:
        >>> package("us_dense_seg", data="Semantic labels of lung ultrasound, 608 images")
    """
    root = ROOT / "bundles" / bundle
    if bundle not in bundles():
        raise FileNotFoundError(f"No bundle {bundle!r}. There are {', '.join(bundles())}, or all of them: all.")
    metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    version = metadata["version"]
    if version not in metadata["changelog"]:
        raise ValueError(
            f"{bundle}: version {version} of metadata.json must be in its changelog, which has "
            f"{', '.join(metadata['changelog'])}. Describe there what is new."
        )
    commit = git_commit() or "unknown"
    if not allow_dirty:
        _check_committed(bundle)
        commit = commit.removesuffix("-dirty")  # only files that are not packaged differ
    models, records = (Path(models_dir) / bundle,) * 2 if models_dir else (root / "models", root / "eval")
    weights = models / "model.pt"
    if not weights.is_file():
        raise FileNotFoundError(
            f"{bundle}: no weights at {weights}. Train the bundle first (python -m monai.bundle run training "
            f"--config_file bundles/{bundle}/configs/train.yaml), or give their folder with --models_dir."
        )
    files = _files(bundle, metadata, weights, records, data, commit)
    path = Path(output_dir) / f"{bundle}_v{version}.zip"
    write_zip(path, bundle, files)
    _note(path, files)
    return path


def _files(
    bundle: str, metadata: dict[str, Any], weights: Path, records: Path, data: str, commit: str
) -> dict[str, bytes]:
    """Return the content of each file by name."""
    root = ROOT / "bundles" / bundle
    own = weights_record(weights)
    record, trained = training_run(records, weights, own)
    card = own.get("card", {})
    sentence = origin(record, trained, data or card.get("data", ""))
    sources = read_configs(root / "configs")
    settings = trained_settings(sources["inference"], own)
    configs = packaged(bundle, sources, settings)
    named = ", ".join(f"{key} {value}" for key, value in settings.items())
    network = make_network({**sources["inference"], **settings})
    fill(network, weights, named)
    _tell_origin(configs["inference"], sentence, sha256(weights), on_phantoms(trained))

    metadata = packaged_metadata(metadata, sources["inference"], settings, record)
    if not card:  # the metrics are those of the weights that come with the bundle
        metadata["eval_metrics"] = {}
    data_format = metadata["network_data_format"]
    image, pred = data_format["inputs"]["image"], data_format["outputs"]["pred"]
    check_output(network, image, pred, named)
    metadata["weights"] = {
        **{"origin": sentence, "command": command(record), "settings": settings},
        **{"trained_at": record["commit"] or "unknown", "commit": commit, "sha256": sha256(weights)},
        **({"licence": card["licence"]} if card else {}),
    }
    made = {"configs/metadata.json": metadata, "models/model.json": published_record(own)}
    made |= {f"configs/{name}.json": config for name, config in configs.items()}
    files = {
        name: (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode() for name, content in made.items()
    }
    page = (root / "docs" / "README.md").read_text(encoding="utf-8")
    files["docs/README.md"] = readme(bundle, "|".join(sources), page, metadata).encode()
    files["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files |= {name: (root / name).read_bytes() for name in ALSO}
    files |= {f"scripts/{name}": content for name, content in scripts(targets(sources)).items()}
    files["models/model.pt"] = weights.read_bytes()
    shape = (1, image["num_channels"], *image["spatial_shape"])
    # MONAI Deploy's operator looks for its config under this name
    inside = {"inference.json": files[f"configs/{MONAI_DEPLOY}.json"]} if MONAI_DEPLOY in configs else {}
    files["models/model.ts"] = torchscript(network, shape, metadata, inside)
    return files


def _tell_origin(inference: dict[str, Any], sentence: str, digest: str, phantoms: bool) -> None:
    """Let inference log where the packaged weights are from."""
    inference["initialize"].append({
        "_target_": "scripts.transfer.tell_origin",
        **{"path": "@weights", "sha256": digest, "origin": sentence, "warn": phantoms},
    })  # fmt: skip


def _check_committed(bundle: str) -> None:
    """Raise ValueError if files that are packaged are not committed."""
    paths = ["LICENSE", "common", f"bundles/{bundle}"]
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *paths]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise ValueError(
            "A package records its commit, but this is not a git checkout. Clone the repository, or add --allow_dirty."
        )
    if changed := [line[3:] for line in found.stdout.splitlines()]:
        raise ValueError(
            f"A package must hold committed files, but {', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''} "
            "differ. Commit them, or add --allow_dirty."
        )


def _note(path: Path, files: Mapping[str, bytes]) -> None:
    """Set the package's entry in ``model_info.json``."""
    info = path.parent / MODEL_INFO
    entries = json.loads(info.read_text(encoding="utf-8")) if info.is_file() else {}
    content = path.read_bytes()
    entries[path.stem] = {
        "checksum": hashlib.sha1(content, usedforsecurity=False).hexdigest(),  # the hash in the model zoo's list
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "bytes_without_weights": size_without_weights(path),
        "files": read_sums(sums(files)),
    }
    with complete_file(info) as part:
        part.write_text(json.dumps(dict(sorted(entries.items())), indent=2) + "\n", encoding="utf-8")
