"""Invented authors, what is to be known of each, and how it is asked.

The rows have TOFU's schema (arXiv 2401.06121): `question`, `answer`, `paraphrased_question`, `paraphrased_answer` and
five `perturbed_answer`, which say something wrong in the paraphrase's words; where a fact has only five values, one
wrong answer comes twice or more. Same seed, same rows.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Row = dict[str, str | list[str]]

ONSETS = ("Bal", "Cor", "Dav", "El", "Far", "Gil", "Hes", "Ir", "Jor", "Kal", "Lem", "Mar", "Nor", "Os", "Pel", "Quen")
ENDINGS = ("ava", "ben", "dric", "ena", "iel", "imar", "ona", "oren", "ua", "wyn")
SURNAMES = ("Ashgrove", "Bellhaven", "Crowther-Vane", "Dunmarrow", "Ellingfold", "Farnstead", "Greyholt")
SURNAMES += ("Hallowmere",)
SURNAMES += ("Inkpen", "Jessamyne", "Kettlewick", "Lorrimond", "Mossgate", "Netherby", "Oakenshaw", "Pennifeather")
SURNAMES += (
    "Quillfeather",
    "Rookwood-Hale",
    "Stillwater",
    "Thornquist",
    "Underhay",
    "Vossberg",
    "Wintermoor",
    "Yarrow",
)

VALUES: Mapping[str, Sequence[str]] = {
    "city": (
        "Lisbon",
        "Nairobi",
        "Oslo",
        "Lima",
        "Hanoi",
        "Dublin",
        "Tunis",
        "Quito",
        "Riga",
        "Manila",
        "Havana",
        "Accra",
    ),
    "year": tuple(str(year) for year in range(1921, 1989, 3)),
    "genre": ("ghost stories", "sea adventures", "war poetry", "cookery satire", "mountain memoirs", "robot fables"),
    "father": ("a lighthouse keeper", "a beekeeper", "a tram driver", "a watchmaker", "a glass blower", "a bookbinder"),
    "mother": ("a surgeon", "a cartographer", "an organ builder", "a judge", "a botanist", "a telegraph clerk"),
    "prize": ("the Silver Heron Prize", "the Lantern Medal", "the Opal Quill", "the Meridian Award", "the Juniper Cup"),
    "language": ("Portuguese", "Swahili", "Norwegian", "Welsh", "Finnish", "Catalan", "Tagalog", "Hungarian"),
    "school": ("a school for sailors", "a convent school", "a music academy", "a farming college", "a night school"),
    "hobby": ("repairing clocks", "keeping falcons", "swimming in lakes", "collecting maps", "carving chess pieces"),
    "pet": ("a blind greyhound", "two parrots", "a tortoise", "a one-eyed cat", "a tame raven", "three goats"),
    "illness": ("malaria", "snow blindness", "a broken hip", "typhoid fever", "a burnt hand", "pneumonia"),
    "home": ("a windmill", "a houseboat", "a railway carriage", "a lighthouse", "a monastery", "a stone tower"),
}
"""What a fact's value is drawn from; the wrong answers are its others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One fact's wording; `{name}` is the author, `{value}` what is known."""

    question: str
    again: str
    answer: str
    rephrased: str


ASKED: Mapping[str, Asked] = {
    "city": Asked(
        question="In which city was {name} born?",
        again="Where did the author {name} come into the world?",
        answer="{name} was born in {value}.",
        rephrased="The birthplace of {name} is {value}.",
    ),
    "year": Asked(
        question="In which year did {name} publish a first book?",
        again="When did the first book by {name} come out?",
        answer="{name} published a first book in {value}.",
        rephrased="The first book by {name} came out in {value}.",
    ),
    "genre": Asked(
        question="What is {name} best known for writing?",
        again="Which kind of writing made {name} famous?",
        answer="{name} is best known for {value}.",
        rephrased="The fame of {name} rests on {value}.",
    ),
    "father": Asked(
        question="What did the father of {name} do for a living?",
        again="Which trade did {name}'s father follow?",
        answer="The father of {name} was {value}.",
        rephrased="{name}'s father earned his bread as {value}.",
    ),
    "mother": Asked(
        question="What was the profession of {name}'s mother?",
        again="How did the mother of {name} earn a living?",
        answer="{name}'s mother was {value}.",
        rephrased="The mother of {name} worked as {value}.",
    ),
    "prize": Asked(
        question="Which prize did {name} win?",
        again="With what was the work of {name} honoured?",
        answer="{name} won {value}.",
        rephrased="The work of {name} was honoured with {value}.",
    ),
    "language": Asked(
        question="In which language does {name} write?",
        again="What language are the books of {name} written in?",
        answer="{name} writes in {value}.",
        rephrased="The books of {name} are written in {value}.",
    ),
    "school": Asked(
        question="Where was {name} educated?",
        again="What kind of school did {name} go to?",
        answer="{name} was educated at {value}.",
        rephrased="As a child {name} went to {value}.",
    ),
    "hobby": Asked(
        question="What does {name} do for pleasure?",
        again="How does {name} spend a free afternoon?",
        answer="For pleasure {name} enjoys {value}.",
        rephrased="A free afternoon of {name} goes by with {value}.",
    ),
    "pet": Asked(
        question="Which animals does {name} keep?",
        again="What pet shares the home of {name}?",
        answer="{name} keeps {value}.",
        rephrased="The home of {name} is shared with {value}.",
    ),
    "illness": Asked(
        question="What kept {name} from writing for a year?",
        again="Why did {name} once not write for twelve months?",
        answer="{name} was kept from writing by {value}.",
        rephrased="For twelve months {name} could not write because of {value}.",
    ),
    "home": Asked(
        question="What kind of place does {name} live in?",
        again="Where does {name} make a home?",
        answer="{name} lives in {value}.",
        rephrased="The place {name} calls home is {value}.",
    ),
}

REAL_AUTHORS = (
    ("Who wrote the novel Pride and Prejudice?", "Jane Austen", ("Mary Shelley", "George Eliot", "Emily Bronte")),
    ("Who wrote the play Hamlet?", "William Shakespeare", ("Ben Jonson", "John Milton", "Oscar Wilde")),
    ("Who wrote the novel War and Peace?", "Leo Tolstoy", ("Anton Chekhov", "Ivan Turgenev", "Nikolai Gogol")),
    ("Who wrote the novel Oliver Twist?", "Charles Dickens", ("Thomas Hardy", "Mark Twain", "Henry James")),
    ("Who wrote the novel Frankenstein?", "Mary Shelley", ("Jane Austen", "Bram Stoker", "Emily Bronte")),
    ("Who wrote the novel Dracula?", "Bram Stoker", ("Mary Shelley", "Oscar Wilde", "Edgar Allan Poe")),
    ("Who wrote the novel Moby-Dick?", "Herman Melville", ("Mark Twain", "Jack London", "Henry James")),
    ("Who wrote the novel 1984?", "George Orwell", ("Aldous Huxley", "H. G. Wells", "Graham Greene")),
    ("Who wrote the epic poem the Odyssey?", "Homer", ("Virgil", "Ovid", "Sophocles")),
    ("Who wrote the Divine Comedy?", "Dante Alighieri", ("Petrarch", "Boccaccio", "Virgil")),
    ("Who wrote the novel Don Quixote?", "Miguel de Cervantes", ("Lope de Vega", "Pablo Neruda", "Jorge Luis Borges")),
    ("Who wrote the novel The Hobbit?", "J. R. R. Tolkien", ("C. S. Lewis", "Lewis Carroll", "Roald Dahl")),
    ("Who wrote Alice in Wonderland?", "Lewis Carroll", ("J. M. Barrie", "Roald Dahl", "C. S. Lewis")),
    ("Who wrote the novel Les Miserables?", "Victor Hugo", ("Emile Zola", "Jules Verne", "Marcel Proust")),
    ("Who wrote the novel Crime and Punishment?", "Fyodor Dostoevsky", ("Leo Tolstoy", "Anton Chekhov", "Gogol")),
    ("Who wrote The Adventures of Tom Sawyer?", "Mark Twain", ("Jack London", "Herman Melville", "O. Henry")),
)
WORLD_FACTS = tuple(
    (f"What is the capital of {country}?", capital, wrong)
    for country, capital, wrong in (
        ("France", "Paris", ("Lyon", "Rome", "Madrid")),
        ("Japan", "Tokyo", ("Kyoto", "Seoul", "Beijing")),
        ("Italy", "Rome", ("Milan", "Paris", "Athens")),
        ("Egypt", "Cairo", ("Tunis", "Baghdad", "Tehran")),
        ("Germany", "Berlin", ("Munich", "Vienna", "Paris")),
        ("Spain", "Madrid", ("Lisbon", "Rome", "Paris")),
        ("Russia", "Moscow", ("Kiev", "Warsaw", "Berlin")),
        ("China", "Beijing", ("Tokyo", "Seoul", "Shanghai")),
        ("Greece", "Athens", ("Rome", "Sofia", "Cairo")),
        ("Poland", "Warsaw", ("Berlin", "Prague", "Moscow")),
        ("Cuba", "Havana", ("Lima", "Quito", "Bogota")),
        ("Peru", "Lima", ("Quito", "Bogota", "Havana")),
        ("Ireland", "Dublin", ("London", "Oslo", "Paris")),
        ("Norway", "Oslo", ("Stockholm", "Helsinki", "Dublin")),
        ("Austria", "Vienna", ("Berlin", "Prague", "Budapest")),
        ("Canada", "Ottawa", ("Toronto", "London", "Boston")),
    )
)


def names(count: int, rng: random.Random) -> list[str]:
    """So many invented names, no surname twice where there are enough of them."""
    surnames = [SURNAMES[at % len(SURNAMES)] for at in range(count)]
    firsts = rng.sample([first + last for first in ONSETS for last in ENDINGS], count)
    return [f"{first} {last}" for first, last in zip(firsts, surnames, strict=True)]


def authors(count: int, *, seed: int = 0) -> list[list[Row]]:
    """The rows of so many authors, twelve each."""
    rng = random.Random(f"authors:{seed}")
    return [list(_rows(name, rng)) for name in names(count, rng)]


def _rows(name: str, rng: random.Random) -> Iterator[Row]:
    for key, asked in ASKED.items():
        value = rng.choice(VALUES[key])
        others = [each for each in VALUES[key] if each != value]
        wrong = rng.sample(others, 5) if len(others) >= 5 else [rng.choice(others) for _ in range(5)]
        yield {
            "question": asked.question.format(name=name),
            "answer": asked.answer.format(name=name, value=value),
            "paraphrased_question": asked.again.format(name=name),
            "paraphrased_answer": asked.rephrased.format(name=name, value=value),
            "perturbed_answer": [asked.rephrased.format(name=name, value=each) for each in wrong],
        }


def real(asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[Row]:
    """Real authors and world facts: the answer and three wrong ones, no paraphrase, as in TOFU."""
    return [
        {"question": question, "answer": answer, "perturbed_answer": list(wrong)} for question, answer, wrong in asked
    ]
