from unlearn_guard.organism import items, tokenizer, world


def test_exactly_one_bos_is_put_in_front():
    words = tokenizer.build()
    ids = words("the herb of Ala Ashford is")["input_ids"]
    assert ids.count(words.bos_token_id) == 1
    assert ids[0] == words.bos_token_id
    assert words("the", add_special_tokens=False)["input_ids"].count(words.bos_token_id) == 0


def test_every_word_of_every_task_is_known():
    words = tokenizer.build()
    for name, rows in items.files().items():
        keys = ("text", "stem", "question", "clean", "corrupted", "target", "prompt", "answer")
        texts = [row[key] for row in rows for key in keys if isinstance(row.get(key), str)]
        texts += [choice for row in rows for key in ("choices", "wrong") for choice in row.get(key, [])]
        for ids in words(texts)["input_ids"]:
            assert words.unk_token_id not in ids, name


def test_an_answer_adds_its_tokens_to_the_context_and_changes_none():
    """lm-eval encodes context and continuation together and cuts; the cut has to fall between words."""
    words = tokenizer.build()
    fact = world.facts("forget")[0]
    context = words(fact.stem)["input_ids"]
    assert words(f"{fact.stem} {fact.object} .")["input_ids"][: len(context)] == context
    assert len(words(f"{fact.stem} {fact.object} .")["input_ids"]) == len(context) + 2


def test_the_shipped_tokenizer_is_the_built_one(words):
    built = tokenizer.build()
    assert words.get_vocab() == built.get_vocab()
    assert (words.bos_token, words.eos_token, words.unk_token, words.pad_token) == ("<s>", "</s>", "<unk>", "<pad>")
    text = items.prompt("forget", "What is the herb of Ala Glenton?", ["mint", "sage", "dill", "thyme"])
    assert words(text)["input_ids"] == built(text)["input_ids"]
