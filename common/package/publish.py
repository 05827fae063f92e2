"""Lay a package out as a repository of a model hub, and upload it when told."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..files import sha256
from ..settings import is_number
from .archive import SUMS, WEIGHTS, read_sums
from .fetch import unpack
from .verify import METADATA, RECORD, verify

CARD, ATTRIBUTES, FREE = "README.md", ".gitattributes", "apache-2.0"
TASKS = {"segmentation": "image-segmentation", "classification": "image-classification"}


def lay_out(package: str | Path, folder: str | Path, licence: str = "") -> Path:
    """Unpack a package as the repository that Hugging Face has for a MONAI bundle.

    The folder receives the bundle's files, ``README.md`` (the card: front matter with licence, tags and scores, the
    bundle's page, and the hashes of the weights) and ``.gitattributes``, which stores weights as large files.

    Args:
        package: zip that ``python -m common.package`` wrote; it is verified first.
        folder: new or empty, or one that holds an earlier version of the bundle, whose files are replaced.
        licence: of the weights, in the hub's spelling, such as ``cc-by-nc-4.0``. Needed unless they come from phantoms.

    Returns:
        Path of the card.

    Raises:
        FileNotFoundError: if there is no such package.
        ValueError: if the package is damaged, the licence is missing, or the folder holds something else.

    Example:
        >>> lay_out("dist/us_dense_seg_v0.1.0.zip", "hub/us_dense_seg", licence="cc-by-nc-4.0")
        PosixPath('hub/us_dense_seg/README.md')
    """
    package, folder = Path(package), Path(folder)
    verify(package)
    earlier = read_sums((folder / SUMS).read_text(encoding="utf-8")) if (folder / SUMS).is_file() else {}
    others = [path.name for path in folder.iterdir() if path.name != ".git"] if folder.is_dir() else []
    if others and not earlier:
        raise ValueError(f"{folder} holds {others[0]}, and no earlier version of a bundle. Give an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in earlier:
        if ".." not in Path(name).parts and not Path(name).is_absolute():
            (folder / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".publish_") as scratch:
        shutil.copytree(unpack(package, Path(scratch)), folder, dirs_exist_ok=True)
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    page = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    (folder / CARD).write_text(_card(page, folder, metadata, record, licence), encoding="utf-8")
    lines = [f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in WEIGHTS]
    (folder / ATTRIBUTES).write_text("".join(lines), encoding="utf-8")
    return folder / CARD


def _card(page: str, folder: Path, metadata: Mapping[str, Any], record: Mapping[str, Any], licence: str) -> str:
    """The bundle's page with the front matter that the hub reads."""
    origin = metadata["weights"]["origin"]
    if not licence and "phantoms" not in origin:
        raise ValueError(
            f"The weights were made from data of patients ({origin}) Give the licence that these data allow, such as "
            "--licence cc-by-nc-4.0."
        )
    _, front, body = page.split("---\n", 2)
    matter = {**yaml.safe_load(front), "license": licence or FREE}
    prediction = metadata["network_data_format"]["outputs"]["pred"]["format"]
    matter["pipeline_tag"] = TASKS[prediction]
    scores = {name: value for name, value in record.get("scores", {}).items() if is_number(value) and name != "epoch"}
    if scores:
        matter["model-index"] = [
            {
                "name": metadata["name"],
                "results": [
                    {
                        "task": {"type": TASKS[prediction]},
                        "dataset": {"name": f"validation part of: {origin}", "type": record["data"]["source"]},
                        "metrics": [{"type": name, "value": value} for name, value in scores.items()],
                    }
                ],
            }
        ]
    hashes = "".join(
        f"| `{path.relative_to(folder).as_posix()}` | `{sha256(path)}` |\n"
        for path in sorted(folder.rglob("*"))
        if path.suffix in WEIGHTS
    )
    text = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n{body.rstrip()}\n\n## Files\n\n| Weights | SHA-256 |\n| --- | --- |\n{hashes}"


def upload(folder: str | Path, repository: str) -> str:
    """Upload a folder to Hugging Face, with the token of ``huggingface_hub`` (``HF_TOKEN`` or ``hf auth login``).

    Args:
        folder: that ``lay_out`` wrote.
        repository: ``owner/name``; it is made if there is none.

    Returns:
        Address of the commit.

    Raises:
        ValueError: without ``huggingface_hub``.
    """
    try:  # an extra, for those who publish
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ValueError(
            'Uploads need huggingface_hub. Run: pip install --constraint constraints.txt ".[publish]"'
        ) from error
    version = json.loads((Path(folder) / METADATA).read_text(encoding="utf-8"))["version"]
    hub = HfApi()
    hub.create_repo(repository, exist_ok=True)
    done = hub.upload_folder(
        folder_path=str(folder), repo_id=repository, commit_message=f"Version {version}", ignore_patterns=".git/**"
    )
    return str(done.commit_url)
