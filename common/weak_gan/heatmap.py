"""Heatmaps of a network that separates lesions from normal lung."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class HeatAndNormald(MapTransform):
    """Part what ``inferer`` gives: heat stays under the key, the normal version, if any, goes to ``normal``.

    Shapes (1 or 2, ...) to (1, ...).
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """See the class."""
        item = dict(data)
        for key in self.keys:
            both = item[key]
            item[key] = both[:1]
            if len(both) > 1:
                item["normal"] = both[1:]
        return item
