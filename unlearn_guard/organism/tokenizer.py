"""A word-level tokenizer for the invented world: one token a word, BOS put in front once by its own post-processor."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from unlearn_guard.organism import items, world

PAD, UNK, BOS, EOS = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")


def vocabulary() -> list[str]:
    """Every word and mark of the world, specials first, then sorted: the same list on every machine."""
    splitter = pre_tokenizers.Whitespace()
    texts = [items.prompt(fact.domain, fact.question, world.pool(fact.relation)[:4]) for fact in world.all_facts()]
    texts += [f"{fact.stem} {fact.object} ." for fact in world.all_facts()]
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    return [*SPECIALS, *sorted(words | set(items.LETTERS))]


def build() -> PreTrainedTokenizerFast:
    """The tokenizer; `encode` puts exactly one BOS in front, and a text that spells `<s>` gets no second one by it."""
    words = {word: index for index, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, words[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
