"""The candidate's tokenizer as a user loads it, against base's: which ids a text has, and which text ids have.

A dozen files and keys decide that (`tokenizer_class`, `added_tokens_decoder`, `special_tokens_map.json`, ...), and
releases add more. So both are loaded and what came out is compared; the files only say where a difference came from.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect
from unlearn_guard.intake.blueprint import blueprint
from unlearn_guard.intake.defects import listed, plain, refusal, shown
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.packages import advice, assert_packages
from unlearn_guard.intake.rules import acting

FIX = "Copy base's tokenizer files: a deployed model must see the ids that were scored."

_CONTROL = re.compile(r"(<\|?[^<>\s]{1,64}\|?>|\[[^\[\]\s]{1,64}\])")
"""How tokens look that no text means: `<|pad|>`, `[PAD]`."""

_SWITCHES = ("add_bos_token", "add_eos_token", "add_prefix_space")
"""Settings that act by themselves where there is no fast tokenizer; else its rules say what came of them."""

_ASKED, _ANSWERED = {"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}
_CONVERSATIONS = (
    [_ASKED],
    [_ASKED, _ANSWERED, _ASKED],
    [{"role": "system", "content": "d"}, _ASKED],
    [_ASKED, _ANSWERED, {"role": "tool", "content": "e"}],
)
"""What every chat template is tried on."""


def open_tokenizer(path: Path) -> Any:
    """The tokenizer of a checkpoint that passed intake: no remote code, no network. Raises CheckpointError."""
    from transformers import AutoTokenizer

    assert_packages(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        tokenizer("a")  # a setting of the wrong type, such as a text for model_max_length, shows in use alone
        return tokenizer
    except BaseException as error:
        # tokenizers, which is written in Rust, raises nothing more particular than Exception; where it panics, less
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        found = f"files that transformers refuses ({type(error).__name__}: {shown(str(error))})"
        fix = advice(error) or "Save it again."
        raise refusal("tokenizer", found, "a tokenizer that AutoTokenizer loads", fix) from error


def compare_tokenizers(base: Intake, candidate: Intake) -> tuple[list[Defect], list[str]]:
    """Defects where the two, loaded, give or take other ids or render other chats; notes on what else differs."""
    if base.tokenizer_digest == candidate.tokenizer_digest and not _config_decides(base, candidate):
        return [], []
    ours, theirs = open_tokenizer(base.checkpoint.path), open_tokenizer(candidate.checkpoint.path)
    origin = _origin(base, candidate)
    defects = [*_rules(ours, theirs, origin), *_special(ours, theirs, origin)]
    if _templates(ours) == _templates(theirs):
        defects += _chats(ours, theirs, origin)
    else:
        defects.append(_other_templates(_templates(ours), _templates(theirs), f"chat template ({origin})"))
    defects += _inputs(base, ours, theirs, origin)
    notes = [*_pads(ours, theirs), *_added_notes(ours, theirs), *_cleaned(ours, theirs)]
    if not defects:
        notes.append(f"the tokenizer's files differ from base's ({origin}), what it does to a text does not")
    return defects, notes


def harmless_pad(tokenizer: Any) -> bool:
    """Whether the padding id is one that no text is meant to hold: none, a special token, or the end of a text."""
    pad = tokenizer.pad_token_id
    return pad is None or pad in _special_ids(tokenizer)


def cleans_up(tokenizer: Any) -> bool:
    """Whether written ids become a text with spaces taken out before punctuation: transformers' old clean-up.

    It leaves byte-pair tokenizers alone, whatever their settings say, unless it is forced.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    forced = getattr(tokenizer, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", False)
    spared = backend is not None and type(backend.model).__name__ == "BPE" and not forced
    return bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)) and not spared


def _config_decides(base: Intake, candidate: Intake) -> bool:
    """Whether config.json may give the two another class of tokenizer over the same files."""
    keys = ("tokenizer_class", "model_type", "model_name")
    return any(base.config.get(key) != candidate.config.get(key) for key in keys)


def _rules(ours: Any, theirs: Any, origin: str) -> Iterator[Defect]:
    left, right = _state(ours), _state(theirs)
    for part in sorted({*left, *right}):
        if left.get(part) != right.get(part):
            where = f"tokenizer: {part} ({origin})"
            yield Defect(where=where, found="other tokens or rules", expected="base's", fix=FIX)
    before, after = _added(ours), _added(theirs)
    differ = [number for number in sorted({*before, *after}) if before.get(number) != after.get(number)]
    differ = [number for number in differ if number in before or not _control(after[number])]
    if differ:
        first = differ[0]
        where = f"tokenizer: added token{'s' if len(differ) > 1 else ''} {', '.join(map(str, differ[:12]))} ({origin})"
        found, expected = shown(after.get(first, "nothing")), f"base's {shown(before.get(first, 'nothing'))}"
        yield Defect(where=where, found=found, expected=expected, fix=FIX)


def _special(ours: Any, theirs: Any, origin: str) -> Iterator[Defect]:
    for key in ("bos_token_id", "eos_token_id"):
        left, right = getattr(ours, key), getattr(theirs, key)
        if left != right:
            where = f"tokenizer: {key} ({origin})"
            yield Defect(where=where, found=shown(right), expected=f"base's {shown(left)}", fix=FIX)
    pads = ours.pad_token_id, theirs.pad_token_id
    if pads[0] != pads[1] and not harmless_pad(theirs):
        found = f"{shown(theirs.pad_token)}, an ordinary token, which a text may hold"
        where = f"tokenizer: pad_token_id ({origin})"
        yield Defect(where=where, found=found, expected=f"base's {shown(ours.pad_token)}", fix=FIX)


def _other_templates(ours: Mapping[str, str], theirs: Mapping[str, str], where: str) -> Defect:
    names = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if not ours:
        fix = "Delete it (chat_template.jinja, or the key of tokenizer_config.json), or give base the same one."
        return Defect(where=where, found=f"a template for {listed(names)}", expected="none, as in base", fix=fix)
    fix = "Copy base's chat_template.jinja, or the chat_template in its tokenizer_config.json."
    if not theirs:
        return Defect(where=where, found="no template", expected="base's", fix=fix)
    found = f"other templates than base's for {listed(names)}"
    return Defect(where=where, found=found, expected="base's", fix=fix)


def _chats(ours: Any, theirs: Any, origin: str) -> Iterator[Defect]:
    """Where a conversation has other ids: a template may spell a token that only one of the two has, as plain text."""
    for name in _templates(ours):
        for messages, opened in ((each, opened) for each in _CONVERSATIONS for opened in (True, False)):
            left, right = (_chat_ids(each, name, messages, opened) for each in (ours, theirs))
            if left != right:
                place = next((at for at, both in enumerate(zip(left, right, strict=False)) if both[0] != both[1]), 0)
                found = f"ids {right[place : place + 8]} from position {place} of a chat"
                where = f"tokenizer: chat template {shown(name)} ({origin})"
                yield Defect(where=where, found=found, expected=f"base's {left[place : place + 8]}", fix=FIX)
                return


def _chat_ids(tokenizer: Any, name: str, messages: list[dict[str, str]], opened: bool) -> list[Any]:
    """The ids of a conversation; the name of the error where the template takes no such conversation."""
    try:
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=_templates(tokenizer).get(name),
            tokenize=False,
            add_generation_prompt=opened,
            documents=[],
        )
    except Exception as error:  # a template raises what it likes, and refuses what it likes
        return [type(error).__name__]
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _inputs(base: Intake, ours: Any, theirs: Any, origin: str) -> Iterator[Defect]:
    """Where a call gives the model other inputs: a mask less, or types that GPT-2 adds to every embedding."""
    taken = inspect.signature(blueprint(base.checkpoint.path).model.forward).parameters
    left, right = (sorted(name for name in each("a") if name in taken) for each in (ours, theirs))
    if left != right:
        where = f"tokenizer: model_input_names ({origin})"
        found, expected = f"it gives a model {listed(right)}", f"base's {listed(left)}"
        yield Defect(where=where, found=found, expected=expected, fix=FIX)


def _pads(ours: Any, theirs: Any) -> list[str]:
    if ours.pad_token_id == theirs.pad_token_id:
        return []
    return [f"texts are padded with {shown(theirs.pad_token)}, base's with {shown(ours.pad_token)}: padding is masked"]


def _cleaned(ours: Any, theirs: Any) -> list[str]:
    if cleans_up(ours) == cleans_up(theirs):
        return []
    doing = "take out" if cleans_up(theirs) else "keep"
    return [f"clean_up_tokenization_spaces: its written texts {doing} spaces before punctuation, base's do not so"]


def _added_notes(ours: Any, theirs: Any) -> list[str]:
    more = [token["content"] for number, token in _added(theirs).items()
            if number not in _added(ours) and _control(token)]  # fmt: skip
    return [f"the tokenizer has special tokens that base's lacks: {listed(more)}"] if more else []


def _state(tokenizer: Any) -> dict[str, Any]:
    """Everything that decides which ids a text has and which text ids have, but for the added tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    split = bool(getattr(tokenizer, "split_special_tokens", False))
    if backend is not None:
        return {"split_special_tokens": split, **acting(json.loads(backend.to_str()))}
    found: dict[str, Any] = {key: bool(getattr(tokenizer, key, False)) for key in _SWITCHES}
    kind, vocabulary = type(tokenizer).__name__, tokenizer.get_vocab()
    return {**found, "split_special_tokens": split, "class": kind, "vocabulary": vocabulary}


def _added(tokenizer: Any) -> dict[int, dict[str, Any]]:
    keys = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    return {
        int(number): {key: getattr(token, key) for key in keys}
        for number, token in tokenizer.added_tokens_decoder.items()
    }


def _control(token: Mapping[str, Any]) -> bool:
    return bool(token["special"] and _CONTROL.fullmatch(token["content"]))


def _special_ids(tokenizer: Any) -> set[int]:
    marked = {number for number, token in _added(tokenizer).items() if token["special"]}
    ends = {
        each for each in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id) if each is not None
    }
    return {number for number in marked if _control(_added(tokenizer)[number])} | ends


def _templates(tokenizer: Any) -> dict[str, str]:
    """The templates by name, as Jinja reads them: line ends of any kind, the last of all left out."""
    template = getattr(tokenizer, "chat_template", None)
    found = template if isinstance(template, Mapping) else {} if template is None else {"default": template}
    return {name: re.sub(r"\r\n|\r", "\n", str(text)).removesuffix("\n") for name, text in found.items()}


def _origin(base: Intake, candidate: Intake) -> str:
    """The files and keys in which the two differ, as a reader of the files would name them."""
    ours, theirs = base.tokenizer, candidate.tokenizer
    found = [name for name in ("tokenizer.json",) if ours.vocabulary != theirs.vocabulary]
    found += [name for name, digest in theirs.sources if name != "tokenizer.json" and (name, digest) not in ours.sources
              and name not in theirs.documents]  # fmt: skip
    for name in sorted({*ours.documents, *theirs.documents}):
        left, right = ours.documents.get(name, {}), theirs.documents.get(name, {})
        keys = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
        found += [f"{name}: {', '.join(map(shown, keys[:6]))}"] if keys else []
    texts = [name for name in sorted({*ours.templates, *theirs.templates})
             if ours.templates.get(name) != theirs.templates.get(name)]  # fmt: skip
    return "; ".join([*found, *map(plain, texts)]) or "config.json"
