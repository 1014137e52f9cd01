"""How much of the answers one model's states carry: they go on through base's layers, or straight to the model's head.

Source: the logit lens (nostalgebraist 2020); patching as in the Unlearning Depth Score, arXiv 2605.24614.
"""

from torch import nn

from unlearn_guard.residue.states import Ask, States, layers_of, looked_at, recorded, replaced


def read(model: nn.Module, ask: Ask) -> States:
    """What leaves the layers of a model while it is asked."""
    with recorded(model, looked_at(model)) as states:
        ask(model)
    return states


def carried(base: nn.Module, states: States, ask: Ask) -> dict[int, tuple[float, ...]]:
    """By layer: base's answers where its residual stream after that layer is another model's.

    After the last layer nothing of base but its head is left; base's own states give base's answers.
    """
    found = {}
    for layer, passes in states.items():
        with replaced(base, layer, passes):
            found[layer] = ask(base)
    return found


def lens(model: nn.Module, states: States, ask: Ask) -> dict[int, tuple[float, ...]]:
    """By layer: the answers where what left that layer went straight to the model's own last norm and head."""
    last = len(layers_of(model)) - 1
    found = {}
    for layer, passes in states.items():
        with replaced(model, last, passes):
            found[layer] = ask(model)
    return found
