"""Reproduces a paper's tables: runs a bundle's experiments, and writes our numbers beside the paper's.

``python -m common.reproduce us_dense_seg`` reads ``bundles/us_dense_seg/configs/reproduce.yaml``: variants x folds x
seeds, each an experiment with a folder of its own. What is done is skipped, what was cut off is continued.
"""

from .command import main

__all__ = ["main"]
