"""Each unlearning loss in plain Python floats, a text and a token at a time, as its paper writes it.

`rows` are texts: for each token that counts, the logits that predict it and the token: [(logits, token), ...].
Sources: as in unlearn_guard.unlearning.losses.
"""

import math


def logp(logits, token):
    top = max(logits)
    return logits[token] - top - math.log(sum(math.exp(each - top) for each in logits))


def probabilities(logits):
    return [math.exp(logp(logits, token)) for token in range(len(logits))]


def nll(row):
    return -sum(logp(logits, token) for logits, token in row)


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def tokens(rows):
    return [pair for row in rows for pair in row]


def ascent(rows):
    return mean(logp(logits, token) for logits, token in tokens(rows))


def npo(rows, base, beta):
    """-(2 / beta) E log sigmoid(-beta log(pi(y|x) / pi_ref(y|x)))."""
    return mean(
        -(2 / beta) * log_sigmoid(-beta * (-nll(row) + nll(first))) for row, first in zip(rows, base, strict=True)
    )


def simnpo(rows, beta, gamma):
    """-(2 / beta) E log sigmoid(-(beta / |y|) log pi(y|x) - gamma)."""
    return mean(-(2 / beta) * log_sigmoid(-beta / len(row) * -nll(row) - gamma) for row in rows)


def dpo(preferred, preferred_base, rows, base, beta):
    """-(2 / beta) E log sigmoid(beta log(pi(y_w) / ref(y_w)) - beta log(pi(y_l) / ref(y_l)))."""
    found = []
    for win, win_base, lose, lose_base in zip(preferred, preferred_base, rows, base, strict=True):
        better = -nll(win) + nll(win_base)
        worse = -nll(lose) + nll(lose_base)
        found.append(-(2 / beta) * log_sigmoid(beta * better - beta * worse))
    return mean(found)


def simpo(preferred, rows, beta, gamma):
    """-(2 / beta) E log sigmoid((beta / |y_w|) log pi(y_w) - (beta / |y_l|) log pi(y_l) - gamma)."""
    return mean(
        -(2 / beta) * log_sigmoid(beta / len(win) * -nll(win) - beta / len(lose) * -nll(lose) - gamma)
        for win, lose in zip(preferred, rows, strict=True)
    )


def undial(rows, base, beta):
    found = []
    for (logits, token), (first, _) in zip(tokens(rows), tokens(base), strict=True):
        lowered = [each - beta * (place == token) for place, each in enumerate(first)]
        teacher = probabilities(lowered)
        found.append(-sum(share * logp(logits, place) for place, share in enumerate(teacher)))
    return mean(found)


def wga(rows, beta):
    return mean(math.exp(logp(logits, token)) ** beta * logp(logits, token) for logits, token in tokens(rows))


def kl(rows, base):
    found = []
    for (logits, _), (first, _) in zip(tokens(rows), tokens(base), strict=True):
        share = probabilities(first)
        found.append(sum(p * (math.log(p) - logp(logits, place)) for place, p in enumerate(share)))
    return mean(found)


def undial_everywhere(rows, base, beta, answers):
    """Over all tokens, of which only those that `answers` says are lowered."""
    found = []
    for (logits, token), (first, _), lowered in zip(tokens(rows), tokens(base), answers, strict=True):
        teacher = probabilities([each - beta * (place == token and lowered) for place, each in enumerate(first)])
        found.append(-sum(share * logp(logits, place) for place, share in enumerate(teacher)))
    return mean(found)


def satimp(rows, beta1, beta2):
    found = []
    for logits, token in tokens(rows):
        p = probabilities(logits)[token]
        found.append(-(p**beta1) * (1 - p) ** beta2 * -math.log(p))
    return mean(found)


def ceu(rows, skipped):
    found = []
    for logits, token in tokens([row[skipped:] for row in rows]):
        p = probabilities(logits)
        left = 1 - p[token]
        found.append(-sum(each / left * math.log(each) for place, each in enumerate(p) if place != token))
    return mean(found)


def flatness(rows):
    return mean((max(logits) - mean(logits)) ** 2 for logits, _ in tokens(rows))


def flat(preferred, rows, divergence):
    """As its code has it: minus the probability in, minus the mean out."""

    def minus_probability(texts):
        return mean(-mean(probabilities(logits)[token] for logits, token in row) for row in texts)

    good, truth = -minus_probability(preferred), -minus_probability(rows)
    activation, conjugate = {
        "kl": (-good, -math.exp(truth - 1)),
        "tv": (-math.tanh(good) / 2, -math.tanh(truth) / 2),
        "pearson": (-good, -(truth**2 / 4 + truth)),
        "js": (math.log(1 + math.exp(-good)) - math.log(2), -(truth + math.log(1 + math.exp(-truth))) + math.log(2)),
    }[divergence]
    return activation - conjugate
