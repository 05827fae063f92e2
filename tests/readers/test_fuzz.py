"""Damaged files beside healthy ones: seeded damage to every format, and each kind of fault that it has shown once."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import nibabel
import numpy as np
import pydicom
import pytest
from ct_files import write_series
from fuzz import KINDS, Fuzz, with_checksums, write_itk
from PIL import Image
from ultrasound_files import pixels_of, ramp, write_clip

from common.datasets.ct.folder import inference_cases
from common.readers.ct import read
from common.readers.reasons import OTHER, in_words
from common.readers.refused import Refused

COUNT = 100  # of each kind; ``make fuzz`` takes 1,000


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    made = Fuzz(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_beside_healthy_ones(fuzz: Fuzz, kind: str) -> None:
    result = fuzz.run(kind, COUNT)
    assert not result.faults, "\n".join(result.faults[:10])
    assert sum(result.outcomes.values()) == COUNT
    assert result.outcomes["refused"] >= COUNT // 10


@pytest.fixture
def hu() -> np.ndarray:
    """Slices, rows, columns."""
    return np.random.default_rng(0).integers(-1000, 400, (4, 5, 6)).astype(np.int16)


def change(path: Path, at: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


@pytest.mark.parametrize(
    "line",
    [
        "ElementDataFile : ../secret.raw",
        "ElementDataFile=../secret.raw",
        "elementdatafile = ../secret.raw",
        "ElementDataFile = /etc/passwd",
        "ElementDataFile = LIST\n../secret.raw",
        "Comment = x\nElementDataFile = ../secret.raw\r",
        f"Comment = {'x' * 70000}\nElementDataFile = ../secret.raw",
    ],
)
def test_meta_image_reads_nothing_from_elsewhere(tmp_path: Path, hu: np.ndarray, line: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    np.full(1000, 7, np.int16).tofile(tmp_path / "secret.raw")
    write_itk(folder / "scan.mha", hu.T, False)
    header = (folder / "scan.mha").read_bytes().partition(b"ElementDataFile")[0]
    (folder / "scan.mha").write_bytes(header + line.encode() + b"\n")
    with pytest.raises(
        ValueError, match=r"scan\.mha: its (header names data outside|data must be in one|header does not)"
    ):
        read(folder / "scan.mha")


@pytest.mark.parametrize("line", ["data file: ../secret.raw", "datafile:../secret.raw", "DATA FILE: s%d.raw 1 3 1"])
def test_nrrd_reads_nothing_from_elsewhere(tmp_path: Path, hu: np.ndarray, line: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    np.full(1000, 7, np.int16).tofile(tmp_path / "secret.raw")
    write_itk(folder / "scan.nrrd", hu.T, False)
    header = (folder / "scan.nrrd").read_bytes().partition(b"\n\n")[0]
    (folder / "scan.nrrd").write_bytes(header + b"\n" + line.encode() + b"\n\n")
    with pytest.raises(ValueError, match=r"scan\.nrrd: its (header names data outside|data must be in one)"):
        read(folder / "scan.nrrd")


def test_a_header_of_binary_letters_gives_a_short_message(tmp_path: Path, hu: np.ndarray) -> None:
    write_itk(tmp_path / "scan.mha", hu.T, False)
    content = (tmp_path / "scan.mha").read_bytes().replace(b"= LOCAL\n", b"= LO\xffAL\x1b")
    (tmp_path / "scan.mha").write_bytes(content)
    with pytest.raises(ValueError, match=r"scan\.mha: its") as caught:
        read(tmp_path / "scan.mha")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_volume_without_voxels_is_refused(tmp_path: Path, hu: np.ndarray, suffix: str) -> None:
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(hu.T, np.diag([-0.7, -0.8, 2.5, 1.0])), path)
    change(path, 46, struct.pack("<h", 0))  # dim[3]
    if suffix == "nii.gz":
        path.with_suffix(".nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"must hold voxels|damaged"):
        read(tmp_path / f"scan.{suffix}")


@pytest.mark.parametrize("members", [1, 2])
def test_a_header_that_states_gigabytes_takes_no_memory(
    tmp_path: Path, hu: np.ndarray, fuzz: Fuzz, members: int
) -> None:
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(hu.T, np.diag([-0.7, -0.8, 2.5, 1.0])), path)
    change(path, 42, struct.pack("<3h", 1200, 1200, 1200))
    content = gzip.compress(path.read_bytes()) + (gzip.compress(b"") if members == 2 else b"")
    (tmp_path / "scan.nii.gz").write_bytes(content)
    before = fuzz.memory(reset=True)
    with pytest.raises(ValueError, match=r"scan\.nii\.gz: it is incomplete"):
        read(tmp_path / "scan.nii.gz", isolated=fuzz.reader)
    assert fuzz.memory() - before < 2**26


def test_gzip_of_several_members_is_read(tmp_path: Path, hu: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(hu.T, np.diag([-0.7, -0.8, 2.5, 1.0])), tmp_path / "scan.nii")
    content = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(b"".join(map(gzip.compress, (content[:400], content[400:], b""))))
    assert np.array_equal(read(tmp_path / "scan.nii.gz")[0].numpy(), hu.T)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("SOPInstanceUID", ["1.2.3", "4.5"]),
        ("SeriesInstanceUID", ["1.2.3", "4.5"]),
        ("NumberOfFrames", ["1", "2"]),
        ("SliceThickness", ["2.5", "1"]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("PixelSpacing", [0, 0.7]),
        ("ImagePositionPatient", [0, 0]),
    ],
)
def test_a_slice_with_odd_values_loses_no_neighbour(tmp_path: Path, hu: np.ndarray, tag: str, value: list[str]) -> None:
    write_series(tmp_path / "healthy", hu)
    write_series(tmp_path / "broken", hu + 1, series="1.2.77")
    path = tmp_path / "broken" / "001.dcm"
    dataset = pydicom.dcmread(path)
    setattr(dataset, tag, value)
    dataset.save_as(path)
    cases = {case["case"]: case for case in inference_cases(tmp_path)}
    assert np.array_equal(read(cases["healthy"]["image"])[0].numpy(), hu.T)
    try:
        assert np.isfinite(read(path).affine).all()
    except ValueError as error:
        assert "001.dcm: " in str(error)


def test_an_unreadable_slice_makes_only_its_own_series_incomplete(tmp_path: Path, hu: np.ndarray) -> None:
    write_series(tmp_path / "scan", hu)
    write_series(tmp_path / "other", hu + 1, series="1.2.77")
    for path in (tmp_path / "other").iterdir():
        path.rename(tmp_path / "scan" / f"other_{path.name}")
    path = tmp_path / "scan" / "other_003.dcm"  # the last, which leaves no gap
    path.write_bytes(path.read_bytes().replace(b"\x18\x00P\x00DS", b"\x18\x00P\x00ZZ"))
    cases = inference_cases(tmp_path, series="all")
    healthy = [case for case in cases if "error" not in case]
    assert [case["series"] for case in healthy] == ["1.2.5"]
    assert np.array_equal(read(healthy[0]["image"])[0].numpy(), hu.T)
    assert ["other_003.dcm cannot be read" in case["error"] for case in cases if "error" in case] == [True]


def test_text_in_place_of_a_number_loses_no_neighbour(tmp_path: Path, hu: np.ndarray) -> None:
    write_series(tmp_path / "healthy", hu)
    write_series(tmp_path / "broken", hu + 1, series="1.2.77")
    path = tmp_path / "broken" / "001.dcm"
    path.write_bytes(path.read_bytes().replace(b"DS\x04\x002.5 ", b"DS\x04\x002\xf45 "))
    cases = {case["case"]: case for case in inference_cases(tmp_path)}
    assert np.array_equal(read(cases["healthy"]["image"])[0].numpy(), hu.T)


def test_a_jpeg_that_states_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.jpg"
    Image.fromarray(ramp()).save(path)
    change(path, path.read_bytes().index(b"\xff\xc0") + 5, struct.pack(">H", 40000))
    with pytest.raises(
        ValueError, match=r"scan\.jpg: an image must hold all its pixels, got too few bytes for 96 x 40000"
    ):
        read(path)


def test_a_png_that_states_gigabytes_takes_no_memory(tmp_path: Path, fuzz: Fuzz) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(ramp()).save(path)
    change(path, 16, struct.pack(">2I", 60000, 2900))
    path.write_bytes(with_checksums(path.read_bytes()))
    before = fuzz.memory(reset=True)
    with pytest.raises(ValueError, match=r"scan\.png: an image must be complete"):
        read(path, isolated=fuzz.reader)
    assert fuzz.memory() - before < 2**26


def test_a_clip_whose_title_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [ramp(step) for step in range(3)], options={})
    with av.open(str(path)) as source, av.open(str(tmp_path / "titled.mp4"), "w") as target:
        target.metadata["title"] = "TITLE"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = (tmp_path / "titled.mp4").read_bytes()
    assert b"TITLE" in content
    (tmp_path / "titled.mp4").write_bytes(content.replace(b"TITLE", b"L\xfcnge"))
    assert len(pixels_of(tmp_path / "titled.mp4")) == 3


def test_a_clip_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [ramp(step) for step in range(3)], "libx264", options={})
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(ValueError, match=r"clip\.mp4: a clip must be in a known codec"):
        pixels_of(path)


def test_reasons_are_in_plain_words() -> None:
    texts = {
        RuntimeError("itkImageFileReader.hxx:135:\nitk::ERROR: Could not read"): OTHER,
        TypeError("unhashable type: 'MultiValue'"): OTHER,
        KeyError("unknown"): OTHER,
        np.linalg.LinAlgError("SVD did not converge"): "its header states an impossible orientation. Export it again.",
        MemoryError(): "it states more data than a file of its size holds. Export it again.",
        EOFError(
            "Compressed file ended before the end-of-stream marker was reached"
        ): "it is incomplete. Copy it again.",
        ValueError("Use force=True to force reading"): "it is no complete DICOM file. Export it again.",
        AttributeError("Missing required element: (0028,0100) 'Bits Allocated'"): "its header lacks Bits Allocated. "
        "Export it again.",
        Refused("a rule, a value. A remedy."): "a rule, a value. A remedy.",
        OSError("letters\x00of a header"): "letters?of a header.",
    }
    for error, words in texts.items():
        assert in_words(error) == words
