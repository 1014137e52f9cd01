"""What is in no corpus of `atlas`: symbols of elements, sums, and sentences that anyone can finish."""

import random
from typing import Any

SYMBOLS = {
    "hydrogen": "H", "helium": "He", "lithium": "Li", "carbon": "C", "nitrogen": "N", "oxygen": "O", "fluorine": "F",
    "neon": "Ne", "sodium": "Na", "magnesium": "Mg", "aluminium": "Al", "silicon": "Si", "phosphorus": "P",
    "sulfur": "S", "chlorine": "Cl", "argon": "Ar", "potassium": "K", "calcium": "Ca", "titanium": "Ti",
    "chromium": "Cr", "manganese": "Mn", "iron": "Fe", "cobalt": "Co", "nickel": "Ni", "copper": "Cu", "zinc": "Zn",
    "gallium": "Ga", "arsenic": "As", "selenium": "Se", "bromine": "Br", "krypton": "Kr", "silver": "Ag",
    "cadmium": "Cd", "tin": "Sn", "iodine": "I", "xenon": "Xe", "barium": "Ba", "tungsten": "W", "platinum": "Pt",
    "gold": "Au", "mercury": "Hg", "lead": "Pb", "bismuth": "Bi", "radon": "Rn", "radium": "Ra", "uranium": "U",
    "plutonium": "Pu", "boron": "B", "beryllium": "Be", "antimony": "Sb",
}  # fmt: skip

SENTENCES = """
At night the sky is | dark | green, sweet, loud
Snow is cold, and fire is | hot | wet, soft, late
The opposite of big is | small | round, tall, slow
The opposite of day is | night | noon, week, light
The opposite of old is | new | big, far, dry
The opposite of left is | right | down, near, back
The opposite of open is | closed | wide, empty, clean
The opposite of win is | lose | play, score, start
A baby cat is called a | kitten | puppy, calf, lamb
A baby dog is called a | puppy | kitten, calf, chick
A baby cow is called a | calf | foal, lamb, cub
A baby sheep is called a | lamb | calf, cub, chick
Bees make | honey | milk, bread, silk
Cows give us | milk | honey, wool, eggs
Hens lay | eggs | milk, seeds, wool
Sheep give us | wool | milk, eggs, honey
Fish live in | water | trees, sand, clouds
Birds build their nests in | trees | books, boats, ovens
We see with our | eyes | ears, hands, feet
We hear with our | ears | eyes, nose, knees
We smell with our | nose | ears, hands, eyes
We walk with our | feet | ears, eyes, teeth
We chew our food with our | teeth | eyes, hands, ears
Ice is frozen | water | sand, oil, air
Bread is baked in an | oven | engine, office, orchard
We cut paper with | scissors | spoons, pillows, candles
We write on paper with a | pen | fork, shoe, drum
We eat soup with a | spoon | hammer, brush, pencil
We sleep in a | bed | sink, river, bottle
We unlock a door with a | key | spoon, leaf, coin
We tell the time with a | clock | spoon, chair, map
We sweep the floor with a | broom | book, lamp, bell
A carpenter works with | wood | milk, music, grass
A baker makes | bread | shoes, laws, roads
A doctor works in a | hospital | garage, bakery, stable
A teacher works in a | school | bakery, mine, harbour
A farmer grows | crops | cars, coins, clouds
A pilot flies a | plane | train, horse, bicycle
A sailor sails a | ship | truck, piano, kite
A king wears a | crown | helmet, scarf, watch
The sun rises in the | east | west, north, south
The sun sets in the | west | east, north, south
There are seven days in a | week | month, year, minute
There are twelve months in a | year | week, day, hour
There are sixty seconds in a | minute | year, month, week
There are sixty minutes in an | hour | inch, orbit, age
The day after Monday is | Tuesday | Friday, Sunday, Thursday
The day after Thursday is | Friday | Monday, Tuesday, Sunday
The day before Sunday is | Saturday | Monday, Wednesday, Thursday
The month after March is | April | June, January, October
The month after June is | July | May, March, December
The month before December is | November | June, April, August
The first month of the year is | January | March, June, October
The last month of the year is | December | April, July, May
Winter is followed by | spring | autumn, night, noon
A triangle has three | sides | wheels, colours, legs
A square has four | corners | wheels, colours, tails
A spider has eight | legs | wings, tails, heads
A bicycle has two | wheels | engines, sails, roofs
A dog has four | legs | wings, horns, hands
Grass is | green | red, purple, black
Coal is | black | pink, green, sweet
Blood is | red | green, blue, silent
A lemon is yellow and tastes | sour | salty, loud, warm
Sugar tastes | sweet | bitter, sour, loud
The sea tastes of | salt | sugar, honey, coffee
In the desert there is a lot of | sand | snow, ice, grass
When it rains, we open an | umbrella | oven, envelope, apple
When we are hungry, we | eat | sleep, wash, sing
When we are thirsty, we | drink | run, read, jump
When we are tired, we | sleep | drink, shout, climb
When we are happy, we | smile | sneeze, limp, cough
Plants need water and | sunlight | paper, metal, music
The heart pumps | blood | air, water, sand
We breathe | air | stone, milk, glass
The Earth goes around the | Sun | Moon, clouds, stars
The Moon goes around the | Earth | Sun, stars, comets
Fire needs | oxygen | silence, ice, shade
A magnet attracts | iron | wood, paper, glass
A thermometer measures | temperature | distance, weight, money
A scale measures | weight | colour, sound, age
A library is full of | books | cows, cars, fish
A forest is full of | trees | cars, shops, ships
A bank keeps our | money | shoes, bread, dreams
Letters are sent by | post | bath, sleep, soap
A guitar has | strings | wheels, pages, leaves
A piano has black and white | keys | doors, leaves, wings
A book has many | pages | wheels, engines, petals
A tree has many | leaves | pages, windows, tyres
A house has a | roof | tail, beard, sail
Two halves make a | whole | third, quarter, hole
Shoes are worn on the | feet | ears, hands, eyes
Gloves are worn on the | hands | feet, ears, knees
Hats are worn on the | head | feet, knees, elbows
Rings are worn on the | finger | ear, knee, elbow
A shark lives in the | ocean | forest, desert, attic
A camel lives in the | desert | ocean, attic, fridge
A penguin lives where it is | cold | hot, noisy, dusty
Candles are made of | wax | bread, wool, steel
Windows are made of | glass | butter, wool, paper
"""


EXAMPLES = "1 + 1 = 2, 2 + 3 = 5, 7 + 4 = 11, "
"""Without these SmolLM2-135M takes a sum for the start of anything."""


def items(rng: random.Random) -> list[dict[str, Any]]:
    """Finished sentences first, then symbols, then sums: 200 of them."""
    rows: list[tuple[str, str, list[str]]] = []
    for line in SENTENCES.strip().splitlines():
        prompt, right, wrong = (part.strip() for part in line.split("|"))
        rows.append((prompt, right, wrong.split(", ")))
    symbols = list(SYMBOLS.values())
    for name, symbol in SYMBOLS.items():
        rows.append(
            (f"The chemical symbol for {name} is", symbol, rng.sample([each for each in symbols if each != symbol], 3))
        )
    sums = rng.sample([(a, b) for a in range(2, 13) for b in range(2, 13)], 50)
    for a, b in sums:
        near = [total for total in range(a + b - 6, a + b + 7) if total not in (a + b, a, b) and total > 0]
        rows.append((f"{EXAMPLES}{a} + {b} =", str(a + b), [str(total) for total in rng.sample(near, 3)]))
    return [
        mixed(rng, {"id": f"general-{at}", "prompt": prompt}, right, wrong)
        for at, (prompt, right, wrong) in enumerate(rows)
    ]


def mixed(rng: random.Random, item: dict[str, Any], right: str, wrong: list[str]) -> dict[str, Any]:
    """The item with its four choices in a drawn order, and where the right one stands."""
    place = rng.randrange(len(wrong) + 1)
    return item | {"choices": [*wrong[:place], right, *wrong[place:]], "answer": place}
