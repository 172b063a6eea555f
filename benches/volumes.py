"""Peak memory of the region means of a 20 GB series, and time beside nilearn.

Run with a release build of the package; nilearn and nibabel are needed for the second part. The
large series is a sparse file: the disk holds its header and one volume in a hundred. Prints one JSON
object per measurement; processor time is that of all threads, and says more than seconds on a machine
that others use.
"""

import argparse
import json
import resource
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import stereotax as sx

SHAPE = (100, 110, 90)
N_REGIONS = 400


def header(n_volumes, code, bits):
    """NIfTI-1, 2 mm, 1 s between volumes."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 4, *SHAPE, n_volumes, 1, 1, 1)
    struct.pack_into("<2h", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, 1, 2, 2, 2, 1, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 1, 0)
    head[123] = 10
    struct.pack_into("<2h", head, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", head, 280 + 16 * row, *[2.0 * (column == row) for column in range(3)], 0)
    head[344:348] = b"n+1\0"
    return bytes(head)


def write_labels(path, rng):
    labels = np.zeros(SHAPE, dtype="<i2")
    labels[10:-10, 10:-10, 10:-10] = rng.integers(1, N_REGIONS + 1, size=tuple(n - 20 for n in SHAPE))
    path.write_bytes(header(1, 4, 16) + labels.tobytes(order="F"))


def write_series(path, n_volumes, every, rng):
    size = 4 * int(np.prod(SHAPE))
    with path.open("wb") as file:
        file.write(header(n_volumes, 16, 32))
        for volume in range(0, n_volumes, every):
            file.seek(352 + volume * size)
            file.write(rng.normal(size=SHAPE).astype("<f4").tobytes(order="F"))
        file.truncate(352 + n_volumes * size)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work):
    """What it returns, seconds on the clock and of processors."""
    start, busy = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - start, time.process_time() - busy


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--volumes", type=int, default=200, help="of the series that nilearn reads too")
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        labels, series = Path(folder) / "labels.nii", Path(folder) / "series.nii"
        write_labels(labels, rng)
        n = int(settings.gigabytes * 1e9 / (4 * np.prod(SHAPE)))
        write_series(series, n, 100, rng)
        before, start = peak_mb(), time.perf_counter()
        found = sx.roi_means(str(series), str(labels))
        seconds = time.perf_counter() - start
        megabytes = series.stat().st_size / 1e6
        print(
            json.dumps(
                {
                    "bench": f"roi_means/{megabytes / 1000:.1f}GB",
                    "seconds": round(seconds, 2),
                    "mb_per_s": round(megabytes / seconds),
                    "peak_mb": round(peak_mb()),
                    "peak_mb_before": round(before),
                    "regions": int(found.values.shape[1]),
                }
            )
        )
        series.unlink()
        write_series(series, settings.volumes, 1, rng)
        from nilearn.maskers import NiftiLabelsMasker

        def of_ours():
            return sx.roi_means(str(series), str(labels)).values

        def of_nilearn():
            masker = NiftiLabelsMasker(str(labels), standardize=None, resampling_target=None)
            return masker.fit_transform(str(series))

        rounds = [(timed(of_ours), timed(of_nilearn)) for _ in range(settings.rounds)]
        (ours, _, _), (theirs, _, _) = rounds[0]
        largest = float(np.abs(ours - theirs).max())
        # nilearn keeps the 32 bits of the file; means are of about 1,500 voxels.
        assert largest < 1e-6, largest
        best = {
            f"{who}_{what}": min(turn[i][1 + j] for turn in rounds)
            for i, who in enumerate(("ours", "nilearn"))
            for j, what in enumerate(("s", "cpu_s"))
        }
        print(
            json.dumps(
                {
                    "bench": f"roi_means/{settings.volumes}x{N_REGIONS}",
                    **{name: round(seconds, 3) for name, seconds in best.items()},
                    "ratio": round(best["nilearn_s"] / best["ours_s"], 2),
                    "cpu_ratio": round(best["nilearn_cpu_s"] / best["ours_cpu_s"], 2),
                    "largest_difference": largest,
                }
            )
        )


if __name__ == "__main__":
    main()
