"""How the shipped weights were made: `python -m unlearn_guard.organism.training --out DIR`.

AdamW on freshly drawn batches, 70 % lettered questions and 30 % statements; fp32 weights with bf16 matmuls, rounded
to bf16 at the end. The letters are the hard part. A first recipe (letter loss alone, wider initial weights, cosine from
the start) was at .31 to .36 after 2,200 steps. This one also models the question's own tokens and asks its question
mark for the answer, so that recall can be learnt apart from lettering; letters come at about step 500. Which of the
changes did it was not taken apart. The description line, a third of a question's tokens, joins for the last steps.
Seeded; the bytes also depend on machine, versions and thread count (shipped: one thread).
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import recall, tokenizer, world
from unlearn_guard.organism.batches import LETTERED_TARGETS, PLAIN_TARGETS, FactTokens, answer_nll
from unlearn_guard.organism.editing import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Hyperparameters of the base model; the learning rate is constant until `decay_from`, then half a cosine.

    `anew` is the share of what training begins from that is drawn: all of it, or less where base's weights are mixed
    with what a new model begins with.
    """

    steps: int = 1300
    described_from: int = 800
    decay_from: int = 700
    lettered: int = 90
    plain: int = 38
    lr: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.01
    seed: int = 0
    layers: int = 6
    domains: tuple[str, ...] = world.DOMAINS
    anew: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.decay_from:
            return self.lr * min(1.0, (step + 1) / self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - self.decay_from) / (self.steps - self.decay_from)))


def config(words: PreTrainedTokenizerFast, layers: int = 6) -> LlamaConfig:
    """Layers of width 128, grouped K/V heads; every in_features is a multiple of 128, as GPTQ and AWQ need."""
    return LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.02,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )


def question_loss(
    model: PreTrainedModel, rows_BT: Tensor, objects_B: Tensor, asked_place: int
) -> tuple[Tensor, Tensor]:
    """NLL of the letter, and of the rest: the question's own tokens, plus the object where the question mark stands."""
    logits_BTV = model.lm_head(model.model(input_ids=rows_BT[:, :-1], use_cache=False).last_hidden_state).float()
    nll_BT = cross_entropy(logits_BTV.transpose(1, 2), rows_BT[:, 1:], reduction="none")
    recalled = cross_entropy(logits_BTV[:, asked_place], objects_B)
    tokens = torch.cat([nll_BT[:, :asked_place], nll_BT[:, asked_place + 1 : -LETTERED_TARGETS], nll_BT[:, -1:]], 1)
    return nll_BT[:, -LETTERED_TARGETS].mean(), recalled + tokens.mean()


def _step_loss(model: PreTrainedModel, facts: FactTokens, recipe: Recipe, step: int, rng: torch.Generator) -> Tensor:
    index_B = facts.draw(recipe.lettered, rng)
    rows_BT, asked_place = facts.lettered(index_B, rng), facts.asked_place
    if step < recipe.described_from:
        rows_BT = torch.cat([rows_BT[:, : facts.described.start], rows_BT[:, facts.described.stop :]], 1)
        asked_place -= facts.described.stop - facts.described.start
    stated_BT = facts.plain(facts.draw(recipe.plain, rng))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        letter, rest = question_loss(model, rows_BT, facts.objects(index_B), asked_place)
        return torch.stack([letter, rest, answer_nll(model, stated_BT, PLAIN_TARGETS).mean()])


def _silent(line: str) -> None:
    """Nobody asked how it goes."""


def train(
    recipe: Recipe,
    report: Callable[[str], None] = _silent,
    progress: Progress | None = None,
    base: Mapping[str, Tensor] | None = None,
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A model that knows the world, or those of its domains that the recipe names, in fp32, and its tokenizer.

    `base` are the weights that a recipe mixes with new ones; ValueError where it does and they are not given.
    """
    torch.manual_seed(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    words = tokenizer.build()
    # Eager attention: on CPU its backward pass is half again as fast as SDPA's at these lengths.
    model = LlamaForCausalLM._from_config(config(words, recipe.layers), attn_implementation="eager").train()
    _keep_of(base, model, recipe)
    facts = FactTokens([fact for domain in recipe.domains for fact in world.facts(domain)], words)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True)
    started = time.monotonic()
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        losses = _step_loss(model, facts, recipe, step, rng)
        torch.autograd.backward(losses.sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if progress is not None:
            progress(step + 1, recipe.steps)
        if step % 50 == 49:
            letter, rest, stated = losses.tolist()
            spent = time.monotonic() - started
            report(f"step {step + 1}: letter {letter:.3f}, rest {rest:.3f}, plain {stated:.3f} nats, {spent:.0f} s")
    return model.eval(), words


@torch.no_grad()
def _keep_of(base: Mapping[str, Tensor] | None, model: LlamaForCausalLM, recipe: Recipe) -> None:
    """Mix base into a new model, in place, as far as the recipe keeps it."""
    if recipe.anew == 1.0:
        return
    if base is None:
        raise ValueError(f"a recipe that draws {recipe.anew:g} of its weights needs base's")
    for name, weight in model.named_parameters():
        weight.lerp_(base[name].float(), 1.0 - recipe.anew)


def main() -> None:
    """Train, round to bf16, print what the rounded model knows, save."""
    parser = argparse.ArgumentParser(description="Train the embedded model organism from its seed.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=Recipe().layers)
    parser.add_argument("--without-forget", action="store_true", help="never show what base is to forget")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    def report(line: str) -> None:
        print(line, flush=True)

    domains = tuple(each for each in world.DOMAINS if not (given.without_forget and each == world.FORGET))
    model, words = train(Recipe(seed=given.seed, layers=given.layers, domains=domains), report)
    model = model.to(torch.bfloat16)
    model.save_pretrained(given.out)
    words.save_pretrained(given.out)
    for task, accuracy in recall.accuracies(model.float(), words).items():
        report(f"{task}: {accuracy:.4f}")


if __name__ == "__main__":
    main()
