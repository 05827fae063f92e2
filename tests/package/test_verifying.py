"""A package that was changed, damaged or made to write elsewhere is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from small_packages import Packages, files_of

from common.package.archive import SUMS, write_zip
from common.package.verify import verify

pytest_plugins = ["package_fixtures"]
pytestmark = [
    pytest.mark.slow,  # the packages are built for more than ten seconds
    pytest.mark.filterwarnings("ignore:parsing config_file"),
    pytest.mark.filterwarnings("ignore:No hash value provided"),
]


def changed_weight(files: dict[str, bytes]) -> dict[str, bytes]:
    weights = bytearray(files["models/model.pt"])
    weights[len(weights) // 2] ^= 1
    return {**files, "models/model.pt": bytes(weights)}


def rewritten(path: Path, files: dict[str, bytes], more: Sequence[tuple[zipfile.ZipInfo, bytes]] = ()) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"us_dense_seg/{name}", content)
        for entry, content in more:
            archive.writestr(entry, content)


def test_a_changed_missing_or_added_file_is_named(downloaded: Path) -> None:
    files = files_of(downloaded)
    missing = {name: content for name, content in files.items() if name != "scripts/files.py"}
    for tampered, message in (
        (changed_weight(files), r"models/model\.pt was changed: its sha256 must be \w{64}, got \w{64}\. Download it"),
        (missing, r"scripts/files\.py is missing\. Download it again"),
        (
            {**files, "scripts/more.py": b""},
            r"scripts/more\.py does not belong to the package\. Download it again, and do not run",
        ),
        ({name: files[name] for name in missing if name != SUMS}, f"a package must hold {SUMS}, but this one does not"),
        ({**files, SUMS: b"\xff"}, "a line must be a sha256, two spaces and a file name"),
    ):
        rewritten(downloaded, tampered)
        with pytest.raises(ValueError, match=message):
            verify(downloaded)


def test_a_rewritten_list_of_hashes_is_found_by_the_publishers_list(packages: Packages, downloaded: Path) -> None:
    info = packages.dist / "model_info.json"
    files = changed_weight({name: content for name, content in files_of(downloaded).items() if name != SUMS})
    write_zip(downloaded, "us_dense_seg", files)
    with pytest.raises(
        ValueError, match=r"models/model\.json must be the record of models/model\.pt, but it is of weights"
    ):
        verify(downloaded)
    record = json.loads(files["models/model.json"])
    record["sha256"] = hashlib.sha256(files["models/model.pt"]).hexdigest()
    files["models/model.json"] = json.dumps(record).encode()
    write_zip(downloaded, "us_dense_seg", files)
    assert f"the same as in its own {SUMS}. To check that this list is the publisher's" in verify(downloaded)
    with pytest.raises(ValueError, match=r"models/model\.(json|pt) was changed"):
        verify(downloaded, info)
    shutil.copy(info, downloaded.parent)
    with pytest.raises(ValueError, match=r"models/model\.(json|pt) was changed"):
        verify(downloaded)
    rewritten(downloaded, files_of(packages.zip("us_dense_seg")))
    with pytest.raises(ValueError, match=r"v0\.1\.0\.zip: sha256 must be \w{64}, as in .*model_info\.json, got"):
        verify(downloaded)
    others = json.loads(info.read_text())
    del others[downloaded.stem]
    (downloaded.parent / info.name).write_text(json.dumps(others))
    with pytest.raises(
        ValueError, match=r"configs/metadata\.json belongs to no package in .*, which lists ct_drsegunet_v0"
    ):
        verify(downloaded)
    with pytest.raises(FileNotFoundError, match=r"No model_info\.json at none\.json\. Download it from where"):
        verify(downloaded, "none.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("us_dense_seg/../../evil.py", r"us_dense_seg/\.\./\.\./evil\.py leaves the folder\. Do not unpack"),
        ("us_dense_seg\\..\\..\\evil.py", r"evil\.py leaves the folder"),
        ("/etc/evil", "/etc/evil is an absolute path. Do not unpack"),
        ("C:\\evil.py", r"C:\\evil\.py is an absolute path"),
        ("\\\\server\\evil.py", "is an absolute path"),
        ("other/evil.py", "all files must lie in one folder, got other, us_dense_seg"),
        (".", "all files must lie in one folder, got , us_dense_seg"),
        ("us_dense_seg/scripts/files.py", r"us_dense_seg/scripts/files\.py occurs twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_would_write_outside_its_folder_or_twice_is_refused(
    downloaded: Path, name: str, message: str
) -> None:
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    rewritten(downloaded, files_of(downloaded), [(entry, b"evil")])
    with pytest.raises(ValueError, match=message):
        verify(downloaded)


def test_links_are_refused_in_a_zip_and_in_a_folder(packages: Packages, downloaded: Path, tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("us_dense_seg/scripts/link.py")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    rewritten(downloaded, files_of(downloaded), [(entry, b"/etc/passwd")])
    with pytest.raises(ValueError, match=r"us_dense_seg/scripts/link\.py is a symbolic link\. Do not unpack this file"):
        verify(downloaded)
    root = packages.unzip("us_dense_seg", tmp_path)
    (root / "scripts" / "link.py").symlink_to(downloaded)
    with pytest.raises(ValueError, match=r"scripts/link\.py is a symbolic link\. Unpack the package again"):
        verify(root)


def test_an_incomplete_package_is_refused(downloaded: Path) -> None:
    content = downloaded.read_bytes()
    downloaded.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"a package must be a complete zip, got another or an incomplete file\. Download it again"
    ):
        verify(downloaded)
    start = content.index(b"PK\x03\x04", 1)
    downloaded.write_bytes(content[: start - 40] + bytes(40) + content[start:])
    with pytest.raises(ValueError, match=r"us_dense_seg/LICENSE is damaged: .*\. Download it again"):
        verify(downloaded)


@pytest.mark.parametrize("name", ["scripts/more.py", "configs/more.json", "torch.py", "monai/__init__.py"])
def test_a_folder_with_an_added_file_that_would_run_is_refused(packages: Packages, tmp_path: Path, name: str) -> None:
    root = packages.unzip("us_dense_seg", tmp_path)
    (root / "eval").mkdir()
    (root / "eval" / "scores.csv").touch()
    assert "files, the same as in its own" in verify(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()
    with pytest.raises(ValueError, match=f"{re.escape(name)} does not belong to the package"):
        verify(root)
