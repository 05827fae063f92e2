"""Point tables and volumes that ParaView opens."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from ..files import complete_file


def require_vtk() -> None:
    """Raise ValueError if the optional package vtk is missing."""
    if importlib.util.find_spec("vtkmodules") is None:
        raise ValueError("3-D views need the package vtk, which is not installed. Run pip install vtk.")


def _stride(mask: np.ndarray, affine: np.ndarray, most: int) -> tuple[int, int, int]:
    """Smallest steps of a sub-grid, in voxels and about equal in mm, with at most ``most`` voxels of the mask."""
    sizes = voxel_sizes(affine)
    changes = sorted({float(size * (count + 0.5)) for size in sizes for count in range(max(mask.shape))})  # mm
    strides = (tuple(np.maximum(1, np.floor(step / sizes + 0.5 + 1e-9)).astype(int).tolist()) for step in changes)
    for x, y, z in dict.fromkeys(strides):
        if most > 0 and np.count_nonzero(mask[::x, ::y, ::z]) <= most:
            return x, y, z
    raise ValueError(f"A table needs at least one point, got a limit of {most}. Give 1 or more, or None for all.")


def point_table(
    path: str | Path, mask: np.ndarray, affine: np.ndarray, values: np.ndarray | None = None, most: int | None = None
) -> int:
    """Write the voxels of a mask as CSV with the columns ``x,y,z,value``.

    Args:
        path: the file, written completely or not at all; its folder is created if needed.
        mask: bool (X, Y, Z).
        affine: voxel index to mm, RAS, (4, 4); ``x,y,z`` is the centre of a voxel, rounded to 0.001 mm.
        values: integers (X, Y, Z), usually HU; without it every value is 1.
        most: maximum number of points. A mask with more voxels is sampled on a regular sub-grid with the smallest step
            that keeps to it.

    Returns:
        Number of points written.

    Raises:
        ValueError: for ``most`` below 1.
    """
    x, y, z = (1, 1, 1) if most is None or most > mask.size else _stride(mask, affine, most)
    written = 0
    with complete_file(path) as part, part.open("w", encoding="ascii") as file:
        file.write("x,y,z,value\n")
        for index in range(0, mask.shape[2], z):
            plane = np.argwhere(mask[::x, ::y, index]) * (x, y)  # (N, 2)
            rows = np.ones((len(plane), 4))
            rows[:, :3] = apply_affine(affine, np.insert(plane, 2, index, axis=1)).round(3) + 0.0  # no -0.000
            if values is not None:
                rows[:, 3] = values[plane[:, 0], plane[:, 1], index]
            # One format for all rows takes 1 s per million, numpy.savetxt 4 s
            file.write("%.3f,%.3f,%.3f,%d\n" * len(rows) % tuple(rows.ravel().tolist()))
            written += len(rows)
    return written


def save_volume(path: str | Path, arrays: Mapping[str, np.ndarray], affine: np.ndarray) -> None:
    """Write volumes on one grid as a ``.vti`` file, which ParaView opens; each voxel is a point.

    Args:
        path: the file, written completely or not at all; its folder is created if needed.
        arrays: (X, Y, Z) by name, of one shape; bool counts as uint8. Arrays in Fortran order are not copied.
        affine: voxel index to mm, RAS, (4, 4); it is kept exactly, even if it is oblique or sheared.

    Raises:
        ValueError: for no arrays, shapes that differ, or without vtk.
        OSError: if the file cannot be written.
    """
    require_vtk()
    # vtk is optional: it is installed for 3-D views only
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"{path}: the volumes of a file must have one shape, got {shapes}. Put them on one grid.")
    sizes = voxel_sizes(affine)
    image = vtkImageData()
    image.SetDimensions(*next(iter(shapes.values())))
    image.SetOrigin(*affine[:3, 3].tolist())
    image.SetSpacing(*sizes.tolist())
    image.SetDirectionMatrix(*(affine[:3, :3] / sizes).ravel().tolist())
    for name, array in arrays.items():
        points = numpy_to_vtk((array.view(np.uint8) if array.dtype == bool else array).ravel(order="F"))
        points.SetName(name)
        image.GetPointData().AddArray(points)
    with complete_file(path) as part:
        writer = vtkXMLImageDataWriter()
        writer.SetFileName(str(part))
        writer.SetInputData(image)
        writer.SetDataModeToAppended()
        writer.EncodeAppendedDataOff()
        writer.SetCompressorTypeToLZ4()  # three times as fast as zlib; files are a third larger
        if not writer.Write() or not part.exists():
            raise OSError(f"{path} cannot be written. Check the free space and the permissions of its folder.")
