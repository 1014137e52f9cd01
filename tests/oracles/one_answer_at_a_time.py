"""Log-likelihoods the slow way: one choice, one unpadded sequence, every position, double precision.

Definition: log p(continuation | context) = sum over its tokens t of log softmax(logits before t)[t], in nats.
"""

import torch


@torch.no_grad()
def loglikelihood(model, tokenizer, context: str, continuation: str) -> tuple[float, bool]:
    """One choice's log-likelihood and whether each of its tokens is the most likely one."""
    bare = context.rstrip()
    head = tokenizer(bare)["input_ids"]
    whole = tokenizer(bare + context[len(bare) :] + continuation)["input_ids"]
    total, greedy = 0.0, True
    logits_TV = model(input_ids=torch.tensor([whole])).logits[0].double()
    for position in range(len(head), len(whole)):
        log_probabilities = torch.log_softmax(logits_TV[position - 1], dim=-1)
        total += float(log_probabilities[whole[position]])
        greedy = greedy and int(log_probabilities.argmax()) == whole[position]
    return total, greedy


@torch.no_grad()
def greedy_text(model, tokenizer, context: str, until: list[str], length: int) -> str:
    """The most likely token again and again, without a cache; cut at the first stop string."""
    ids = list(tokenizer(context)["input_ids"])
    written: list[int] = []
    for _ in range(length):
        token = int(model(input_ids=torch.tensor([ids + written])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
    text = tokenizer.decode(written, skip_special_tokens=True)
    for stop in until:
        text = text.split(stop)[0]
    return text
