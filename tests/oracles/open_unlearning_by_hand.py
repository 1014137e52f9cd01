"""What open-unlearning reports of an answer the slow way, straight from the definitions; a pass of the model a token.

Nothing here is shared with the code under test. Sources: see tasks/tofu/open_unlearning.py.
"""

import math
import zlib

import torch


@torch.no_grad()
def distributions(model, ids: list[int], start: int) -> list[list[float]]:
    """The probabilities of the whole vocabulary for every token from `start` on, in double precision."""
    found = []
    for position in range(start, len(ids)):
        logits = model(input_ids=torch.tensor([ids[:position]])).logits[0, -1].double()
        found.append(torch.softmax(logits, dim=-1).tolist())
    return found


def extraction_strength(distributed: list[list[float]], tokens: list[int]) -> float:
    """1 - (the shortest prefix after which greedy decoding writes the rest) / tokens; at least one token is prefix."""
    for given in range(len(tokens)):
        rest = zip(distributed[given:], tokens[given:], strict=True)
        if all(each.index(max(each)) == token for each, token in rest):
            return 1 - given / len(tokens)
    return 1 / len(tokens)


def exact_memorization(distributed: list[list[float]], tokens: list[int]) -> float:
    return sum(each.index(max(each)) == token for each, token in zip(distributed, tokens, strict=True)) / len(tokens)


def loss(distributed: list[list[float]], tokens: list[int]) -> float:
    return -sum(math.log(each[token]) for each, token in zip(distributed, tokens, strict=True)) / len(tokens)


def compressed(mean_loss: float, text: str) -> float:
    return mean_loss / len(zlib.compress(text.encode()))


def standard(distribution: list[float], token: int) -> float:
    """(log p(token) - E log p) / sqrt(Var log p), both under p itself."""
    mean = sum(p * math.log(p) for p in distribution if p)
    square = sum(p * math.log(p) ** 2 for p in distribution if p)
    return (math.log(distribution[token]) - mean) / math.sqrt(max(square - mean**2, 1e-6))


def least(numbers: list[float], share: float = 0.4) -> float:
    """Minus the mean of the `share` lowest."""
    count = max(1, math.floor(len(numbers) * share))
    rest, chosen = list(numbers), []
    for _ in range(count):
        rest.remove(lowest := min(rest))
        chosen.append(lowest)
    return -sum(chosen) / count
