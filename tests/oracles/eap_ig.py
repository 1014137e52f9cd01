"""EAP-IG written down as it is defined: one item, one step, one reader's own copy of the residual stream at a time.

Nothing here knows a closed form. Each reader gets a vector of zeros added to its copy of the residual
stream, and autograd says what the metric thinks of it; each head's output is written out in full. Slow on
purpose. From Hanna et al. 2024 and paper/facts.md, not from the fast version.
"""

import torch


def scores(model, clean, corrupted, target, wrong, steps, *, heads, groups):
    """{"SRC->DST": score} for every edge."""
    nodes_clean, x_clean, _ = _run(model, clean, heads, groups)
    nodes_corrupted, x_corrupted, _ = _run(model, corrupted, heads, groups)
    found = {}
    for k in range(steps):
        x_k = x_corrupted + (k / steps) * (x_clean - x_corrupted)
        copies = {
            reader: torch.zeros_like(x_k, requires_grad=True)
            for reader in _readers(len(model.model.layers), heads, groups)
        }
        _, _, logits = _run(model, clean, heads, groups, x=x_k, copies=copies)
        metric = logits[target] - sum(logits[w] for w in wrong) / len(wrong)
        gradients = torch.autograd.grad(metric, list(copies.values()))
        for reader, gradient in zip(copies, gradients, strict=True):
            for source in nodes_clean:
                if _is_earlier(source, reader):
                    difference = nodes_corrupted[source] - nodes_clean[source]
                    edge = f"{source}->{reader}"
                    found[edge] = found.get(edge, 0.0) + float((difference * gradient).sum()) / steps
    return found


def metric(model, ids, target, wrong):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    return float(logits[target] - sum(logits[w] for w in wrong) / len(wrong))


def _readers(layers, heads, groups):
    for layer in range(layers):
        yield from (f"a{layer}.h{head}<q>" for head in range(heads))
        yield from (f"a{layer}.kv{group}<k>" for group in range(groups))
        yield from (f"a{layer}.kv{group}<v>" for group in range(groups))
        yield f"m{layer}"
    yield "logits"


def _is_earlier(source, reader):
    """Does the source write before the reader reads? Attention comes before the MLP of its layer."""
    if source == "input" or reader == "logits":
        return True
    source_layer, reader_layer = (int(name[1:].split(".")[0]) for name in (source, reader))
    if source_layer != reader_layer:
        return source_layer < reader_layer
    return source.startswith("a") and reader.startswith("m")


def _run(model, ids, heads, groups, x=None, copies=None):
    """Every node's output [1, T, D], what entered layer 0, and the last position's logits."""
    nodes, handles, entered = {}, [], []

    def hook(module, function, *, before=False):
        register = module.register_forward_pre_hook if before else module.register_forward_hook
        handles.append(register(function))

    def enter(module, args, kwargs):
        value = args[0] if args else kwargs["hidden_states"]
        value = value if x is None else x
        entered.append(value.detach())
        nodes["input"] = value.detach()
        return ((value, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": value})

    layers = model.model.layers
    handles.append(layers[0].register_forward_pre_hook(enter, with_kwargs=True))
    for index, layer in enumerate(layers):
        _watch(index, layer, heads, groups, nodes, copies, hook)
    if copies is not None:
        hook(model.model.norm, lambda module, args: (args[0] + copies["logits"],), before=True)
    with torch.set_grad_enabled(copies is not None):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    for handle in handles:
        handle.remove()
    return nodes, entered[0], logits


def _watch(index, layer, heads, groups, nodes, copies, hook):
    attention = layer.self_attn
    sandwich = hasattr(layer, "post_feedforward_layernorm")
    after = layer.post_attention_layernorm if sandwich else None
    width = attention.o_proj.in_features // heads

    def write(module, args, output):
        for head in range(heads):
            mine = torch.zeros_like(args[0])
            mine[..., head * width : (head + 1) * width] = args[0][..., head * width : (head + 1) * width]
            written = mine @ module.weight.T
            if after is not None:
                rms = (output.pow(2).mean(-1, keepdim=True) + after.eps).sqrt()
                written = written / rms * (1 + after.weight)
            nodes[f"a{index}.h{head}"] = written.detach()

    def mlp_writes(module, args, output):
        nodes[f"m{index}"] = output.detach()

    hook(attention.o_proj, write)
    hook(layer.post_feedforward_layernorm if sandwich else layer.mlp, mlp_writes)
    if copies is None:
        return
    stream = []
    hook(layer.input_layernorm, lambda module, args: stream.append(args[0]), before=True)

    def own_copies(names):
        def replace(module, args, output):
            pieces, start = [], 0
            for name in names:
                normed = layer.input_layernorm.forward(stream[-1] + copies[name])
                pieces.append(module.forward(normed)[..., start : start + width])
                start += width
            return torch.cat(pieces, dim=-1)

        return replace

    queries = [f"a{index}.h{head}<q>" for head in range(heads)]
    keys, values = ([f"a{index}.kv{group}<{kind}>" for group in range(groups)] for kind in "kv")
    if hasattr(attention, "qkv_proj"):
        hook(attention.qkv_proj, own_copies(queries + keys + values))
    else:
        hook(attention.q_proj, own_copies(queries))
        hook(attention.k_proj, own_copies(keys))
        hook(attention.v_proj, own_copies(values))
    norm = layer.pre_feedforward_layernorm if sandwich else layer.post_attention_layernorm
    hook(norm, lambda module, args: (args[0] + copies[f"m{index}"],), before=True)
