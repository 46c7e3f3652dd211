"""Training over folds: what a model may read, how it learns, and what it predicts."""

from heatproof.training.intensity import normalise
from heatproof.training.loading import ScanLoader
from heatproof.training.loop import Fitted, Trainer
from heatproof.training.parts import FoldParts, read_fold
from heatproof.training.settings import TrainingSettings

__all__ = [
    "Fitted",
    "FoldParts",
    "ScanLoader",
    "Trainer",
    "TrainingSettings",
    "normalise",
    "read_fold",
]
