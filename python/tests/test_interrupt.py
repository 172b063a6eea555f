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

SCRIPT = """
import sys, time
import numpy as np, stereotax as sx
D = sx.distances(np.random.default_rng(0).normal(size=(400, 5))).distances
print("ready", flush=True)
try:
    sx.silhouette(D, [str(i % 4) for i in range(400)], n_permutations=50_000_000)
except KeyboardInterrupt:
    stopped = time.monotonic()
    print("interrupted", sx.permanova(D[:10, :10], list("ab" * 5)).f > 0, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent differently on Windows")
def test_ctrl_c_stops_within_a_second():
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(0.7)
        assert process.poll() is None, "the work ended before it could be interrupted"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - sent
    finally:
        process.kill()
    assert out == "interrupted True\n", err
    assert took < 1.5, f"{took:.2f} s, with the end of the interpreter"


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
