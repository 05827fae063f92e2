"""Clips are decoded in a process of their own: one that crashes, hangs or needs too much memory loses one case."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ultrasound_files import coloured, dicom, pixels_of, ramp, save_dicom, write_clip

from common.datasets.frame_stream import FrameStream
from common.datasets.ultrasound.folder import inference_cases
from common.readers.isolated import Isolated
from common.readers.ultrasound.frames import isolated_frames

DECODER = """
import os, time
import av

opened = av.open

def open(path, *arguments, **options):
    if path.endswith("crash.avi"):
        os.abort()
    if path.endswith("hang.avi"):
        time.sleep(60)
    if path.endswith("huge.avi"):
        bytearray(2**45)
    return opened(path, *arguments, **options)

av.open = open
"""
ENDLESS = """
import numpy as np

def frames(counter):
    for number in range(1000):
        with open(counter, "a") as file:
            file.write("x")
        yield np.zeros((500, 500), np.uint8), {}
"""


def stream(folder: Path, **options: Any) -> FrameStream:
    transform = lambda item: {**item, "image": torch.from_numpy(item["image"].copy())[None]}  # noqa: E731
    return FrameStream(inference_cases(folder), transform, isolated=True, **options)


def test_a_decoder_that_crashes_hangs_or_takes_all_memory_loses_one_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(DECODER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))
    (tmp_path / "clips").mkdir()
    for name in ("a", "crash", "good", "hang", "huge", "z"):
        write_clip(tmp_path / "clips" / f"{name}.avi", [ramp(step) for step in range(4)])
    dataset = stream(tmp_path / "clips", timeout=6.0)
    assert Counter(name for batch in dataset for name in batch["case"]) == {"a": 4, "good": 4, "z": 4}
    assert dataset.failures.keys() == {"crash", "hang", "huge"}
    for name, message in (("crash", "its decoder crashed"), ("hang", "took longer than 6 s"), ("huge", "")):
        assert f"{name}.avi: " in dataset.failures[name] and message in dataset.failures[name]


def test_frames_are_those_that_are_read_in_this_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_clip(tmp_path / "a.avi", [coloured(ramp(step)) for step in range(6)], rate=10)
    Image.fromarray(ramp()).resize((400, 300)).save(tmp_path / "b.png")
    reader = Isolated()
    for name in ("a.avi", "b.png"):
        for options in ({}, {"frames_per_second": 5, "crop": [1, 2, 3, 4]}):
            caplog.clear()
            found = [frame.pixels for frame, _ in isolated_frames(reader, tmp_path / name, **options)]
            sent = [record.getMessage() for record in caplog.records]
            caplog.clear()
            expected = pixels_of(tmp_path / name, **options)
            assert sent == [record.getMessage() for record in caplog.records]
            assert len(found) == len(expected)
            assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    with pytest.raises(FileNotFoundError, match=r"c\.png: no such file"):
        next(isolated_frames(reader, tmp_path / "c.png"))


def test_what_libraries_warn_of_becomes_part_of_the_case_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    scan = dicom(np.stack([ramp(0), ramp(1)]))
    scan.SpecificCharacterSet = "ISO_IR 999"
    save_dicom(scan, tmp_path / "a")
    recwarn.clear()
    capfd.readouterr()  # what pydicom says when it writes the file
    notes = [note for batch in stream(tmp_path) for note in batch["notes"]]
    assert len(notes) == 2 and notes[-1].count("ISO_IR 999") == 1
    assert not recwarn.list and "pydicom" not in capfd.readouterr().err


def test_decoding_is_a_few_frames_ahead_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    items = Isolated().run("endless", "frames", str(tmp_path / "counter"))
    before = -1
    next(items)
    while (count := (tmp_path / "counter").stat().st_size) > before:  # until the process waits
        before = count
        time.sleep(0.5)
    items.close()
    assert count < 20
