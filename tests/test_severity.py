"""Severity classes at their bounds."""

from __future__ import annotations

import pytest

from common.severity import severity_class


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (0.0, "CT-0"),
        (1e-9, "CT-1"),
        (0.2499, "CT-1"),
        (0.25, "CT-2"),
        (0.4999, "CT-2"),
        (0.5, "CT-3"),
        (0.7499, "CT-3"),
        (0.75, "CT-4"),
        (1.0, "CT-4"),
    ],
)
def test_severity_at_its_bounds(share: float, name: str) -> None:
    assert severity_class(share) == name


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_severity_of_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="The share of lung"):
        severity_class(share)
