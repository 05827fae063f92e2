"""Check that a package was not changed: MONAI's download compares no hashes."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..files import sha256
from .archive import SUMS, read_sums

MODEL_INFO = "model_info.json"
MOST = 2**31  # bytes of all files of a zip together: far above any bundle, and below what fills a disk
BLOCK = 2**20  # bytes
RECORD, WEIGHTS = "models/model.json", "models/model.pt"
METADATA = "configs/metadata.json"  # differs between packages: version, and hash of the weights
DAMAGED = (  # what reading a damaged, encrypted or oddly compressed member raises
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
IMPORTED = (
    ".py",
    ".pyc",
    ".pyd",
    ".so",
)  # imported from Python's path, where the bundle's folder is first


def verify(path: str | Path, model_info: str | Path | None = None) -> str:
    """Check a zip before it is unpacked, or the folder that it was unpacked to.

    Args:
        path: the zip, or the bundle's folder.
        model_info: the publisher's list of hashes, from another channel than the zip. By default the one beside the
            zip. Without any, files are compared only with the zip's own list, which an attacker could have changed too.

    Returns:
        A sentence that says what was compared.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the first file that is changed, missing, not listed, a link, or leads out of the folder; or
            for a zip that would be larger than 2 GiB when unpacked.

    Example:
        >>> verify("us_dense_seg.zip", "model_info.json")
        'us_dense_seg.zip: 97 files, the same as in model_info.json for us_dense_seg_v0.1.0.'
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No package at {path}. Give the zip, or the folder that it was unpacked to.")
    beside = path.parent / MODEL_INFO
    info = Path(model_info) if model_info else beside if beside.is_file() else None
    found = _files_of_zip(path) if path.is_file() else _files_of_folder(path)
    if SUMS not in found:
        raise ValueError(f"{path}: a package must hold {SUMS}, but this one does not. Download it again.")
    listed = read_sums(found.pop(SUMS)[1].decode(errors="replace"))
    hashes = {name: digest for name, (digest, _) in found.items()}
    _compare(path, hashes, listed)
    _check_record(path, found.get(RECORD, ("", b""))[1], hashes.get(WEIGHTS, ""))
    if info is None:
        return (
            f"{path}: {len(listed)} files, the same as in its own {SUMS}. To check that this list is the publisher's, "
            f"give the publisher's {MODEL_INFO} with --model_info."
        )
    name, known = _known(info, path, hashes.get(METADATA, ""))
    _compare(path, hashes, known["files"])
    if path.is_file() and sha256(path) != known["sha256"]:
        raise ValueError(
            f"{path}: sha256 must be {known['sha256']}, as in {info}, got {sha256(path)}. Download it again."
        )
    return f"{path}: {len(listed)} files, the same as in {info} for {name}."


def _check_record(path: Path, record: bytes, digest: str) -> None:
    """Refuse a record of weights that belongs to other weights."""
    named = json.loads(record)["sha256"] if record else digest
    if named != digest:
        raise ValueError(
            f"{path}: {RECORD} must be the record of {WEIGHTS}, but it is of weights with sha256 {named}, not {digest}."
            " Download it again."
        )


def _known(info: Path, path: Path, digest: str) -> tuple[str, dict[str, Any]]:
    """Return name and entry in ``model_info.json`` by the metadata's hash, because MONAI's download renames the zip."""
    if not info.is_file():
        raise FileNotFoundError(f"No {MODEL_INFO} at {info}. Download it from where the package is published.")
    entries = read_model_info(info)
    for name, known in entries.items():
        if known["files"][METADATA] == digest:
            return name, known
    raise ValueError(
        f"{path}: {METADATA} belongs to no package in {info}, which lists {', '.join(sorted(entries))}. "
        "Download it again, or give the list that it was published with."
    )


def read_model_info(path: Path, shown: str = "") -> dict[str, dict[str, Any]]:
    """Read a publisher's list of packages: ``sha256``, ``bytes`` and ``files`` of each by name.

    Args:
        path: the list.
        shown: its name in messages.

    Raises:
        ValueError: if it is another file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for entry in content.values():
            if not (
                isinstance(entry["sha256"], str) and isinstance(entry["bytes"], int) and METADATA in entry["files"]
            ):
                raise ValueError("an entry is incomplete")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{shown or path}: must be a list of packages such as {MODEL_INFO} ({error}).") from error
    return dict(content)


def _compare(path: Path, found: dict[str, str], listed: dict[str, str]) -> None:
    """Raise ValueError for the first file that differs."""
    for name in sorted(found.keys() | listed.keys()):
        if name not in listed:
            raise ValueError(f"{path}: {name} does not belong to the package. Download it again, and do not run it.")
        if name not in found:
            raise ValueError(f"{path}: {name} is missing. Download it again.")
        if found[name] != listed[name]:
            raise ValueError(
                f"{path}: {name} was changed: its sha256 must be {listed[name]}, got {found[name]}. Download it again."
            )


def _files_of_zip(path: Path) -> dict[str, tuple[str, bytes]]:
    """Return the hash of each file by name below the bundle's folder, and the content of the list and the record."""
    found: dict[str, tuple[str, bytes]] = {}
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path}: a package must be a complete zip, got another or an incomplete file. Download it again."
        ) from error
    with archive:
        for entry in archive.infolist():
            _check_member(path, entry)
        if (size := sum(entry.file_size for entry in archive.infolist())) > MOST:
            raise ValueError(f"{path}: would be {size / 1e9:.1f} GB when unpacked. Do not unpack this file.")
        roots = {PurePosixPath(entry.filename).parts[:1] for entry in archive.infolist()}
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if len(roots) > 1:
                listing = ", ".join(sorted("".join(root) for root in roots))
                raise ValueError(f"{path}: all files must lie in one folder, got {listing}. Download it again.")
            name = PurePosixPath(*PurePosixPath(entry.filename).parts[1:]).as_posix()
            if name in found:
                raise ValueError(f"{path}: {entry.filename} occurs twice. Download it again.")
            try:
                found[name] = _read(archive, entry, name in (SUMS, RECORD))
            except DAMAGED as error:
                raise ValueError(f"{path}: {entry.filename} is damaged: {error}. Download it again.") from error
    return found


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kept: bool) -> tuple[str, bytes]:
    """Hash of a member, read in blocks, and its content if it is kept and no larger than a block.

    Zipfile reads no more of a member than the size that it states, which is checked before.
    """
    digest, content = hashlib.sha256(), b""
    with archive.open(entry) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            content = content or block
    return digest.hexdigest(), content if kept else b""


def _check_member(path: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse a member that would be written outside the folder, or leads out of it."""
    name, mode = entry.orig_filename, entry.external_attr >> 16
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or PureWindowsPath(name).drive:
        raise ValueError(f"{path}: {name} is an absolute path. Do not unpack this file.")
    if ".." in pure.parts:
        raise ValueError(f"{path}: {name} leaves the folder. Do not unpack this file.")
    if stat.S_ISLNK(mode):
        raise ValueError(f"{path}: {name} is a symbolic link. Do not unpack this file.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{path}: {name} is neither file nor folder. Do not unpack this file.")


def _files_of_folder(path: Path) -> dict[str, tuple[str, bytes]]:
    """Return the hash of each file, as for a zip.

    Of added files, only those that would run count, because trainings write weights and tables into the folder.
    Compiled copies in ``__pycache__`` are ignored.
    """
    sums = path / SUMS
    listed = read_sums(sums.read_text(encoding="utf-8")) if sums.is_file() else {}
    found = {SUMS: ("", sums.read_bytes())} if listed else {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_symlink():
            raise ValueError(f"{path}: {name.as_posix()} is a symbolic link. Unpack the package again.")
        runs = name.parts[0] in ("configs", "scripts") or name.suffix in IMPORTED
        if file.is_file() and (name.as_posix() in listed or (runs and "__pycache__" not in name.parts)):
            found[name.as_posix()] = (sha256(file), file.read_bytes() if name.as_posix() == RECORD else b"")
    return found
