"""Readers of features, runs, onsets and trials, and alignment by id; peers' own files: "
"validation/test_recordings.py."""

import json

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(1)


def test_rows_are_matched_by_id_and_every_dropped_row_is_named():
    values = {name: RNG.normal(size=(n, 2)) for name, n in (("a", 4), ("b", 5), ("c", 3))}
    ids = {"a": list("xyzw"), "b": list("zyxqy"), "c": list("yxz")}
    found = sx.align({name: (ids[name], values[name]) for name in values})
    assert found.ids == ["x", "y", "z"]
    np.testing.assert_array_equal(found.values["a"], values["a"][:3])
    np.testing.assert_array_equal(found.values["c"], values["c"][[1, 0, 2]])
    np.testing.assert_allclose(found.values["b"][1], (values["b"][1] + values["b"][4]) / 2)
    assert list(found.repeats) == ["b"]
    np.testing.assert_array_equal(found.repeats["b"][1, 1], values["b"][4])
    assert np.isnan(found.repeats["b"][1, [0, 2]]).all()
    assert [tuple(row.values()) for row in found.dropped.to_dicts()] == [
        ("a", "w", 1, "b, c"),
        ("b", "q", 1, "a, c"),
    ]
    assert found.rows["given"].tolist() == [4, 5, 3] and found.rows["used"].tolist() == [3, 4, 3]


def test_alignment_does_not_depend_on_the_order_of_rows():
    ids, x = [f"s{i % 5}" for i in range(12)], RNG.normal(size=(12, 3))
    order = RNG.permutation(12)
    one = sx.align({"first": (list(dict.fromkeys(ids)), np.zeros(5)), "x": (ids, x)})
    two = sx.align(
        {"first": (list(dict.fromkeys(ids)), np.zeros(5)), "x": ([ids[i] for i in order], x[order])}
    )
    np.testing.assert_allclose(one.values["x"], two.values["x"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "empty"),
        ({"a": np.zeros(3)}, "pair"),
        ({"a": (["x"], np.zeros((2, 2)))}, "1 ids"),
        ({"a": (["x"], np.zeros(1)), "b": (["y"], np.zeros(1))}, "no stimulus id"),
    ],
)
def test_what_cannot_be_aligned_is_told(arrays, message):
    with pytest.raises(ValueError, match=message):
        sx.align(arrays)


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "say ""no"" [2]: 3"
        intervals [3]:
            xmin = 1.25
            xmax = 2.5
            text = "größe 7"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 1.5
            mark = "tick"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
1
"IntervalTier"
"words"
0
2.5
2
0
1
"a"
1
2.5
"b"
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_textgrids_of_both_forms(tmp_path, encoding):
    path = tmp_path / "long.TextGrid"
    path.write_text(LONG, encoding=encoding)
    words = sx.read_onsets(path, tier="words")
    assert words["label"].tolist() == ["", 'say "no" [2]: 3', "größe 7"]
    assert words["onset_s"].tolist() == [0, 0.5, 1.25] and words["duration_s"].tolist() == [0.5, 0.75, 1.25]
    clicks = sx.read_onsets(path, tier="clicks")
    assert clicks["label"].tolist() == ["tick"] and clicks["duration_s"].tolist() == [0]
    with pytest.raises(ValueError, match="name one of `words`, `clicks`"):
        sx.read_onsets(path)
    path.write_text(SHORT, encoding=encoding)
    assert sx.read_onsets(path)["onset_s"].tolist() == [0, 1]


@pytest.mark.parametrize("cut", range(5, len(LONG), 23))
def test_textgrids_that_are_cut_short_are_refused(tmp_path, cut):
    path = tmp_path / "cut.TextGrid"
    path.write_text(LONG[:cut])
    try:
        found = sx.read_onsets(path, tier="words")
    except ValueError as reason:
        assert str(path) in str(reason)
    else:
        assert len(found["label"]) == 3


def test_tables_of_onsets(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text("onset\tduration\ttrial_type\tstim\n1.5\t2\tmusic\ta.wav\nn/a\tn/a\tword\tb.wav\n")
    found = sx.read_onsets(path)
    assert found["label"].tolist() == ["music", "word"] and found["stim"].tolist() == ["a.wav", "b.wav"]
    assert found["onset_s"][0] == 1.5 and np.isnan(found["onset_s"][1])
    for text, message in (
        ("onset\tduration\n1\tsoon\n", "'soon'"),
        ("onset\toffset\n2\t1\n", "ends 1 s before"),
        ("time\n1\n", "onset and duration"),
        ("onset\tduration\n1\n", "line 2: 1 fields"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            sx.read_onsets(path)


def test_boxes_and_lanczos_by_their_formulas():
    onsets, lasts = np.sort(RNG.uniform(0, 20, 40)), RNG.uniform(0, 0.5, 40)
    values, middles = RNG.normal(size=(40, 3)), onsets + lasts / 2
    box = sx.to_clock(values, onsets, duration_s=lasts, tr_s=2, n_volumes=9, start_s=1)
    weights = sx.to_clock(values, onsets, duration_s=lasts, tr_s=2, n_volumes=9, start_s=1, method="lanczos")
    for i in range(9):
        inside = (middles >= 1 + 2 * i) & (middles < 3 + 2 * i)
        np.testing.assert_allclose(box.values[i], values[inside].mean(axis=0))
        x = (2 + 2 * i - middles) / 2
        w = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        np.testing.assert_allclose(weights.values[i], w @ values, atol=1e-12)
    assert box.n_outside == int(((middles < 1) | (middles >= 19)).sum())
    one = sx.to_clock(np.ones(40), onsets, tr_s=2, n_volumes=9, method="lanczos", normalised=True)
    np.testing.assert_allclose(one.values, 1)
    gap = sx.to_clock([[1.0], [2.0]], [0.5, np.nan], tr_s=1, n_volumes=2)
    assert (
        gap.values.ravel().tolist() == [1, 0] and gap.empty.tolist() == [False, True] and gap.n_outside == 1
    )
    with pytest.raises(ValueError, match="onsets"):
        sx.to_clock(values, onsets[:3], tr_s=2, n_volumes=9)
    with pytest.raises(ValueError, match="one per volume"):
        sx.delayed(np.ones((3, 1)), [1], runs=["a"])


def derivatives(folder):
    for subject, run in (("02", "1"), ("01", "10"), ("01", "2")):
        func = folder / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        base = f"sub-{subject}_task-story_run-{run}"
        for space in ("T1w", "MNI152NLin2009cAsym"):
            (func / f"{base}_space-{space}_desc-preproc_bold.nii.gz").touch()
            (func / f"{base}_space-{space}_desc-brain_mask.nii.gz").touch()
        (func / f"{base}_desc-confounds_timeseries.tsv").touch()
        raw = folder / f"sub-{subject}" / "func"
        raw.mkdir(parents=True, exist_ok=True)
        (raw / f"{base}_events.tsv").touch()
    (folder / "task-story_bold.json").write_text(json.dumps({"RepetitionTime": 1.5}))
    return folder / "derivatives" / "fmriprep"


def test_runs_of_fmriprep_come_in_order_with_what_belongs_to_them(tmp_path):
    root = derivatives(tmp_path)
    runs = sx.bids_runs(root, space="T1w", raw=tmp_path)
    assert [(r.subject, r.run) for r in runs] == [("01", "2"), ("01", "10"), ("02", "1")]
    for run in runs:
        base = f"sub-{run.subject}_task-story_run-{run.run}"
        assert run.bold.endswith(f"{base}_space-T1w_desc-preproc_bold.nii.gz")
        assert run.confounds.endswith(f"{base}_desc-confounds_timeseries.tsv")
        assert run.events == str(tmp_path / f"sub-{run.subject}" / "func" / f"{base}_events.tsv")
        assert run.tr_s == 1.5
    assert len(sx.bids_runs(root, subject="01")) == 4 and sx.bids_runs(root)[0].events is None
    with pytest.raises(ValueError, match=r"(?s)space-fsaverage.*MNI152NLin2009cAsym T1w"):
        sx.bids_runs(root, space="fsaverage")
    with pytest.raises(FileNotFoundError):
        sx.bids_runs(tmp_path / "nowhere")


def test_confounds_say_what_was_filled(tmp_path):
    path = tmp_path / "confounds.tsv"
    path.write_text("trans_x\tfd\tempty\n1\tn/a\tn/a\n3\t2\tn/a\n5\t4\tn/a\n")
    assert sx.read_confounds(path, ["trans_x", "fd"]).values.tolist() == [[1, 3], [3, 2], [5, 4]]
    assert sx.read_confounds(path, ["fd"], missing="zero").values.ravel().tolist() == [0, 2, 4]
    for columns, missing, message in (
        (["fd"], "refuse", "line 2, column `fd`"),
        (["csf"], "mean", "no column `csf`"),
        (["empty"], "mean", "no number at all"),
        (None, "mean", "no column `trans_y`"),
    ):
        with pytest.raises(ValueError, match=message):
            sx.read_confounds(path, columns, missing=missing)


def test_thingsvision_parts_are_ordered_by_their_ends(tmp_path):
    x = RNG.normal(size=(10, 3))
    module = tmp_path / "layer.1"
    module.mkdir()
    for start, stop in ((0, 4), (4, 8), (8, 10)):  # of a second module all beginnings are the ends
        np.save(module / f"features_{stop}-{stop}.npy", x[start:stop])
    (tmp_path / "file_names.txt").write_text("".join(f"class/ü{i}.jpg\n" for i in range(10)))
    found = sx.read_features(tmp_path, keep_endings=False)
    np.testing.assert_array_equal(found.layers["layer.1"], x)
    assert found.ids[9] == "class/ü9" and found.source == "THINGSvision"
    # Beginnings that decrease, as strings and as numbers, and ends of different lengths.
    other = tmp_path / "layer.2"
    other.mkdir()
    for begin, start, stop in ((90, 0, 4), (8, 4, 9), (10, 9, 10)):
        np.save(other / f"features_{begin}-{stop}.npy", x[start:stop])
    np.testing.assert_array_equal(sx.read_features(tmp_path).layers["layer.2"], x)
    for file in other.iterdir():
        file.unlink()
    other.rmdir()
    (tmp_path / "file_names.txt").write_text("a.jpg\n")
    with pytest.raises(ValueError, match="has 10 rows, but 1 expected"):
        sx.read_features(tmp_path)
    np.save(module / "features_12-12.npy", np.array([{"a": 1}] * 2))
    with pytest.raises(ValueError, match="pickles"):
        sx.read_features(tmp_path)


def test_net2brain_folders_by_image_and_by_layer_are_the_same(tmp_path):
    layers = {"conv1": RNG.normal(size=(3, 1, 4, 2, 2)), "fc": RNG.normal(size=(3, 1, 5))}
    images = ["b.jpg", "a.jpg", "c.png"]
    for name in ("image", "layer"):
        (tmp_path / name).mkdir()
    for i, image in enumerate(images):
        np.savez(tmp_path / "image" / f"{image}.npz", **{k: v[i] for k, v in layers.items()})
    for name, values in layers.items():
        np.savez(tmp_path / "layer" / f"{name}.npz", **dict(zip(images, values, strict=True)))
    one, two = sx.read_features(tmp_path / "image"), sx.read_features(tmp_path / "layer")
    assert one.ids == sorted(images) and two.ids == images
    for name in layers:
        np.testing.assert_array_equal(two.layers[name], layers[name][:, 0])
        np.testing.assert_array_equal(one.layers[name], layers[name][[1, 0, 2], 0])
    np.savez(tmp_path / "image" / "d.jpg.npz", conv1=np.zeros((1, 4, 2, 2)))
    with pytest.raises(ValueError, match="`fc` is in one only"):
        sx.read_features(tmp_path / "image")


def test_features_are_saved_as_a_study_reads_them(tmp_path):
    for i in range(4):
        np.savez(tmp_path / f"s{i}.jpg.npz", conv=np.full((1, 3, 2), float(i)))
    path = sx.read_features(tmp_path).save(tmp_path / "m.safetensors")
    raw = open(path, "rb").read()
    length = int.from_bytes(raw[:8], "little")
    assert json.loads(raw[8 : 8 + length])["conv"]["shape"] == [4, 3, 2]
    np.testing.assert_array_equal(np.frombuffer(raw[8 + length :], "<f4"), np.repeat(np.arange(4.0), 6))
    assert (tmp_path / "m.csv").read_text() == "stimulus_id\ns0.jpg\ns1.jpg\ns2.jpg\ns3.jpg\n"


@pytest.fixture
def spikes():
    times = {f"u{u}": np.sort(RNG.uniform(0, 50, 300)) for u in range(4)}
    return times, np.arange(2, 42, 2.0), [f"s{i % 4}" for i in range(20)]


def test_counts_are_those_of_numpys_histogram(spikes):
    times, onsets, ids = spikes
    found = sx.read_spikes(times, onsets_s=onsets, ids=ids).counts((-0.5, 1.0), 0.25)
    assert found.values.shape == (20, 4, 6) and found.times_s[0] == -0.375
    for t, onset in enumerate(onsets):
        for u, train in enumerate(times.values()):
            expected = np.histogram(train - onset, np.linspace(-0.5, 1, 7))[0]
            np.testing.assert_array_equal(found.values[t, u], expected)
    aligned = sx.align({"model": (["s2", "s0"], np.zeros((2, 1))), "brain": (found.ids, found.values)})
    assert aligned.repeats["brain"].shape == (5, 2, 4, 6) and aligned.rows["used"].tolist() == [2, 10]


def test_trials_become_a_tensor_of_responses(spikes):
    times, onsets, ids = spikes
    angles = [0.0, 180.0] * 10
    made = sx.read_spikes(times, onsets_s=onsets, ids=["a", "a", "b", "b"] * 5, directions=angles)
    tensor = made.responses((0, 1), bin_s=0.1)
    assert tensor.shape == (4, 2, 2, 10) and tensor.directions.tolist() == [0, 180]
    rows = [t for t in range(20) if t % 4 == 1]  # a at 180°
    trains = [[train[(train >= o) & (train < o + 1)] - o for o in onsets[rows]] for train in times.values()]
    peer = sx.ResponseTensor.from_spikes(
        {"a": [trains, trains]}, directions=[0, 180], window=(0, 1), bin_s=0.1
    )
    np.testing.assert_allclose(tensor.values[:, 0, 1], peer.values[:, 0, 0])
    with pytest.raises(ValueError, match="one per trial"):
        sx.read_spikes(times, onsets_s=onsets, ids=ids[:3])
    with pytest.raises(ValueError, match="trial 1 "):
        sx.read_spikes(times, onsets_s=[0, np.nan], ids=["a", "b"])
    with pytest.raises(ValueError, match="bins"):
        made.counts((0, 1), 0)


def test_betas_keep_their_places(tmp_path):
    betas = RNG.normal(size=(3, 2, 2, 5))
    betas[1, 0, 1, 3] = np.nan
    np.savez(tmp_path / "b.npz", betasmd=betas, R2=np.arange(12).reshape(3, 2, 2))
    mask = np.zeros((3, 2, 2))
    mask[1] = 1
    found = sx.read_glmsingle(tmp_path / "b.npz", list("abcab"), mask=mask)
    assert found.voxels.tolist() == [4, 6, 7] and found.n_dropped == 1
    np.testing.assert_array_equal(found.values, betas.reshape(12, 5)[[4, 6, 7]].T)
    assert found.r_squared.tolist() == [4, 6, 7]
    np.save(tmp_path / "b.npy", np.array({"betasmd": betas}, dtype=object))
    for path, ids, message in (("b.npy", "abcab", "pickle"), ("b.npz", "abc", "5 trials")):
        with pytest.raises(ValueError, match=message):
            sx.read_glmsingle(tmp_path / path, list(ids))
