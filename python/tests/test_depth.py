"""Depth DMD against an implementation in NumPy, planted truth, and its own promises."""

import copy
import pickle

import numpy as np
import pytest
import stereotax as sx


def network(n_samples=120, width=20, n_layers=10, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    stays, fades = rng.normal(size=(2, n_samples, width))
    return [stays + 0.7**k * fades + noise * rng.normal(size=(n_samples, width)) for k in range(n_layers)]


def scaled(layers, scale):
    centred = [x - x.mean(0) for x in layers]
    if scale == "frobenius":
        return [x / np.sqrt((x**2).mean()) for x in centred]
    return centred


def numpy_dmd(layers, scale, rank):
    """Exact projection of the one-step operator, on the snapshots themselves (Tu et al. 2014)."""
    H = np.stack([x.ravel() for x in scaled(layers, scale)], axis=1)
    X, Y = H[:, :-1], H[:, 1:]
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    U, s, V = U[:, :rank], s[:rank], Vt[:rank].T
    operator = U.T @ Y @ V / s
    eigenvalues, vectors = np.linalg.eig(operator)
    order = np.argsort(-np.abs(eigenvalues))
    eigenvalues, modes = eigenvalues[order], U @ vectors[:, order]
    modes = modes / np.linalg.norm(modes, axis=0)
    powers = np.stack([modes * eigenvalues**k for k in range(H.shape[1])])  # (L, T·K, modes)
    amplitudes = np.linalg.lstsq(
        powers.reshape(-1, len(eigenvalues)), H.T.ravel().astype(complex), rcond=None
    )[0]
    fit = np.einsum("lnk,k->nl", powers, amplitudes)
    return eigenvalues, modes, amplitudes, np.linalg.norm(H - fit) / np.linalg.norm(H)


@pytest.mark.parametrize("scale", ["none", "frobenius"])
@pytest.mark.parametrize("rank", [2, 4])
def test_the_spectrum_is_that_of_numpy_on_the_full_snapshots(scale, rank):
    layers = network()
    depth = sx.DepthDMD(scale=scale, rank=rank).fit(layers)
    eigenvalues, modes, amplitudes, error = numpy_dmd(layers, scale, rank)
    np.testing.assert_allclose(depth.eigenvalues_, eigenvalues, atol=1e-9)
    np.testing.assert_allclose(np.abs(depth.amplitudes_), np.abs(amplitudes), rtol=1e-8)
    assert depth.reconstruction_error_ == pytest.approx(error, rel=1e-8)
    # A mode is a weighted sum of layers: up to a phase it is the mode of the snapshots.
    H = np.stack([x.ravel() for x in scaled(layers, scale)], axis=1)
    ours = H @ depth.coefficients_
    overlap = np.abs(np.sum(ours.conj() * modes, axis=0))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-9)


def test_the_stable_representation_is_the_selected_mode_of_the_layers():
    layers = network(noise=0.0)
    depth = sx.DepthDMD(scale="none").fit(layers)
    np.testing.assert_allclose(depth.eigenvalues_.real, [1.0, 0.7], atol=1e-9)
    assert depth.selected_ == [0] and depth.verdict_
    found = depth.transform(layers)
    rng = np.random.default_rng(0)
    stays = rng.normal(size=(2, 120, 20))[0]
    stays -= stays.mean(0)
    assert np.corrcoef(found.ravel(), stays.ravel())[0, 1] > 1 - 1e-9
    # By hand: S = Σ w_l (H_l − mean_l)/divisor_l, also where layers differ in size.
    uneven = [x * 1.5**k for k, x in enumerate(layers)]
    depth = sx.DepthDMD().fit(uneven)
    np.testing.assert_allclose(depth.divisors_, [np.sqrt(((x - x.mean(0)) ** 2).mean()) for x in uneven])
    by_hand = sum(
        w * (x - x.mean(0)) / d for w, x, d in zip(depth.weights_, uneven, depth.divisors_, strict=True)
    )
    np.testing.assert_allclose(depth.transform(uneven), by_hand, atol=1e-10)


def test_new_samples_are_centred_by_the_means_of_the_fit():
    layers = network()
    depth = sx.DepthDMD().fit(layers, train=range(60))
    half = sx.DepthDMD().fit([x[:60] for x in layers])
    np.testing.assert_array_equal(depth.weights_, half.weights_)
    new = depth.transform([x[60:] for x in layers])
    np.testing.assert_allclose(new, depth.transform(layers)[60:], atol=1e-12)
    assert abs(new.mean()) > 1e-6, "centred on their own mean"


def test_moments_and_arrays_give_the_same_fit_and_weights_leave_blocks_out():
    layers = network()
    runs = ["a"] * 50 + ["b"] * 70
    moments = sx.DepthMoments.from_layers(layers, blocks=runs)
    assert moments.block_sizes == {"a": 50, "b": 70}
    whole, from_arrays = sx.DepthDMD().fit(moments), sx.DepthDMD().fit(layers)
    np.testing.assert_allclose(whole.weights_, from_arrays.weights_, rtol=1e-9)
    fold = sx.DepthDMD().fit(moments, weights=[0, 1])
    expected = sx.DepthDMD().fit([x[50:] for x in layers])
    np.testing.assert_allclose(fold.weights_, expected.weights_, rtol=1e-8)
    np.testing.assert_allclose(fold.transform(layers), expected.transform(layers), rtol=1e-6, atol=1e-9)


def test_moments_stream_merge_and_travel():
    layers = network()
    whole = sx.DepthMoments.from_layers(layers)
    tiles = sx.DepthMoments.from_tiles(("all", [x[i : i + 30] for x in layers]) for i in range(0, 120, 30))
    np.testing.assert_allclose(tiles.gram(), whole.gram(), rtol=1e-12)
    assert tiles.n_samples == 120
    left, right = (
        sx.DepthMoments.from_layers([x[part] for x in layers]) for part in (slice(50), slice(50, None))
    )
    np.testing.assert_allclose((left + right).gram(), whole.gram(), rtol=1e-12)
    assert pickle.loads(pickle.dumps(whole)) == whole == copy.deepcopy(whole)
    with pytest.raises(sx.StereotaxError, match="cannot read"):
        sx.DepthMoments.from_bytes(whole.to_bytes()[:-3])
    # A tile that fails adds nothing.
    before = whole.to_bytes()
    bad = [x[:5].copy() for x in layers]
    bad[3][2, 7] = np.nan
    with pytest.raises(ValueError, match=r"`layer 3` is not finite at row 122, column 7"):
        whole.add_tile("all", bad)
    assert whole.to_bytes() == before


def test_the_gram_matrix_is_that_of_the_layers():
    layers = network()
    moments = sx.DepthMoments.from_layers(layers)
    for scale in ("none", "frobenius"):
        H = np.stack([x.ravel() for x in scaled(layers, scale)], axis=1)
        np.testing.assert_allclose(moments.gram(scale=scale), H.T @ H, rtol=1e-9)
    raw = np.stack([x.ravel() for x in layers], axis=1)
    np.testing.assert_allclose(moments.gram(scale="none", centring="none"), raw.T @ raw, rtol=1e-12)
    np.testing.assert_allclose(moments.layer_means(), [x.mean(0) for x in layers], atol=1e-14)


@pytest.mark.parametrize("layer_map", ["procrustes", "pca"])
def test_layers_of_unequal_width_share_a_mapped_state(layer_map):
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(160, 6))
    layers = [latent @ rng.normal(size=(6, width)) for width in (10, 25, 8, 30, 12)]
    with pytest.raises(ValueError, match="layer 1"):
        sx.DepthDMD().fit(layers)
    depth = sx.DepthDMD(layer_map=layer_map, max_width=6).fit(layers, train=range(100))
    if layer_map == "procrustes":
        # All layers hold the same latent space: aligned, they hardly move.
        assert abs(depth.selected_eigenvalue_ - 1) < 0.3
    whole = depth.transform(layers)
    assert whole.shape == (160, 6)
    new = depth.transform([x[100:] for x in layers])
    np.testing.assert_allclose(new, whole[100:], atol=1e-10)


def test_mapped_layers_are_scaled_as_asked():
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(160, 6))
    layers = [1.2**k * latent @ np.linalg.qr(rng.normal(size=(9, 6)))[0].T for k in range(6)]
    plain = sx.DepthDMD(layer_map="procrustes", scale="none", max_width=6).fit(layers)
    assert plain.selected_eigenvalue_ == pytest.approx(1.2, abs=1e-6)
    level = sx.DepthDMD(layer_map="procrustes", max_width=6).fit(layers)
    assert level.selected_eigenvalue_ == pytest.approx(1.0, abs=1e-6)


def test_unit_samples_have_no_gain():
    layers = network()
    loud = [x * np.linspace(0.1, 9, 120)[:, None] for x in layers]
    a, b = (sx.DepthDMD(scale="unit_sample", centring="none").fit(x) for x in (layers, loud))
    np.testing.assert_allclose(a.eigenvalues_, b.eigenvalues_, rtol=1e-9)
    np.testing.assert_allclose(a.transform(layers), b.transform(loud), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "estimator",
    [
        "standard",
        "total_least_squares",
        "forward_backward",
        "unitary",
        "symmetric",
        "hankel:2",
        "optimised",
        "bagged:20",
    ],
)
def test_every_estimator_finds_the_planted_mode(estimator):
    depth = sx.DepthDMD(estimator=estimator, rank=2, scale="none").fit(network(noise=0.001))
    # An orthogonal operator cannot decay: it turns a little instead, to lose the mode that fades.
    assert abs(depth.selected_eigenvalue_ - 1) < (0.15 if estimator == "unitary" else 0.05), (
        depth.eigenvalues_
    )


def stable_part(H, rank):
    """Of one trajectory H (units × L), by definition: the mode closest to one, at its amplitude.

    A conjugate pair counts as one mode; modes with less than a hundredth of the energy are passed over.
    """
    X, Y, L = H[:, :-1], H[:, 1:], H.shape[1]
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    U, s, V = U[:, :rank], s[:rank], Vt[:rank].T
    eigenvalues, vectors = np.linalg.eig(U.T @ Y @ V / s)
    modes = U @ vectors / np.linalg.norm(vectors, axis=0)
    powers = np.stack([modes * eigenvalues**k for k in range(L)])  # (L, units, modes)
    flat = powers.reshape(-1, rank).astype(complex)
    amplitudes = np.linalg.lstsq(flat, H.T.ravel().astype(complex), rcond=None)[0]
    energies = np.abs(amplitudes) ** 2 * (np.abs(powers) ** 2).sum(axis=(0, 1)) / (H**2).sum()
    pairs = {
        tuple(j for j in range(rank) if j == k or abs(eigenvalues[j] - eigenvalues[k].conj()) < 1e-12)
        for k in range(rank)
    }
    worthy = [pair for pair in pairs if energies[list(pair)].sum() >= 0.01] or list(pairs)
    chosen = list(min(worthy, key=lambda pair: abs(eigenvalues[pair[0]] - 1)))
    eigenvalue = max(eigenvalues[chosen], key=lambda value: value.imag)
    return (modes[:, chosen] @ amplitudes[chosen]).real, eigenvalue, energies[chosen].sum()


@pytest.mark.parametrize("scale", ["none", "frobenius"])
def test_trajectories_of_samples_are_a_loop_over_numpys_dmd(scale):
    layers, train = network(n_samples=60, width=8, n_layers=9, noise=0.3), np.arange(5, 60)
    depth = sx.DepthDMD(trajectory="sample", rank=3, scale=scale).fit(layers, train=train)
    ready = [x - x[train].mean(0) for x in layers]
    if scale == "frobenius":
        ready = [x / np.sqrt((x[train] ** 2).mean()) for x in ready]
    H = np.stack(ready, axis=2)  # (samples, units, L)
    stable, found = depth.transform(layers), depth.samples_
    assert stable.shape == (60, 8) and found.weights.shape == (60, 9) and found.ranks == [3] * 60
    expected = [stable_part(of_sample, 3) for of_sample in H]
    for t, (part, eigenvalue, energy) in enumerate(expected):
        np.testing.assert_allclose(stable[t], part, atol=1e-8)
        np.testing.assert_allclose(found.eigenvalues[t], eigenvalue, atol=1e-8)
        np.testing.assert_allclose(found.energies[t], energy, rtol=1e-7)
        np.testing.assert_allclose(H[t] @ found.weights[t], part, atol=1e-8)
    assert any(value.imag > 0 for _, value, _ in expected), "no pair: the rule for pairs was not tried"
    # The model's numbers are medians and means over the samples of the fit.
    values = np.array([expected[t][1] for t in train])
    median = complex(np.median(values.real), np.median(values.imag))
    assert depth.selected_eigenvalue_ == pytest.approx(median, abs=1e-8)
    assert depth.eigenvalues_.shape == (1,) and depth.selected_ == [0] and depth.rank_ == 3
    np.testing.assert_allclose(depth.weights_, found.weights[train].mean(0), atol=1e-12)
    assert depth.gram_ is None and depth.coefficients_ is None and 0 <= found.share_qualifying <= 1


def test_other_samples_have_the_rule_of_the_fit():
    layers = network(n_samples=60, width=8)
    settings = {"rank": 2, "select": "band:3"}
    for trajectory in ("sample", "pooled"):
        whole = sx.DepthDMD(trajectory=trajectory, **settings).fit(layers, train=range(40))
        part = sx.DepthDMD(trajectory=trajectory, **settings).fit([x[:40] for x in layers])
        new = [x[40:] for x in layers]
        np.testing.assert_allclose(part.transform(new), whole.transform(layers)[40:], atol=1e-9)
        np.testing.assert_allclose(part.eigenvalues_, whole.eigenvalues_, atol=1e-9)


def test_the_pooled_operator_keeps_the_subspace_that_stays():
    rng = np.random.default_rng(1)
    z, mixing = rng.normal(size=(400, 3)), rng.normal(size=(3, 12))
    law = np.array([1.0, 1.0, 0.6])
    layers = [(z * law**k) @ mixing for k in range(8)]
    depth = sx.DepthDMD(trajectory="pooled", scale="none", rank=3, select="band:2").fit(layers)
    np.testing.assert_allclose(np.sort(depth.eigenvalues_.real), [0.6, 1.0, 1.0], atol=1e-8)
    assert len(depth.selected_) == 2 and depth.verdict_ and depth.samples_ is None
    assert np.isnan(depth.weights_).all()
    # By definition: the part along the first two latents, which is the same in every layer.
    kept = (z[:, :2] - z[:, :2].mean(0)) @ mixing[:2]
    np.testing.assert_allclose(depth.transform(layers), kept, atol=1e-7)
    mapped = sx.DepthDMD(trajectory="pooled", layer_map="procrustes", max_width=4, rank=3, select="band:2")
    assert mapped.fit(layers).transform(layers).shape[0] == 400


def test_consensus_tells_every_rank():
    found = sx.DepthDMD(rank="consensus").fit(network()).consensus_
    assert found.ranks == list(range(1, 9))
    assert abs(found.median - 1) < 0.1 and len(found.eigenvalues) == 8
    assert sx.DepthDMD().fit(network()).consensus_ is None


def test_unrelated_layers_have_no_stable_mode_and_it_says_why():
    rng = np.random.default_rng(2)
    verdict = sx.DepthDMD().fit([rng.normal(size=(200, 30)) for _ in range(10)]).verdict_
    assert not verdict and verdict.reasons
    assert {"reason", "found", "threshold"} == set(verdict.reasons[0])
    assert str(verdict) == "no_stable_mode" and "gate" in repr(verdict)


def test_it_is_an_estimator_as_scikit_learn_knows_them():
    sklearn = pytest.importorskip("sklearn.base")
    depth = sx.DepthDMD(rank=3, tikhonov=0.1)
    twin = sklearn.clone(depth)
    assert twin is not depth and twin.get_params() == depth.get_params()
    assert repr(depth) == "DepthDMD(rank=3, tikhonov=0.1)"
    with pytest.raises(ValueError, match="no setting `rnak`"):
        depth.set_params(rnak=2)
    assert depth.set_params(rank="full").rank == "full"
    layers = network()
    np.testing.assert_array_equal(twin.fit_transform(iter(layers)), twin.fit(layers).transform(layers))


def test_layers_may_be_named():
    layers = network(n_layers=5)
    named = {f"block{i}": x for i, x in enumerate(layers)}
    assert sx.DepthDMD().fit(named).layer_names_ == list(named)
    named["block2"] = np.ones_like(layers[2])
    with pytest.raises(ValueError, match="`block2` does not vary"):
        sx.DepthDMD().fit(named)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"estimator": "standart"}, 'did you mean `"standard"`'),
        ({"rank": "energy:1.5"}, "a share above 0 and at most 1"),
        ({"rank": 0}, "at least 1"),
        ({"rank": "fixed"}, "as in `fixed:4`"),
        ({"select": "band:x"}, "as in `band:2`"),
        ({"centring": "depth"}, "roots of unity"),
        ({"seed": -1}, "seed"),
        ({"max_width": 0}, "max_width"),
        ({"scale": "fro"}, "`frobenius`"),
        ({"layer_map": "kernels"}, "`procrustes`"),
        ({"tikhonov": -1.0}, "tikhonov"),
        ({"min_energy": float("nan")}, "min_energy"),
        ({"amplitude": "modulus"}, "not linear in the layers"),
        ({"amplitude": ["first"]}, "one of `optimal`"),
        ({"trajectory": "samples"}, 'did you mean `"sample"`'),
        ({"trajectory": "sample", "estimator": "tls"}, "the standard estimator only"),
        ({"trajectory": "pooled", "scale": "pair"}, "in the stacked trajectory only"),
        ({"trajectory": "sample", "layer_map": "procrustes", "centring": "none"}, "layer_map='identity'"),
        ({"estimator": object()}, "a word, a number or a list"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    with pytest.raises(ValueError, match=text):
        sx.DepthDMD(**settings).fit(network())


def test_memory_is_counted_before_it_is_taken():
    with pytest.raises(ValueError, match="GiB"):
        sx.DepthMoments(100, 2**30)
    with pytest.raises(ValueError, match="width"):
        sx.DepthMoments(4, 2**40)
    with pytest.raises(ValueError, match="layer_names"):
        sx.DepthMoments(10**9, 4)


def test_wrong_data_are_named():
    layers = network(n_layers=6)
    with pytest.raises(ValueError, match="at least 4 layers"):
        sx.DepthDMD().fit(layers[:3])
    with pytest.raises(ValueError, match="`layer 2` has 100 rows"):
        sx.DepthDMD().fit([*layers[:2], layers[2][:100], *layers[3:]])
    with pytest.raises(ValueError, match="not fitted yet"):
        sx.DepthDMD().transform(layers)
    depth = sx.DepthDMD().fit(layers)
    with pytest.raises(ValueError, match="has 5 layers, but 6 expected"):
        depth.transform(layers[:5])
    with pytest.raises(ValueError):
        depth.transform([x[:, :3] for x in layers])
    with pytest.raises(ValueError, match="use `weights`"):
        sx.DepthDMD().fit(sx.DepthMoments.from_layers(layers), train=[1, 2])
    with pytest.raises(ValueError, match="moments hold no single samples"):
        sx.DepthDMD(trajectory="sample").fit(sx.DepthMoments.from_layers(layers))
    with pytest.raises(ValueError, match="use `train`"):
        sx.DepthDMD().fit(layers, weights=[1.0])
    for settings in ({"centring": "none"}, {"scale": "unit_sample"}):
        with pytest.raises(ValueError, match="use layer_map='identity'"):
            sx.DepthDMD(layer_map="procrustes", **settings).fit(layers)
    for train in ([0, 0, 1], [-1, 2], [500]):
        with pytest.raises(ValueError, match="row numbers"):
            sx.DepthDMD().fit(layers, train=train)
    infinite = [x.copy() for x in layers]
    infinite[4][11, 3] = np.inf
    for layer_map in ("identity", "procrustes"):
        with pytest.raises(ValueError, match="`layer 4` is not finite at row 11, column 3"):
            sx.DepthDMD(layer_map=layer_map).fit(infinite)
