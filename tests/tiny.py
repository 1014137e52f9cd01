"""Models of a few thousand weights of any architecture, with a tokenizer of their own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.families import config
from tests.quiz import Row, write_tasks

NAMES = tuple(f"n{number}" for number in range(24))
PLACES = tuple(f"p{number}" for number in range(12))
WORDS = ("<pad>", "<unk>", "<s>", "</s>", "Where", "lives", "?", ".", *NAMES, *PLACES)


def build(family: str, *, seed: int = 0, **more: Any) -> PreTrainedModel:
    """A model with random weights, in fp32; `more` is what its config holds instead of the sizes of tests/families."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config(family, **more)).eval()


def uneven(family: str, **more: Any) -> PreTrainedModel:
    """The same with small numbers put on its norms and biases too, so that no layer is trivial."""
    model = build(family, **more)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def tokenizer(words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """One token a word, the first four of them special."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", words.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=64,
        clean_up_tokenization_spaces=False,
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, as the families load it whose tokenizer class is fixed by their config."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({text: index for index, text in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")


def save(model: PreTrainedModel, out: Path, **options: object) -> Path:
    """Model and tokenizer in one directory."""
    model.save_pretrained(out, **options)
    tokenizer().save_pretrained(out)
    return out


def prompts() -> torch.Tensor:
    """Eight prompts of twelve tokens."""
    return torch.randint(4, len(WORDS), (8, 12), generator=torch.Generator().manual_seed(2))


def write_suite(folder: Path, *, words: int = 4, long: int = 0) -> Path:
    """A folder of suites with one, `quiz`: who lives where, the calibration texts in a file of their own.

    Of the 24 texts `long` have 16 tokens and the others `words` words and a BOS.
    """
    forget, retain = (asked(people) for people in (NAMES[:12], NAMES[12:]))
    more = "calibration: {file: quiz/texts.jsonl, samples: 20}\n"
    write_tasks(folder, "quiz", forget=forget, retain=retain, more=more)
    texts = [" ".join([who] + ["lives"] * (14 if number < long else words - 1)) for number, who in enumerate(NAMES)]
    (folder / "quiz" / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def asked(people: Sequence[str]) -> list[Row]:
    """Where the first eight of them live."""
    return [
        {"question": f"Where lives {who} ?", "choices": list(PLACES[start : start + 4]), "answer": start % 4}
        for start, who in zip(range(8), people, strict=False)
    ]
