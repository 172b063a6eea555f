"""Ctrl-C stops long work within a second and leaves the interpreter usable."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import stereotax as sx

PREPARE = """
import pathlib, sys, time
import numpy as np, stereotax as sx
rng = np.random.default_rng(0)
D = sx.distances(rng.normal(size=(400, 5))).distances
def layers():
    return [rng.normal(size=(400, 300)) for _ in range(30)]
def study(folder):
    np.savez(folder / "layers.npz", **{f"l{i}": layer for i, layer in enumerate(layers())})
    np.savez(folder / "responses.npz", response=rng.normal(size=(400, 60)))
    ids = "\\n".join(f"clip{i}" for i in range(400))
    (folder / "stimuli.csv").write_text(f"stimulus_id\\n{ids}\\n")
    (folder / "study.toml").write_text(\'\'\'
        study = { name = "long" }
        stimuli = [{ id = "clips", ids = "stimuli.csv" }]
        brain = [{ benchmark = "b", stimuli = "clips", modality = "auditory", by_order = true, subjects = [
            { id = "s", responses = "responses.npz", key = "response" } ] }]
        model = [{ name = "m", modality = "audio", family = "f", activations = { file = "layers.npz",
            layers = [LAYERS], stimuli = "clips", by_order = true } }]
        analysis = { nfas = { bootstraps = 1000000, shifts = 100000 } }
    \'\'\'.replace("LAYERS", ", ".join(f\'"l{i}"\' for i in range(30))))
    return sx.Study(folder / "study.toml")
"""
WORK = {
    "silhouette": "sx.silhouette(D, [str(i % 4) for i in range(400)], n_permutations=50_000_000)",
    "permanova": "sx.permanova(D, [str(i % 4) for i in range(400)], n_permutations=50_000_000)",
    "NFAS.fit": "sx.NFAS(n_bootstraps=1_000_000, n_shifts=100_000).fit(layers(), rng.normal(size=(400, 60)))",
    "Study.run": 'study(pathlib.Path(sys.argv[1])).run(pathlib.Path(sys.argv[1]) / "out")',
}
SCRIPT = """
try:
    ready = print("ready", flush=True)
    WORK
except KeyboardInterrupt:
    print("interrupted", sx.permanova(D[:10, :10], list("ab" * 5)).f > 0, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent differently on Windows")
@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_stops_within_a_second(work, tmp_path):
    script = PREPARE + SCRIPT.replace("WORK", WORK[work])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(2.0 if work == "Study.run" else 0.7)
        assert process.poll() is None, "the work ended before it could be interrupted"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - sent
    finally:
        process.kill()
    assert out == "interrupted True\n", err
    # A second for the work, and what the end of the interpreter takes on a busy machine.
    assert took < 2.0, f"{took:.2f} s, with the end of the interpreter"


def test_other_threads_run_meanwhile():
    D = sx.distances(np.random.default_rng(0).normal(size=(200, 5))).distances
    ticks = 0
    working = threading.Event()

    def tick():
        nonlocal ticks
        while not working.is_set():
            ticks += 1
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    sx.silhouette(D, ["a", "b"] * 100, n_permutations=20_000)
    took = time.monotonic() - began
    working.set()
    thread.join()
    assert ticks > 20 * took, f"{ticks} ticks in {took:.2f} s: the interpreter was held"
