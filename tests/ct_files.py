"""CT scans as files, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom


def write_dicom(path: Path, pixels: np.ndarray, *, series: str, z: float, instance: int, modality: str = "CT") -> None:
    """One CT slice as a scanner writes it: stored values with slope 1 and intercept -1024."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[series, str(instance)])
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName, dataset.Modality, dataset.SeriesDescription = "1", "1", modality, "chest"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", series, "1.2.4"
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-100.0, -80.0, z], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.7], 2.5
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = (pixels + 1024).astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_series(folder: Path, hu: np.ndarray, series: str = "1.2.5") -> None:
    """HU (slices, rows, columns), first slice lowest; instance numbers run downwards, as from many scanners."""
    for index, pixels in enumerate(hu):
        write_dicom(folder / f"{index:03d}.dcm", pixels, series=series, z=2.5 * index, instance=len(hu) - index)
