"""What libraries warn of is part of a case, once and in their words, and not printed."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from ultrasound_files import GREY, dicom, save_dicom

from common.readers.isolated import Isolated
from common.readers.library_notes import LIBRARIES, collected


def test_warnings_are_collected_once_and_printing_restored(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    before = [(logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in LIBRARIES]
    scan = dicom(GREY[:1])
    scan.SpecificCharacterSet = "ISO_IR 999"
    save_dicom(scan, tmp_path / "a")
    recwarn.clear()
    caplog.clear()
    with collected() as notes:
        str(pydicom.dcmread(tmp_path / "a"))
        warnings.warn("odd\n value", stacklevel=1)
        logging.getLogger("nibabel.global").warning("odd header")
    assert notes == ["Unknown encoding 'ISO_IR 999' - using default encoding instead", "odd value", "odd header"]
    assert not recwarn.list and not caplog.records
    assert before == [(logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in LIBRARIES]
    with pytest.warns(UserWarning, match="shown again"):
        warnings.warn("shown again", stacklevel=1)


MODULE = """
import logging, warnings
import numpy as np

def read(count):
    for _ in range(count):
        logging.getLogger("pydicom").warning("odd header")
        warnings.warn("odd header")
    return np.zeros(3), {"kind": "dicom"}
"""


def test_a_process_sends_them_with_the_file_that_they_are_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_reader.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    reader = Isolated()
    assert reader.call("odd_reader", "read", 3)[-1] == {"kind": "dicom", "library_notes": ["odd header"]}
    assert reader.call("odd_reader", "read", 0)[-1] == {"kind": "dicom"}
