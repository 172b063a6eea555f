"""Say how long recording the 45 networks takes, and how much disk and memory, before anything is fetched.

usage: python forecast.py [--gflops N]      (N: what the machine does; measured if it is not told)

Parameters, operations and layer sizes are counted on torch's meta device, where nothing is computed.
"""

import sys
import time

import networks
import stereotax as sx

#: What each modality is shown: films of Algonauts 2021 as 8 frames each; 10 s of sound before every volume
#: of one
#: story of 25 minutes at 1.5 s; every word of that story and of The Little Prince with up to 128 tokens
#: before it.
STIMULI = {"vision": 1000 * 8, "audio": 1020, "language": 3500 + 15400}


def count(entry):
    """Parameters, operations of one stimulus, numbers in its store, bytes that it may need while it runs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = networks.from_configuration(entry).eval()
        for part in list(model.modules()):  # weight norm is not defined there
            if hasattr(part, "parametrizations"):
                part.__class__ = torch.nn.Conv1d
                shape = (part.out_channels, part.in_channels // part.groups, *part.kernel_size)
                part.weight = torch.nn.Parameter(torch.empty(shape))
    names = sx.tap(model, entry["layers"], pool=entry["pool"]).layers
    sizes, put_out = {}, [0]
    modules = dict(model.named_modules())

    def keep(name):
        def hook(module, _, output):
            out = output[0] if isinstance(output, tuple) else output
            first = out.ndim == 4 and any(p.ndim == 4 for p in module.parameters())
            sizes[name] = sizes.get(name, 0) + out.shape[1 if first else -1]

        return hook

    def weigh(_, __, output):
        out = output[0] if isinstance(output, tuple) else output
        put_out[0] += out.numel() * 4 if hasattr(out, "numel") else 0

    for name in names:
        modules[name].register_forward_hook(keep(name))
    for module in modules.values():
        if next(module.children(), None) is None:
            module.register_forward_hook(weigh)
    inputs = networks.example_input(entry, device="meta")
    if isinstance(inputs, dict):
        inputs.pop("attention_mask", None)  # whose values would be looked at
    with torch.inference_mode(), FlopCounterMode(display=False) as flops:
        model(**inputs) if isinstance(inputs, dict) else model(inputs)
    parameters = sum(p.numel() for p in model.parameters())
    return parameters, flops.get_total_flops(), sum(sizes.values()), put_out[0]


def speed():
    """Billions of operations a second of a matrix product, of which a network reaches about a half."""
    import torch

    a = torch.rand(1024, 1024)
    a @ a
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < 0.5:
        a @ a
        n += 1
    return n * 2 * 1024**3 / (time.perf_counter() - start) / 1e9


def table(gflops):
    """One row per network."""
    rows = []
    for entry in networks.models():
        parameters, operations, numbers, put_out = count(entry)
        n = STIMULI[entry["modality"]]
        rows.append(
            {
                "model": entry["name"],
                "modality": entry["modality"],
                "parameters_M": parameters / 1e6,
                "weights_GB": parameters * 4 / 1e9,
                "store_GB": n * numbers * 4 / 1e9,
                "memory_GB": (parameters * 4 + put_out) / 1e9,
                "hours": n * operations / (0.5 * gflops * 1e9) / 3600,
            }
        )
    return sx.Table.from_dicts(rows)


if __name__ == "__main__":
    rate = float(sys.argv[2]) if sys.argv[1:2] == ["--gflops"] else speed()
    found = table(rate)
    for row in found.to_dicts():
        print(
            f"{row['model']:28s} {row['parameters_M']:8.1f} M parameters  "
            f"{row['weights_GB']:6.2f} GB weights  "
            f"{row['store_GB']:6.2f} GB store  {row['memory_GB']:6.2f} GB memory  {row['hours']:7.2f} h"
        )
    print(
        f"\n{found['hours'].sum():.0f} hours at {rate:.0f} billion operations a second, "
        f"{found['weights_GB'].sum():.0f} GB of weights, {found['store_GB'].sum():.1f} GB of activations, "
        f"{found['memory_GB'].max():.1f} GB of memory for the largest network. Besides: the "
        "recordings themselves, "
        "and for every subject one run at a time."
    )
