"""Transforms of ultrasound frames and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from ultrasound_classes import DENSE, MERGE, SPARSE, VALUES
from ultrasound_files import save_image

from common.transforms.ultrasound import FlipAndGaind, LabelClassesd


def test_a_copy_is_the_flipped_and_scaled_image() -> None:
    image = torch.tensor([[[0.0, 0.5, 1.0], [0.2, 0.4, 0.6]]])
    label = torch.tensor([[[0, 1, 2], [3, 4, 5]]])
    item = FlipAndGaind(["image", "label"])({"image": image, "label": label, "flip": True, "gain": 1.1})
    # 1.1 saturates at white, as an 8-bit picture does
    torch.testing.assert_close(item["image"], torch.tensor([[[1.0, 0.55, 0.0], [0.66, 0.44, 0.22]]]))
    assert item["label"].tolist() == [[[2, 1, 0], [5, 4, 3]]], "labels are flipped and not scaled"
    same = FlipAndGaind(["image"])({"image": image})
    assert torch.equal(same["image"], image)


def labels_of(tmp_path: Path, pixels: np.ndarray, names: list[str], **item: Any) -> list[list[int]]:
    path = save_image(tmp_path / "A_1.png", pixels)
    image = MetaTensor(torch.zeros(1, *pixels.shape))
    transform = LabelClassesd("label", names, VALUES, MERGE)
    return transform({"image": image, "label": path, **item})["label"][0].tolist()


def test_sparse_labels_are_derived_from_dense_ones(tmp_path: Path) -> None:
    pixels = np.array([[1, 2, 3, 4, 5, 6, 7]])
    assert labels_of(tmp_path, pixels, DENSE) == [[0, 1, 2, 3, 4, 5, 6]]
    assert labels_of(tmp_path, pixels, SPARSE) == [[0, 1, 2, 2, 3, 3, 3]]
    palette = Image.fromarray(pixels.astype(np.uint8)).convert("P")
    palette.save(tmp_path / "palette.png")
    item = {"image": torch.zeros(1, 1, 7), "label": tmp_path / "palette.png"}
    assert LabelClassesd("label", DENSE, VALUES, MERGE)(item)["label"][0].tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_wrong_labels_are_refused_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"A_1\.png: labels hold 1 A-line.*7 background; got 0, 9.*label_values::back"):
        labels_of(tmp_path, np.array([[0, 1, 9]]), DENSE)
    with pytest.raises(ValueError, match=r"'pleural line' is not one of .*Train with --labels sparse"):
        labels_of(tmp_path, np.array([[0, 1]]), DENSE, label_values={"background": 0, "pleural line": 1})
    with pytest.raises(ValueError, match=r"its image's shape \(2, 2\), got \(1, 2\)"):
        path = save_image(tmp_path / "B_1.png", np.array([[1, 2]]))
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": path})
    colours = save_image(tmp_path / "C_1.png", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"C_1\.png: a label image must hold one index per pixel, got mode RGB"):
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": colours})
    text = tmp_path / "D_1.png"
    text.write_text("no picture")
    with pytest.raises(ValueError, match=r"D_1\.png: cannot be read as an image"):
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": text})
