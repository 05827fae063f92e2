"""The whole way with a real PACS: a study in, a segmentation, a report and a picture out, each once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from conftest import ROOT
from ct_files import write_volume
from orthanc import LACKING, PLUG_IN, PROGRAM, orthanc
from ultrasound_files import dicom as ultrasound
from ultrasound_files import save_dicom

from common.dicomweb.command import main as dicomweb
from common.dicomweb.server import TOKEN, Server
from common.pacs.command import main
from common.phantoms.ct.chest_ct import chest_ct

pytestmark = [pytest.mark.skipif(not (PROGRAM and PLUG_IN), reason=LACKING), pytest.mark.slow]
STUDY, CHEST, SCOUT, OTHER = "1.2.3", "1.2.5", "1.2.6", "1.2.7"
OWN = (CHEST, SCOUT, OTHER)
NAME = "Invented^Patient"
MORE = {"PatientName": NAME, "StudyDate": "20200101", "StudyTime": "100000", "StudyID": "1", "SeriesNumber": 3}


@pytest.fixture
def pacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Orthanc with a study of three series: a chest CT, a localiser of two slices, and a report picture."""
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.chdir(ROOT)
    patient = chest_ct(2, size=(160, 160), slices=10)
    affine = np.diag([*patient.spacing, 1.0])
    image = np.rint(patient.image).astype(np.int16)
    write_volume(tmp_path / "study" / "chest", image, affine, CHEST, **MORE)
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": "scout", **MORE}
    write_volume(tmp_path / "study" / "localizer", image[..., 4:6], affine, SCOUT, **scout)
    write_volume(tmp_path / "study" / "other", image[..., :1], affine, OTHER, Modality="OT", **MORE)
    with orthanc(tmp_path / "orthanc") as url:
        assert dicomweb(["send", "--server", url, str(tmp_path / "study")]) == 0
        yield url


def kinds(url: str) -> list[str]:
    """Modalities of the series that were added to the study."""
    return sorted(each["modality"] for each in Server(url).series(STUDY) if each["series"] not in OWN)


def test_a_study_goes_in_and_its_results_come_back_once(
    pacs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--server", pacs, "--study", STUDY, "--bundle", "ct_drsegunet", "--outputs", "[seg,sr,overlay]"]
    assert main(given) == 0
    assert kinds(pacs) == ["OT", "SEG", "SR"]
    assert main(given) == 0
    shown = capsys.readouterr()
    assert "3 objects stored, 0 were there before" in shown.out and "0 objects stored, 3 were there" in shown.out
    assert kinds(pacs) == ["OT", "SEG", "SR"] and "Invented" not in shown.out + shown.err

    assert dicomweb(["fetch", "--server", pacs, "--study", STUDY, "--output_dir", str(tmp_path / "back")]) == 0
    (segmentation,) = [
        each for each in map(pydicom.dcmread, (tmp_path / "back").rglob("*.dcm")) if each.Modality == "SEG"
    ]
    out = tmp_path / "out"
    command = ["run", "--config_file", "bundles/ct_drsegunet/configs/inference.yaml", "--output_dir", str(out)]
    command += ["--dataset_dir", str(tmp_path / "study" / "chest")]
    subprocess.run([sys.executable, "-m", "monai.bundle", *command], check=True, capture_output=True)
    mask = np.asarray(nibabel.load(next(out.glob("*_mask.nii.gz"))).dataobj)  # type: ignore[attr-defined]
    found = segmentation.pixel_array.reshape(-1, *mask.shape[1::-1])
    for number in (1, 2):
        frames = [
            frame for frame, group in zip(found, segmentation.PerFrameFunctionalGroupsSequence, strict=True)
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        ]  # fmt: skip
        assert sum(int(frame.sum()) for frame in frames) == (mask == number).sum(), "voxel for voxel as many"
    assert segmentation.FrameOfReferenceUID == "1.2.4"


def test_a_worker_that_is_killed_in_a_study_goes_on_and_stores_everything_once(pacs: str, tmp_path: Path) -> None:
    log = tmp_path / "pacs.jsonl"
    command = [sys.executable, "-m", "common.pacs", "--watch", "--server", pacs, "--bundle", "ct_drsegunet"]
    command += ["--log", str(log), "--every", "0.2", "--outputs", "[seg]"]

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    worker = started()
    for line in worker.stdout or ():
        if "Weights:" in line:  # in the middle of the study
            worker.kill()
            break
    worker.wait()
    assert log.read_text() == "" and kinds(pacs) == []
    worker = started()
    for _ in range(600):
        if log.exists() and log.read_text().endswith("\n"):
            break
        time.sleep(0.2)
    worker.send_signal(signal.SIGTERM)
    told, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0, told
    (entry,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (entry["study"], entry["status"], len(entry["objects"])) == (STUDY, "stored", 1)
    assert kinds(pacs) == ["SEG"]
    assert "Invented" not in told + log.read_text()


def test_a_clip_goes_in_and_the_painted_clip_and_its_diagnosis_come_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.chdir(ROOT)
    frames = np.random.default_rng(0).integers(0, 255, (4, 96, 128), np.uint8)
    elements = {**MORE, "PatientBirthDate": "", "PatientSex": "", "AccessionNumber": "", "ReferringPhysicianName": ""}
    clip = ultrasound(frames, FrameTime="400.0", InstanceNumber=1, **elements)
    save_dicom(clip, tmp_path / "study" / "clip.dcm")
    with orthanc(tmp_path / "orthanc") as url:
        assert dicomweb(["send", "--server", url, str(tmp_path / "study")]) == 0
        given = ["--server", url, "--study", STUDY, "--bundle", "us_reverse_transfer", "--outputs", "[overlay,sr]"]
        for stored, there in ((2, 0), (0, 2)):
            assert main(given) == 0
            shown = capsys.readouterr()
            assert f"{stored} objects stored, {there} were there before" in shown.out
            assert "Invented" not in shown.out + shown.err
        assert dicomweb(["fetch", "--server", url, "--study", STUDY, "--output_dir", str(tmp_path / "back")]) == 0
    found = [pydicom.dcmread(path) for path in (tmp_path / "back").rglob("*.dcm")]
    (painted,) = [each for each in found if "Secondary Capture" in each.SOPClassUID.name]
    assert [each.Modality for each in found].count("SR") == 1
    assert painted.NumberOfFrames == 4 and painted.pixel_array.shape[3] == 3
