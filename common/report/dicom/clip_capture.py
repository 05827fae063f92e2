"""Painted frames of an ultrasound clip as one picture series that every viewer plays (secondary capture)."""

from __future__ import annotations

import hashlib
import math
from io import BytesIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, MultiFrameTrueColorSecondaryCaptureImageStorage

from ..overlay_clip import UNTIMED
from .secondary_capture import COMMENT
from .source import Algorithm, Source

QUALITY = 90  # of JPEG; a clip would take a hundred times its own size otherwise


class ClipCapture:
    """Frames of one clip, held as JPEG until the clip has ended.

    Example:
        >>> capture = ClipCapture()
        >>> for picture, seconds in frames:
        ...     capture.add(picture, seconds)
        >>> capture.dataset(read_instance(path), algorithm).save_as("overlay.dcm")
    """

    def __init__(self) -> None:
        self.streams: list[bytes] = []
        self.seconds: list[float] = []
        self.shape = (0, 0)

    def add(self, picture: np.ndarray, seconds: float) -> None:
        """Add a frame.

        Args:
            picture: uint8 (rows, columns, 3), all of one size.
            seconds: since the start of the clip; NaN if it is unknown.
        """
        stream = BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=QUALITY, subsampling="4:2:2")
        self.streams.append(stream.getvalue())
        self.seconds.append(seconds)
        self.shape = (picture.shape[0], picture.shape[1])

    @property
    def milliseconds(self) -> float:
        """Mean time from a frame to the next; that of ten frames a second if it is unknown, as in the mp4."""
        passed = self.seconds[-1] - self.seconds[0]
        return 1000 * passed / (len(self.seconds) - 1) if passed > 0 else 1000 / UNTIMED

    def dataset(self, source: Source, algorithm: Algorithm) -> pydicom.Dataset:
        """The frames as a DICOM object of the source's study.

        Args:
            source: the clip, from ``read_instance``.
            algorithm: what made them. The UIDs are a function of the source, the weights and the frames.
        """
        import highdicom as hd  # here, because it takes a second to import and only DICOM needs it

        (clip,) = source.images
        parts = (algorithm.weights, hashlib.sha256(b"".join(self.streams)).hexdigest())
        # highdicom's own secondary captures have one frame
        made: pydicom.Dataset = hd.base.SOPClass(
            study_instance_uid=clip.StudyInstanceUID,
            **source.new_object("SC", *parts),
            sop_class_uid=MultiFrameTrueColorSecondaryCaptureImageStorage,
            modality="OT",
            manufacturer_model_name=algorithm.name,
            software_versions=algorithm.version,
            series_description=f"{algorithm.name} overlay"[:64],
            transfer_syntax_uid=JPEGBaseline8Bit,
        )
        if "SpecificCharacterSet" in clip:
            made.SpecificCharacterSet = clip.SpecificCharacterSet
        made.copy_patient_and_study_information(clip)
        made.ConversionType, made.ImageType = "WSD", ["DERIVED", "SECONDARY"]
        made.PatientOrientation, made.Laterality = "", ""
        made.ImageComments, made.BurnedInAnnotation = COMMENT, "YES"
        made.SourceImageSequence = [pydicom.Dataset()]
        made.SourceImageSequence[0].ReferencedSOPClassUID = clip.SOPClassUID
        made.SourceImageSequence[0].ReferencedSOPInstanceUID = clip.SOPInstanceUID
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "YBR_FULL_422", 0
        made.Rows, made.Columns = self.shape
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
        made.NumberOfFrames = len(self.streams)
        if len(self.streams) > 1:
            made.FrameIncrementPointer = pydicom.datadict.tag_for_keyword("FrameTime")
            made.FrameTime = pydicom.valuerep.DSfloat(self.milliseconds, auto_format=True)
            if any(map(math.isnan, self.seconds)):
                made.ImageComments += " The time of the frames is not known."
        raw = 3 * math.prod(self.shape) * len(self.streams)
        made.LossyImageCompression, made.LossyImageCompressionMethod = "01", "ISO_10918_1"
        made.LossyImageCompressionRatio = round(raw / sum(map(len, self.streams)), 1)
        made.PixelData = encapsulate(self.streams)
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        return made
