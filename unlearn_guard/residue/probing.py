"""Linear probes: can the right choice be read off a hidden state, whatever the model then makes of it?

A model that always avoids the truth knows it, and is found out here: its states tell the right choice as base's do.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
PENALTY = 0.01
"""The inverse of the ridge, as scikit-learn's `C`: there are more directions than items."""


def probed(features_LND: NDArray[np.float32], right_N: Sequence[int], *, seed: int) -> Mapping[int, tuple[float, ...]]:
    """By place of the layer: which items a multinomial logistic regression on that layer's states answers right.

    Each item is answered by a probe that was fitted to four fifths of the others, without it. States are standardised
    by the fitted part alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels_N = np.asarray(right_N)
    folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(labels_N))
    found = {}
    for place, features_ND in enumerate(features_LND):
        correct_N = np.zeros(len(labels_N))
        for fitted, held_out in folds:
            if len(set(labels_N[fitted])) == 1:  # of one class nothing is fitted: it is what is answered
                correct_N[held_out] = labels_N[held_out] == labels_N[fitted][0]
                continue
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))
            probe.fit(features_ND[fitted], labels_N[fitted])
            correct_N[held_out] = probe.predict(features_ND[held_out]) == labels_N[held_out]
        found[place] = tuple(correct_N.tolist())
    return found


def shuffled(right_N: Sequence[int], *, seed: int) -> tuple[int, ...]:
    """The same labels on other items: what a probe reads of them is what it makes up."""
    return tuple(np.random.default_rng(seed).permutation(np.asarray(right_N)).tolist())
