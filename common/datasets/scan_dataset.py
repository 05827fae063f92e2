"""Cases for inference, where one bad case must not lose the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from monai.data import IterableDataset

logger = logging.getLogger(__name__)


class ScanDataset(IterableDataset):
    """Yields the cases that can be read, and remembers the others.

    Args:
        data: as :func:`common.scans.datalist` gives it.
        transform: preprocessing of one case.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable[[Mapping[str, Any]], Any]) -> None:
        super().__init__(data, transform)
        self.count = len(data)
        self.failures: dict[str, str] = {}

    def __iter__(self) -> Iterator[Any]:
        for case in self.data:
            try:
                if "error" in case:
                    raise ValueError(case["error"])
                item = self.transform(case)  # type: ignore[misc]
            except Exception as error:  # whatever is wrong with one scan, the others are wanted
                self.fail(case, error)
                continue
            yield item

    def fail(self, case: Mapping[Any, Any], error: BaseException) -> None:
        """Remember a case that failed, and say so at once."""
        while error.__cause__ is not None and not isinstance(error, (ValueError, FileNotFoundError)):
            error = error.__cause__  # MONAI wraps what a transform raises
        message = str(error) if str(error).startswith(f"{case['case']}:") else f"{case['case']}: {error}"
        self.failures[str(case["case"])] = message
        logger.error("Left out. %s", message)

    def finish(self) -> None:
        """Last step of a run.

        Raises:
            ValueError: when any case failed, so that the exit code tells; all others are done by then.
        """
        if self.failures:
            listing = "\n".join(f"  {message}" for message in self.failures.values())
            raise ValueError(f"{len(self.failures)} of {self.count} cases could not be segmented:\n{listing}")
        logger.info("Done: %d of %d cases.", self.count, self.count)


class KeepGoing:
    """Postprocessing in which one case that fails is remembered like one that could not be read.

    Args:
        transform: of one case.
        dataset: remembers the failures.

    Raises:
        OSError: when the output cannot be written, which no other case would survive.
    """

    def __init__(self, transform: Callable[[Any], Any], dataset: ScanDataset) -> None:
        self.transform, self.dataset = transform, dataset

    def __call__(self, item: Any) -> Any:
        """The transformed item, or the item as it is where the transform failed."""
        try:
            return self.transform(item)
        except Exception as error:
            if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
                raise
            self.dataset.fail(item, error)
            return item
