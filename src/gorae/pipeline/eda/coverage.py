"""Whether the classes of train are there in test, as a quick classifier sees it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.eda.coverage import class_coverage
from gorae.heads import fit_linear
from gorae.pipeline.eda.found import STRENGTH
from gorae.pipeline.eda.look import Look


def coverage(
    look: Look,
    features: NDArray[np.float32] | None,
    groups: NDArray[np.int64],
    *,
    seed: int,
) -> pd.DataFrame | None:
    """As of ``class_coverage``; None for numbers. Without features test is not looked at."""
    if look.task == "regression":
        return None
    known, classes = look.num_labelled, look.context.tables.classes
    answers = None
    if features is not None and known < len(features) and len(classes) > 1:
        head = fit_linear(
            features[:known],
            look.truth,
            task=look.task,
            groups=groups[:known],
            strengths=(STRENGTH,),
            seed=seed,
            num_classes=len(classes),
        )
        answers = head.predict(features[known:])
    return class_coverage(look.truth, classes, test_proba=answers)
