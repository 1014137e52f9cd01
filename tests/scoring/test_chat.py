"""Prompts through a chat template are lm-eval's, begin with one BOS, and are recorded."""

import pytest
from lm_eval.models.huggingface import HFLM

from unlearn_guard.checking.erasure import _contexts
from unlearn_guard.checking.prompt_pairs import suite_pairs
from unlearn_guard.errors import UsageError
from unlearn_guard.scoring.chat import SYSTEM_LEFT_OUT, Chat
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import FIRST_TOKENS
from unlearn_guard.scoring.suites import load_suite

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE


@pytest.fixture
def chatty(scoring):
    tokenizer = scoring.make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def asked(rendered):
    return [[request.args for item in task.items for request in item.requests] for task in rendered.tasks]


@pytest.mark.parametrize("template", [TEMPLATE, NO_SYSTEM], ids=["system", "no system"])
def test_prompts_equal_lm_evals(suite, chatty, model, template):
    chatty.chat_template = template
    chat = Chat(chatty)
    ours = asked(render(suite, defaults=False, chat=chat))
    theirs = HFLM(pretrained=model, tokenizer=chatty, backend="causal", batch_size=1, device="cpu")
    expected = []
    for each in render(suite, defaults=False).tasks:
        task = each.leaves[0].task
        task.build_all_requests(apply_chat_template=True, chat_template=theirs.apply_chat_template)
        expected.append([request.args for request in task.instances])
    assert ours == expected
    assert ours[0][0][0].startswith("<s>[")
    assert chat.notes == ((SYSTEM_LEFT_OUT,) if template == NO_SYSTEM else ())


def test_one_bos_stands_before_a_templated_prompt_and_the_run_says_so(suite, chatty):
    rendered = render(suite, defaults=False, chat=Chat(chatty))
    prompts = {prompt.task: prompt for prompt in rendered.prompts(chatty)}
    assert set(prompts) == {task.name for task in rendered.records}
    for prompt in prompts.values():
        assert prompt.tokens[0] == chatty.bos_token_id
        assert prompt.tokens[1] != chatty.bos_token_id
        assert len(prompt.tokens) == FIRST_TOKENS
        assert prompt.chat_template
        assert prompt.few_shot == 0
    plain = render(suite, defaults=False).prompts(chatty)
    assert not any(prompt.chat_template for prompt in plain)
    assert plain[0].tokens != prompts[plain[0].task].tokens


def test_attribution_asks_a_templated_prompt_with_one_bos_too(world, chatty, monkeypatch):
    """Pairs and activations are of the prompts that are scored, token for token."""
    world.write_text(world.read_text().replace("task: invented_lettered,", "task: invented_lettered, pairs: swapped,"))
    rendered = render(load_suite(world), defaults=False, chat=Chat(chatty))
    lettered = rendered.tasks[0]
    texts = [str(item.requests[0].args[0]) for item in lettered.items[:3]]
    scored = rendered.tokens(chatty).texts(texts)
    assert list(_contexts(lettered, chatty)[:3]) == scored

    def paired(encode, asked, *, where):
        return tuple(tuple(encode(question.prompt)["input_ids"]) for question in asked)

    monkeypatch.setattr("unlearn_guard.checking.prompt_pairs.swapped_pairs", paired)
    assert list(suite_pairs(rendered, chatty).pairs["invented_lettered"][:3]) == scored


def test_a_template_changes_what_is_asked_and_so_the_digest(suite, chatty):
    plain, templated = (render(suite, defaults=False, chat=chat).records for chat in (None, Chat(chatty)))
    assert all(one.digest != other.digest for one, other in zip(plain, templated, strict=True))


def test_a_tokenizer_without_a_template_is_refused(tokenizer):
    with pytest.raises(UsageError, match="no chat template"):
        Chat(tokenizer)
