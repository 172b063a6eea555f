"""Time a whole study of many models from files to results, with its memory and its forecast.

usage: python benches/whole_study.py --binary target/release/stereotax --folder /tmp/whole-study
           [--models 45] [--distinct 45] [--layers 25] [--delays 0] [--threads 2]
           [--rows 2000] [--width 1024] [--subjects 3] [--rois 400] [--bf16]

Makes the activations (float16 in .npz, or bfloat16 in .safetensors) and responses once, plans, runs and
prints one line of JSON. `--distinct N` makes N files and lets further models share them: nodes are found
by the bytes of their inputs, so only N models are computed, while tables and group statistics see all.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import time

RUNS = 5


def write_bf16(path, layers):
    """A .safetensors file of bfloat16: the upper halves of the bits of float32."""
    import numpy as np

    header, at = {}, 0
    for name, values in layers.items():
        size = 2 * values.size
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in layers.values():
            file.write((np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes())


def make_inputs(arguments):
    import numpy as np

    folder, rows_, width = arguments.folder, arguments.rows, arguments.width
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    stimulus = rng.normal(size=(rows_, 200)).astype(np.float32)
    if not (folder / "stimuli.csv").exists():
        for subject in range(arguments.subjects):
            signal = stimulus @ rng.normal(size=(200, arguments.rois)).astype(np.float32) / 14
            np.save(folder / f"subject_{subject}.npy", signal + rng.normal(size=signal.shape).astype("f4"))
        rows = [f"t{t},run{t * RUNS // rows_},{2 * (t % (rows_ // RUNS))},2" for t in range(rows_)]
        (folder / "stimuli.csv").write_text("stimulus_id,run,onset_s,duration_s\n" + "\n".join(rows) + "\n")
    noise = rng.normal(size=(rows_ + 4096, width)).astype(np.float32)
    for model in range(arguments.distinct):
        path = folder / f"model_{model}.{arguments.format}"
        if path.exists():
            continue
        own = np.random.default_rng(100 + model)
        state = stimulus @ own.normal(size=(200, width)).astype(np.float32) / 14
        layers = {}
        for layer in range(arguments.layers):
            layers[f"block_{layer:02}"] = state if arguments.bf16 else state.astype(np.float16)
            at = own.integers(4096)
            state = state + 0.2 * noise[at : at + rows_] * own.choice([-1.0, 1.0], size=width).astype("f4")
        if arguments.bf16:
            write_bf16(path, layers)
        else:
            np.savez(path, **layers)


def study_text(arguments):
    layers = ", ".join(f'"block_{layer:02}"' for layer in range(arguments.layers))
    last = 2.0 * arguments.delays
    hrf = f'"fir"\ndelays_s = {{ from = 2.0, to = {last} }}' if arguments.delays else '"none"'
    subjects = "".join(
        f'[[brain.subjects]]\nid = "s{s}"\nresponses = "subject_{s}.npy"\n' for s in range(arguments.subjects)
    )
    modalities = ("vision", "audio", "language")
    models = "".join(
        f'[[model]]\nname = "model_{m:02}"\n'
        f'modality = "{modalities[m % 3]}"\nfamily = "family_{m % 3}_{m // 6}"\n'
        f'[[model.activations]]\nfile = "model_{m % arguments.distinct}.{arguments.format}"\n'
        f"layers = [{layers}]\n"
        'stimuli = "story"\nby_order = true\n'
        for m in range(arguments.models)
    )
    return f"""
[study]
name = "whole study"
[[stimuli]]
id = "story"
ids = "stimuli.csv"
blocks = "segment:20"
[[brain]]
benchmark = "story"
stimuli = "story"
modality = "audio"
clock = {{ tr_s = 2.0 }}
by_order = true
{subjects}
{models}
[analysis.nfas]
hrf = {hrf}
alphas = {{ from = 1e-3, to = 1e6, count = 13 }}
max_dim = 256
[analysis.nfas.controls]
layer_order = 10
multiverse = false
"""


def product_rate(threads):
    """Floating-point operations per second of products of doubles, by NumPy."""
    import numpy as np

    a = np.random.default_rng(0).normal(size=(1536, 1536))
    a @ a
    begin = time.perf_counter()
    for _ in range(5):
        a @ a
    return 10 * 1536**3 / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", default="target/release/stereotax")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("whole-study"))
    for name, default in (("models", 45), ("distinct", 45), ("layers", 25), ("delays", 0), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("rows", 2000), ("width", 1024), ("subjects", 3), ("rois", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--max-memory", default="6G")
    arguments = parser.parse_args()
    arguments.format = "safetensors" if arguments.bf16 else "npz"
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    make_inputs(arguments)
    study = arguments.folder / "study.toml"
    study.write_text(study_text(arguments))
    out = arguments.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    resources = ["--threads", str(arguments.threads), "--max-memory", arguments.max_memory]
    planned = subprocess.run(
        [arguments.binary, "plan", str(study), "--out", str(out), "--json", *resources],
        check=True,
        capture_output=True,
        text=True,
    )
    forecast = json.loads(planned.stdout.splitlines()[-1])["forecast"]
    rate = product_rate(arguments.threads)
    begin = time.perf_counter()
    subprocess.run([arguments.binary, "run", str(study), "--out", str(out), *resources], check=True)
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "workload": f"{arguments.models} models ({arguments.distinct} distinct) x {arguments.layers} "
                f"layers x {arguments.rows} x {arguments.width}, {arguments.rois} ROIs x "
                f"{arguments.subjects} subjects, {arguments.delays} delays",
                "threads": arguments.threads,
                "seconds": round(seconds, 1),
                "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                "peak_memory_mb": used.ru_maxrss // 1024,
                "forecast_seconds": round(forecast["seconds"], 1),
                "forecast_memory_mb": forecast["memory_bytes"] // 2**20,
                "forecast_flops": forecast["flops"],
                "product_rate_gflops": round(rate / 1e9, 1),
                "seconds_over_products": round(seconds * rate / forecast["flops"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
