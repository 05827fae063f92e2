"""The command ``python -m common.datasets.check``, which is ``python -m common.check``.

The check needs figures, which lie above the datasets; so it is a room of its own, and this file imports nothing of it.
"""

from __future__ import annotations

import runpy

if __name__ == "__main__":
    runpy.run_module(f"{(__package__ or '').rpartition('.')[0]}.check", run_name="__main__", alter_sys=True)
