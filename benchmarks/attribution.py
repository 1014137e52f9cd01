"""Seconds a pair and peak memory of EAP-IG on a 60 M Llama, against two slower ways in the same run.

    OMP_NUM_THREADS=2 python -m benchmarks.attribution [--pairs 10] [--json FILE]

The literal version (tests/oracles) runs one step of one item with a copy of the residual stream per
reader. The materialised way keeps every source and the gradient of every reader as [B, T, nodes, D], as
the public reference does; it is written here, from the formula, and scores the same edges. Every way
runs in a process of its own: `live` is the most that torch's allocator had handed out at once, `resident`
how far the process grew, which adds what malloc and the kernels hold. Linux only.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import torch

from benchmarks.llama import random_llama
from unlearn_guard.attribution.eap_ig import Metric, attribute, inference_state
from unlearn_guard.attribution.graph import EdgeSet, Graph
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.processes import children

LAYERS, WIDTH, HEADS, GROUPS, TOKENS, STEPS = 8, 512, 8, 4, 100, 5
ITEMS = 10
"""Items that the public reference holds at once: the materialised tensor is of so many."""
REFERENCE_SECONDS = 11.5
"""A pair, all edges: the public reference's, measured in another run on two cores."""
WAYS = ("mlp", "all", "materialised", "literal")


def model_60m():
    return random_llama(vocabulary=32000, width=WIDTH, hidden=1408, layers=LAYERS, heads=HEADS, groups=GROUPS)


def pairs_of_100(count):
    generator = torch.Generator().manual_seed(1)
    made = []
    for item in range(count):
        clean, corrupted = torch.randint(3, 32000, (2, TOKENS), generator=generator).tolist()
        made.append(
            Pair(clean=tuple(clean), corrupted=tuple(corrupted), target=5, wrong=(6, 7, 8), where=f"pair {item}")
        )
    return made


def materialised(model, pairs, steps=STEPS):
    """All edges with [B, T, nodes, D] held for sources and, step by step, for readers. Scores [B, R, U]."""
    graph = Graph(layers=LAYERS, heads=HEADS, groups=GROUPS)
    sources, readers = graph.sources, [name for block in graph.blocks(EdgeSet.ALL) for name in block.readers]
    row = {name: index for index, name in enumerate(readers)}
    size = WIDTH // HEADS
    count = len(pairs)
    metric = Metric(pairs, model)
    written = [torch.zeros(count, TOKENS, len(sources), WIDTH) for _ in range(2)]
    grads = torch.zeros(count, TOKENS, len(readers), WIDTH)
    ids = [torch.tensor([getattr(pair, side) for pair in pairs]) for side in ("clean", "corrupted")]
    handles = []

    def on(module, function, before=False):
        register = module.register_forward_pre_hook if before else module.register_forward_hook
        handles.append(register(function))

    def clear():
        for handle in handles:
            handle.remove()
        handles.clear()

    for side, tensor in enumerate(written):
        on(model.model.layers[0], lambda m, a, t=tensor: _put(t, 0, a[0]), True)
        for index, layer in enumerate(model.model.layers):
            at = graph.before_attention(index)

            def heads(module, args, output, t=tensor, at=at):
                weight = module.weight.unflatten(1, (HEADS, size))
                z = args[0].unflatten(-1, (HEADS, size))
                t[:, :, at : at + HEADS] = torch.einsum("bthd,Dhd->bthD", z, weight)

            on(layer.self_attn.o_proj, heads)
            on(layer.mlp, lambda m, a, o, t=tensor, at=at: _put(t, at + HEADS, o))
        with torch.no_grad():
            metric(ids[side])
        clear()
    difference = written[1] - written[0]
    inputs = [tensor[:, :, 0].clone() for tensor in written]
    del written
    scores = torch.zeros(count, len(readers), len(sources))
    for k in range(steps):
        leaf = (inputs[1] + k / steps * (inputs[0] - inputs[1])).requires_grad_()
        _reader_hooks(model, on, row, grads, size)
        on(model.model.layers[0], lambda m, a, x=leaf: (x, *a[1:]), True)
        torch.autograd.grad(metric(ids[0]).sum(), leaf)
        clear()
        scores += torch.einsum("btud,btrd->bru", difference, grads)
    return scores / steps


def _put(tensor_BTND, node, value_BTD):
    """Nothing comes back, as a hook's answer would replace what it saw."""
    tensor_BTND[:, :, node] = value_BTD


def _reader_hooks(model, on, row, grads, size):
    def pull(norm, x, grad):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(norm.forward(x), x, grad)[0]

    def single(norm, name):
        def forward(module, args, output):
            output.register_hook(lambda grad: _put(grads, row[name], pull(norm, args[0], grad)))

        on(norm, forward)

    def attention(layer, projection, names):
        def forward(module, args, output):
            def backward(grad):
                for position, name in enumerate(names):
                    at = slice(position * size, (position + 1) * size)
                    grads[:, :, row[name]] = pull(layer.input_layernorm, stream[0], grad[..., at] @ module.weight[at])

            output.register_hook(backward)

        stream = []
        on(layer.input_layernorm, lambda m, a: stream.append(a[0]), True)
        on(projection, forward)

    for index, layer in enumerate(model.model.layers):
        attention(layer, layer.self_attn.q_proj, [f"a{index}.h{head}<q>" for head in range(HEADS)])
        attention(layer, layer.self_attn.k_proj, [f"a{index}.kv{group}<k>" for group in range(GROUPS)])
        attention(layer, layer.self_attn.v_proj, [f"a{index}.kv{group}<v>" for group in range(GROUPS)])
        single(layer.post_attention_layernorm, f"m{index}")
    single(model.model.norm, "logits")


def literal(model, pairs):
    from tests.oracles import eap_ig

    for pair in pairs:
        eap_ig.scores(model, pair.clean, pair.corrupted, pair.target, pair.wrong, STEPS, heads=HEADS, groups=GROUPS)


def memory_of_this_process(field):
    """Bytes, from /proc: VmRSS now, VmHWM at the most since the mark was last reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def run(way, count, rows):
    """Seconds a pair and bytes beyond the model, in this process; `rows` 0 is the automatic choice."""
    from tests.attribution.allocator import peak_bytes

    model, pairs = model_60m(), pairs_of_100(count)

    def work():
        if way in ("mlp", "all"):
            attribute(model, pairs, edges=EdgeSet(way), steps=STEPS, rows=rows or None)
        elif way == "materialised":
            with inference_state(model):
                for start in range(0, count, rows):
                    materialised(model, pairs[start : start + rows])
        else:
            literal(model, pairs)

    with inference_state(model), torch.no_grad():
        model(torch.tensor([pairs[0].clean[:8]]), logits_to_keep=1)  # threads and buffers exist before the clock
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before, started, worked = memory_of_this_process("VmRSS"), time.perf_counter(), time.process_time()
    work()
    seconds, cpu = (time.perf_counter() - started) / count, (time.process_time() - worked) / count
    grown = memory_of_this_process("VmHWM") - before
    return {
        "way": way,
        "pairs": count,
        "rows": rows,
        "seconds_a_pair": seconds,
        "cpu_seconds_a_pair": cpu,
        "resident": grown,
        "live": peak_bytes(work),
    }


def agreement():
    """Largest difference of the fast and the materialised scores, as a share of the largest score."""
    model, pairs = model_60m(), pairs_of_100(2)
    fast = attribute(model, pairs, edges=EdgeSet.ALL, steps=2)
    graph = Graph(layers=LAYERS, heads=HEADS, groups=GROUPS)
    with inference_state(model):
        slow = materialised(model, pairs, steps=2)
    blocks, row, parts = graph.blocks(EdgeSet.ALL), 0, []
    for block in blocks:
        parts.append(slow[:, row : row + len(block.readers), : block.before].flatten(1))
        row += len(block.readers)
    found = torch.from_numpy(fast.scores_NE)
    return float((torch.cat(parts, 1) - found).abs().max() / found.abs().max())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=ITEMS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=WAYS, help="run this one here, and print its line")
    parser.add_argument("--rows", type=int, default=0, help="prompts at once, with --way; 0: the automatic choice")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(run(given.way, given.pairs, given.rows)))
        return
    cases = [(way, rows) for rows in (0, 5, 25) for way in ("mlp", "all")] + [("materialised", ITEMS)]
    results = [_child(way, given.pairs, rows) for way, rows in cases] + [_child("literal", 1, 1)]
    tensor = 4 * ITEMS * TOKENS * (1 + LAYERS * (HEADS + 1)) * WIDTH
    print(
        f"[B, T, nodes, D] of {ITEMS} items: {tensor / 2**20:.1f} MiB, a quarter {tensor / 2**22:.1f}; "
        f"the public reference: {REFERENCE_SECONDS} s a pair; agreement {agreement():.1e}"
    )
    literal_seconds = results[-1]["cpu_seconds_a_pair"]
    print(
        f"{'way':14}{'rows':>6}{'s a pair':>10}{'reference / it':>16}{'CPU s a pair':>14}{'literal / it':>14}"
        f"{'MiB live':>10}{'resident':>10}{'live / tensor':>15}"
    )
    for each in results:
        ratio = literal_seconds / each["cpu_seconds_a_pair"]  # of CPU time: other work on the machine counts less
        print(
            f"{each['way']:14}{each['rows'] or 'auto':>6}{each['seconds_a_pair']:10.3f}"
            f"{REFERENCE_SECONDS / each['seconds_a_pair']:16.1f}{each['cpu_seconds_a_pair']:14.3f}{ratio:14.1f}"
            f"{each['live'] / 2**20:10.1f}{each['resident'] / 2**20:10.1f}{each['live'] / tensor:15.3f}"
        )
    if given.json:
        given.json.write_text(json.dumps({"tensor_bytes": tensor, "results": results}, indent=1))


def _child(way, pairs, rows):
    command = [*children.python("benchmarks.attribution"), "--way", way, "--pairs", str(pairs), "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, env=children.environment(), check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
