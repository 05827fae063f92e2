"""A pool of workers on Ray: each is a process with the loaded network, and has one study at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .sources import Study

# Read when Ray starts. Nothing is sent anywhere
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it, Ray warns of its own change
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # seconds until a run whose Ray was killed ends; 60 by default
}
STORE = 100 * 2**20  # bytes of Ray's object store: studies go through files, only their records through Ray
STARTS = 3  # of workers in a row that fail, after which Ray counts as lost
GIB = 2**30


class RayLost(RuntimeError):
    """Ray's own processes have ended, or start no worker."""


@dataclass(frozen=True)
class Needs:
    """What a worker needs.

    Args:
        cpus: processors, and threads of the network.
        gpus: GPUs, or a part of one such as 0.5; None for one where there is any.
        memory: GiB.
    """

    cpus: int = 4
    gpus: float | None = None
    memory: float = 4.0


def import_ray() -> Any:
    """The library, with its settings in the environment.

    Raises:
        ValueError: if it is not installed.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    try:
        import ray
    except ImportError as error:
        raise ValueError("An archive needs Ray. Install it: pip install 'covid-lung-bundles[archive]'.") from error
    return ray


@contextmanager
def cluster(address: str = "", folder: str = "") -> Iterator[Any]:
    """Ray on this computer, or joined; nothing is done if this process has joined already.

    Args:
        address: of a cluster, or ``auto`` for that of this computer; empty starts Ray on this computer.
        folder: of Ray's logs and sockets, for Ray on this computer.

    Raises:
        ValueError: if there is no cluster at the address.
        RayLost: if Ray does not start.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    own = {"num_cpus": len(os.sched_getaffinity(0)), "object_store_memory": STORE, "_temp_dir": folder or None}
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        else:
            ray.init(address="local", **quiet, **own)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there. Start one, or leave it out.") from error
    except Exception as error:  # Ray has no type of its own for it
        raise RayLost(f"Ray did not start: {' '.join(str(error).split())[:300]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def fitted(ray: Any, needs: Needs, workers: int = 0) -> tuple[Needs, int]:
    """What a worker gets, and how many there are.

    Args:
        ray: the library, joined to a cluster.
        needs: of a worker. It gets fewer processors if no computer has as many.
        workers: as many; 0 for as many as there is room for.

    Raises:
        ValueError: if there is no room for them.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in ("CPU", "GPU", "memory")}
    gpus = min(1.0, most["GPU"]) if needs.gpus is None else needs.gpus
    cpus = max(1, min(needs.cpus, int(most["CPU"])))
    room = 0
    for node in nodes:
        counts = [node.get("CPU", 0.0) / cpus, node.get("memory", 0.0) / max(1.0, needs.memory * GIB)]
        counts += [node.get("GPU", 0.0) / gpus] if gpus else []
        room += int(min(counts) + 1e-6)
    found = f"{most['CPU']:.0f} processors, {most['GPU']:g} GPUs and {most['memory'] / GIB:.1f} GiB of memory"
    if not room:
        raise ValueError(
            f"A worker needs {cpus} processors, {gpus:g} GPUs and {needs.memory:g} GiB of memory, and no computer has "
            f"them free: the largest has {found}. Give smaller --cpus, --gpus or --memory."
        )
    if workers > room:
        raise ValueError(
            f"There is room for {room} workers, got --workers {workers}. The largest computer has {found}; give fewer, "
            "or smaller --cpus, --gpus or --memory."
        )
    return Needs(cpus, gpus, needs.memory), workers or room


@dataclass
class Busy:
    """A worker, and what it does.

    Args:
        actor: Ray's handle of the worker.
        study: at hand; None while the network is loaded.
        since: when it began, in seconds.
    """

    actor: Any
    study: Study | None
    since: float


class Pool:
    """Workers, each started again when it ends.

    A worker has one study at a time, so it is known which study a worker ended with. A study counts as tried only when
    the next worker has loaded its network: if Ray itself was killed, no study is to blame.

    Args:
        ray: the library, joined to a cluster.
        make: class of the workers, see ``common.archive.worker.Worker``.
        task: its argument.
        needs: of a worker.
        workers: how many.
        limit: seconds that a study may take.
    """

    def __init__(
        self, ray: Any, make: Callable[..., Any], task: Any, needs: Needs, workers: int, limit: float = 3600.0
    ) -> None:
        self.ray, self.limit = ray, limit
        options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus or 0, "memory": int(needs.memory * GIB)}
        self._make = ray.remote(make).options(**options, max_restarts=0)
        self._task = task
        self._busy: dict[Any, Busy] = {}
        self._idle: list[Any] = []
        self._accused: list[tuple[Study, str]] = []  # studies whose worker has ended
        self._late: set[Any] = set()  # actors that were ended because they took too long
        self._failed_starts = 0
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        actor = self._make.remote(self._task)
        self._busy[actor.load.remote()] = Busy(actor, None, time.monotonic())

    @property
    def has_room(self) -> bool:
        """Whether a worker waits for a study."""
        return bool(self._idle)

    @property
    def at_hand(self) -> list[Study]:
        """The studies that workers have, and those whose worker has ended."""
        busy = [each.study for each in self._busy.values() if each.study is not None]
        return [*busy, *(study for study, _ in self._accused)]

    def give(self, study: Study, last: bool) -> None:
        """Give a study to a worker that waits."""
        actor = self._idle.pop()
        self._busy[actor.do.remote(study, last)] = Busy(actor, study, time.monotonic())

    def results(self, timeout: float = 1.0) -> Iterator[tuple[Study | None, Mapping[str, Any]]]:
        """Yield what workers have done since, within a time; a mistake in loading has no study.

        Raises:
            RayLost: if no worker can be started.
        """
        self._end_late()
        done, _ = self.ray.wait(list(self._busy), num_returns=1, timeout=timeout) if self._busy else ([], [])
        for each in done:
            busy = self._busy.pop(each)
            try:
                outcome = self.ray.get(each)
            except self.ray.exceptions.RayTaskError as error:  # the worker lives
                outcome = {"status": "failed", "reason": " ".join(str(error.cause).split())}
                if busy.study is None:
                    self._start_again(str(outcome["reason"]))
                    continue
            except self.ray.exceptions.RayError as error:
                self._ended(busy, error)
                continue
            if outcome["status"] != "mistake":
                self._idle.append(busy.actor)
            if busy.study is not None:
                yield busy.study, outcome
                continue
            self._failed_starts = 0
            for study, why in self._accused:
                yield study, {"status": "failed", "reason": why}
            self._accused = []
            if outcome["status"] == "mistake":
                yield None, outcome

    def _end_late(self) -> None:
        for busy in self._busy.values():
            if busy.study is not None and time.monotonic() - busy.since > self.limit and busy.actor not in self._late:
                self._late.add(busy.actor)
                self.ray.kill(busy.actor)

    def _ended(self, busy: Busy, error: Exception) -> None:
        """A worker has ended: start another."""
        why = "its worker ended: it ran out of memory, crashed or was killed"
        if busy.actor in self._late:
            why = f"it took longer than {self.limit / 60:g} minutes"
            self._late.discard(busy.actor)
        if busy.study is not None:
            self._accused.append((busy.study, f"{why}."))
        self._start_again(" ".join(str(error).split()), count=busy.study is None)

    def _start_again(self, why: str, count: bool = True) -> None:
        self._failed_starts += count
        if self._failed_starts >= STARTS:
            raise RayLost(f"No worker starts: {why[:300]}")
        self._start()

    def close(self) -> None:
        """End all workers."""
        for actor in [*self._idle, *(busy.actor for busy in self._busy.values())]:
            self.ray.kill(actor)
        self._idle, self._busy = [], {}
