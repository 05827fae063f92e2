"""Surfaces drawn by VTK off-screen, in a process of its own.

If OpenGL is missing, VTK does not raise an error: it ends or hangs its process, and prints warnings that Python cannot
catch. A plain subprocess is used because, unlike one of ``multiprocessing``, it does not run the user's script again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from .scene import VIEWS, Part

Scenes = Sequence[tuple[Sequence[Part], np.ndarray]]  # surfaces, and the point in mm that the camera looks at

SUPERSAMPLED = 2  # pixels drawn for each pixel of the picture, along each axis
SECONDS = 300  # more means that OpenGL hangs
GLASS = (  # the fragment's opacity grows as its surface turns away from the viewer
    "//VTK::Light::Impl\n fragOutput0.a *= mix(0.6, 4.0, pow(1.0 - abs(normalVCVSOutput.z), 2.0));\n"
)
NO_OPENGL = (
    "The 3-D picture could not be drawn: VTK needs OpenGL. Install libegl1 and libgl1-mesa-dri (Debian, Ubuntu). "
    "Tables and VTK files are written."
)


def draw_off_screen(
    scenes: Scenes, size: tuple[int, int], pixel: float, background: tuple[float, float, float]
) -> list[np.ndarray]:
    """Draw each scene in each of the ``VIEWS``, in another process.

    Args:
        scenes: what to draw.
        size: columns and rows of a picture.
        pixel: size of a pixel in mm.
        background: red, green, blue, 0..1.

    Returns:
        Pictures, uint8 (rows, columns, 3): all views of the first scene, then those of the next.

    Raises:
        ValueError: if the process ends without pictures.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("DISPLAY", None)  # drawing off-screen needs no X server, and a remote one may hang
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import answer; answer()"],
            input=pickle.dumps((scenes, size, pixel, background)),
            capture_output=True,
            env=environment,
            timeout=SECONDS,
            check=True,
        )
        return pickle.loads(done.stdout)
    except (subprocess.SubprocessError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(NO_OPENGL) from error


def answer() -> None:
    """Run in the drawing process: read scenes from standard input, write pictures to standard output."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what libraries print must not mix with the pictures
        pickle.dump(_draw(*pickle.load(sys.stdin.buffer)), output)


def _draw(
    scenes: Scenes, size: tuple[int, int], pixel: float, background: tuple[float, float, float]
) -> list[np.ndarray]:
    """Draw the scenes in this process; see ``draw_off_screen``."""
    # vtk is optional, and takes long to import: only the drawing process needs it
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  the classes below are empty without it
    from vtkmodules.vtkRenderingCore import vtkLightKit, vtkRenderer, vtkRenderWindow

    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(SUPERSAMPLED * size[0], SUPERSAMPLED * size[1])
    window.SetMultiSamples(0)  # depth peeling has none
    window.SetAlphaBitPlanes(1)
    pictures = []
    for parts, centre in scenes:
        renderer = vtkRenderer()
        renderer.SetBackground(*background)
        renderer.SetUseDepthPeeling(1)  # otherwise surfaces seen through others are drawn in a wrong order
        renderer.SetMaximumNumberOfPeels(8)
        renderer.SetOcclusionRatio(0.0)
        vtkLightKit().AddLightsToRenderer(renderer)
        for part in parts:
            renderer.AddActor(_actor(part))
        window.AddRenderer(renderer)
        camera = renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        for direction, _, _ in VIEWS:
            camera.SetFocalPoint(*centre.tolist())
            camera.SetPosition(*(centre + 1000 * np.array(direction)).tolist())
            camera.SetViewUp(0, 0, 1)
            camera.SetParallelScale(size[1] * pixel / 2)
            renderer.ResetCameraClippingRange()
            window.Render()
            pictures.append(_picture(window, size))
        window.RemoveRenderer(renderer)
    return pictures


def _picture(window: Any, size: tuple[int, int]) -> np.ndarray:
    """What a window shows, averaged to the size of a picture."""
    # see _draw
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.Update()
    fine = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
    fine = fine.reshape(size[1], SUPERSAMPLED, size[0], SUPERSAMPLED, 3)[::-1]  # VTK's rows run upwards
    return fine.mean(axis=(1, 3)).round().astype(np.uint8)


def _actor(part: Part) -> Any:
    """A surface as VTK draws it."""
    # see _draw
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals, vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    points, triangles, mesh = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(part.vertices, deep=True))
    triangles.SetData(3, numpy_to_vtkIdTypeArray(part.faces.ravel(), deep=True))
    mesh.SetPoints(points)
    mesh.SetPolys(triangles)
    actor, mapper, normals = vtkActor(), vtkPolyDataMapper(), vtkPolyDataNormals()
    normals.SplittingOff()
    normals.SetInputData(mesh)
    look = actor.GetProperty()
    look.SetColor(*(each / 255 for each in part.colour))
    look.SetOpacity(part.opacity)
    look.SetAmbient(0.15)
    look.SetDiffuse(0.85)
    look.SetSpecular(0.25)
    look.SetSpecularPower(25)
    if part.opacity < 1:
        smooth = vtkWindowedSincPolyDataFilter()  # keeps the volume; steps between slices would show as rings in glass
        smooth.SetInputData(mesh)
        smooth.SetNumberOfIterations(30)
        smooth.SetPassBand(0.02)
        smooth.NormalizeCoordinatesOn()
        normals.SetInputConnection(smooth.GetOutputPort())
        actor.GetShaderProperty().AddFragmentShaderReplacement("//VTK::Light::Impl", True, GLASS, False)
    mapper.SetInputConnection(normals.GetOutputPort())
    actor.SetMapper(mapper)
    return actor
