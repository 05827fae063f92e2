"""What inference leaves for each ultrasound picture or clip: masks, an overlay, lines in two tables."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from .canvas import FILL
from .frame_overlay import draw_frame_overlay
from .mask_files import mask_palette, save_picture_mask
from .styles import ClassStyle, class_styles

logger = logging.getLogger(__name__)

SHOWN = 6  # frames on a clip's sheet
SHARP = 600  # pixels; wider frames are drawn smaller on a sheet anyway
STRIP = 26  # pixels, for the names of the classes below an overlay clip
CLOCK = 1000  # ticks a second in overlay clips


def painted(pixels: np.ndarray, mask: np.ndarray, styles: Sequence[ClassStyle]) -> np.ndarray:
    """A frame with its classes in colour.

    Args:
        pixels: uint8 grey levels (rows, columns).
        mask: values of the classes, same shape.
        styles: of the classes; background is not drawn.

    Returns:
        uint8 (rows, columns, 3).
    """
    colour, opacity = np.zeros((256, 3), np.float32), np.zeros((256, 1), np.float32)
    for style in styles:
        if style.name != "background":
            colour[style.value], opacity[style.value] = style.colour, FILL
    # A table of all grey levels and values: looking up is faster than mixing floating-point pictures
    grey = np.arange(256, dtype=np.float32)[:, None, None]
    table = (grey * (1 - opacity) + colour * opacity).round().astype(np.uint8)  # (grey level, value, 3)
    return table[pixels, mask]


class OverlayClip:
    """An mp4 of painted frames, written beside and renamed when whole.

    Args:
        path: of the mp4.
        shape: rows and columns of the frames.
        styles: named below the frames.
    """

    def __init__(self, path: Path, shape: tuple[int, int], styles: Sequence[ClassStyle]) -> None:
        import av

        self.path, self.part = path, path.with_name(f".{path.name}.part")
        self.rows, self.columns = shape
        self.strip = self._strip(styles)
        self.container = av.open(str(self.part), "w", format="mp4")
        options = {"crf": "20", "preset": "veryfast", "tune": "zerolatency"}  # which keeps no frames waiting in memory
        self.stream: Any = self.container.add_stream("libx264", rate=CLOCK, options=options)
        # Chroma is stored for two by two pixels, so that sizes are even
        self.stream.width, self.stream.height = self.columns + self.columns % 2, self.rows + STRIP + self.rows % 2
        self.stream.pix_fmt = "yuv420p"
        self.ticks = -1

    def _strip(self, styles: Sequence[ClassStyle]) -> np.ndarray:
        from PIL import Image, ImageDraw, ImageFont

        strip = Image.new("RGB", (self.columns + self.columns % 2, STRIP + self.rows % 2))
        pen, font, left = ImageDraw.Draw(strip), ImageFont.load_default(13), 6.0
        for style in styles:
            if style.name != "background":
                pen.text((left, 5), style.name, fill=style.colour, font=font)
                left += pen.textlength(style.name, font) + 14
        return np.asarray(strip)

    def append(self, picture: np.ndarray, seconds: float, caption: str) -> None:
        """Add a frame, uint8 (rows, columns, 3), with a line of text at its top."""
        import av
        from PIL import Image, ImageDraw, ImageFont

        image = Image.fromarray(np.pad(picture, ((0, 0), (0, self.columns % 2), (0, 0))))
        pen = ImageDraw.Draw(image)
        pen.text((6, 4), caption, fill="white", font=ImageFont.load_default(14), stroke_width=2, stroke_fill="black")
        frame = av.VideoFrame.from_ndarray(np.concatenate([np.asarray(image), self.strip]), format="rgb24")
        # Frames without time (DICOM may state none) follow each other at ten a second
        self.ticks = self.ticks + CLOCK // 10 if np.isnan(seconds) else max(self.ticks + 1, round(seconds * CLOCK))
        frame.pts, frame.time_base = self.ticks, Fraction(1, CLOCK)
        self.container.mux(self.stream.encode(frame))

    def close(self, whole: bool) -> None:
        """Finish the file, or remove it where the clip broke off."""
        if whole:
            self.container.mux(self.stream.encode())
        self.container.close()
        if whole:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)


class CaseInProgress:
    """One picture or clip while its frames come in: bounded memory, nothing under its final name before it is whole."""

    def __init__(self, stem: Path, single: bool, styles: Sequence[ClassStyle]) -> None:
        self.stem, self.single, self.styles = stem, single, styles
        self.palette = mask_palette(styles)
        self.rows: list[dict[str, Any]] = []
        self.kept: list[tuple[np.ndarray, np.ndarray, str]] = []
        self.stride = 1
        self.clip: OverlayClip | None = None
        self.masks = stem.with_name(f"{stem.name}_masks")
        self.part = stem.with_name(f".{stem.name}_masks.part")
        stem.parent.mkdir(parents=True, exist_ok=True)
        if not single:
            shutil.rmtree(self.part, ignore_errors=True)
            self.part.mkdir()

    def add(self, pixels: np.ndarray, mask: np.ndarray, row: dict[str, Any], caption: str) -> None:
        """A frame, its mask, and its line of the table."""
        if self.single:
            save_picture_mask(self.stem.with_name(f"{self.stem.name}_mask.png"), mask, self.palette)
        else:
            save_picture_mask(self.part / f"{row['frame']:05d}.png", mask, self.palette)
            rows, columns = pixels.shape
            self.clip = self.clip or OverlayClip(
                self.stem.with_name(f"{self.stem.name}_overlay.mp4"), (rows, columns), self.styles
            )
            self.clip.append(painted(pixels, mask, self.styles), row["seconds"], caption)
        if len(self.rows) % self.stride == 0:
            timed = f"frame {row['frame']}" if np.isnan(row["seconds"]) else f"{row['seconds']:.1f} s"
            step = max(1, pixels.shape[1] // SHARP)
            self.kept.append((pixels[::step, ::step].copy(), mask[::step, ::step].copy(), "" if self.single else timed))
        self.rows.append(row)
        if len(self.kept) >= 2 * SHOWN:  # the length of a clip is known at its end: keep every second, fourth, ...
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def finish(self, title: str, note: str) -> None:
        """Draw the sheet, give the files their names."""
        chosen = np.unique(np.linspace(0, len(self.kept) - 1, SHOWN).round().astype(int))
        pixels, masks, titles = zip(*(self.kept[index] for index in chosen), strict=True)
        sheet = self.stem.with_name(f"{self.stem.name}_overlay.png")
        draw_frame_overlay(sheet, pixels, masks, self.styles, titles, title=title, note=note)
        if self.clip is not None:
            self.clip.close(whole=True)
            shutil.rmtree(self.masks, ignore_errors=True)
            self.part.rename(self.masks)

    def discard(self) -> None:
        """Remove what a broken clip left."""
        if self.clip is not None:
            self.clip.close(whole=False)
        shutil.rmtree(self.part, ignore_errors=True)


class Table:
    """A CSV file to which rows are added as cases finish.

    Args:
        path: of the file, begun anew.
        columns: its header.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.columns = path, list(columns)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writeheader()

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; numbers to five decimals, for shares can be small."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self.columns)
            table.writerows(
                {name: f"{value:.5f}" if isinstance(value, float) else value for name, value in row.items()}
                for row in rows
            )


class ReportFramesd(MapTransform):
    """Masks, overlay and table lines of pictures and clips whose frames come in one after the other.

    A picture leaves ``<case>_mask.png`` and ``<case>_overlay.png``; a clip ``<case>_masks/<frame>.png``,
    ``<case>_overlay.mp4`` and a sheet of six frames, ``<case>_overlay.png``. ``frames.csv`` has a line for each frame,
    ``cases.csv`` one for each file: the means over its frames and, where there are probabilities, the diagnosis with
    the highest mean. A clip that breaks off leaves nothing.

    Args:
        keys: mask values (1, rows, columns); the item holds the frame under ``picture``, and ``measures``.
        output_dir: folder; cases keep their sub-folders.
        metadata, classes: see ``common.report.styles.class_styles``.
        diagnoses: in channel order, if there are any.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        diagnoses: Sequence[str] = (),
    ) -> None:
        super().__init__(keys)
        self.output_dir, self.styles = Path(output_dir), class_styles(metadata, classes)
        self.diagnoses = list(diagnoses)
        measures = [f"probability_{name}" for name in diagnoses] + [f"share_{name}" for name in classes]
        decision = ["diagnosis"] if self.diagnoses else []
        self.frames = Table(self.output_dir / "frames.csv", ["case", "frame", "seconds", *decision, *measures])
        self.cases = Table(self.output_dir / "cases.csv", ["case", "frames", *decision, *measures])
        self.case = ""
        self.progress: CaseInProgress | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take a frame; at the last one of its case, write the case."""
        item = dict(data)
        case, last = str(item["case"]), bool(item["last"])
        if self.progress is None or case != self.case:
            self.discard()
            self.case, self.progress = case, CaseInProgress(self.output_dir / case, last, self.styles)
        row = {"case": case, "frame": int(item["frame"]), "seconds": float(item["seconds"]), **item["measures"]}
        row |= self.decision(row)
        for key in self.keys:
            pixels = item["picture"][0].round().byte().cpu().numpy()
            mask = item[key][0].round().byte().cpu().numpy()
            self.progress.add(pixels, mask, row, self.caption(row))
        if last:
            self.finish()
        return item

    def decision(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The most probable diagnosis, if there are any."""
        if not self.diagnoses:
            return {}
        return {"diagnosis": max(self.diagnoses, key=lambda name: row[f"probability_{name}"])}

    def caption(self, row: Mapping[str, Any]) -> str:
        """One line: the diagnosis, or the classes that take the largest part of the picture."""
        if self.diagnoses:
            return f"{row['diagnosis']} {row['probability_' + row['diagnosis']]:.2f}"
        shares = [(row[f"share_{s.name}"], s.name) for s in self.styles if s.name != "background"]
        return ", ".join(f"{name} {100 * share:.1f} %" for share, name in sorted(shares, reverse=True)[:3] if share > 0)

    def finish(self) -> None:
        """Write the case whose last frame came in."""
        if self.progress is None:
            return
        rows = self.progress.rows
        measures = [name for name in rows[0] if name.startswith(("probability_", "share_"))]
        mean = {name: float(np.mean([row[name] for row in rows])) for name in measures}
        mean |= self.decision(mean)
        line = self.caption(mean) or "nothing found"
        self.progress.finish(self.case, f"{line}; mean over {len(rows)} frames" if len(rows) > 1 else line)
        self.frames.append(rows)
        self.cases.append([{"case": self.case, "frames": len(rows), **mean}])
        logger.info("%s: %d frame%s, %s.", self.case, len(rows), "" if len(rows) == 1 else "s", line)
        self.progress = None

    def discard(self) -> None:
        """Remove what a case left that broke off."""
        if self.progress is not None:
            self.progress.discard()
            self.progress = None
