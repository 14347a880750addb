"""Features and probabilities of images, view by view, from the prepared store.

``pictures`` says which pixels are seen and reads them, ``network`` makes a forward pass as
fast as it gets, ``passes`` runs it over all pictures, ``predict`` is what others call.
"""

from gorae.inference.execution import MOST_THREADS, Execution
from gorae.inference.pictures import Pictures, picture_keys
from gorae.inference.predict import (
    NamedWeights,
    extract_features,
    predict_checkpoints,
    predict_probabilities,
)
from gorae.inference.ranges import measure_ranges

__all__ = [
    "MOST_THREADS",
    "Execution",
    "NamedWeights",
    "Pictures",
    "extract_features",
    "measure_ranges",
    "picture_keys",
    "predict_checkpoints",
    "predict_probabilities",
]
