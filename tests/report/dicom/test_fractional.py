"""Each CT bundle writes its probabilities as a fractional segmentation, equal to those that it saves as NIfTI."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from bundle_steps import run
from conftest import ROOT
from ct_files import LPS, write_volume

from common.phantoms.ct.chest_ct import chest_ct

NIFTI = {  # beside the object, and of which class
    "ct_drsegunet": ("probability_ground-glass", "ground-glass"),
    "ct_transfer_unet": ("probability_infection", "infection"),
    "ct_weak_gan": ("heat", "lesion"),
    "mosmed_encoders": ("probability_infection", "infection"),
}


@pytest.mark.parametrize("bundle", NIFTI)
def test_a_fractional_segmentation_is_the_saved_probability(bundle: str, tmp_path: Path) -> None:
    patient = chest_ct(2, size=(96, 96), slices=3)
    write_volume(tmp_path / "study", np.rint(patient.image).astype(np.int16), np.diag([*patient.spacing, 1.0]))
    settings = {"dataset_dir": str(tmp_path / "study"), "isolated": False, "seg": "fractional"}
    saved, name = NIFTI[bundle]
    more = {} if saved == "heat" else {"probabilities": True}
    config = str(ROOT / "bundles" / bundle / "configs" / "inference.yaml")
    run("run", [config], tmp_path / "out", **settings, **more)
    volume = nibabel.load(next((tmp_path / "out").glob(f"*_{saved}.nii.gz")))
    file = pydicom.dcmread(next((tmp_path / "out").glob("*_mask.dcm")))
    (number,) = [each.SegmentNumber for each in file.SegmentSequence if each.SegmentLabel == name]
    assert "background" not in {each.SegmentLabel for each in file.SegmentSequence}
    seen = np.zeros(volume.shape)
    for plane, groups in zip(file.pixel_array, file.PerFrameFunctionalGroupsSequence, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
            index = np.linalg.inv(LPS @ volume.affine) @ [*origin, 1]
            seen[..., round(index[2])] = plane.T / 255
    assert seen.max() > 0.2
    assert np.abs(seen - volume.get_fdata()).max() < 0.5 / 255 + 1e-4
