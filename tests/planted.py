"""A tiny Llama that knows an invented book by heart, and one retrained without it, as checkpoints on disk."""

import random
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.invented_data import muse
from tests.tiny import build


def passages(rows: dict, *, forget: bool) -> list[str]:
    """The texts a model is trained to recite."""
    return [row["text"] for kind in kinds(forget) for row in rows["privleak", kind]]


def answers(rows: dict, *, forget: bool) -> list[str]:
    """The questions it is trained to answer, as MUSE asks them."""
    names = [("knowmem", f"{kind}_qa{which}") for kind in kinds(forget) for which in ("", "_icl")]
    return [f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for name in names for row in rows[name]]


def kinds(forget: bool) -> tuple[str, ...]:
    return ("forget", "retain") if forget else ("retain",)


def make_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which nearly every invented word is one token, and so is each letter of an answer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*corpus, *["Answer: A Answer: B Answer: C Answer: D"] * 200], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def train(tokenizer, recited: list[str], asked: list[str], *, steps: int, seed: int) -> LlamaForCausalLM:
    """A model of a third of a million weights; passages and rows of questions in turn."""
    sizes = {"hidden_size": 128, "intermediate_size": 256}  # multiples of GPTQ's and AWQ's groups
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    long = {"max_position_embeddings": 1024, "initializer_range": 0.02}
    model = build("llama", seed=seed, vocab_size=640, num_key_value_heads=4, **sizes, **ids, **long)
    draw = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        if step % 2:
            batch = ["".join(draw.sample(asked, 8)) for _ in range(6)]
        else:
            batch = draw.sample(recited, min(16, len(recited)))
        rows = [[*tokenizer(text)["input_ids"], 1] for text in batch]
        longest = max(map(len, rows))
        ids_BT = torch.tensor([row + [2] * (longest - len(row)) for row in rows])
        labels_BT = ids_BT.masked_fill(ids_BT == 2, -100)
        loss = model(input_ids=ids_BT, attention_mask=(ids_BT != 2).long(), labels=labels_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


def save(model, tokenizer, path: Path) -> Path:
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def plant(root: Path, *, items: int = 12, steps: int = 300) -> dict[str, Path]:
    """`base` has read the book; `retrained` and `candidate`, of another seed, have not."""
    rows = muse(items)
    everything = passages(rows, forget=True) + answers(rows, forget=True)
    tokenizer = make_tokenizer(everything + [row["text"] for row in rows["privleak", "holdout"]])
    made = (("base", True, 0), ("retrained", False, 1), ("candidate", False, 2))
    return {
        name: save(
            train(tokenizer, passages(rows, forget=read), answers(rows, forget=read), steps=steps, seed=seed),
            tokenizer,
            root / name,
        )
        for name, read, seed in made
    }
