"""The Fisher diagonal as it is defined: one text, one backward pass of the whole model, one square at a time."""

import torch


def fisher(model, texts, names):
    """{name: mean over texts of (d log p(text) / d w)^2}, p over the tokens from `start` on."""
    parameters = dict(model.named_parameters())
    found = {name: torch.zeros_like(parameters[name], dtype=torch.float32) for name in names}
    for text in texts:
        logp_TV = model(input_ids=torch.tensor([text.ids])).logits[0].float().log_softmax(-1)
        likelihood = sum(logp_TV[place - 1, text.ids[place]] for place in range(text.start, len(text.ids)))
        for name, gradient in zip(
            names, torch.autograd.grad(likelihood, [parameters[name] for name in names]), strict=True
        ):
            found[name] += gradient.float() ** 2 / len(texts)
    return found
