"""Scoring: the deploy view of a net run over images, cropped in several ways, for score files and classifications."""

from netspec.scoring.crops import CENTER, Crops, parse_crops
from netspec.scoring.preparation import Preparation
from netspec.scoring.scorer import AVERAGES, Scorer

__all__ = ["AVERAGES", "CENTER", "Crops", "Preparation", "Scorer", "parse_crops"]
