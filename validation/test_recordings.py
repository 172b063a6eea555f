"""Our readers on files that pynwb, MNE, xarray, tgt and h5py themselves write."""

import datetime

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(2)


def test_nwb_of_pynwb(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    file = pynwb.NWBFile(session_description="s", identifier="i", session_start_time=start)
    trains = [np.sort(RNG.uniform(0, 30, n)) for n in (200, 0, 50)]
    for train in trains:
        file.add_unit(spike_times=train)
    file.add_trial_column("image", "what was shown")
    file.add_trial_column("angle", "degrees")
    onsets = np.arange(1, 25, 2.0)
    for i, onset in enumerate(onsets):
        name = ["größe", "dog", "cat"][i % 3]
        file.add_trial(start_time=onset, stop_time=onset + 1, image=name, angle=90.0 * (i % 4))
    path = tmp_path / "s.nwb"
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    found = sx.read_nwb(path, stimulus="image", direction="angle")
    assert found.ids[:3] == ["größe", "dog", "cat"] and found.units == ["0", "1", "2"]
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        read = io.read()
        for u in range(3):
            np.testing.assert_array_equal(found.times_s[u], read.units.get_unit_spike_times(u))
    counts = found.counts((0, 1), 0.1).values
    expected = [[np.histogram(t - o, np.linspace(0, 1, 11))[0] for t in trains] for o in onsets]
    np.testing.assert_array_equal(counts, expected)
    tensor = found.responses((0, 1))
    assert tensor.shape[:3] == (3, 3, 4)
    with pytest.raises(ValueError, match="no column `picture`"):
        sx.read_nwb(path, stimulus="picture")


def raw_of(mne, n_channels=4, seconds=20, rate=100.0):
    info = mne.create_info([f"E{i}" for i in range(n_channels)], rate, "eeg")
    data = 1e-5 * RNG.normal(size=(n_channels, int(seconds * rate)))
    return mne.io.RawArray(data, info, verbose="error")


def test_epochs_of_mne(tmp_path):
    mne = pytest.importorskip("mne")
    raw = raw_of(mne)
    events = np.array([[200, 0, 1], [500, 0, 2], [900, 0, 1], [1500, 0, 2]])
    epochs = mne.Epochs(
        raw, events, {"cat": 1, "dog": 2}, -0.1, 0.4, baseline=None, preload=True, verbose="error"
    )
    epochs.info["bads"] = ["E3"]
    epochs.save(tmp_path / "s-epo.fif", verbose="error")
    found = sx.read_epochs(tmp_path / "s-epo.fif")
    assert (
        found.ids == ["cat", "dog", "cat", "dog"]
        and found.channels == ["E0", "E1", "E2"]
        and found.unit == "V"
    )
    peer = mne.read_epochs(tmp_path / "s-epo.fif", verbose="error")
    np.testing.assert_allclose(found.values, peer.get_data()[:, :3], rtol=1e-6)
    np.testing.assert_allclose(found.times_s, peer.times)
    mean = sx.align({"eeg": (found.ids, found.values)})
    np.testing.assert_allclose(mean.values["eeg"][0], peer["cat"].average().data[:3], rtol=1e-6)


def test_bids_eeg_through_mne(tmp_path):
    mne = pytest.importorskip("mne")
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    onsets = [2.0, 5.0, 9.0]
    raws = []
    for run in ("1", "2"):
        raw = raw_of(mne)
        raws.append(raw)
        raw.save(folder / f"sub-01_task-words_run-{run}_eeg.fif", verbose="error")
        rows = "".join(f"{o}\t0.2\t{w}\t{w}.wav\n" for o, w in zip(onsets, ("a", "b", "a"), strict=True))
        (folder / f"sub-01_task-words_run-{run}_events.tsv").write_text(
            "onset\tduration\ttrial_type\tstim_file\n" + rows
        )
    found = sx.read_bids_eeg(tmp_path, subject="01", task="words", window=(-0.1, 0.3))
    assert found.ids == ["a", "b", "a"] * 2 and found.values.shape == (6, 4, 41)
    by_hand = np.stack([r.get_data()[:, int(o * 100) - 10 : int(o * 100) + 31] for r in raws for o in onsets])
    np.testing.assert_allclose(found.values, by_hand, rtol=1e-5, atol=1e-12)
    named = sx.read_bids_eeg(tmp_path, subject="01", task="words", window=(0, 0.1), label="stim_file")
    assert named.ids[:2] == ["a.wav", "b.wav"]
    based = sx.read_bids_eeg(tmp_path, subject="01", task="words", window=(-0.1, 0.3), baseline=(-0.1, 0.0))
    np.testing.assert_allclose(based.values[..., :11].mean(axis=-1), 0, atol=1e-12)
    with pytest.raises(ValueError, match="too near the ends"):
        sx.read_bids_eeg(tmp_path, subject="01", task="words", window=(-3, 0.1))
    with pytest.raises(FileNotFoundError, match="no recording of the task"):
        sx.read_bids_eeg(tmp_path, subject="01", task="faces", window=(0, 0.1))


@pytest.mark.parametrize("time", [False, True])
def test_assemblies_as_brain_score_saves_them(tmp_path, time):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    ids = [f"im{i % 4}" for i in range(6)]
    shape, dims = (
        ((6, 5, 2), ["presentation", "neuroid", "time_bin"])
        if time
        else ((6, 5), ["presentation", "neuroid"])
    )
    values = RNG.normal(size=shape)
    assembly = xarray.DataArray(
        values,
        dims=dims,
        coords={
            "stimulus_id": ("presentation", ids),
            "repetition": ("presentation", [i // 4 for i in range(6)]),
            "neuroid_id": ("neuroid", list("abcde")),
            "region": ("neuroid", ["V4", "IT", "V4", "IT", "IT"]),
        },
        name="responses",
    )
    assembly.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    found = sx.read_features(tmp_path / "a.nc")
    assert found.ids == ids and list(found.layers) == ["V4", "IT"] and found.source == "Brain-Score"
    expected = values[:, [1, 3, 4]]
    np.testing.assert_array_equal(found.layers["IT"], expected.swapaxes(1, 2) if time else expected)
    aligned = sx.align({"brain": (found.ids, found.layers["V4"])})
    assert aligned.repeats["brain"].shape[:2] == (2, 4)
    with pytest.raises(ValueError, match="twice"):
        found.save(tmp_path / "a.safetensors")


def test_textgrids_of_tgt(tmp_path):
    tgt = pytest.importorskip("tgt")
    grid = tgt.core.TextGrid()
    words = tgt.core.IntervalTier(0, 3, "words")
    words.add_interval(tgt.core.Interval(0.5, 1.0, 'say "no"'))
    words.add_interval(tgt.core.Interval(1.25, 2.0, "größe"))
    grid.add_tier(words)
    clicks = tgt.core.PointTier(0, 3, "clicks")
    clicks.add_point(tgt.core.Point(1.5, "tick"))
    grid.add_tier(clicks)
    for form in ("long", "short"):
        tgt.io.write_to_file(grid, str(tmp_path / f"{form}.TextGrid"), format=form, encoding="utf-8")
        found = sx.read_onsets(tmp_path / f"{form}.TextGrid", tier="words")
        spoken = found["label"] != ""
        assert found["label"][spoken].tolist() == ['say "no"', "größe"]
        np.testing.assert_allclose(found["onset_s"][spoken], [0.5, 1.25])
        np.testing.assert_allclose(found["duration_s"][spoken], [0.5, 0.75])
        assert sx.read_onsets(tmp_path / f"{form}.TextGrid", tier="clicks")["onset_s"].tolist() == [1.5]


@pytest.mark.parametrize("matlab", [False, True])
def test_glmsingle_in_hdf5(tmp_path, matlab):
    h5py = pytest.importorskip("h5py")
    betas = RNG.normal(size=(3, 4, 2, 5))
    path = tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.hdf5"
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        file["betasmd" if not matlab else "modelmd"] = betas.T if matlab else betas
        file["R2"] = np.zeros((2, 4, 3) if matlab else (3, 4, 2))
    if matlab:
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    found = sx.read_glmsingle(path, list("abcab"))
    np.testing.assert_array_equal(found.values, betas.reshape(24, 5).T)
    (tmp_path / "b.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"-v7\.3"):
        sx.read_glmsingle(tmp_path / "b.mat", list("abcab"))


def test_tables_in_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    values = RNG.normal(size=(4, 3))
    table = pandas.DataFrame(values, columns=["v0", "v1", "v2"])
    table.insert(0, "image", list("abcd"))
    table.to_parquet(tmp_path / "betas.parquet", index=False)
    found = sx.read_features(tmp_path / "betas.parquet")
    assert found.ids == list("abcd")
    np.testing.assert_array_equal(found.layers["betas"], values)
