"""Handlers that MONAI and ignite lack: resumable checkpoints, epochs that can be repeated, tables and pictures."""

from .diagnoses import DiagnosisScores
from .pictures import ComparisonPicture
from .pixels import PixelScores
from .scores import ScoreTable
from .training import Checkpoint, EpochSeed, MetricsTable

__all__ = [
    "Checkpoint",
    "ComparisonPicture",
    "DiagnosisScores",
    "EpochSeed",
    "MetricsTable",
    "PixelScores",
    "ScoreTable",
]
