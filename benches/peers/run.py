"""Time ourselves and a peer on the same workload, in the same run, with the largest difference.

usage: python benches/peers/run.py [--threads N]
"""

import argparse
import json
import os
import resource
import sys
import time


def timed(work, repeats):
    seconds, result = [], None
    for _ in range(repeats):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) // 2], result


def depth_dmd(np, sx):
    from pydmd import DMD

    rng = np.random.default_rng(0)
    base = rng.normal(size=(1000, 1000)).astype(np.float32)
    layers = [base + np.float32(0.9**k) * rng.normal(size=base.shape).astype(np.float32) for k in range(25)]
    snapshots = np.stack([layer.ravel() for layer in layers], axis=1).astype(np.float64)
    model = sx.DepthDMD(rank="fixed:4", scale="none", centring="none")
    ours, fitted = timed(lambda: model.fit(layers), 5)
    peers, peer = timed(lambda: DMD(svd_rank=4).fit(snapshots), 3)
    difference = max(min(abs(ours_k - peer_k) for peer_k in peer.eigs) for ours_k in fitted.eigenvalues_)
    return {"workload": "depth_dmd/1000000x25/f32", "peer": "PyDMD DMD.fit"}, ours, peers, difference


def permanova(np, sx):
    from skbio import DistanceMatrix
    from skbio.stats.distance import permanova as peer_permanova

    rng = np.random.default_rng(1)
    points = rng.normal(size=(45, 20))
    groups = np.repeat(["a", "b", "c"], 15)
    matrix = np.linalg.norm(points[:, None] - points[None], axis=-1)
    wrapped = DistanceMatrix(matrix)
    ours, result = timed(lambda: sx.permanova(matrix, groups, n_permutations=100_000), 5)
    peers, peer = timed(lambda: peer_permanova(wrapped, groups, permutations=100_000, seed=1), 3)
    difference = abs(result.f - peer["test statistic"])
    return {"workload": "permanova/45/100000", "peer": "scikit-bio permanova"}, ours, peers, difference


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    threads = arguments.parse_args().threads
    # Thread counts are read when the libraries are loaded.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import numpy as np
    import stereotax as sx

    for bench in (depth_dmd, permanova):
        about, ours, peers, difference = bench(np, sx)
        about |= {
            "threads": threads,
            "stereotax_s": round(ours, 5),
            "peer_s": round(peers, 5),
            "ratio": round(peers / ours, 1),
            "largest_difference": float(difference),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(about))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
