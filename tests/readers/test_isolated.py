"""A file that crashes, hangs or floods its decoder is lost alone, and nothing stays behind."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

from common.readers.ct import read
from common.readers.isolated import Isolated

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


OTHERS: set[psutil.Process] = set()  # processes that earlier tests have left to this one, such as its fork server


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    OTHERS.update(psutil.Process().children(recursive=True))
    reader = Isolated(timeout=2.0)
    yield reader
    reader.close()


def children() -> list[psutil.Process]:
    """Processes that the tests of this file have started."""
    return [each for each in psutil.Process().children(recursive=True) if each not in OTHERS]


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A volume large enough for shared memory."""
    values = np.random.default_rng(0).integers(-1000, 400, (96, 80, 64)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-0.7, -0.7, 1.0, 1.0])), tmp_path / "scan.nii")
    return tmp_path / "scan.nii", values


CRASHES = {
    "segmentation fault": (("signal", "raise_signal", signal.SIGSEGV), "crashed \\(SIGSEGV\\)"),
    "abort": (("os", "abort"), "crashed \\(SIGABRT\\)"),
    "exit": (("os", "_exit", 3), "crashed \\(exit code 3\\)"),
    "killed": (("signal", "raise_signal", signal.SIGKILL), "lacked memory"),
    "hang": (("time", "sleep", 60), "longer than 2 s"),
    "100 GB": (("builtins", "bytearray", 100 * GIB), "needs more than 4 GiB of memory"),
}


@pytest.mark.parametrize("kind", CRASHES)
def test_the_next_file_reads_and_no_process_stays(kind: str, isolated: Isolated, scan: tuple[Path, np.ndarray]) -> None:
    call, message = CRASHES[kind]
    with pytest.raises(ValueError, match=message):
        isolated.call(*call)
    path, values = scan
    assert np.array_equal(read(path, isolated=isolated)[0].numpy(), values)
    assert len(children()) == 1, "one process reads, and none is left over"
    assert not [each for each in children() if each.status() == psutil.STATUS_ZOMBIE]


def test_one_process_reads_all_files(isolated: Isolated, scan: tuple[Path, np.ndarray]) -> None:
    first = isolated.call("os", "getpid")
    read(scan[0], isolated=isolated)
    assert isolated.call("os", "getpid") == first


def test_memory_order_and_values_are_those_of_reading_here(isolated: Isolated, scan: tuple[Path, np.ndarray]) -> None:
    here, there = read(scan[0]), read(scan[0], isolated=isolated)
    assert np.array_equal(here, there)
    assert np.array_equal(here.affine, there.affine)
    assert here.numpy().strides == there.numpy().strides
    there[0, 0, 0, 0] = 5  # writable, as transforms need it


def test_two_threads_and_an_open_generator_do_not_wait_for_each_other(isolated: Isolated) -> None:
    opened = isolated.run("builtins", "iter", [1, 2, 3])
    assert next(opened) == 1
    found: list[str] = []

    def work(number: int) -> None:
        for step in range(5):
            found.append(isolated.call("builtins", "str", 10 * number + step))

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found, key=int) == [str(number) for number in (*range(5), *range(10, 15))]
    assert list(opened) == [2, 3]
    isolated.close()
    assert not children()


def test_a_generator_that_is_abandoned_ends_its_process(isolated: Isolated) -> None:
    isolated.close()
    opened = isolated.run("builtins", "iter", list(range(1000)))
    next(opened)
    opened.close()
    assert not children()


def test_copies_and_forks_start_processes_of_their_own(isolated: Isolated) -> None:
    mine = isolated.call("os", "getpid")
    for other in (copy.deepcopy(isolated), pickle.loads(pickle.dumps(isolated))):
        assert other.timeout == isolated.timeout
        assert other.call("os", "getpid") != mine
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, str(isolated.call("os", "getpid")).encode())
        isolated.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read_end, 100)) != mine
    assert isolated.call("os", "getpid") == mine, "the fork has not ended it"


def test_a_process_that_ended_while_idle_is_replaced(isolated: Isolated) -> None:
    process = psutil.Process(isolated.call("os", "getpid"))
    process.kill()
    process.wait(10)
    assert isolated.call("builtins", "str", 1) == "1"


def test_nothing_stays_when_the_caller_is_killed(tmp_path: Path, scan: tuple[Path, np.ndarray]) -> None:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    code = (
        "import sys, time; from common.readers.isolated import Isolated; reader = Isolated(1.0)\n"
        "print(reader.call('os', 'getpid'), flush=True)\n"
        f"while True: reader.call('common.readers.scan', 'read_volume', [{str(scan[0])!r}])"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert caller.stdout is not None
    with caller.stdout:
        reader = psutil.Process(int(caller.stdout.readline()))
    time.sleep(0.5)
    caller.kill()
    caller.wait()
    reader.wait(10)
    if before:
        assert set(os.listdir("/dev/shm")) <= before


def test_a_hanging_decoder_ends_itself_when_the_caller_was_killed() -> None:
    code = (
        "from common.readers.isolated import Isolated; reader = Isolated(0.5)\n"
        "print(reader.call('os', 'getpid'), flush=True); reader.call('time', 'sleep', 100)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert caller.stdout is not None
    with caller.stdout:
        reader = psutil.Process(int(caller.stdout.readline()))
    caller.kill()
    caller.wait()
    reader.wait(15)
