"""`probe`, by the real command: the judged model served agrees; whatever else is served does not pass."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from model_server import serving

KINDS = {"vllm": "likeliest tokens", "llama_cpp": "likeliest tokens", "plain": "written letters"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompts", ["text", "ids"])
def test_the_judged_model_agrees(kind, prompts, probed, server_of, run_of):
    with serving(server_of(kind=kind)) as url:
        status, out, err, _ = probed(url, "--prompts", prompts)
    if kind == "plain":  # what it writes is rarely one of four words of forty
        assert status == 5
        assert "Not established" in out
        return
    assert status == 0, out + err
    assert "Served as judged" in out
    assert "The run's verdict: passed." in out
    assert f"Asked by: {KINDS[kind]} 160" in out
    assert "160 items of 2 tasks to 127.0.0.1, on this machine" in err
    assert ("tokenizer was not asked" in out) == (prompts == "ids")


@pytest.mark.parametrize(("kind", "way"), [("vllm", "echo"), ("llama_cpp", "forced tokens")])
def test_choices_of_several_tokens_are_asked_token_by_token(kind, way, probed, server_of):
    with serving(server_of(kind=kind)) as url:
        status, out, err, _ = probed(url, name="long")
    assert status == 0, out + err
    assert f"Asked by: {way} 160" in out


def test_choices_of_several_tokens_cannot_be_had_from_a_server_that_tells_nothing(probed, server_of):
    with serving(server_of(kind="plain")) as url:
        status, out, _, _ = probed(url, name="long")
    assert status == 5
    assert "Asked by: not comparable 160" in out


def test_conversations_are_asked_through_the_servers_own_template(probed, server_of):
    server = server_of(kind="vllm")
    with serving(server) as url:
        status, out, err, _ = probed(url, name="chat")
    assert status == 0, out + err
    assert "chat, likeliest tokens 160" in out
    assert {path for path, _, _ in server.seen} == {"/v1/models", "/v1/chat/completions"}


@pytest.mark.parametrize("name", ["plain", "long", "chat"])
@pytest.mark.parametrize("kind", ["vllm", "llama_cpp"])
def test_base_in_its_place_is_noticed(name, kind, probed, server_of):
    with serving(server_of("base", kind)) as url:
        status, out, _, _ = probed(url, name=name)
    assert status == 1
    assert "NOT what was judged" in out
    assert "all forget tasks" not in out  # there is one forget task


@pytest.mark.parametrize(
    "more",
    [
        {"system": "n7 n8 n9"},
        {"template": "{% for m in messages %}<s>{{ m.content }} . {% endfor %}lives "},
    ],
)
def test_another_system_prompt_or_template_is_noticed(more, probed, server_of):
    with serving(server_of(**more)) as url:
        status, out, _, _ = probed(url, name="chat")
    assert status == 1
    assert "NOT what was judged" in out
    assert "another chat template, system prompt" in out


def test_prompts_that_are_read_otherwise_do_not_pass_even_where_every_answer_is_the_same(probed, server_of):
    server = server_of()
    answer = server.answer
    server.answer = lambda *all_, **more: (
        (found := answer(*all_, **more)) | {"usage": {"prompt_tokens": found["usage"]["prompt_tokens"] + 3}}
    )
    with serving(server) as url:
        status, out, _, _ = probed(url, name="chat")
    assert status == 5
    assert "the server reads other prompts than were judged" in out


def rounded(model, levels):
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            step = parameter.abs().max() / levels
            parameter.copy_((parameter / step).round() * step)
    return made


def test_coarser_weights_are_noticed_where_their_answers_differ(probed, server_of, served_models):
    server = server_of()
    server.model = rounded(served_models["candidate"], 2)
    with serving(server) as url:
        status, out, _, _ = probed(url)
    assert status == 1
    server.model = served_models["candidate"].to(torch.bfloat16)
    with serving(server) as url:
        status, out, _, _ = probed(url)
    served_models["candidate"].to(torch.float32)
    assert status == 0, out


def test_too_few_items_establish_nothing(probed, server_of):
    with serving(server_of()) as url:
        status, out, _, _ = probed(url, "--items", 12)
    assert status == 5
    assert "too few forget items" in out


def test_json_and_the_file_say_the_same(probed, server_of, run_of):
    with serving(server_of()) as url:
        status, _, _, out = probed(url, "--json")
    told = json.loads(out)
    (file,) = (run_of()[0] / "probes").glob("*.full.json")
    assert json.loads(file.read_text()) == told
    assert status == told["status"] == 0
    assert (told["outcome"], told["verdict"], told["precision"]) == ("passed", "passed", "full")
    assert [(each["name"], each["asked"], each["differ"]) for each in told["tasks"]] == [
        ("quiz_forget", 140, 0),
        ("quiz_retain", 20, 0),
    ]
    assert "lives" not in out  # no text of an item


def test_what_lies_in_the_run_directory_changes_no_verdict(probed, server_of, run_of):
    from unlearn_guard.command_line.app import run as command

    with serving(server_of()) as url:
        assert probed(url)[0] == 0
    assert command(["judge", str(run_of()[0])]) == 0


def test_a_run_that_was_edited_is_refused_before_anything_is_sent(probed, server_of, run_of):
    run, _ = run_of()
    file = run / "samples" / "quiz_forget.full.candidate.jsonl"
    file.write_text(file.read_text().replace("[-", "[-9", 1))
    server = server_of()
    with serving(server) as url:
        status, _, err, _ = probed(url)
    assert status == 4
    assert "edited or damaged" in err
    assert server.seen == []


def test_a_suite_that_asks_something_else_is_refused(judged, server_of, capfd):
    from unlearn_guard.command_line.app import run as command

    server = server_of()
    with serving(server) as url:
        status = command(["probe", url, "--run", str(judged["plain"][0]), "--tasks-dir", str(judged["long"][1])])
    assert status == 4
    assert "does not give the run's questions again" in capfd.readouterr().err
    assert server.seen == []


def test_another_base_is_refused_and_a_precision_that_was_not_judged(probed, server_of, judged, tmp_path):
    other = Path(shutil.copytree(judged["plain"][0].parent / "base", tmp_path / "other"))
    file = other / "chat_template.jinja"
    file.write_text(file.read_text() + "{# ours #}")
    with serving(server_of()) as url:
        status, _, err, _ = probed(url, "--base", other)
        assert status == 4
        assert "is not the base of the run" in err
        status, _, err, _ = probed(url, "--precision", "nf4")
        assert status == 4
        assert "no answers of its candidate at nf4" in err
