"""rsatoolbox on the same RDMs: where it is right we agree, where it is known to be wrong we say so."""

import warnings

import numpy as np
import pytest
import stereotax as sx

warnings.filterwarnings("ignore")


def rdms_of(values):
    from rsatoolbox.rdm import RDMs

    return RDMs(np.atleast_2d(values))


def study(n=14, n_subjects=6, n_models=3, seed=0):
    rng = np.random.default_rng(seed)

    def rdm(x):
        return ((x[:, None] - x[None]) ** 2).sum(axis=-1)[np.triu_indices(n, 1)]

    shared = rng.normal(size=(n, 5))
    data = np.array([rdm(np.c_[shared, rng.normal(size=(n, 5))]) for _ in range(n_subjects)])
    models = np.array([rdm(np.c_[shared[:, : k + 1], rng.normal(size=(n, 3))]) for k in range(n_models)])
    return models, data


OURS = {
    "corr": "pearson", "cosine": "cosine", "spearman": "spearman", "rho-a": "rho_a", "tau-a": "tau_a",
    "tau-b": "tau_b", "cosine_cov": "whitened_cosine", "corr_cov": "whitened_pearson", "bures": "bures",
    "bures_metric": "bures_distance",
}  # fmt: skip


@pytest.mark.parametrize("theirs", list(OURS))
@pytest.mark.parametrize("ties", [False, True])
def test_comparisons(theirs, ties):
    from rsatoolbox.rdm import compare

    models, data = study()
    if ties and "bures" not in theirs:
        models, data = np.round(models / 4), np.round(data / 4)
    expected = compare(rdms_of(models), rdms_of(data), method=theirs)
    found = sx.compare_rdms(models, data, theirs)
    assert found.method == OURS[theirs]
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(found.values, expected, atol=1e-7 * scale)


@pytest.mark.parametrize("diagonal", [True, False])
def test_whitening_with_a_noise_covariance(diagonal):
    from rsatoolbox.rdm import compare

    models, data = study()
    noise = np.cov(np.random.default_rng(1).normal(size=(14, 60)))
    given = np.diag(noise) if diagonal else noise
    whole = np.diag(given) if diagonal else given
    # Their road for a vector of variances scales by its root; the full matrix is right on both sides.
    expected = compare(rdms_of(models), rdms_of(data), method="cosine_cov", sigma_k=whole)
    found = sx.compare_rdms(models, data, "whitened_cosine", noise_covariance=given).values
    np.testing.assert_allclose(found, expected, atol=1e-4)  # theirs is iterative


def test_ceilings():
    from rsatoolbox.inference import boot_noise_ceiling

    models, data = study()
    for theirs in ("corr", "cosine", "spearman", "rho-a", "tau-a"):
        expected = boot_noise_ceiling(rdms_of(data), method=theirs)
        found = sx.rsa(models, data, theirs, n_bootstraps=2).noise_ceiling
        np.testing.assert_allclose(found, expected, atol=1e-10, err_msg=theirs)


@pytest.mark.parametrize("theirs", ["corr", "rho-a"])
def test_the_dual_bootstrap(theirs):
    """Other random draws: standard errors agree as two estimates from 250 and 1,500 draws do."""
    from rsatoolbox.inference import eval_dual_bootstrap, eval_fixed
    from rsatoolbox.model import ModelFixed

    models, data = study(n=20)
    named = [ModelFixed(f"m{k}", model) for k, model in enumerate(models)]
    np.random.seed(0)  # noqa: NPY002 (the peer draws from it)
    peer = eval_dual_bootstrap(named, rdms_of(data), method=theirs, N=250)
    ours = sx.rsa(models, data, theirs, n_bootstraps=1500)
    np.testing.assert_allclose(ours.standard_errors, peer.get_sem(), rtol=0.2)
    assert ours.dof == peer.dof
    # Theirs are means over draws, which repeated conditions move; those of the data are eval_fixed's.
    fixed = eval_fixed(named, rdms_of(data), method=theirs)
    np.testing.assert_allclose(ours.estimates, fixed.get_means(), atol=1e-12)
    np.testing.assert_allclose(ours.estimates, peer.get_means(), atol=0.06)
    pairwise = peer.test_pairwise()
    assert np.sign(np.log(ours.p_pairwise[0, 2] / 0.05)) == np.sign(np.log(pairwise[0, 2] / 0.05))


def test_one_factor_and_t_tests():
    from rsatoolbox.inference import eval_bootstrap_pattern, eval_bootstrap_rdm, eval_fixed
    from rsatoolbox.model import ModelFixed

    models, data = study(n=20)
    named = [ModelFixed(f"m{k}", model) for k, model in enumerate(models)]
    np.random.seed(0)  # noqa: NPY002 (the peer draws from it)
    for peer, kind in ((eval_bootstrap_rdm, "subjects"), (eval_bootstrap_pattern, "conditions")):
        theirs = peer(named, rdms_of(data), method="corr", N=500)
        ours = sx.rsa(models, data, bootstrap=kind, n_bootstraps=1500)
        np.testing.assert_allclose(ours.standard_errors, theirs.get_sem(), rtol=0.15)
    theirs = eval_fixed(named, rdms_of(data), method="corr")
    ours = sx.rsa(models, data, bootstrap="none")
    np.testing.assert_allclose(ours.standard_errors, theirs.get_sem(), rtol=1e-10)
    np.testing.assert_allclose(ours.p_zero, theirs.test_zero(), atol=1e-10)
    np.testing.assert_allclose(ours.p_pairwise, theirs.test_pairwise(), atol=1e-10)


def test_weights_of_a_weighted_model():
    """For correlations the peer's own active-set solver does not end on these data: SciPy's stands in."""
    from rsatoolbox.model import ModelWeighted, fit_regress_nn
    from scipy.optimize import nnls

    models, data = study(n=20)

    def centred(vectors):
        return vectors - vectors.mean(axis=1, keepdims=True)

    unit = centred(data) / np.linalg.norm(centred(data), axis=1, keepdims=True)
    expected = {
        "cosine": fit_regress_nn(ModelWeighted("w", models), rdms_of(data), method="cosine"),
        "corr": nnls(centred(models).T, unit.mean(axis=0))[0],
    }
    for method, peer in expected.items():
        ours = np.array(sx.rsa([sx.RDMModel(models)], data, method, n_bootstraps=2).weights[0])
        np.testing.assert_allclose(ours / np.linalg.norm(ours), peer / np.linalg.norm(peer), atol=1e-8)


def test_simple_transforms():
    from rsatoolbox.rdm.transform import minmax_transform, rank_transform, sqrt_transform

    _, data = study()
    for theirs, ours in ((rank_transform, "rank"), (sqrt_transform, "sqrt"), (minmax_transform, "minmax")):
        expected = theirs(rdms_of(data[:1])).get_vectors()[0]
        np.testing.assert_allclose(sx.transform_rdm(data[0], ours).values, expected, atol=1e-12)


def test_the_peers_geodesic_transform_reads_the_closest_pair_as_the_farthest():
    from rsatoolbox.rdm.transform import geodesic_transform

    peer = geodesic_transform(rdms_of(np.arange(1.0, 7.0))).get_vectors()[0]
    np.testing.assert_allclose(peer, [0.8, 0.2, 0.4, 0.6, 0.8, 0.6], atol=1e-12)
    assert sx.transform_rdm(np.arange(1.0, 7.0), "geodesic", edges=0.8).values.argmin() == 0


def test_the_peers_whitened_comparison_fails_in_draws_of_many_conditions():
    from rsatoolbox.inference import eval_bootstrap_pattern
    from rsatoolbox.model import ModelFixed

    models, data = study(n=120)
    np.random.seed(0)  # noqa: NPY002 (the peer draws from it)
    with pytest.raises(Exception):  # noqa: B017 (a casting error of NumPy)
        eval_bootstrap_pattern([ModelFixed("m", models[0])], rdms_of(data), method="cosine_cov", N=2)
    assert (sx.rsa(models, data, "whitened_cosine", n_bootstraps=5).standard_errors > 0).all()


def test_the_peer_divides_by_zero_with_one_subject():
    with pytest.raises(ValueError, match="draw conditions only"):
        models, data = study()
        sx.rsa(models, data[:1])
