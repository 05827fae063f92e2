"""How far the result of a case can be trusted, noted before anything of it is written."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from ..outliers.monitor import UNUSUAL, Monitor, Verdict

TRUST = "trust"  # key of the verdict in an item
COLUMNS = ("trust", "trust_reason")


class JudgeTrust(Transform):
    """Note whether a case is like the training data of the weights: its ``trust``, and a note if it is unusual.

    It comes first after the network.

    Args:
        monitor: that has watched the network's input.
        strict: refuse unusual cases, so that nothing of them is written.

    Raises:
        ValueError: for an unusual case, if ``strict``.
    """

    def __init__(self, monitor: Monitor, strict: bool = False) -> None:
        self.monitor, self.strict = monitor, bool(strict)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the verdict."""
        item = dict(data)
        item[TRUST] = verdict = self.monitor.verdict()
        if verdict.word == UNUSUAL and self.strict:
            raise ValueError(
                f"{item['case']}: refused as unusual: {verdict.reason}. Look at the scan; without --strict True it is "
                "segmented, with a warning."
            )
        if verdict.word == UNUSUAL:
            item["notes"] = "; ".join(filter(None, [f"unusual input: {verdict.reason}", item.get("notes")]))
        return item


def verdict_of(item: Mapping[Any, Any]) -> Verdict:
    """The verdict on a case; an empty one if none was given."""
    found = item.get(TRUST)
    return found if isinstance(found, Verdict) else Verdict()


def trust_facts(item: Mapping[Any, Any]) -> dict[str, Any]:
    """What the ledger holds of the verdict on a case."""
    verdict = verdict_of(item)
    return {"trust": {"trust": verdict.word, "trust_reason": verdict.reason, "scores": dict(verdict.scores)}}


def trust_row(record: Mapping[str, Any]) -> dict[str, str]:
    """The columns of the verdict in a table; empty for weights that do not know what is usual."""
    return {name: str(record.get("trust", {}).get(name, "")) for name in COLUMNS}
