"""Whether what the guard would judge is what a user loads: both are loaded, asked, and held against each other."""

import copy
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.checkpoints import PROMPTS, WRITTEN

TEXTS = (
    *("w4 w5 w6", "w9 w9", "W4 w5", " w4  w5 ", "", " ", "\n", "w4\nw5\tw6", "the thing", "The THE the", "w1w2"),
    *("<s> w4", "w4 </s>", "<unk>", "<pad> w5", "w31 w39 zz"),
    *("é e\u0301 ﬁ", "日本 𝄞", "don't , stop .", "w9 w8 40", "[PAD] <|x|>"),
)  # fmt: skip
"""Texts that are turned into ids and back by the user's tokenizer and by base's."""

CHATS = (
    [{"role": "user", "content": "w4 w5"}],
    [{"role": "system", "content": "w6"}, {"role": "user", "content": " w7 "}],
)
LONG = [[token % 37 + 3 for token in range(5, 45)], [token * 7 % 37 + 3 for token in range(40)]]


_WEIGHTS = ("model", "generation_config")
_TOKENIZER = ("tokenizer", "special_tokens", "added_tokens", "chat_template")


class LoudError(Exception):
    """The user's own load or answer ends in an error: nothing is deployed, so nothing differs."""


class Oracle:
    """The judge of one world's accepted candidates; base's model and tokenizer are loaded once."""

    def __init__(self, base: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.base = base
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype="float32").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.expected = self._texts(self.tokenizer)
        self._known: set[str] = set()

    def differences(self, candidate: Path) -> Iterator[str]:
        """What differs, in words. Raises LoudError where the user gets an error, GuardError where `check` refuses."""
        from unlearn_guard.checking.checkpoints import open_sealed
        from unlearn_guard.intake import assert_comparable, open_checkpoint, with_parameters

        sealed = open_sealed(candidate)
        try:
            assert_comparable(with_parameters(open_checkpoint(str(self.base))), sealed)
            for aside, look in ((_WEIGHTS, self._reading), (_TOKENIZER, self._computing)):
                parts = self._parts(candidate, aside)
                if parts not in self._known:
                    found = list(look(candidate, sealed))
                    yield from found
                    self._known |= set() if found else {parts}
        finally:
            shutil.rmtree(sealed.checkpoint.path, ignore_errors=True)

    @staticmethod
    def _parts(candidate: Path, aside: tuple[str, ...]) -> str:
        """The names and bytes of every file but those that begin so, which this half of the question never reads."""
        digest = hashlib.sha256(repr(aside).encode())
        for path in sorted(candidate.rglob("*")):
            if path.is_file() and not path.name.startswith((*aside, "unlearn_guard")):
                digest.update(repr(path).encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _reading(self, candidate: Path, _: Any) -> Iterator[str]:
        from transformers import AutoTokenizer

        own = _loud(lambda: AutoTokenizer.from_pretrained(candidate))
        found = _loud(lambda: self._texts(own))
        for key, expected in self.expected.items():
            if found.get(key) != expected:
                yield f"tokenizer: {key}: {str(found.get(key))[:200]} and not {str(expected)[:200]}"

    @staticmethod
    def _texts(tokenizer: Any) -> dict[str, Any]:
        plain = [tokenizer(text)["input_ids"] for text in TEXTS]
        bare = tokenizer(list(TEXTS), add_special_tokens=False)["input_ids"]
        chats = (
            [tokenizer.apply_chat_template(chat, tokenize=False) for chat in CHATS] if tokenizer.chat_template else None
        )
        numbers = list(range(40))
        return {
            "ids": plain,
            "ids without special tokens": bare,
            "ids of a pair": tokenizer(TEXTS[0], TEXTS[1])["input_ids"],
            "text of ids": [tokenizer.decode(ids) for ids in plain]
            + [tokenizer.decode([number]) for number in numbers],
            "text without special tokens": [
                tokenizer.decode(ids, skip_special_tokens=True) for ids in [*plain, numbers]
            ],
            "chat": chats,
            "end and begin": [tokenizer.eos_token_id, tokenizer.bos_token_id],
            "mask": "attention_mask" in tokenizer(TEXTS[0]),
        }

    def _computing(self, candidate: Path, sealed: Any) -> Iterator[str]:
        import torch
        from transformers import AutoModelForCausalLM

        from unlearn_guard.quantizers.full import Full
        from unlearn_guard.quantizers.protocol import Placement

        judged = Full().load(sealed.checkpoint, Placement(device_map="cpu", dtype=torch.float32))
        own, report = _loud(lambda: _pair(AutoModelForCausalLM.from_pretrained(candidate, output_loading_info=True)))
        lost = {key: report[key] for key in ("missing_keys", "mismatched_keys") if report.get(key)}
        if lost:
            yield f"weights: the user's load makes random ones: {lost}"
        own.eval()
        deployed, plain = own.dtype, own.float()
        exact = deployed == torch.float32
        ours = self._logits(judged)
        if not bool(torch.isfinite(ours).all()):
            return  # scoring ends with NonFiniteError: no verdict
        theirs, base_shaped = _loud(lambda: self._logits(plain)), self._logits(self._as_base(plain))
        if not _alike(ours, theirs, within=0 if exact else 0.05):
            yield f"logits: the user's ({deployed}) differ from the judged by {float((ours - theirs).abs().max()):.3g}"
        if not _alike(
            theirs, base_shaped, within=1e-5 if exact else 0.05
        ):  # gelu_new is gelu_pytorch_tanh, but for rounding
            yield f"config: computes otherwise than base's by {float((theirs - base_shaped).abs().max()):.3g}"
        # a declared dtype below the stored one rounds: which token is likeliest may hang on that
        for parameter in judged.parameters():
            parameter.data = parameter.data.to(deployed).float()
        yield from self._ending(judged, plain)

    def _as_base(self, own: Any) -> Any:
        shaped = copy.deepcopy(self.model)
        shaped.load_state_dict(own.state_dict(), strict=False)
        return shaped.eval()

    @staticmethod
    def _logits(model: Any) -> Any:
        import torch

        with torch.no_grad():
            return torch.cat([model(torch.tensor(ids)).logits.flatten() for ids in (PROMPTS, LONG)])

    def _ending(self, judged: Any, own: Any) -> Iterator[str]:
        """Greedy answers with the user's own generation config, and with base's ends and nothing else."""
        import torch
        from transformers import GenerationConfig

        ends = self.model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends, self.tokenizer.eos_token_id}
        ids = torch.tensor(PROMPTS)
        asked = {"attention_mask": torch.ones_like(ids), "max_new_tokens": WRITTEN, "do_sample": False}
        judged.generation_config = GenerationConfig()
        ours = judged.generate(ids, **asked, eos_token_id=sorted(ends), pad_token_id=0)
        theirs = _loud(lambda: own.generate(ids, **asked))
        theirs = getattr(theirs, "sequences", theirs)
        rows = [[_until(row, ends) for row in part[:, ids.shape[1] :].tolist()] for part in (ours, theirs)]
        if rows[0] != rows[1]:
            yield f"answers: the user's are {rows[1]}, the judged {rows[0]}"


def _pair(loaded: Any) -> tuple[Any, Any]:
    """A model and its report; a config.json that holds the option's name takes it from the caller: an error."""
    model, report = loaded
    return model, report


def _until(row: list[int], ends: set[int]) -> list[int]:
    return row[: next((at + 1 for at, token in enumerate(row) if token in ends), len(row))]


def _alike(left: Any, right: Any, *, within: float) -> bool:
    import torch

    return bool(torch.allclose(left, right, rtol=0, atol=within * float(left.abs().max())))


def _loud(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:
        raise LoudError(f"{type(error).__name__}: {str(error)[:160]}") from error
