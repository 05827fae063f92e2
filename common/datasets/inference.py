"""Cases for inference, where one bad case loses no other."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from monai.data import IterableDataset
from monai.transforms import Compose

from ..run.errors import CasesFailed, Refused

logger = logging.getLogger(__name__)

FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # no other case could be written either


class Refusal(str):
    """Message of a case that was refused for what it shows; other cases that failed could not be read or written."""


class KeepGoing(Compose):
    """MONAI's ``Compose`` that remembers a case that fails and returns it unchanged.

    Args:
        transforms: applied to one case, a dict with ``case``.

    Raises:
        OSError: when the disk is full or read-only, because every other case would fail as well.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        super().__init__(transforms)
        self.failures: dict[str, str] = {}

    def __call__(self, input_: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return the transformed case, or the case itself if a transform failed, now or on an earlier frame."""
        if str(input_["case"]) in self.failures:
            return input_
        try:
            return super().__call__(input_, *args, **kwargs)
        except Exception as error:  # any error of one case must not lose the others
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in FATAL:
                raise
            self.failures[str(input_["case"])] = failure(input_, error)
            return input_


def failure(case: Mapping[Any, Any], error: BaseException) -> str:
    """Log the message of a case that failed, and return it: a ``Refusal`` if it was refused."""
    while error.__cause__ is not None and not isinstance(error, (ValueError, FileNotFoundError)):
        error = error.__cause__  # MONAI wraps what a transform raises
    message = str(error) if str(error).startswith(f"{case['case']}:") else f"{case['case']}: {error}"
    logger.error("Left out. %s", message)
    return Refusal(message) if isinstance(error, Refused) else message


class Ledger(Protocol):
    """What was done before; see ``common.report.ledger.Ledger``."""

    def start(self, cases: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the cases that are left to do."""

    def begin(self, case: Mapping[str, Any]) -> None:
        """Note that a case is about to be read."""

    def __contains__(self, case: str) -> bool:
        """Whether a case is complete."""

    def finish(self, failures: Mapping[str, str]) -> None:
        """Report on all cases; the messages of those that failed are given by case."""


class ScanDataset(IterableDataset):
    """Yield the cases that can be read, and remember the others.

    Args:
        data: cases, as ``common.datasets.ct.folder.inference_cases`` returns them.
        transform: preprocessing of one case.
        ledger: knows the cases that were done before, which are not read again; None takes all cases.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Any],
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(data, transform)
        self.cases, self.count, self.ledger = data, len(data), ledger
        self.failures: dict[str, str] = {}

    def __iter__(self) -> Iterator[Any]:
        for case in self._left():
            try:
                if self.ledger is not None:
                    self.ledger.begin(case)
                if "error" in case:
                    raise ValueError(case["error"])
                yield from self.items(case)
            except Exception as error:  # any error of one scan must not lose the others
                self.failures[str(case["case"])] = failure(case, error)

    def _left(self) -> Sequence[Mapping[str, Any]]:
        """The cases that no earlier run has done."""
        if self.ledger is None:
            return self.cases
        try:
            return self.ledger.start(self.cases)
        except OSError as error:  # raised in the thread that reads, it would be lost
            self.failures = {str(case["case"]): failure(case, error) for case in self.cases}
            return []

    def items(self, case: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the items of one case: here the transformed case itself."""
        yield self.transform(case)  # type: ignore[misc]

    def finish(self, later: Mapping[str, str]) -> None:
        """Report the cases that failed; the last step of a run.

        Args:
            later: messages of the cases that failed after they were read, by case.

        Raises:
            CasesFailed: when any case failed, so that the exit code shows it. All other cases are done by then.
        """
        failures = {**self.failures, **later}
        if self.ledger is not None:
            lost = [name for name in (str(case["case"]) for case in self.cases) if name not in self.ledger]
            failures |= {name: f"{name}: it was not completed. Run again." for name in lost if name not in failures}
            self.ledger.finish(failures)
        if failures:
            listing = "\n".join(f"  {message}" for message in failures.values())
            raise CasesFailed(f"{len(failures)} of {self.count} cases failed:\n{listing}")
        logger.info("Done: %d of %d cases.", self.count, self.count)
