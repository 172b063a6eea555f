"""Peak memory of the region means of a 20 GB series, and time beside nilearn.

Run with the package built by `make python`; nilearn and nibabel are needed for the second part. The
large series is a sparse file: the disk holds its header and one volume in a hundred. Prints one JSON
object per measurement.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--volumes", type=int, default=200, help="of the series that nilearn reads too")
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

        times = {"ours": [], "nilearn": []}
        for _ in range(3):
            start = time.perf_counter()
            ours = sx.roi_means(str(series), str(labels)).values
            times["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            masker = NiftiLabelsMasker(str(labels), standardize=None, resampling_target=None)
            theirs = masker.fit_transform(str(series))
            times["nilearn"].append(time.perf_counter() - start)
        assert np.abs(ours - theirs).max() < 1e-6 * np.abs(theirs).max() + 1e-6
        best = {who: min(seconds) for who, seconds in times.items()}
        print(
            json.dumps(
                {
                    "bench": f"roi_means/{settings.volumes}x{N_REGIONS}",
                    "ours_s": round(best["ours"], 3),
                    "nilearn_s": round(best["nilearn"], 3),
                    "ratio": round(best["nilearn"] / best["ours"], 2),
                }
            )
        )


if __name__ == "__main__":
    main()
