"""MONAI Label's server as a user starts it, and its REST API as clients call it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests

HERE = Path(__file__).parent
START, WAIT = 120, 90  # seconds
TAIL = 4000  # characters of the log that a failure shows


def environment() -> dict[str, str]:
    """Offline, one thread, and a CPU's torchvision repaired."""
    path = os.pathsep.join([str(HERE / "environment"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
    }


def python(*arguments: object, cwd: Path) -> str:
    """Run this environment's Python; its output.

    Raises:
        RuntimeError: with the output, where it fails.
    """
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=WAIT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def unzip(package: Path, models: Path, name: str = "") -> Path:
    """Unpack a bundle among the app's models, possibly under another name, and return its folder."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(models)
    folder = models / package.name.partition("_v")[0]
    return folder.rename(models / name) if name else folder


class Server:
    """A running server with the app monaibundle; ``stop`` ends it and all that it has started.

    Args:
        folder: holds ``apps/monaibundle`` with its models, and ``studies``; receives ``server.log``.
        models: names of the bundles to serve.
        scored: those whose uncertainty can be asked for.

    Raises:
        RuntimeError: with the end of the log, where it does not come up.
    """

    def __init__(self, folder: Path, models: Iterable[str], scored: Iterable[str] = ()) -> None:
        self.folder, self.log = folder, folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {"models": ",".join(models), "zoo_source": "local", "sam2": "false", "auto_update_scoring": "false"}
        settings |= {"epistemic_model": ",".join(scored), "epistemic_simulation_size": "3"} if scored else {}
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", "apps/monaibundle"]
        command += ["--studies", "studies", "--host", "127.0.0.1", "--port", str(port)]
        for key, value in settings.items():
            command += ["--conf", key, value]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self.wait_until_up()
        except BaseException:
            self.stop()
            raise

    def wait_until_up(self) -> None:
        """Ask for its information until it answers."""
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if requests.get(f"{self.url}/info/", timeout=START).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise RuntimeError(f"The server did not come up:\n{self.tail()}")

    def stop(self) -> None:
        """End the server's process group."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sent)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-TAIL:]

    def ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """An answer of the API.

        Raises:
            RuntimeError: for any status but success, with what the server says.
        """
        answer = requests.request(method, f"{self.url}/{path}", timeout=WAIT, **arguments)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def mask(self, model: str, image: Path, result: Path, **params: Any) -> Path:
        """Segment an uploaded image; the mask's file, whose suffix says its format."""
        suffix = "".join(result.suffixes)
        answer = self.ask(
            "POST",
            f"infer/{model}?output=image",
            data={"params": json.dumps({"result_extension": suffix, "result_dtype": "uint8", **params})},
            files={"file": (image.name, image.read_bytes())},
        )
        result.write_bytes(answer.content)
        return result

    def done(self, task: str) -> dict[str, Any]:
        """The last training or scoring, once it has ended.

        Raises:
            RuntimeError: where it failed, with its last lines.
        """
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            status: dict[str, Any] = self.ask("GET", f"{task}/").json()
            if status["status"] == "DONE":
                return status
            if status["status"] == "ERROR":
                break
            time.sleep(0.3)
        raise RuntimeError(f"{task} was not done: {json.dumps(status, indent=2)}")
