"""Download a package, check it before anything of it is read, and unpack it."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from ..files import sha256
from .signature import SUFFIX, check_signature
from .verify import MODEL_INFO, read_model_info, verify

SCHEMES = ("https", "http", "file")
LIST_LIMIT = 4 * 2**20  # bytes of model_info.json or of its signature
BLOCK = 2**20  # bytes
WAIT = 60  # seconds without an answer


def fetch(
    url: str, model_info: str, output_dir: str | Path = ".", public_key: str | Path | None = None
) -> tuple[Path, str]:
    """Download a package, check it against the publisher's list, and unpack it.

    Nothing of the package is parsed before its size and SHA-256 are those of the list, and nothing of the list before
    its signature is right, if a key is given. What fails leaves nothing behind.

    Args:
        url: of the zip, or its path.
        model_info: the publisher's ``model_info.json``, a path or a URL. Without a key it must be a file or come by
            https, and from another place than the zip.
        output_dir: receives the bundle's folder.
        public_key: PEM file of the publisher. The signature is ``model_info`` with ``.sig`` added.

    Returns:
        The bundle's folder, and the package's name in the list.

    Raises:
        FileExistsError: if the bundle's folder exists.
        FileNotFoundError: if a file or URL is not found.
        ValueError: if list, signature or package are not what they should be.

    Example:
        >>> fetch("https://example.org/us_dense_seg_v0.1.0.zip", "model_info.json")
        (PosixPath('us_dense_seg'), 'us_dense_seg_v0.1.0')
    """
    if urlsplit(model_info).scheme == "http" and not public_key:
        raise ValueError(f"{model_info}: a list that comes by http could be anyone's. Use https, or give --public_key.")
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".fetch_") as scratch:
        info, package = Path(scratch) / MODEL_INFO, Path(scratch) / "package.zip"
        download(model_info, info, LIST_LIMIT)
        if public_key:
            signature = info.with_name(info.name + SUFFIX)
            download(model_info + SUFFIX, signature, LIST_LIMIT)
            check_signature(info, signature, public_key, shown=model_info)
        entries = read_model_info(info, shown=model_info)
        download(url, package, max((entry["bytes"] for entry in entries.values()), default=0))
        digest = sha256(package)
        name = next((name for name, entry in entries.items() if entry["sha256"] == digest), None)
        if name is None:
            raise ValueError(
                f"{url}: no package in {model_info} has its sha256, {digest}. Download it again, or give the list that "
                f"it was published with. The list has {', '.join(entries)}."
            )
        verify(package, info)
        folder = unpack(package, Path(scratch) / "unpacked")
        target = output_dir / folder.name
        if target.exists():
            raise FileExistsError(f"{target} exists. Remove it, or give another --output_dir.")
        os.replace(folder, target)
    return target, name


def download(source: str, path: Path, limit: int) -> None:
    """Copy a URL or a file, and stop as soon as it is larger than it may be.

    Args:
        source: an https, http or file URL, or a path.
        path: file to write.
        limit: maximum size in bytes.

    Raises:
        FileNotFoundError: if there is no such file, or the server does not give it.
        ValueError: for another kind of URL, or more bytes than the limit.
    """
    scheme = urlsplit(source).scheme
    if "://" not in source:
        source, scheme = Path(source).resolve().as_uri(), "file"
    if scheme not in SCHEMES:
        raise ValueError(f"{source}: must be a URL that begins with {', '.join(SCHEMES)}, or a path.")
    try:
        with urllib.request.urlopen(source, timeout=WAIT) as answer, path.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(desc=path.name, total=total, unit="B", unit_scale=True, leave=False, disable=None) as bar:
                while block := answer.read(BLOCK):
                    bar.update(len(block))
                    if file.tell() + len(block) > limit:
                        raise ValueError(f"{source}: has more than the {limit} bytes that the publisher's list states.")
                    file.write(block)
    except (urllib.error.URLError, OSError) as error:
        known = getattr(error, "reason", error)
        raise FileNotFoundError(f"{source}: could not be downloaded: {known}. Check the address.") from error


def unpack(package: Path, folder: Path) -> Path:
    """Unpack a verified package into a new or empty folder, and return its own top folder there."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    (top,) = folder.iterdir()
    return top
