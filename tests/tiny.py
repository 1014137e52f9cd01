"""Models of a few thousand weights of any architecture, with a tokenizer of their own."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

NAMES = tuple(f"n{number}" for number in range(24))
PLACES = tuple(f"p{number}" for number in range(12))
WORDS = ("<pad>", "<unk>", "<s>", "</s>", "Where", "lives", "?", ".", *NAMES, *PLACES)

SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": None,
    "tie_word_embeddings": False,
    "initializer_range": 0.1,
}

FAMILIES = {
    "llama": {},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "head_dim": 16,
        "layer_types": ["full_attention", "full_attention"],
    },
    "granitemoe": {"num_local_experts": 4},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 96},
    "falcon": {"new_decoder_architecture": False, "multi_query": True},
}
"""What a family needs beside SIZES."""


def build(family: str, *, seed: int = 0, **more: object) -> PreTrainedModel:
    """A model with random weights, in fp32."""
    torch.manual_seed(seed)
    config = CONFIG_MAPPING[family](**SIZES | FAMILIES[family] | more)
    return AutoModelForCausalLM.from_config(config).eval()


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", WORDS.index("<s>"))]
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
    tasks = folder / "quiz"
    tasks.mkdir(parents=True)
    for name, people in (("forget", NAMES[:12]), ("retain", NAMES[12:])):
        rows = [
            {"question": f"Where lives {who} ?", "choices": list(PLACES[start : start + 4]), "answer": start % 4}
            for start, who in zip(range(8), people, strict=False)
        ]
        (tasks / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tasks / f"quiz_{name}.yaml").write_text(
            f"task: quiz_{name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}\n"
            "test_split: test\noutput_type: multiple_choice\n"
            'doc_to_text: "{{question}}"\ndoc_to_choice: "{{choices}}"\n'
            "doc_to_target: answer\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
        )
    texts = [" ".join([who] + ["lives"] * (14 if number < long else words - 1)) for number, who in enumerate(NAMES)]
    (tasks / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "quiz.yaml").write_text(
        "version: 1\nname: quiz\ntitle: A quiz\ndescription: Who lives where.\n"
        "forget: [{task: quiz_forget, metric: acc, chance: 0.25}]\n"
        "retain: [{task: quiz_retain, metric: acc, chance: 0.25}]\n"
        "include: [quiz]\ncalibration: {file: quiz/texts.jsonl, samples: 20}\n"
    )
    return folder
