"""MONAI's command line in a process of its own, for tests.

A new process would import torch and MONAI for four seconds. This one is forked from a process that has imported them,
and is otherwise as if started by ``python -m monai.bundle run``: own arguments, folder, environment, output, exit code.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("datasets", "handlers", "readers", "report", "run", "self_learning", "transforms", "weak_gan")
PRELOADED = [
    *("matplotlib.backends.backend_agg", "monai.bundle", "monai.engines", "monai.handlers", "torch._dynamo"),
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in FOLDERS
        for path in (ROOT / "common" / folder).rglob("*.py")
        if path.stem != "__init__"
    ),
]


def forks() -> Any:
    """Context of processes that are forked from one that has imported torch and MONAI."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()  # with the environment as it is now
    return context


def run_bundle(*arguments: object, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    """Run ``python -m monai.bundle run ...`` from the repository's root, as the README does."""
    words = ["run", *map(str, arguments)]
    context = forks()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        process = context.Process(target=_run, args=(words, dict(os.environ), *map(str, files)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout, *(file.read_text(errors="replace") for file in files))
        output = [file.read_text() for file in files]
    return subprocess.CompletedProcess(words, process.exitcode, *output)


def _run(words: list[str], environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Body of the forked process."""
    for path, number in ((stdout, 1), (stderr, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["monai.bundle", *words]
    code: Any = 0
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        code = 1
        try:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        except SystemExit as end:  # as Python does
            code = end.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what Python does at its end, in this order
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
