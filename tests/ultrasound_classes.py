"""Classes of the ultrasound bundles, for tests."""

from __future__ import annotations

DENSE = ["A-line", "B-line", "healthy pleural line", "unhealthy pleural line", "healthy region", "unhealthy region"]
DENSE += ["background"]
SPARSE = ["A-line", "B-line", "pleural line", "background"]
MERGE = {"healthy pleural line": "pleural line", "unhealthy pleural line": "pleural line"}
MERGE |= {"healthy region": "background", "unhealthy region": "background"}
VALUES = {name: index + 1 for index, name in enumerate(DENSE)}
