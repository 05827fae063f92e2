"""A bundle's metadata, adapted to the weights that are packaged with it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .weights import class_names


def packaged_metadata(
    metadata: Mapping[str, Any], inference: Mapping[str, Any], settings: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return metadata with the versions that the weights were trained with, their size of slices and their classes.

    Args:
        metadata: ``metadata.json``, which describes the network of ``inference.yaml`` with its own settings.
        inference: ``inference.yaml``.
        settings: settings of the weights, see ``common.package.configs.trained_settings``.
        record: ``run_training.json``.
    """
    made = copy.deepcopy(dict(metadata))
    versions = record["versions"]
    made["monai_version"] = versions["monai"]
    made["pytorch_version"] = versions["torch"].partition("+")[0]
    made["numpy_version"] = versions["numpy"]
    made["required_packages_version"] |= {
        name: versions[name] for name in made["required_packages_version"] if name in versions
    }
    data = made["network_data_format"]
    for tensor in (*data["inputs"].values(), *data["outputs"].values()):
        if "size" in settings and len(tensor["spatial_shape"]) == len(settings["size"]):
            tensor["spatial_shape"] = settings["size"]
    pred, before = data["outputs"]["pred"], class_names(inference)
    now = class_names({**inference, **settings})
    if list(pred["channel_def"].values()) == before != now:
        pred |= {"num_channels": len(now), "channel_def": {str(index): name for index, name in enumerate(now)}}
        made["pred_classes"] = f"{len(now)} channels of logits: {', '.join(now)}"
    return made
