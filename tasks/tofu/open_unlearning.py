"""What open-unlearning reports of TOFU beside TOFU's own metrics, each for one item.

Every answer ends with the end-of-text token, which counts in a mean loss and is left out where tokens are looked at
one by one, as there. Source: open-unlearning (MIT), `evals/metrics/memorization.py` and `mia`, and its defaults for
TOFU. Extraction strength: Carlini et al. 2021, arXiv 2012.07805; exact memorization: Tirumala et al. 2022, arXiv
2205.10770; LOSS: Yeom et al. 2018, arXiv 1709.01604; ZLib: Carlini et al. 2021; Min-K%: Shi et al. 2023, arXiv
2310.16789; Min-K%++: Zhang et al. 2024, arXiv 2404.02936.
"""

import math
import zlib
from typing import Any

K = 0.4
"""The share of an answer's tokens that Min-K% and Min-K%++ look at: the least expected ones."""


def extraction_strength(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:  # noqa: ARG001 - lm-eval's
    """The share of the answer that the model goes on with by itself: from the earliest token after which all are its.

    Where even the last token is not, the share is 1 / tokens and not 0: public code counts so, and so do its tables.
    """
    likeliest = _each(results, "likeliest")
    missed = [place for place, hit in enumerate(likeliest) if not hit]
    begin = min(missed[-1] + 1, len(likeliest) - 1) if missed else 0
    return {"extraction_strength": 1.0 - begin / len(likeliest)}


def exact_memorization(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:  # noqa: ARG001
    """The share of the answer's tokens that the model would write after those before."""
    likeliest = _each(results, "likeliest")
    return {"exact_memorization": sum(likeliest) / len(likeliest)}


def loss(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:  # noqa: ARG001
    """LOSS: mean negative log-likelihood of a token, in nats."""
    return {"loss": _loss(results)}


def compressed(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """ZLib: the mean loss over the bytes that zlib makes of the answer."""
    return {"zlib": _loss(results) / len(zlib.compress(doc["answer"].encode("utf-8")))}


def min_k(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:  # noqa: ARG001
    """Min-K%: mean negative log-likelihood of the 40 % of the tokens that the model expected least."""
    return {"min_k": _least(_each(results, "tokens"))}


def min_k_plus_plus(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:  # noqa: ARG001
    """Min-K%++: the same of log-likelihoods in standard deviations from what the vocabulary has at their place."""
    return {"min_k_plus_plus": _least(_each(results, "standard"))}


def _least(numbers: list[Any]) -> float:
    lowest = sorted(numbers)[: max(1, int(len(numbers) * K))]
    return -math.fsum(lowest) / len(lowest)


def _loss(results: list[Any]) -> float:
    tokens = _known(results, "tokens")
    return -math.fsum(tokens) / len(tokens)


def _each(results: list[Any], what: str) -> list[Any]:
    """Of each of the answer's tokens but its end. Raises ValueError where that is all there is of it."""
    found = _known(results, what)[:-1]
    if not found:
        raise ValueError("an answer of no token but its end")
    return found


def _known(results: list[Any], what: str) -> list[Any]:
    found = getattr(results[0][0], what, None)
    if found is None:
        raise ValueError(
            f"the metric needs `{what}` of each token, and this model class does not give it: "
            "run the task with unlearn-guard"
        )
    return list(found)
