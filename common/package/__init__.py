"""Bundles as zips that run without this repository, in MONAI's own tools and in MONAI Label.

``python -m common.package ct_drsegunet`` writes ``dist/ct_drsegunet_v0.1.0.zip``; ``python -m common.package verify``
checks such a file before anyone runs what it holds.
"""

from .build import package
from .verify import verify

__all__ = ["package", "verify"]
