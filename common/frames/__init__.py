"""Ultrasound pictures and clips, read frame by frame as grey levels, and found in a folder."""

from .files import CLIPS, DICOM, PICTURES, datalist, is_clip
from .reading import Frame, frames

__all__ = ["CLIPS", "DICOM", "PICTURES", "Frame", "datalist", "frames", "is_clip"]
