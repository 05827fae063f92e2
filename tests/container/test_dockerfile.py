"""What the Dockerfile says, and how ``make container-check`` follows it. The image is built and tried only there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import container_image
import pytest
from conftest import ROOT
from container_image import Image, build
from dockerfile import Instruction, context, expand, instructions

STEPS = instructions((ROOT / "Dockerfile").read_text())
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}  # of Debian's releases


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image as the Dockerfile gives it, with an empty Debian, and commands that leave their text behind."""
    source, work = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("work")
    for path in [Path("Dockerfile"), *context()]:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, source / path)
    (work / "bookworm").mkdir()

    def run(image: Image, env: Mapping[str, str], command: str) -> None:
        with (image.root / "commands").open("a") as file:
            file.write(expand(command, env) + "\n")
        (image.root / "opt/venv").mkdir(parents=True, exist_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container_image, "_run", run)
        return build(source, work, {"COMMIT": "1f2e3d"})


def test_the_image_runs_monai_as_a_numbered_user_other_than_0(image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.user)  # Kubernetes' runAsNonRoot needs a number
    assert image.entrypoint == ["python", "-m", "monai.bundle"] and image.command == ["--help"]
    assert image.health[0] == "python" and image.stop_signal == "SIGINT"


def test_all_that_is_written_at_home_goes_to_tmp(image: Image) -> None:
    assert image.env["HOME"] == "/tmp" and image.env["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not {"COVID_LUNG_CACHE", "MPLCONFIGDIR", "TORCH_HOME", "XDG_CACHE_HOME"} & image.env.keys()


def test_the_image_holds_code_and_configs_where_it_starts(image: Image) -> None:
    place = image.root / image.workdir.lstrip("/")
    assert sorted(path.name for path in place.iterdir()) == ["LICENSE", "bundles", "common"]
    assert (place / "common/run/start.py").is_file() and (place / "bundles/us_dense_seg/configs/train.yaml").is_file()
    assert (image.root / "commands").read_text().count("\n") == 1  # stages before it leave only what is copied


def test_labels_give_version_and_commit(image: Image) -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and image.labels["org.opencontainers.image.version"] == version[1]
    assert image.labels["org.opencontainers.image.revision"] == "1f2e3d"


def test_python_is_the_one_of_the_tests() -> None:
    release = next(step.rest.removeprefix("DEBIAN=") for step in STEPS if step.name == "ARG")
    assert f'python-version: "{PYTHON[release]}"' in (ROOT / ".github/workflows/ci.yml").read_text()


def test_packages_are_installed_in_tested_versions() -> None:
    installs = [step.rest for step in STEPS if "pip install" in step.rest]
    assert len(installs) == 2 and all("pip install --constraint constraints.txt " in install for install in installs)


def test_every_file_that_is_copied_is_let_into_the_build() -> None:
    given = {part.as_posix() for path in context() for part in (path, *path.parents)}
    copied = [name for step in STEPS if step.name == "COPY" and not step.options for name in step.rest.split()[:-1]]
    assert copied and set(copied) <= given


def test_only_code_and_weights_get_into_the_build(tmp_path: Path) -> None:
    inside = ["LICENSE", "bundles/a/configs/train.yaml", "bundles/a/models/model.json", "bundles/a/models/model.pt"]
    inside += ["common/run/start.py", "constraints.txt"]
    outside = ["bundles/a/eval/lesions.csv", "bundles/a/models/last.pt", "common/__pycache__/x.pyc", "cases.csv"]
    outside += ["data/patient.nii.gz", ".venv/bin/python", ".git/config", "common/run/__pycache__/start.pyc"]
    for name in [*inside, *outside]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy2(ROOT / ".dockerignore", tmp_path)
    assert [path.as_posix() for path in context(tmp_path)] == inside


def test_lines_are_joined_and_options_are_read() -> None:
    text = "# first\nFROM debian:x-slim AS a\nRUN one \\\n    # between\n    && two\nCOPY --from=a /x ./y\n"
    assert instructions(text) == [
        Instruction("FROM", "debian:x-slim AS a"),
        Instruction("RUN", "one && two"),
        Instruction("COPY", "/x ./y", {"from": "a"}),
    ]


def test_an_instruction_that_is_not_followed_is_refused() -> None:
    with pytest.raises(ValueError, match="VOLUME must be one of ARG, FROM"):
        instructions("VOLUME /out")


def test_a_base_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\n")
    with pytest.raises(ValueError, match=r"must be debian:<release>-slim, got python:3\.12"):
        build(tmp_path, tmp_path, {})
