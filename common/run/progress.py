"""Progress bars, for people only: a log file or a pipe gets none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any] | None = None, shown: bool = True, **options: Any) -> tqdm[Any]:
    """Return tqdm's bar over items, which leaves nothing behind. It is shown in a terminal only.

    Configs give ignite's ``ProgressBar`` the same by ``disable: null``, tqdm's word for a terminal only.

    Args:
        items: to go through; None for a bar that is moved by ``update``.
        shown: False for no bar at all.
        options: of tqdm, such as ``desc``, ``total`` and ``unit``.

    Example:
        >>> for scan in progress(scans, desc="Reading", unit="scan"):
    """
    return tqdm(items, leave=False, disable=None if shown else True, **options)
