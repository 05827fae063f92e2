"""A study through a bundle, with a server that only remembers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conftest import ROOT
from ultrasound_files import GREY, dicom, save_dicom

from common.dicomweb.server import Server
from common.pacs.study import infer_study
from common.run.errors import CasesFailed


class Remembering(Server):
    """A PACS with one study of ultrasound clips, whose objects are files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stored = folder, list[pydicom.Dataset]()

    def series(self, study: str) -> list[dict[str, Any]]:
        return [{"series": path.stem, "modality": "US", "instances": 1} for path in sorted(self.folder.iterdir())]

    def fetch(self, study: str, series: str, folder: Path, instances: int) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{series}.dcm").write_bytes((self.folder / f"{series}.dcm").read_bytes())
        return [folder / f"{series}.dcm"]

    def send(self, paths: Sequence[Path]) -> list[str]:
        self.stored += [pydicom.dcmread(path) for path in paths]
        return [str(each.SOPInstanceUID) for each in self.stored]


def clip(uid: str, pixels: np.ndarray = GREY, **more: Any) -> pydicom.Dataset:
    made = dicom(pixels, FrameTime="100.0", **more)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid)
    return made


def test_a_clip_that_fails_does_not_keep_the_results_of_the_others_from_the_pacs(tmp_path: Path) -> None:
    (tmp_path / "pacs").mkdir()
    save_dicom(clip("1.2.31"), tmp_path / "pacs" / "good.dcm")
    save_dicom(clip("1.2.32"), tmp_path / "pacs" / "cut.dcm")
    whole = (tmp_path / "pacs" / "cut.dcm").read_bytes()
    (tmp_path / "pacs" / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    server = Remembering(tmp_path / "pacs")
    with pytest.raises(CasesFailed, match=r"1 of 2 cases failed:\n  cut: .*\n.*others are in the PACS: 1 object"):
        infer_study(server, "1.2.3", ROOT / "bundles" / "us_dense_seg", ["overlay"], {"isolated": False})
    (made,) = server.stored
    assert (made.NumberOfFrames, made.SourceImageSequence[0].ReferencedSOPInstanceUID) == (2, "1.2.31")


def test_a_study_of_another_modality_is_named(tmp_path: Path) -> None:
    (tmp_path / "pacs").mkdir()
    save_dicom(clip("1.2.31"), tmp_path / "pacs" / "good.dcm")
    server = Remembering(tmp_path / "pacs")
    with pytest.raises(ValueError, match=r"Study 1\.2\.3 has no CT series, but US"):
        infer_study(server, "1.2.3", ROOT / "bundles" / "ct_drsegunet", ["seg"])
