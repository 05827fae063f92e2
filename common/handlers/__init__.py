"""Handlers that MONAI and ignite lack: resumable checkpoints, epochs that can be repeated, tables and pictures."""

from .chosen import ChosenSlices
from .diagnoses import DiagnosisScores
from .pictures import ComparisonPicture
from .pixels import PixelScores
from .scores import ScoreTable
from .slices import SliceScores
from .training import Checkpoint, EarlyStop, EpochSeed, MetricsTable
from .volumes import VolumeScores

__all__ = [
    "Checkpoint",
    "ChosenSlices",
    "ComparisonPicture",
    "DiagnosisScores",
    "EarlyStop",
    "EpochSeed",
    "MetricsTable",
    "PixelScores",
    "ScoreTable",
    "SliceScores",
    "VolumeScores",
]
