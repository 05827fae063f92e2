"""A package is downloaded, checked before anything of it is read, and unpacked; lists of packages are signed."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.package import verify as verifying
from common.package.archive import read_sums, sums, write_zip
from common.package.command import main
from common.package.fetch import fetch
from common.package.signature import check_signature, sign
from common.package.verify import verify

WEIGHTS = b"weights"
FILES = {
    "configs/metadata.json": b'{"version": "0.1.0"}',
    "models/model.json": json.dumps({"sha256": hashlib.sha256(WEIGHTS).hexdigest()}).encode(),
    "models/model.pt": WEIGHTS,
}


def publish(folder: Path) -> tuple[Path, Path]:
    """A package and its publisher's list."""
    path, info = folder / "small_v0.1.0.zip", folder / "model_info.json"
    write_zip(path, "small", FILES)
    content = path.read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "files": read_sums(sums(FILES))}
    info.write_text(json.dumps({path.stem: entry}))
    return path, info


def keys(folder: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    key, private, public = ec.generate_private_key(ec.SECP256R1()), folder / "private.pem", folder / "public.pem"
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server that publishes a package."""
    folder = tmp_path / "site"
    folder.mkdir()
    publish(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_a_package_is_downloaded_checked_and_unpacked(
    site: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder = site
    here = tmp_path / "here"
    options = ["--model_info", str(folder / "model_info.json"), "--output_dir", str(here)]
    assert main(["fetch", f"{address}/small_v0.1.0.zip", *options]) == 0
    assert "small_v0.1.0, as in" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["small"]  # nothing else is left
    assert {name: (here / "small" / name).read_bytes() for name in FILES} == FILES
    with pytest.raises(FileExistsError, match=r"small exists\. Remove it, or give another --output_dir"):
        fetch(f"{address}/small_v0.1.0.zip", str(folder / "model_info.json"), here)


def test_a_changed_package_is_refused_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, info = publish(tmp_path)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    content = bytearray(package.read_bytes())
    content[50] ^= 1
    package.write_bytes(content)
    with pytest.raises(ValueError, match=r"no package in .*model_info\.json has its sha256, \w{64}"):
        fetch(str(package), str(info), tmp_path / "here")
    package.write_bytes(bytes(content) + b"0")
    with pytest.raises(ValueError, match=rf"has more than the {len(content)} bytes that the publisher's list states"):
        fetch(str(package), str(info), tmp_path / "here")
    assert not list((tmp_path / "here").iterdir())


def test_lists_and_addresses_that_cannot_be_trusted_are_refused(site: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = site
    package, info = f"{address}/small_v0.1.0.zip", folder / "model_info.json"
    with pytest.raises(ValueError, match=r"a list that comes by http could be anyone's\. Use https, or give --public"):
        fetch(package, f"{address}/model_info.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.zip: could not be downloaded: File not found"):
        fetch(f"{address}/none.zip", str(info), tmp_path)
    with pytest.raises(ValueError, match=r"ftp://.*: must be a URL that begins with https"):
        fetch("ftp://127.0.0.1/small.zip", str(info), tmp_path)
    for content in ("[]", "{", '{"small": {}}', '{"small": {"sha256": "0", "bytes": 3, "files": {}}}'):
        info.write_text(content)
        with pytest.raises(ValueError, match=r"model_info\.json: must be a list of packages such as model_info\.json"):
            fetch(package, str(info), tmp_path / "here")


def test_a_signature_shows_who_wrote_a_list(site: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = site
    info = folder / "model_info.json"
    private, public = keys(tmp_path)
    signature = sign(info, private)
    urls = f"{address}/small_v0.1.0.zip", f"{address}/model_info.json"
    assert fetch(*urls, tmp_path / "a", public)[1] == "small_v0.1.0"
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"model_info\.json: was not signed with .*, or was changed since"):
        check_signature(info, signature, keys(tmp_path / "other")[1])
    with pytest.raises(ValueError, match=r"public\.pem: must be the PEM file of an elliptic-curve private key"):
        sign(info, public)
    made_up = tmp_path / "made_up.sig"
    made_up.write_text("{}")
    with pytest.raises(ValueError, match="was not signed"):
        check_signature(info, made_up, public)
    info.write_text(info.read_text().replace("small_v0.1.0", "small_v0.2.0"))
    with pytest.raises(ValueError, match="was not signed"):
        fetch(*urls, tmp_path / "b", public)


def test_a_zip_that_fills_the_disk_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, info = publish(tmp_path)
    assert "3 files" in verify(package, info)
    monkeypatch.setattr(verifying, "MOST", 100)
    with pytest.raises(ValueError, match=r"would be 0\.0 GB when unpacked\. Do not unpack this file"):
        verify(package)
