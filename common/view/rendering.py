"""Pictures of surfaces from two sides, drawn by VTK off-screen in a process of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import whole_file
from ..report.canvas import (
    BACKGROUND,
    CELL,
    FAINT,
    FOOTER,
    GAP,
    HEADER,
    MARGIN,
    WIDTH,
    add_label,
    add_legend,
    add_panel,
    new_figure,
    save,
    write,
)
from ..report.styles import ClassStyle
from .point_tables import require_vtk
from .surfaces import Panel, Part

VIEWS = (((0, 1, 0), "RL", "from the front"), ((-1, 0, 0), "AP", "from the left"))  # seen from (RAS), sides, name
SMALLEST_FIELD = 40.0  # mm, so that one small lesion does not fill a picture
FRAME = 1.08  # of what is shown, so that nothing touches the edge
SUPERSAMPLED = 2  # pixels drawn for one shown, along each axis
DRAWING_SECONDS = 300  # more means that OpenGL hangs
GLASS = (  # the fragment's opacity grows as its surface turns away from the viewer
    "//VTK::Light::Impl\n fragOutput0.a *= mix(0.6, 4.0, pow(1.0 - abs(normalVCVSOutput.z), 2.0));\n"
)
NO_OPENGL = (
    "The 3-D picture could not be drawn: VTK needs OpenGL. Install libegl1 and libgl1-mesa-dri (Debian, Ubuntu). "
    "Tables and VTK files are written."
)


def _corners(panels: Sequence[Panel]) -> np.ndarray:
    """Lowest and highest coordinates of all surfaces, (2, 3) in mm; zeros where there is none."""
    shown = [part.vertices for panel in panels for part in panel.parts if len(part.vertices)]
    if not shown:
        return np.zeros((2, 3))
    return np.array([np.min([each.min(0) for each in shown], 0), np.max([each.max(0) for each in shown], 0)])


def render(path: str | Path, panels: Sequence[Panel], title: str = "", note: str = "", aligned: bool = True) -> None:
    """Picture of surfaces from the front and from the patient's left, superior up, all at one scale.

    Panels are columns and the two views rows; of a single panel, the views lie side by side.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        panels: one or more.
        title: first line, usually the case.
        note: second line.
        aligned: panels have one coordinate system, so that one camera serves all. Else each is centred on its own.

    Raises:
        ValueError: for no panels, without vtk, or where VTK cannot draw.
    """
    if not panels:
        raise ValueError(f"{path}: a picture has at least one panel, got none. Give the surfaces to draw.")
    require_vtk()
    corners = np.array([_corners(panels if aligned else [panel]) for panel in panels])  # (panels, 2, 3)
    x, y, z = np.maximum(FRAME * np.ptp(corners, axis=1).max(axis=0), SMALLEST_FIELD)
    columns = max(2, len(panels))
    cell = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns)  # pixels
    pixel = max(x / cell, y / cell, z / (1.2 * cell))  # mm
    size = (cell, int(np.ceil(z / pixel)))
    scenes = [(panel.parts, each.mean(axis=0)) for panel, each in zip(panels, corners, strict=True)]
    pictures = _drawn(scenes, size, pixel)
    rows = 1 if len(panels) == 1 else 2
    head = HEADER if note else HEADER - 24
    top = head + (HEADER if any(panel.title for panel in panels) else 0)
    figure = new_figure(2 * MARGIN + columns * (size[0] + GAP) - GAP, top + rows * (size[1] + GAP) + FOOTER)
    write(figure, MARGIN, 22, title, 13)
    write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, panel in enumerate(panels):
        left = MARGIN + position * (size[0] + GAP)
        write(figure, left, head + 10, panel.title, 12)
        write(figure, left, head + 34, panel.note, 10.5, FAINT)
        for view, (_, sides, name) in enumerate(VIEWS):
            beside, below = (size[0] + GAP, 0) if rows == 1 else (0, size[1] + GAP)
            axes = add_panel(figure, left + view * beside, top + view * below, *size)
            axes.imshow(pictures[len(VIEWS) * position + view], aspect="auto", interpolation="nearest")
            for place, letter in zip((0.02, 0.98), sides, strict=True):
                add_label(axes, place, 0.5, letter)
            add_label(axes, 0.02, 0.96, name)
            axes.plot([0.97 - 50 / pixel / size[0], 0.97], [0.03, 0.03], color=FAINT, lw=2, transform=axes.transAxes)
            add_label(axes, 0.97, 0.06, "50 mm")
    named = {part.name: part.colour for panel in panels for part in panel.parts}
    add_legend(figure, [ClassStyle(name, 0, colour) for name, colour in named.items()])
    with whole_file(path) as whole:
        save(figure, whole)


Scenes = Sequence[tuple[Sequence[Part], np.ndarray]]  # surfaces, and the point in mm that the camera looks at


def _drawn(scenes: Scenes, size: tuple[int, int], pixel: float) -> list[np.ndarray]:
    """Each scene in each of the ``VIEWS``, uint8 (rows, columns, 3), drawn by a process of its own.

    Without OpenGL, VTK does not raise but end or stop its process, and it prints warnings past Python. A plain
    subprocess, unlike one of ``multiprocessing``, does not run the user's script once more.

    Args:
        scenes: what to draw.
        size: pixels, columns and rows.
        pixel: mm.

    Raises:
        ValueError: where nothing comes back.
    """
    code = f"from {__name__} import _serve; _serve()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("DISPLAY", None)  # drawing off-screen needs no X server, and one far away may hang
    try:
        return pickle.loads(
            subprocess.run(
                [sys.executable, "-c", code],
                input=pickle.dumps((scenes, size, pixel)),
                capture_output=True,
                env=environment,
                timeout=DRAWING_SECONDS,
                check=True,
            ).stdout
        )
    except (subprocess.SubprocessError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(NO_OPENGL) from error


def _serve() -> None:
    """What the drawing process runs: scenes come by its input, pictures go by its output."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what libraries print must not mix with the pictures
        pickle.dump(_draw(*pickle.load(sys.stdin.buffer)), output)


def _draw(scenes: Scenes, size: tuple[int, int], pixel: float) -> list[np.ndarray]:
    """As ``_drawn``, in this process."""
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  the classes below are empty without it
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkLightKit, vtkRenderer, vtkRenderWindow, vtkWindowToImageFilter

    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(SUPERSAMPLED * size[0], SUPERSAMPLED * size[1])
    window.SetMultiSamples(0)  # depth peeling has none
    window.SetAlphaBitPlanes(1)
    pictures = []
    for parts, centre in scenes:
        renderer = vtkRenderer()
        renderer.SetBackground(*(int(BACKGROUND[place : place + 2], 16) / 255 for place in (1, 3, 5)))
        renderer.SetUseDepthPeeling(1)  # else surfaces seen through others come in a wrong order
        renderer.SetMaximumNumberOfPeels(8)
        renderer.SetOcclusionRatio(0.0)
        vtkLightKit().AddLightsToRenderer(renderer)
        for part in parts:
            renderer.AddActor(_actor(part))
        window.AddRenderer(renderer)
        camera = renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        for toward, _, _ in VIEWS:
            camera.SetFocalPoint(*centre.tolist())
            camera.SetPosition(*(centre + 1000 * np.array(toward)).tolist())
            camera.SetViewUp(0, 0, 1)
            camera.SetParallelScale(size[1] * pixel / 2)
            renderer.ResetCameraClippingRange()
            window.Render()
            grab = vtkWindowToImageFilter()
            grab.SetInput(window)
            grab.ReadFrontBufferOff()
            grab.ShouldRerenderOff()
            grab.Update()
            fine = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
            fine = fine.reshape(size[1], SUPERSAMPLED, size[0], SUPERSAMPLED, 3)[::-1]  # VTK's rows run upwards
            pictures.append(fine.mean(axis=(1, 3)).round().astype(np.uint8))
        window.RemoveRenderer(renderer)
    return pictures


def _actor(part: Part) -> Any:
    """A surface as VTK draws it."""
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
