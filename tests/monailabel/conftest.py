"""One server for all bundles, and the log of a server where a test fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from server import Server, python, unzip

SERVERS: list[Server] = []
STRATEGY = {
    "from monailabel.tasks.activelearning.first import First\n": (
        "from monailabel.tasks.activelearning.epistemic import Epistemic\n"
    ),
    '            "first": First(),\n': '            "epistemic": Epistemic(),\n',
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--packages", type=Path, required=True, help="folder that small_packages.py has written")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """A failure shows the end of the log of every server that runs."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        report.sections += [(str(server.log), server.tail()) for server in SERVERS]


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    """Packages of all bundles, a scan and an image, each with its label map."""
    folder: Path = request.config.getoption("--packages")
    return folder.resolve()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder with the app as docs/monai-label.md says, the strategy added, without models or studies."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        python("-m", "monailabel.main", "apps", "--download", "--name", "monaibundle", "--output", "apps", cwd=folder)
        for made in ("studies", "apps/monaibundle/model"):
            (folder / made).mkdir()
        main = folder / "apps" / "monaibundle" / "main.py"
        text = main.read_text()
        for line, added in STRATEGY.items():
            assert text.count(line) == 1
            text = text.replace(line, line + added)
        main.write_text(text)
        return folder

    return make


@pytest.fixture(scope="session")
def serve(packages: Path) -> Iterator[Callable[[Path, Sequence[str]], Server]]:
    """Starts servers on a folder with app, models and studies; all are stopped at the end, whatever happens."""

    def start(folder: Path, scored: Sequence[str] = ()) -> Server:
        models = sorted(path.name for path in (folder / "apps" / "monaibundle" / "model").iterdir())
        SERVERS.append(Server(folder, models, scored))
        return SERVERS[-1]

    yield start
    for server in SERVERS:
        server.stop()


@pytest.fixture(scope="session")
def everything(app: Callable[[str], Path], packages: Path) -> Path:
    """A folder with the app, all bundles, ct_drsegunet in two more copies, and two scans."""
    folder = app("all")
    models = folder / "apps" / "monaibundle" / "model"
    for package in sorted(packages.glob("*.zip")):
        name = "us_reverse_transfer_classification" if package.name.startswith("us_reverse_transfer") else ""
        unzip(package, models, name)
    for copy in ("other_version", "trained"):
        shutil.copytree(models / "ct_drsegunet", models / copy)
    shutil.copy(packages / "ct.nii.gz", folder / "studies" / "clean.nii.gz")
    scan = nibabel.load(packages / "ct.nii.gz")
    noise = np.random.default_rng(0).normal(0, 300, scan.shape)  # HU
    noisy = nibabel.Nifti1Image((scan.get_fdata() + noise).astype(np.int16), scan.affine)
    nibabel.save(noisy, folder / "studies" / "noisy.nii.gz")
    return folder
