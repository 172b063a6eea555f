"""The worked guides of docs/ run as they stand, on small inputs made here, to a report with numbers in it."""

import datetime
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
RNG = np.random.default_rng(6)


def guide(name):
    text = (DOCS / "guides.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- guide: {name} -->\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(
        1
    )


def ran(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    report = folder / done.stdout.strip().splitlines()[-1]
    assert "stable" in report.read_text(encoding="utf-8")
    scores = report.parent / "results" / "scores.parquet"
    table = pytest.importorskip("pyarrow.parquet").read_table(scores).to_pandas()
    assert len(table) and table["score"].notna().any()
    return table


def test_no_guide_takes_more_than_15_lines_of_its_own():
    for name in ("vision", "speech", "language", "recurrent"):
        statements = re.sub(r"\n {4,}", " ", guide(name))  # a call over two lines, a body: one statement
        lines = [
            line
            for line in statements.splitlines()
            if line.strip() and not line.startswith(("import", "    "))
        ]
        assert len(lines) <= 15, (name, len(lines))


def test_a_vision_model_and_regions(tmp_path):
    pytest.importorskip("torchvision")
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images").mkdir()
    n, names = 40, []
    for i in range(n):
        names.append(f"picture{i:02d}")
        image.fromarray(RNG.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(
            tmp_path / "images" / f"{names[-1]}.png"
        )
    trials = RNG.permutation(names * 2)
    (tmp_path / "trials.txt").write_text("\n".join(trials))
    (tmp_path / "regions.txt").write_text("\n".join(["V1"] * 6 + ["V4"] * 6 + ["IT"] * 6))
    signal = {name: RNG.normal(size=18) for name in names}
    betas = np.stack([signal[t] + 0.5 * RNG.normal(size=18) for t in trials], axis=1)
    np.savez(tmp_path / "betas.npz", betasmd=betas)
    table = ran(guide("vision"), tmp_path)
    assert {"V1", "V4", "IT"} <= set(table["roi"])


def test_a_speech_model_and_a_story(tmp_path):
    pytest.importorskip("transformers")
    nibabel = pytest.importorskip("nibabel")
    seconds, n = 240, 160
    np.save(tmp_path / "story.npy", (0.1 * RNG.normal(size=16000 * seconds)).astype("f4"))
    onsets = np.sort(RNG.uniform(1.5, seconds - 2, 300))
    rows = "".join(
        f'{a:.3f}\n{min(a + 0.2, b):.3f}\n"w{i}"\n'
        for i, (a, b) in enumerate(zip(onsets, [*onsets[1:], seconds], strict=True))
    )
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    (tmp_path / "story.TextGrid").write_text(
        f'{head}0\n{seconds}\n<exists>\n1\n"IntervalTier"\n"words"\n0\n{seconds}\n300\n{rows}'
    )
    labels = np.zeros((4, 4, 4), dtype="i2")
    labels[:2], labels[2:] = 1, 2
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "atlas.nii")
    bold = nibabel.Nifti1Image(RNG.normal(size=(4, 4, 4, n)).astype("f4"), np.eye(4))
    bold.header["pixdim"][4] = 1.5
    nibabel.save(bold, tmp_path / "bold.nii")
    table = ran(guide("speech"), tmp_path)
    assert {"1", "2"} <= set(table["roi"])


def test_a_language_model_and_sentences(tmp_path):
    pytest.importorskip("transformers")
    mne = pytest.importorskip("mne")
    n = 48
    words = ["the", "cat", "saw", "a", "dog", "and", "ran", "home", "late"]
    lines = [" ".join(RNG.choice(words, RNG.integers(4, 9))) for _ in range(n)]
    (tmp_path / "sentences.txt").write_text("\n".join(lines))
    info = mne.create_info(["Fz", "Cz", "Pz"], 100.0, "eeg")
    order = RNG.permutation(n)
    events = np.stack([np.arange(n) * 100, np.zeros(n, int), 1 + order], axis=1)
    epochs = mne.EpochsArray(
        1e-6 * RNG.normal(size=(n, 3, 60)),
        info,
        events,
        0.0,
        {str(i): 1 + i for i in range(n)},
        verbose="error",
    )
    epochs.save(tmp_path / "epochs-epo.fif", verbose="error")
    table = ran(guide("language"), tmp_path)
    assert {"Fz", "Cz", "Pz"} <= set(table["roi"])


def test_a_recurrent_network_and_neurons(tmp_path):
    pytest.importorskip("torch")
    pynwb = pytest.importorskip("pynwb")
    clips = {f"clip{i:02d}": RNG.normal(size=(12, 15)) for i in range(40)}
    np.savez(tmp_path / "clips.npz", **clips)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    file = pynwb.NWBFile(session_description="s", identifier="i", session_start_time=start)
    file.add_trial_column("clip", "what was shown")
    shown = RNG.permutation(list(clips) * 3)
    for i, name in enumerate(shown):
        file.add_trial(start_time=float(i), stop_time=i + 0.5, clip=name)
    for _ in range(5):
        file.add_unit(spike_times=np.sort(RNG.uniform(0, 120, 3000)))
    with pynwb.NWBHDF5IO(str(tmp_path / "session.nwb"), "w") as io:
        io.write(file)
    table = ran(guide("recurrent"), tmp_path)
    assert "3" in set(table["roi"])
