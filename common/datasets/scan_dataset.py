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
                while error.__cause__ is not None and not isinstance(error, (ValueError, FileNotFoundError)):
                    error = error.__cause__  # type: ignore[assignment]
                self.failures[str(case["case"])] = str(error)
                logger.error("%s: left out. %s", case["case"], error)
                continue
            yield item

    def finish(self) -> None:
        """Last step of a run.

        Raises:
            ValueError: when any case failed, so that the exit code tells; all others are done by then.
        """
        if self.failures:
            listing = "\n".join(f"  {message}" for message in self.failures.values())
            raise ValueError(f"{len(self.failures)} of {self.count} cases could not be segmented:\n{listing}")
        logger.info("Done: %d of %d cases.", self.count, self.count)
