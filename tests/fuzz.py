"""Seeded damage to scans of every format: what must hold when such a file lies beside healthy ones.

``python tests/fuzz.py --count 1000`` mutates 1,000 files of each kind. Each mutated file lies in a folder with healthy
neighbours; the folder is listed and read as inference does it. A fault is: a traceback, a message without the file's
name or with a library's inner words, more than 10 s, a neighbour that is lost or changed, more than twice the
memory of the intact volume plus ``CONSTANT``, numbers from outside the folder, or an impossible shape.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel
import numpy as np
from ct_files import write_dicom, write_series
from PIL import Image
from ultrasound_files import GREY, dicom, ramp, save_dicom, write_clip

from common.datasets.ct.folder import inference_cases as ct_cases
from common.datasets.ultrasound.folder import inference_cases as ultrasound_cases
from common.readers.ct import read
from common.readers.isolated import Isolated
from common.readers.ultrasound.frames import isolated_frames

SECONDS = 10.0  # for one file
CONSTANT = 64 * 2**20  # bytes; beyond twice the intact volume
LONGEST = 600  # letters of a message
SECRET = 12345  # value of a file outside the folder
SHAPE = (24, 20, 6)  # columns, rows, slices of the volumes
INNER = re.compile(  # what no message may hold
    r"\.(cxx|cpp|c|h|hxx|py):\d+|Traceback|SVD did not|sparse_coo|Unable to find out axis|force=True|aminmax|itk::|"
    r"0x[0-9a-f]{6,}|<class|object at|NoneType|not subscriptable|unpack requires|has no attribute|codec can't|"
    r"invalid literal|could not convert|list index|out of range|index out|struct\.|numpy|ndarray|dtype|broadcast|"
    r"KeyError|TypeError|ValueError|AttributeError|IndexError|RuntimeError|OverflowError|NotImplementedError|"
    r"MemoryError|AssertionError|ZeroDivision|argument|__|\\x|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]"
)

Mutation = Callable[[bytearray, np.random.Generator], bytearray]


def _header_bytes(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, min(len(data), 400), rng.integers(1, 9)):
        data[at] = rng.integers(256)
    return data


def _any_bytes(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        data[at] = rng.integers(256)
    return data


def _bits(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), rng.integers(1, 5)):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def _truncated(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: rng.integers(0, len(data))]


def _appended(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data + rng.bytes(int(rng.integers(1, 200)))


def _swapped(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = int(rng.integers(1, 17))
    one, other = sorted(int(at) for at in rng.integers(0, max(1, min(len(data), 2000) - size), 2))
    if one + size <= other:
        data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]
    return data


def _moved(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Lengths changed: a piece is left out, repeated or zeroed."""
    at, size = int(rng.integers(0, len(data))), int(rng.integers(1, 65))
    piece = [b"", bytes(data[at : at + size]) * 2, bytes(size)][rng.integers(3)]
    data[at : at + size] = piece
    return data


def _huge_integer(data: bytearray, rng: np.random.Generator) -> bytearray:
    width = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(0, max(1, min(len(data), 1000) - width)))
    number = int(rng.choice([0, 1, 2**8 - 1, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]))
    data[at : at + width] = (number & (256**width - 1)).to_bytes(width, ("little", "big")[rng.integers(2)])
    return data


def _huge_text(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A number in a text replaced."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", bytes(data[:2000])))
    if not found:
        return _huge_integer(data, rng)
    match = found[rng.integers(len(found))]
    choices = [b"0", b"-1", b"99999", b"4294967296", b"1e300", b"nan", b"", b"x", b"1 1 1 1", b"9" * 40, b"inf"]
    data[match.start() : match.end()] = choices[rng.integers(len(choices))]
    return data


def _redirected(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A text header that names data elsewhere."""
    names = [b"/etc/passwd", b"../secret.raw", b"./../secret.raw", b"sub/../../secret.raw", b"LIST", b"s%d.raw 1 3 1"]
    names += [b"../secret.raw\r", b"'../secret.raw'", b"file://../secret.raw", b"SKIPLIST 1 ../secret.raw"]
    name = names[rng.integers(len(names))]
    if data.startswith(b"NRRD"):
        keys = [b"data file: ", b"datafile: ", b"Data File:", b"data file:\t"]
        at = data.index(b"\n") + 1
        data[at:at] = keys[rng.integers(len(keys))] + name + b"\n"
        return data
    key = [b"ElementDataFile = ", b"ElementDataFile=", b"elementdatafile = ", b"ElementDataFile : "][rng.integers(4)]
    return bytearray(re.sub(rb"ElementDataFile = [^\n]*", lambda _: key + name, bytes(data)))


MUTATIONS: dict[str, Mutation] = {
    "header bytes": _header_bytes,
    "bytes": _any_bytes,
    "bit flips": _bits,
    "truncated": _truncated,
    "appended": _appended,
    "swapped": _swapped,
    "lengths": _moved,
    "huge integer": _huge_integer,
    "huge number": _huge_text,
}


def mutated(content: bytes, kind: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """Damage a file; returns it and what was done."""
    mutations = {**MUTATIONS, "redirected": _redirected} if kind in ("mha", "nrrd") else MUTATIONS
    name = list(mutations)[rng.integers(len(mutations))]
    inside = kind == "nii.gz" and rng.random() < 0.5
    data = bytearray(gzip.decompress(content) if inside else content)
    data = mutations[name](data, rng)
    if rng.random() < 0.2 and len(data):
        second = list(mutations)[rng.integers(len(mutations))]
        data, name = mutations[second](data, rng), f"{name}, {second}"
    if inside:
        return gzip.compress(bytes(data), 1), f"{name}, inside"
    if kind == "png" and rng.random() < 0.5:
        return with_checksums(bytes(data)), f"{name}, checksums"
    return bytes(data), name


def with_checksums(data: bytes) -> bytes:
    """A png whose chunks have right checksums, as far as they can be followed."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(bytes(fixed[at + 4 : end])).to_bytes(4, "big")
        at = end + 4
    return bytes(fixed)


def hu() -> np.ndarray:
    """A volume (columns, rows, slices) that compresses as scans do."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    noise = np.random.default_rng(1).normal(0, 20, SHAPE)
    return (np.where(x**2 + y**2 + z**2 / 4 < 0.8, 40, -900) + noise).astype(np.int16)


def write_itk(path: Path, values: np.ndarray, compressed: bool) -> None:
    import itk

    image = itk.image_from_array(np.ascontiguousarray(values.T))
    image.SetSpacing([0.7, 0.8, 2.5])
    itk.imwrite(image, str(path), compression=compressed)


def write_intact(folder: Path) -> dict[str, Path]:
    """One healthy file of each kind; DICOM series as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    values = hu()
    image = nibabel.Nifti1Image(values, np.diag([-0.7, -0.8, 2.5, 1.0]))
    for name in ("scan.nii", "scan.nii.gz"):
        nibabel.save(image, folder / name)
    write_itk(folder / "scan.mha", values, False)
    write_itk(folder / "scan_packed.mha", values, True)
    write_itk(folder / "scan.nrrd", values, False)
    write_itk(folder / "scan_packed.nrrd", values, True)
    write_series(folder / "series", values.transpose(2, 1, 0))
    write_dicom(folder / "scan.dcm", values[..., 3].T, series="1.2.9", z=0.0, instance=1)
    grey = np.clip((values[..., 3].T.astype(float) + 1000) / 5, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(folder / "scan.png")
    Image.fromarray(np.kron(grey, np.ones((2, 2), np.uint8))).save(folder / "scan.jpg")
    write_clip(folder / "clip.mp4", [ramp(step) for step in range(6)], "libx264", options={})
    save_dicom(dicom(GREY[:3], FrameTime=40), folder / "us.dcm")
    Image.fromarray(ramp(3)).save(folder / "us.png")
    return {path.name: path for path in sorted(folder.iterdir())}


@dataclass
class Kind:
    """A kind of file that is mutated."""

    sources: tuple[str, ...]  # the healthy files, used in turn
    name: str  # of the mutated file
    ultrasound: bool = False


KINDS = {
    "nii": Kind(("scan.nii",), "broken.nii"),
    "nii.gz": Kind(("scan.nii.gz",), "broken.nii.gz"),
    "dicom series": Kind(("series",), "broken/003.dcm"),
    "dicom": Kind(("scan.dcm",), "broken.dcm"),
    "mha": Kind(("scan.mha", "scan_packed.mha"), "broken.mha"),
    "nrrd": Kind(("scan.nrrd", "scan_packed.nrrd"), "broken.nrrd"),
    "png": Kind(("scan.png",), "broken.png"),
    "jpg": Kind(("scan.jpg",), "broken.jpg"),
    "mp4": Kind(("clip.mp4",), "broken.mp4", True),
    "us dicom": Kind(("us.dcm",), "broken.dcm", True),
}
CT_NEIGHBOURS = ("scan.nii.gz", "scan.png", "series")
ULTRASOUND_NEIGHBOURS = ("clip.mp4", "us.png")


@dataclass
class Result:
    """What became of the mutated files of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)
    memory: int = 0  # most bytes beyond twice the intact volume
    seconds: float = 0.0  # the longest


class Fuzz:
    """Mutates, lists and reads.

    Args:
        work: an empty folder.
        seed: of the mutations.
    """

    def __init__(self, work: Path, seed: int = 17) -> None:
        self.work, self.seed = work, seed
        self.intact = write_intact(work / "intact")
        self.reader = Isolated()
        np.full(5000, SECRET, np.int16).tofile(work / "secret.raw")
        self.expected = {False: self.neighbours(False), True: self.neighbours(True)}
        for path in self.intact.values():  # imports what each format needs, which may take long
            case = {"image": sorted(path.iterdir()) if path.is_dir() else path}
            self.read(path.name.startswith(("us", "clip")), case)
        self.reader.timeout = SECONDS

    def neighbours(self, ultrasound: bool) -> dict[str, np.ndarray]:
        """What the healthy neighbours give."""
        names = ULTRASOUND_NEIGHBOURS if ultrasound else CT_NEIGHBOURS
        found = {}
        for name in names:
            path = self.intact[name]
            case = {"image": sorted(path.iterdir()) if path.is_dir() else path}
            found[f"healthy_{name.split('.')[0]}_{name.split('.')[-1]}"] = self.read(ultrasound, case)
        return found

    def read(self, ultrasound: bool, case: dict[str, Any]) -> np.ndarray:
        """One case, as inference reads it."""
        if "error" in case:
            raise ValueError(case["error"])
        if not ultrasound:
            return read(case["image"], isolated=self.reader).numpy()
        return np.stack([frame.pixels for frame, _ in isolated_frames(self.reader, case["image"])])

    def run(self, kind: str, count: int, only: int | None = None, keep: bool = False) -> Result:
        """Mutate ``count`` files of a kind."""
        result = Result()
        for number in range(count) if only is None else [only]:
            rng = np.random.default_rng([self.seed, zlib.crc32(kind.encode()), number])
            start = time.monotonic()
            folder = self.work / "cases"
            shutil.rmtree(folder, ignore_errors=True)
            what = self.lay_out(folder, KINDS[kind], kind, rng)
            place = f"{kind} {number} ({what})"
            try:
                self.check(folder, kind, place, result)
            except Exception:
                result.faults.append(f"{place}: {traceback.format_exc(limit=-4)}")
            result.seconds = max(result.seconds, time.monotonic() - start)
            if keep:
                shutil.copytree(folder, Path("/tmp") / f"fuzz_{kind}_{number}", dirs_exist_ok=True)
        return result

    def lay_out(self, folder: Path, kind: Kind, name: str, rng: np.random.Generator) -> str:
        """A folder of healthy files and a mutated one; returns what was done to it."""
        folder.mkdir()
        for neighbour in ULTRASOUND_NEIGHBOURS if kind.ultrasound else CT_NEIGHBOURS:
            source = self.intact[neighbour]
            target = folder / f"healthy_{neighbour.split('.')[0]}_{neighbour.split('.')[-1]}"
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target.with_name(f"{target.name}.{neighbour.split('.', 1)[1]}"))
        source, target = self.intact[kind.sources[rng.integers(len(kind.sources))]], folder / kind.name
        if source.is_dir():
            values = hu().transpose(2, 1, 0)
            write_series(target.parent, values + 1, series="1.2.77")
            source = target
        content, what = mutated(source.read_bytes(), name, rng)
        target.write_bytes(content)
        return what

    def check(self, folder: Path, kind: str, place: str, result: Result) -> None:
        """List and read a folder, and note what must not happen."""
        ultrasound, name = KINDS[kind].ultrasound, KINDS[kind].name
        expected = dict(self.expected[ultrasound])
        cases = (ultrasound_cases if ultrasound else ct_cases)(folder)
        told = ""
        for case in sorted(cases, key=lambda case: str(case["case"]).startswith("broken")):
            if case["case"] in expected:
                if not np.array_equal(self.read(ultrasound, case), expected.pop(case["case"])):
                    result.faults.append(f"{place}: neighbour {case['case']} differs")
                continue
            before = self.memory(reset=True)
            try:
                values = self.read(ultrasound, case)
                told = told or self.shape_is_plausible(values, ultrasound, place, result)
            except (ValueError, FileNotFoundError) as error:
                told = "refused"
                self.judge(str(error), name.partition("/")[0], place, result)
            honest = 4 * int(np.prod(SHAPE)) if not ultrasound else 64 * 96 * 4 * 6
            beyond = self.memory() - before - 2 * honest
            result.memory = max(result.memory, beyond)
            if beyond > CONSTANT:
                result.faults.append(f"{place}: {beyond / 2**20:.0f} MiB beyond twice the intact volume")
        result.outcomes[told or "not listed"] += 1
        for lost in expected:
            result.faults.append(f"{place}: neighbour {lost} is lost")

    @staticmethod
    def shape_is_plausible(values: np.ndarray, ultrasound: bool, place: str, result: Result) -> str:
        """Note an impossible shape, and numbers from elsewhere."""
        bound = 8 * (np.prod(SHAPE) if not ultrasound else 64 * 96 * 6)
        if values.ndim != (3 if ultrasound else 4) or not 0 < values.size <= bound:
            result.faults.append(f"{place}: shape {values.shape}")
        if (values == SECRET).mean() > 0.5:
            result.faults.append(f"{place}: read from outside its folder")
        return "read"

    @staticmethod
    def judge(message: str, name: str, place: str, result: Result) -> None:
        """Note a message that a user would not understand."""
        plain = re.sub(r"[\d.]+", "N", message.partition(name)[2])
        result.messages[plain] += 1
        problems = []
        if name not in message:
            problems.append("no name")
        if found := INNER.search(message):
            problems.append(f"inner words {found[0]!r}")
        if len(message) > LONGEST or "\n" in message:
            problems.append("long")
        if "longer than" in message or "crashed" in message:
            problems.append("hang or crash")
        if problems:
            result.faults.append(f"{place}: {', '.join(problems)}: {message[:400]!r}")

    def memory(self, reset: bool = False) -> int:
        """Resident bytes of the reading process: the peak since the last reset, or now."""
        if not self.reader._idle:
            return 0
        process = Path("/proc") / str(self.reader._idle[-1].pid)
        try:
            if reset:
                (process / "clear_refs").write_text("5")
            status = (process / "status").read_text()
        except OSError:
            return 0
        found = re.search(rf"{'VmRSS' if reset else 'VmHWM'}:\s+(\d+) kB", status)
        return 1024 * int(found[1]) if found else 0


def main() -> None:
    """Mutate files of each kind, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--only", type=int, help="number of one mutation, whose files are kept in /tmp")
    parser.add_argument("--messages", action="store_true", help="print every message once")
    options = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as work:
        fuzz = Fuzz(Path(work), options.seed)
        for kind in options.kinds:
            start = time.monotonic()
            result = fuzz.run(kind, options.count, options.only, options.only is not None)
            outcomes = ", ".join(f"{count} {name}" for name, count in sorted(result.outcomes.items()))
            print(
                f"{kind}: {outcomes}; {len(result.faults)} faults; most memory beyond twice the intact volume "
                f"{result.memory / 2**20:.0f} MiB; longest {result.seconds:.1f} s; {time.monotonic() - start:.0f} s"
            )
            for fault in result.faults[:200]:
                print("  FAULT", fault)
            if options.messages:
                for message, count in result.messages.most_common():
                    print(f"  {count:5d} {message}")
            faults += len(result.faults)
        fuzz.reader.close()
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
