"""Factorisations of response tensors, the neuron matrix and what goes in, against planted truth."""

import numpy as np
import pytest
import stereotax as sx

DIRECTIONS = [0, 45, 90, 135, 180, 225, 270, 315]


def planted(n=30, s=4, d=8, t=6, rank=3, seed=0):
    """Responses of `rank` components, maps rotated at random; the coefficients and the rotations."""
    rng = np.random.default_rng(seed)
    a = rng.exponential(size=(n, rank)) * (rng.uniform(size=(n, rank)) > 0.3) + 0.05
    b = rng.uniform(0.2, 1, size=(s, rank))
    c = rng.uniform(size=(d, t, rank)) * (rng.uniform(size=(d, t, rank)) > 0.5)
    values = np.einsum("nr,sr,dtr->nsdt", a, b, c)
    turns = rng.integers(0, d, size=(n, s))
    turned = [[np.roll(values[i, j], turns[i, j], axis=0) for j in range(s)] for i in range(n)]
    return np.array(turned), a, turns


def tensor(values, **more):
    names = [f"s{i}" for i in range(values.shape[1])]
    return sx.ResponseTensor(values, stimuli=names, directions=DIRECTIONS, bin_s=0.05, **more)


def test_planted_components_and_rotations_come_back():
    values, a, turns = planted()
    fit = sx.ShiftInvariantCP(rank=3, n_starts=10, max_iter=2000, tol=1e-12).fit(tensor(values))
    assert fit.error_ < 1e-8 and fit.maps_.shape == (8, 6, 3) and fit.shifts_.shape == (30, 4)
    # Rotations are known up to one of everything.
    assert len(np.unique((fit.shifts_ + turns) % 8)) == 1
    found = fit.factors_[0] / np.linalg.norm(fit.factors_[0], axis=0)
    cosines = found.T @ (a / np.linalg.norm(a, axis=0))
    assert (cosines.max(axis=0) > 0.999).all()
    assert (np.diff(fit.history_) <= 1e-10 * fit.history_[:-1] + 1e-16).all()
    again = sx.ShiftInvariantCP(rank=3, n_starts=10, max_iter=2000, tol=1e-12, seed=5).fit(tensor(values))
    assert (sx.match_components(fit, again).similarity > 0.999).all()
    # The model, rotated back, is the tensor.
    model = fit.reconstruct()
    back = np.roll(model[3, 2], -fit.shifts_[3, 2], axis=0)
    np.testing.assert_allclose(back, values[3, 2], atol=1e-3)
    scores = fit.transform(tensor(values[:5], units=list("abcde")))
    np.testing.assert_allclose(scores, (fit.factors_[0] * fit.weights_)[:5], atol=0.05)


def test_the_neuron_matrix_holds_the_roots_of_the_coefficients():
    values, a, _ = planted()
    responses = tensor(values)
    fit = sx.ShiftInvariantCP(rank=3, n_starts=10, max_iter=2000, tol=1e-12).fit(responses)
    neurons = sx.neuron_matrix(fit)
    assert neurons.values.shape == (30, 3) and (neurons.explained > 0.999).all()
    shares = np.sort((neurons.values**2).sum(axis=0) / (neurons.values**2).sum())
    assert neurons.warnings == [] and (shares > 0.05).all()
    cosines = (neurons.values**2 / np.linalg.norm(neurons.values**2, axis=0)).T @ (
        a / np.linalg.norm(a, axis=0)
    )
    assert (cosines.max(axis=0) > 0.999).all()
    twice = sx.neuron_matrix(
        sx.ShiftInvariantCP(rank=2).fit(tensor(np.concatenate([values, values[:1]])))
    ).without_outliers(1)
    assert len(twice.units) == 29 and twice.multiplicity.max() == 2
    assert "unit 30 with unit 0" in twice.warnings[-2] and "farthest" in twice.warnings[-1]
    assert 1 <= neurons.pca(0.8).scores.shape[1] <= 3


def test_maps_that_were_not_significant_are_put_in_later():
    values, _, _ = planted(seed=3)
    everything = tensor(values).normalise("per_map")
    significant = np.random.default_rng(0).uniform(size=(30, 4)) > 0.2
    significant[:, 0] = True
    kept = everything.keep(significant)
    fit = sx.ShiftInvariantCP(rank=3, n_starts=5, max_iter=500).fit(kept)
    with_all = sx.neuron_matrix(fit, all_responses=everything)
    assert np.isfinite(with_all.values).all() and np.median(with_all.explained) > 0.5
    with pytest.raises(ValueError, match="relative rates"):
        sx.neuron_matrix(fit, all_responses=tensor(values))
    with pytest.raises(ValueError, match="shift-invariant fit"):
        sx.neuron_matrix(fit, all_responses=everything.select(units=["unit 0", "unit 1"]))


def test_a_sweep_goes_on_and_is_the_same():
    values, _, _ = planted(n=20)
    responses = tensor(values)
    heard = {}
    settings = {"ranks": range(1, 6), "n_starts": 4, "max_iter": 300}
    whole = sx.cp_sweep(
        responses,
        **settings,
        cv_splits=2,
        callback=lambda rank, start, fit: heard.update({(rank, start): fit}),
    )
    assert len(heard) == 20 and whole.ranks["rank"].tolist() == [1, 2, 3, 4, 5]
    some = {pair: fit for pair, fit in heard.items() if pair[1] < 2}
    counted = []
    again = sx.cp_sweep(responses, **settings, finished=some, callback=lambda *task: counted.append(task[:2]))
    assert len(counted) == 10
    np.testing.assert_array_equal(again.starts["error"], whole.starts["error"])
    alone = sx.ShiftInvariantCP(rank=3, n_starts=4, max_iter=300).fit(responses)
    np.testing.assert_array_equal(whole.best(3).weights_, alone.weights_)
    assert whole.ranks["error_best"][2] < 1e-3 < whole.ranks["error_best"][1]
    assert whole.ranks["held_out_mean"][2] < whole.ranks["held_out_mean"][0]
    assert set(whole.chosen) == {"plateau", "stability", "cv"} and whole.chosen["cv"] in (3, 4, 5)
    assert sx.neuron_matrix(whole.best(3)).values.shape == (20, 3)
    with pytest.raises(ValueError, match="one of"):
        whole.best(9)


def test_an_exception_of_the_callback_stops_the_sweep():
    def stop(rank, start, fit):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        sx.cp_sweep(tensor(planted()[0]), ranks=[2], n_starts=3, callback=stop)


def test_masks_fixed_modes_and_plain_tensors():
    rng = np.random.default_rng(1)
    a, b, c = (rng.exponential(size=(n, 2)) for n in (25, 6, 9))
    X = np.einsum("ir,jr,kr->ijk", a, b, c)
    mask = rng.uniform(size=X.shape) > 0.2
    fit = sx.NonNegativeCP(rank=2, n_starts=4, max_iter=3000, tol=1e-12).fit(
        np.where(mask, X, np.nan), mask=mask
    )
    np.testing.assert_allclose(fit.reconstruct(), X, atol=1e-2 * X.max())
    scores = fit.transform(X[:7])
    np.testing.assert_allclose(
        scores, (fit.factors_[0] * fit.weights_)[:7], rtol=0.02, atol=0.02 * scores.max()
    )
    fixed = sx.NonNegativeCP(
        rank=2, init=[np.ones((25, 2)), b, c], fixed_modes=[1, 2], max_iter=2000, tol=1e-12
    )
    fixed.fit(X)
    assert fixed.error_ < 1e-10
    assert fixed.get_params()["rank"] == 2


def test_units_that_need_a_word_get_one():
    values, _, _ = planted()
    values[4] = 0
    values[:, 2] = 0
    values[7] = values[8]
    fit = sx.ShiftInvariantCP(rank=2).fit(tensor(values))
    told = " ".join(fit.warnings_)
    assert "unit 4" in told and "s2" in told and "unit 7" in told
    assert (fit.factors_[0][4] == 0).all()
    assert any("unit 4" in warning for warning in sx.neuron_matrix(fit).warnings)
    one = sx.ResponseTensor(values[:, :, :1], stimuli=list("abcd"), directions=[0], bin_s=0.1)
    assert any("one direction" in warning for warning in sx.ShiftInvariantCP(rank=2).fit(one).warnings_)
    for bad, words in [
        (lambda: sx.ShiftInvariantCP(rank=500).fit(tensor(values)), "from 1 to"),
        (lambda: sx.NonNegativeCP(rank=2).fit(np.zeros((3, 4, 5))), "silent"),
        (lambda: sx.NonNegativeCP(rank=2).fit(np.full((3, 4, 5), np.nan)), "not finite"),
        (lambda: sx.ShiftInvariantCP(rank=2).fit(np.ones((3, 4, 5))), "four axes"),
        (lambda: sx.NonNegativeCP(rank=2).fit(np.ones((3, 4)), mask=np.ones((3, 3), bool)), "`mask`"),
        (lambda: sx.cp_sweep(tensor(values), ranks=[2, 9999]), "9999"),
        (lambda: sx.neuron_matrix(sx.NonNegativeCP()), "not fitted"),
        (lambda: tensor(np.where(values > 1, np.nan, values)), "of unit"),
        (lambda: tensor(values).select(stimuli=["x"]), "s0, s1"),
        (lambda: tensor(-values).normalise(), "minimum"),
    ]:
        with pytest.raises(ValueError, match=words):
            bad()


def test_activations_are_prepared_by_name_and_scales_are_preferred():
    rng = np.random.default_rng(2)
    maps = {name: rng.normal(size=(3, 5, 8, 10)) + 1 for name in ("big", "small")}
    responses = sx.ResponseTensor.from_activations(maps, directions=DIRECTIONS, bin_s=1 / 30)
    expected = np.stack([np.clip(x, 0, None).mean(axis=0) for x in maps.values()], axis=1)
    np.testing.assert_allclose(responses.values, expected - expected.min())
    chosen, first = responses.prefer(["big"], ["small"])
    rates = responses.values.mean(axis=3).max(axis=2)
    np.testing.assert_array_equal(first, rates[:, 0] > rates[:, 1])
    for n in range(5):
        np.testing.assert_array_equal(chosen.values[n, 0], responses.values[n, 0 if first[n] else 1])
    normal = responses.normalise("relative_norm")
    np.testing.assert_allclose(
        np.linalg.norm(normal.values.reshape(5, 2, -1), axis=2), rates / rates.max(axis=1, keepdims=True)
    )
    ndimage = pytest.importorskip("scipy.ndimage")
    np.testing.assert_allclose(
        responses.smooth(3).values, ndimage.gaussian_filter1d(responses.values, 3, axis=3, mode="reflect")
    )
    short = {"a": np.ones((2, 4, 6)), "b": np.ones((2, 4, 3))}
    padded = sx.ResponseTensor.from_maps(short, directions=[0, 90, 180, 270], bin_s=0.1)
    assert padded.lengths == [6, 3] and padded.observed is not None
    fit = sx.ShiftInvariantCP(rank=1, max_iter=500).fit(padded)
    assert fit.error_ < 1e-10


def test_spikes_become_rates_and_unequal_trials_are_taken():
    rng = np.random.default_rng(4)

    def trials(rate, n):
        return [np.sort(rng.uniform(-0.2, 1.0, rng.poisson(1.2 * rate))) for _ in range(n)]

    spikes = {"dots": [[trials(50, 40), trials(10, 25)] for _ in range(4)]}
    made = sx.ResponseTensor.from_spikes(
        spikes, directions=[0, 90, 180, 270], window=(0, 0.8), bin_s=0.01, edge="reflect", bandwidth=0.05
    )
    assert made.shape == (2, 1, 4, 80)
    np.testing.assert_allclose(made.values.mean(axis=(2, 3))[:, 0], [50, 10], rtol=0.15)
    rule = sx.ResponseTensor.from_spikes(
        spikes, directions=[0, 90, 180, 270], window=(0, 0.8), bandwidth="sheather_jones"
    )
    assert ((rule.bandwidths_s >= 0.01) & (rule.bandwidths_s <= 0.05)).all()
    with pytest.raises(ValueError, match="for each stimulus"):
        sx.ResponseTensor.from_spikes(spikes, directions=[0, 180], window=(0, 1))


def test_rank_sums_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    for n in (5, 30):
        before, during = rng.poisson(3, n), rng.poisson(6, n)
        spikes = {
            "s": [[[np.r_[np.full(b, -0.5), np.full(d, 0.5)] for b, d in zip(before, during, strict=True)]]]
        }
        found = sx.significant_stimuli(spikes, directions=[0], baseline=(-1, 0), stimulus=(0, 1))
        more = stats.mannwhitneyu(during, before, alternative="greater").pvalue
        less = stats.mannwhitneyu(during, before, alternative="less").pvalue
        np.testing.assert_allclose([found.p_more[0, 0], found.p_less[0, 0]], [more, less], atol=1e-6)


def test_stimuli_move_and_are_the_same_again():
    stimuli = sx.stimulus_set(size=(24, 40), n_frames=3, periods_px=[8], diameters_px=[4], n_instances=2)
    assert stimuli.stimuli == ["grating_8", "neg1dot_4", "neg3dot_4", "pos1dot_4", "pos3dot_4"]
    assert len(stimuli) == 5 * 8 * 2 and stimuli.table["direction"].tolist()[:3] == [0, 0, 45]
    for row, frames in stimuli:
        assert frames.shape == (3, 24, 40) and frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, stimuli.frames(row["clip"]))
        if row["direction"] == 0:
            np.testing.assert_allclose(
                np.roll(frames[0], 1, axis=1).astype(int), frames[1].astype(int), atol=1
            )
    activations = np.random.default_rng(0).uniform(size=(80, 3, 6))
    responses = stimuli.responses(activations, bin_s=1 / 30)
    assert responses.shape == (6, 5, 8, 3) and responses.stimuli == stimuli.stimuli
    raw = activations[:2].mean(axis=0).T  # both instances of the first class and direction
    np.testing.assert_allclose(responses.values[:, 0, 0] - responses.values[0, 0, 0, 0], raw - raw[0, 0])
    with pytest.raises(ValueError, match="2 pixels"):
        sx.gratings(period_px=1)
    with pytest.raises(ValueError, match="frame"):
        sx.moving_dots(size=(10, 10), diameter_px=20)


class StandIn:
    """What hooks see of a recurrent video model: one array (channels × height × width) per frame."""

    def __init__(self):
        self.hooks = []

    def __call__(self, frames):
        state = 0.0
        for frame in frames:
            bars = frame[None, ::6, ::8] / 255 * np.arange(6)[:, None, None]
            state = 0.8 * state + bars
            for hook in self.hooks:
                hook(state)


def test_a_model_is_recorded_into_a_response_tensor():
    stimuli = sx.stimulus_set(size=(48, 64), n_frames=5, periods_px=[16], diameters_px=[6], n_instances=1)
    model, recorded = StandIn(), []
    model.hooks.append(lambda state: recorded.append(state.copy()))
    clips = []
    for _, frames in stimuli:
        recorded.clear()
        model(frames)
        clips.append(np.stack(recorded))
    activations = np.stack(clips)
    units = sx.sample_units(activations, n_maps=4, n_per_map=10, seed=1)
    assert len(set(units.channel)) == 4 and 0 not in units.channel
    assert units.y.min() >= 1 and units.y.max() <= 6 and len(set(units.names)) == 40
    np.testing.assert_array_equal(
        units.channel, sx.sample_units(activations, n_maps=4, n_per_map=10, seed=1).channel
    )
    assert sx.sample_units(activations, n_maps=4, n_per_map=10, crop="topleft").y.min() >= 2
    few = sx.sample_units(activations, n_maps=9, n_per_map=5, crop=None)
    assert "only 5 of 6 maps" in few.warnings[0]
    responses = stimuli.responses(units.take(activations), bin_s=1 / 30, units=units.names)
    assert responses.shape == (40, 5, 8, 5)
    fit = sx.ShiftInvariantCP(rank=2).fit(responses.smooth(1).normalise())
    assert sx.neuron_matrix(fit).values.shape == (40, 2)
    with pytest.raises(ValueError, match="no unit responds"):
        sx.sample_units(-activations)
