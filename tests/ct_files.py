"""CT scans as files, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.sequence import Sequence as Items

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # directions of rows and columns, LPS
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS to RAS and back
SPACING = (0.7, 0.8, 2.5)  # mm between columns, rows, slices


def ct_slice(
    pixels: np.ndarray,
    *,
    series: str = "1.2.5",
    position: Sequence[float] = (-100.0, -80.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    instance: int = 1,
    **elements: Any,
) -> pydicom.Dataset:
    """One CT slice as a scanner writes it: stored values with slope 1 and intercept -1024.

    Args:
        pixels: HU (rows, columns).
        series: SeriesInstanceUID.
        position: of the first pixel, LPS in mm.
        orientation: directions of rows and columns, LPS.
        instance: InstanceNumber.
        elements: further elements by keyword; None removes one.
    """
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[series, str(instance), str(position)])
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName, dataset.Modality, dataset.SeriesDescription = "1", "1", "CT", "chest"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", series, "1.2.4"
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = [float(value) for value in orientation]
    dataset.PixelSpacing, dataset.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = (pixels + 1024).astype("<i2").tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save_slice(dataset: pydicom.Dataset, path: Path) -> Path:
    """Save a slice; its folder is created if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_dicom(path: Path, pixels: np.ndarray, *, series: str, z: float, instance: int, modality: str = "CT") -> None:
    """One axial CT slice."""
    save_slice(ct_slice(pixels, series=series, position=(-100.0, -80.0, z), instance=instance, Modality=modality), path)


def write_series(folder: Path, hu: np.ndarray, series: str = "1.2.5", **elements: Any) -> list[Path]:
    """HU (slices, rows, columns), first slice lowest; instance numbers run downwards, as from many scanners."""
    paths = []
    for index, pixels in enumerate(hu):
        dataset = ct_slice(
            pixels, series=series, position=(-100.0, -80.0, 2.5 * index), instance=len(hu) - index, **elements
        )
        paths.append(save_slice(dataset, folder / f"{index:03d}.dcm"))
    return paths


def write_volume(
    folder: Path, hu: np.ndarray, affine: np.ndarray, series: str = "1.2.5", **elements: Any
) -> list[Path]:
    """A series on any grid.

    Args:
        folder: of the files.
        hu: (columns, rows, slices).
        affine: of ``hu``, LPS in mm.
        series: SeriesInstanceUID.
        elements: of every slice.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    paths = []
    for index in range(hu.shape[2]):
        dataset = ct_slice(
            hu[..., index].T,
            series=series,
            position=affine[:3, 3] + index * affine[:3, 2],
            orientation=(*directions[:, 0], *directions[:, 1]),
            instance=index + 1,
            PixelSpacing=[float(spacing[1]), float(spacing[0])],
            SliceThickness=float(spacing[2]),
            **elements,
        )
        paths.append(save_slice(dataset, folder / f"{index:03d}.dcm"))
    return paths


def enhanced_ct(hu: np.ndarray, affine: np.ndarray, order: Sequence[int] | None = None) -> pydicom.Dataset:
    """One enhanced CT, a file for the whole volume.

    Args:
        hu: (columns, rows, slices).
        affine: of ``hu``, LPS in mm.
        order: of the slices in the file; by default from the first to the last.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    order = range(hu.shape[2]) if order is None else order
    dataset = ct_slice(hu[..., 0].T, series="1.2.6", NumberOfFrames=hu.shape[2])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(dataset, keyword)
    frames = np.stack([hu[..., index].T for index in order])
    dataset.PixelData = (frames + 1024).astype("<i2").tobytes()
    shared, measures, plane, rescale = (pydicom.Dataset() for _ in range(4))
    measures.PixelSpacing, measures.SliceThickness = [float(spacing[1]), float(spacing[0])], float(spacing[2])
    plane.ImageOrientationPatient = [*map(float, directions[:, 0]), *map(float, directions[:, 1])]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([plane])
    shared.PixelValueTransformationSequence = Items([rescale])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for number, index in enumerate(order, start=1):
        group, position, content = (pydicom.Dataset() for _ in range(3))
        position.ImagePositionPatient = [float(value) for value in affine[:3, 3] + index * affine[:3, 2]]
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", number, [1, number]
        group.PlanePositionSequence, group.FrameContentSequence = Items([position]), Items([content])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    organization, stack, place = (pydicom.Dataset() for _ in range(3))
    organization.DimensionOrganizationUID = "1.2.7"
    for dimension, pointer in ((stack, 0x00209056), (place, 0x00209057)):
        dimension.DimensionOrganizationUID = "1.2.7"
        dimension.DimensionIndexPointer, dimension.FunctionalGroupPointer = pointer, 0x00209111
    dataset.DimensionOrganizationSequence = Items([organization])
    dataset.DimensionIndexSequence = Items([stack, place])
    return dataset


def places(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """World coordinates of the voxels of a grid, (*shape, 3)."""
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def chest(points: np.ndarray) -> np.ndarray:
    """HU of a simple chest at LPS coordinates (..., 3) in mm: body, two lungs, a consolidation in the left one."""
    x, y, z = np.moveaxis(points, -1, 0)
    hu = np.where((x / 75) ** 2 + (y / 60) ** 2 < 1, 40, -1000)
    for side in (-1, 1):
        lung = ((x - 35 * side) / 28) ** 2 + (y / 45) ** 2 + (z / 70) ** 2 < 1
        hu = np.where(lung, -850, hu)
    lesion = ((x - 38) / 18) ** 2 + ((y - 12) / 22) ** 2 + ((z + 6) / 24) ** 2 < 1
    return np.where(lesion, 20, hu).astype(np.int16)


def sampled(affine: np.ndarray, shape: Sequence[int], what: Callable[[np.ndarray], np.ndarray] = chest) -> np.ndarray:
    """HU of the simple chest on a grid whose affine is LPS in mm."""
    return what(places(affine, shape))
