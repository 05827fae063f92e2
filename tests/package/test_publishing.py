"""A package becomes a repository of Hugging Face, whose own library reads the card."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from small_packages import Packages, files_of

from common.package.archive import SUMS, write_zip
from common.package.command import main
from common.package.publish import lay_out

pytest_plugins = ["package_fixtures"]
pytestmark = pytest.mark.slow  # the packages are built for more than ten seconds


def test_the_card_has_licence_scores_and_hashes(packages: Packages, tmp_path: Path) -> None:
    card = lay_out(packages.zip("us_dense_seg"), tmp_path / "hub")
    data = huggingface_hub.ModelCard.load(card).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "monai", "image-segmentation")
    assert {"monai", "medical", "ultrasound"} <= set(data.tags)
    hub = tmp_path / "hub"
    assert hashlib.sha256((hub / "models" / "model.pt").read_bytes()).hexdigest() in card.read_text()
    assert "*.pt filter=lfs" in (hub / ".gitattributes").read_text()
    with zipfile.ZipFile(packages.zip("us_dense_seg")) as archive:
        inside = {name.partition("/")[2] for name in archive.namelist()}
    assert {path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file()} - inside == {
        "README.md",
        ".gitattributes",
    }


def test_scores_of_the_record_are_metrics_of_the_card(packages: Packages, tmp_path: Path) -> None:
    files = files_of(packages.zip("us_dense_seg"))
    del files[SUMS]
    record = json.loads(files["models/model.json"])
    record["scores"] = {"epoch": 3, "val_mean_iou": 0.75}
    metadata = json.loads(files["configs/metadata.json"])
    metadata["weights"]["origin"] = "Trained 2026-01-02 on 50 clips."
    for name, content in (("models/model.json", record), ("configs/metadata.json", metadata)):
        files[name] = json.dumps(content).encode()
    package = tmp_path / "us_dense_seg_v0.1.0.zip"
    write_zip(package, "us_dense_seg", files)
    with pytest.raises(ValueError, match=r"made from data of patients .* such as --licence cc-by-nc-4\.0"):
        lay_out(package, tmp_path / "hub")
    (score,) = huggingface_hub.ModelCard.load(lay_out(package, tmp_path / "hub", "cc-by-nc-4.0")).data.eval_results
    assert (score.metric_type, score.metric_value, score.task_type) == ("val_mean_iou", 0.75, "image-segmentation")
    del files["LICENSE"]  # a later version without it
    write_zip(package, "us_dense_seg", files)
    lay_out(package, tmp_path / "hub", "cc-by-nc-4.0")
    assert not (tmp_path / "hub" / "LICENSE").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.docx").touch()
    with pytest.raises(ValueError, match=r"mine holds thesis\.docx, and no earlier version of a bundle"):
        lay_out(package, tmp_path / "mine", "cc-by-nc-4.0")


def test_nothing_is_uploaded_unless_told(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, str]] = []

    class Hub:
        def create_repo(self, repository: str, exist_ok: bool) -> None:
            calls.append(("create", repository))

        def upload_folder(self, folder_path: str, repo_id: str, **options: object) -> huggingface_hub.CommitInfo:
            calls.append((folder_path, repo_id))
            url = "https://huggingface.co/clinic/lungs/commit/0"
            return huggingface_hub.CommitInfo(commit_url=url, commit_message="", commit_description="", oid="0")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    command = ["publish", str(packages.zip("us_dense_seg")), "--hub", str(tmp_path / "hub")]
    assert main(command) == 0 and not calls
    assert main([*command, "--upload", "clinic/lungs"]) == 0
    assert calls == [("create", "clinic/lungs"), (str(tmp_path / "hub"), "clinic/lungs")]
    assert "Uploaded: https://huggingface.co/clinic/lungs/commit/0" in capsys.readouterr().out
