"""Time a study that encodes every voxel from every layer, with its memory and its forecast.

usage: python benches/encoding_study.py --binary target/release/stereotax --folder /tmp/encoding-study
           [--layers 40] [--rows 1000] [--width 5920] [--voxels 44806] [--subjects 1] [--folds 5]
           [--inner gcv] [--reduce none] [--alphas 10] [--shifts 1000] [--threads 2] [--max-memory 8G]

Makes the layers (float32 in one .safetensors file) and responses (float32 .npy) once, plans, runs and prints
one line of JSON. Voxels follow layers: voxel v the layer of number v modulo the number of layers, so that the
share of voxels whose chosen layer is the planted one can be told.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import time

LATENTS = 20


def make_inputs(arguments):
    import numpy as np

    folder, rows, width = arguments.folder, arguments.rows, arguments.width
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "layers.safetensors"
    size = 4 * rows * width
    latents = []
    for layer in range(arguments.layers):
        latents.append(np.random.default_rng(100 + layer).normal(size=(rows, LATENTS)).astype("f4"))
    if not path.exists():
        header = {
            f"block_{layer:02}": {
                "dtype": "F32",
                "shape": [rows, width],
                "data_offsets": [layer * size, (layer + 1) * size],
            }
            for layer in range(arguments.layers)
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for layer, latent in enumerate(latents):
                own = np.random.default_rng(1000 + layer)
                values = latent @ own.normal(size=(LATENTS, width)).astype("f4") / LATENTS**0.5
                file.write((values + own.normal(size=values.shape).astype("f4")).tobytes())
    if not (folder / "stimuli.csv").exists():
        for subject in range(arguments.subjects):
            own = np.random.default_rng(subject)
            signal = np.empty((rows, arguments.voxels), "f4")
            for layer, latent in enumerate(latents):
                mine = signal[:, layer :: arguments.layers]
                weights = own.normal(size=(LATENTS, mine.shape[1])).astype("f4")
                mine[:] = latent @ weights / LATENTS**0.5
            signal += own.normal(size=signal.shape).astype("f4")
            np.save(folder / f"subject_{subject}.npy", signal)
        (folder / "stimuli.csv").write_text("stimulus_id\n" + "\n".join(f"s{t}" for t in range(rows)) + "\n")


def study_text(arguments):
    layers = ", ".join(f'"block_{layer:02}"' for layer in range(arguments.layers))
    subjects = "".join(
        f'[[brain.subjects]]\nid = "s{s}"\nresponses = "subject_{s}.npy"\n' for s in range(arguments.subjects)
    )
    return f"""
[study]
name = "encoding study"
[[stimuli]]
id = "images"
ids = "stimuli.csv"
[[brain]]
benchmark = "voxels"
stimuli = "images"
modality = "vision"
voxels = true
by_order = true
{subjects}
[[model]]
name = "model"
modality = "vision"
family = "model"
[[model.activations]]
file = "layers.safetensors"
layers = [{layers}]
stimuli = "images"
by_order = true
[analysis.encoding]
outer_folds = "k_fold:{arguments.folds}"
inner = "{arguments.inner}"
reduce = "{arguments.reduce}"
alphas = {{ from = 1e-3, to = 1e6, count = {arguments.alphas} }}
shifts = {arguments.shifts}
"""


def found_layers(arguments, out):
    """Share of the first subject's voxels whose chosen layer is the planted one; None without pyarrow."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        return None
    table = parquet.read_table(out / "results" / "selection.parquet", columns=["subject", "chosen_layer"])
    names = [r["chosen_layer"] for r in table.to_pylist() if r["subject"] == "s0"]
    right = sum(name == f"block_{v % arguments.layers:02}" for v, name in enumerate(names))
    return round(right / len(names), 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", default="target/release/stereotax")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("encoding-study"))
    for name, default in (("layers", 40), ("rows", 1000), ("width", 5920), ("voxels", 44806)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("subjects", 1), ("folds", 5), ("alphas", 10), ("shifts", 1000), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--inner", default="gcv", choices=["folds", "loo", "gcv"])
    parser.add_argument("--reduce", default="none")
    parser.add_argument("--max-memory", default="8G")
    arguments = parser.parse_args()
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
    begin = time.perf_counter()
    subprocess.run([arguments.binary, "run", str(study), "--out", str(out), *resources], check=True)
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    stored = sum(path.stat().st_size for path in (out / "nodes").rglob("*") if path.is_file())
    print(
        json.dumps(
            {
                "workload": f"{arguments.layers} layers x {arguments.rows} x {arguments.width}, "
                f"{arguments.voxels} voxels x {arguments.subjects} subjects, {arguments.folds} folds, "
                f"inner {arguments.inner}, reduce {arguments.reduce}",
                "threads": arguments.threads,
                "seconds": round(seconds, 1),
                "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                "peak_memory_mb": used.ru_maxrss // 1024,
                "stored_mb": stored // 2**20,
                "forecast_seconds": round(forecast["seconds"], 1),
                "forecast_memory_mb": forecast["memory_bytes"] // 2**20,
                "forecast_disk_mb": forecast["disk_bytes"] // 2**20,
                "forecast_flops": forecast["flops"],
                "planted_layers_found": found_layers(arguments, out),
            }
        )
    )


if __name__ == "__main__":
    main()
