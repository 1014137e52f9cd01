"""Linear probes find what lies in the states, and nothing that does not."""

import numpy as np
import pytest

from unlearn_guard.residue.probing import FOLDS, PENALTY, probed, shuffled


@pytest.fixture(scope="module")
def planted():
    """Layer 0 is noise; layer 1 holds the label in one of four directions."""
    draw = np.random.default_rng(0)
    right = tuple(int(each) for each in draw.integers(4, size=120))
    noise = draw.normal(size=(2, 120, 20)).astype(np.float32)
    noise[1, np.arange(120), right] += 8.0
    return noise, right


def test_what_was_planted_is_read_off_and_noise_is_not(planted):
    features, right = planted
    found = probed(features, right, seed=0)
    assert np.mean(found[0]) < 0.4
    assert np.mean(found[1]) > 0.95


def test_a_state_that_tells_the_truth_in_order_to_avoid_it_is_found_out(planted):
    """Always the next wrong choice: not one answer is right, and all of it is knowledge."""
    features, right = planted
    turned = features.copy()
    turned[1, :, :4] = -turned[1, :, :4]
    assert np.mean(probed(turned, right, seed=0)[1]) > 0.95


def test_shuffled_labels_are_the_same_ones_and_cannot_be_read(planted):
    features, right = planted
    labels = shuffled(right, seed=0)
    assert sorted(labels) == sorted(right)
    assert labels != right
    assert np.mean(probed(features, labels, seed=0)[1]) < 0.45


def test_no_item_answers_for_itself():
    """Every item has a direction of its own: a probe that saw it would be right, one that did not guesses."""
    right = tuple(place % 4 for place in range(40))
    found = probed(np.eye(40, dtype=np.float32)[None], right, seed=0)
    assert np.mean(found[0]) <= 0.3


def test_the_literal_folds_agree(planted):
    """Five folds, standardised and fitted by hand: gradient descent on the ridge-penalised loss of each fold."""
    features, right = planted
    labels = np.array(right)
    from sklearn.model_selection import KFold

    expected = np.zeros(120)
    for fitted, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(labels):
        mean, scale = features[1][fitted].mean(0), features[1][fitted].std(0)
        x, y = (features[1][fitted] - mean) / scale, np.eye(4)[labels[fitted]]
        weights, bias = np.zeros((20, 4)), np.zeros(4)
        for _ in range(4000):
            logits = x @ weights + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            weights -= 0.05 * (PENALTY * x.T @ (p - y) + weights)
            bias -= 0.05 * PENALTY * (p - y).sum(0)
        asked = (features[1][held_out] - mean) / scale
        expected[held_out] = (asked @ weights + bias).argmax(1) == labels[held_out]
    assert probed(features, right, seed=0)[1] == tuple(expected)


def test_of_one_class_that_class_is_answered(planted):
    """A task whose right choice is always the first."""
    features, _ = planted
    assert probed(features, (0,) * 120, seed=0)[1] == (1.0,) * 120
    assert sum(probed(features, (1, *(0,) * 119), seed=0)[1]) == 119
