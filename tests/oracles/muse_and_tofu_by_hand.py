"""MUSE's and TOFU's metrics the slow way, straight from their definitions, sharing nothing with the code under test.

Sources: Shi et al. 2024, arXiv 2407.06460, Section 3; Maini et al. 2024, arXiv 2401.06121, Section 2.2; Lin 2004.
"""

import itertools
import math
import re

import torch


def longest_common(one: list[str], other: list[str]) -> int:
    """By trying every subsequence's recursion, no table."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + longest_common(one[1:], other[1:])
    return max(longest_common(one[1:], other), longest_common(one, other[1:]))


def rouge_l(reference: str, written: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of ROUGE-L over lower-case words of letters and digits, without stemming."""
    expected, found = (re.findall(r"[a-z0-9]+", text.lower()) for text in (reference, written))
    if not expected or not found:
        return 0.0, 0.0, 0.0
    common = longest_common(expected, found)
    precision, recall = common / len(found), common / len(expected)
    return precision, recall, 0.0 if not common else 2 * precision * recall / (precision + recall)


@torch.no_grad()
def token_nats(model, ids: list[int], start: int) -> list[float]:
    """log p of every token from `start` on, one forward pass a token, in double precision."""
    found = []
    for position in range(start, len(ids)):
        logits = model(input_ids=torch.tensor([ids[:position]])).logits[0, -1].double()
        found.append(float(torch.log_softmax(logits, dim=-1)[ids[position]]))
    return found


def min_k(nats: list[float], share: float = 0.4) -> float:
    """Minus the mean of the `share` lowest log-probabilities."""
    count = max(1, math.floor(len(nats) * share))
    chosen = []
    rest = list(nats)
    for _ in range(count):
        rest.remove(lowest := min(rest))
        chosen.append(lowest)
    return -sum(chosen) / count


def auc(forget: list[float], unseen: list[float]) -> float:
    """The share of pairs in which the forgotten text surprises more, a tie counting half."""
    wins = 0.0
    for one, other in itertools.product(forget, unseen):
        wins += 1.0 if one > other else 0.5 if one == other else 0.0
    return wins / (len(forget) * len(unseen))


def privleak(forget: list[float], unseen: list[float], retrained: float) -> float:
    return 100 * (auc(forget, unseen) - retrained) / retrained


def probability(nats: list[float]) -> float:
    """P(a | q) ^ (1 / |a|)."""
    product = 1.0
    for value in nats:
        product *= math.exp(value)
    return product ** (1 / len(nats))


def truth_ratio(right: list[float], wrong: list[list[float]]) -> float:
    """Geometric mean of the wrong answers' length-normalised probabilities over the right one's."""
    product = 1.0
    for each in wrong:
        product *= probability(each)
    return product ** (1 / len(wrong)) / probability(right)


def ks_statistic(one: list[float], other: list[float]) -> float:
    """The largest distance between the two empirical distribution functions."""
    return max(
        abs(sum(x <= at for x in one) / len(one) - sum(x <= at for x in other) / len(other)) for at in one + other
    )


def ks_p(one: list[float], other: list[float]) -> float:
    """Exact p of the two-sample test: the share of ways to split the pooled values that are at least as far apart."""
    pooled = one + other
    seen = ks_statistic(one, other)
    splits = list(itertools.combinations(range(len(pooled)), len(one)))
    far = 0
    for chosen in splits:
        left = [pooled[index] for index in chosen]
        right = [pooled[index] for index in range(len(pooled)) if index not in chosen]
        far += ks_statistic(left, right) >= seen - 1e-12
    return far / len(splits)
