"""Time ourselves and a peer on the same workload, in the same run, with the largest difference.

usage: python benches/peers/run.py [--threads N] [--only NAME...] [--processor] [--pairs N]
"""

import argparse
import json
import os
import resource
import sys
import time

clock = time.perf_counter
settings = {"pairs": 100}


def timed(work, repeats):
    seconds, result = [], None
    for _ in range(repeats):
        begin = clock()
        result = work()
        seconds.append(clock() - begin)
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


def per_sample(np, sx):
    from pydmd import DMD

    rng = np.random.default_rng(2)
    turn, _ = np.linalg.qr(rng.normal(size=(768, 768)))
    state = rng.normal(size=(2800, 768))
    layers = []
    for _ in range(13):
        layers.append(state.astype(np.float32))
        state = 0.9 * state @ turn + 0.3 * rng.normal(size=state.shape)
    model = sx.DepthDMD(rank="fixed:4", scale="none", centring="none", trajectory="sample")
    ours, fitted = timed(lambda: model.fit(layers), 3)
    cube = np.stack(layers, axis=-1).astype(np.float64)
    few = 200  # of the 2,800; the loop takes as long for each
    peers, peer = timed(lambda: [DMD(svd_rank=4).fit(cube[i]).eigs for i in range(few)], 1)
    found = fitted.samples_.eigenvalues[:few]
    difference = max(np.abs(eigs - value).min() for eigs, value in zip(peer, found, strict=True))
    about = {"workload": "per_sample_dmd/2800/768x13/f32", "peer": f"PyDMD DMD.fit, {few} fits scaled up"}
    return about, ours, peers * 2800 / few, difference


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


def ridge(np, sx):
    """Nested: each of 5 runs is predicted from the others, its penalties chosen by the remaining four."""
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    rng = np.random.default_rng(3)
    n, p, n_rois = 2800, 1024, 400
    features = rng.normal(size=(n, p)) / np.sqrt(1 + np.arange(p))
    noise = rng.uniform(0.5, 8, size=n_rois) * rng.normal(size=(n, n_rois))
    responses = features @ rng.normal(size=(p, n_rois)) + noise
    runs = np.arange(n) * 5 // n
    alphas = np.logspace(-2, 4, 13)

    def ours():
        return [
            sx.RidgeCV(alphas, alpha_scale="absolute", fit_intercept=False)
            .fit(features[runs != run], responses[runs != run], groups=runs[runs != run])
            .alpha_
            for run in range(5)
        ]

    def theirs():
        found = []
        for run in range(5):
            kept = runs != run
            split = PredefinedSplit(runs[kept])
            ridge = RidgeCV(alphas, cv=split, fit_intercept=False, solver_params={"n_targets_batch": None})
            found.append(ridge.fit(features[kept], responses[kept]).best_alphas_)
        return found

    seconds, found = timed(ours, 3)
    peers, peer = timed(theirs, 1)
    difference = np.abs(np.log10(np.array(found)) - np.log10(np.array(peer))).max()
    about = {"workload": "ridge/2800x1024/400/13 alphas/5x4 runs/f64", "peer": "himalaya RidgeCV (f64)"}
    return about | {"difference_is": "log10 of the chosen penalty"}, seconds, peers, difference


def projection(np, sx):
    """The largest difference is that of the spread of squared distances, against theory's √(2/k)."""
    from sklearn.random_projection import SparseRandomProjection

    rng = np.random.default_rng(4)
    features = rng.normal(size=(1000, 150_528)).astype(np.float32)
    ours, found = timed(lambda: sx.SparseRandomProjection(5960).fit_transform(features), 3)
    peer_map = SparseRandomProjection(5960, dense_output=True, random_state=0)
    peers, peer = timed(lambda: peer_map.fit_transform(features), 1)
    before = ((features[::2] - features[1::2]) ** 2).sum(axis=1)
    spreads = [(((z[::2] - z[1::2]) ** 2).sum(axis=1) / before).std() for z in (found, peer)]
    about = {"workload": "sparse projection/1000x150528/5960/f32"}
    about |= {"peer": "scikit-learn SparseRandomProjection", "difference_is": "spread of squared distances"}
    return about, ours, peers, abs(spreads[0] - spreads[1])


def pls(np, sx):
    """Ten splits of 90 %; the peer as it comes, and the difference to it with its iteration converged."""
    import warnings

    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import ShuffleSplit

    rng = np.random.default_rng(5)
    n, p, m = 2304, 1000, 168
    hidden = rng.normal(size=(n, 100)) / np.sqrt(1 + np.arange(100))
    features = hidden @ rng.normal(size=(100, p)) + 0.3 * rng.normal(size=(n, p))
    responses = hidden @ rng.normal(size=(100, m)) + 2 * rng.normal(size=(n, m))
    splits = list(ShuffleSplit(10, test_size=0.1, random_state=1).split(features))

    def theirs(splits=splits, **settings):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [
                PLSRegression(25, scale=False, **settings)
                .fit(features[train], responses[train])
                .predict(features[test])
                for train, test in splits
            ]

    ours, found = timed(lambda: sx.PLSRegression(25).predict_splits(features, responses, splits), 3)
    peers, _ = timed(theirs, 1)
    converged = theirs(splits[:1], tol=1e-24, max_iter=20_000)[0]
    about = {"workload": "pls-25/2304x1000/168/10 splits/f64", "peer": "scikit-learn PLSRegression"}
    about |= {"difference_is": "predictions of the first split, the peer carried to tol = 1e-24"}
    return about, ours, peers, np.abs(found[0] - converged).max()


def leave_one_out(np, sx):
    from sklearn.linear_model import RidgeCV

    rng = np.random.default_rng(4)
    n, p, n_voxels = 1000, 5920, 44806
    features = rng.normal(size=(n, p)).astype(np.float32)
    weights = rng.normal(size=(50, n_voxels)).astype(np.float32)
    responses = features[:, :50] @ weights
    responses += rng.uniform(2, 40, size=n_voxels).astype(np.float32) * rng.normal(size=(n, n_voxels)).astype(
        np.float32
    )
    alphas = np.logspace(1, 7, 7)
    model = sx.RidgeCV(alphas, alpha_scale="absolute", cv="loo")
    ours, found = timed(lambda: model.fit(features, responses).alpha_.copy(), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    del model.coef_
    peers, peer = timed(lambda: RidgeCV(alphas, alpha_per_target=True).fit(features, responses).alpha_, 1)
    difference = (np.abs(np.log10(found) - np.log10(peer)) > 1e-6).mean()
    about = {"workload": "ridge_loo/1000x5920/44806/7 alphas/f32", "peer": "scikit-learn RidgeCV"}
    about |= {"difference_is": "share of other penalties", "our_peak_mb": memory}
    return about, ours, peers, difference


def kernel_ridge_on_torch(features, responses, alphas):
    """himalaya's faster road for this shape, where torch is there."""
    try:
        import torch
    except ImportError:
        return {"torch_kernel_ridge_s": None}
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import KFold

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    backend = set_backend("torch")
    peer = KernelRidgeCV(alphas, kernel="linear", cv=KFold(5))
    x, y = backend.asarray(features), backend.asarray(responses)
    seconds, _ = timed(lambda: peer.fit(x, y), 1)
    set_backend("numpy")
    return {"torch_kernel_ridge_s": round(seconds, 2)}


def wide_ridge(np, sx):
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(5)
    n, p, n_voxels = 3600, 4096, 20000
    features = (rng.normal(size=(n, p)) / np.sqrt(1 + np.arange(p) / 50)).astype(np.float32)
    responses = features[:, :100] @ rng.normal(size=(100, n_voxels)).astype(np.float32)
    responses += rng.uniform(2, 60, size=n_voxels).astype(np.float32) * rng.normal(size=(n, n_voxels)).astype(
        np.float32
    )
    alphas = np.logspace(-1, 6, 20)
    model = sx.RidgeCV(alphas, alpha_scale="absolute", fit_intercept=False, cv=5)
    ours, found = timed(lambda: model.fit(features, responses).alpha_.copy(), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    del model.coef_
    peer = RidgeCV(alphas, cv=KFold(5), fit_intercept=False)
    peers, _ = timed(lambda: peer.fit(features, responses), 1)
    difference = (np.abs(np.log10(found) - np.log10(peer.best_alphas_)) > 1e-6).mean()
    about = {"workload": "ridge/3600x4096/20000/20 alphas/5 folds/f32", "peer": "himalaya RidgeCV"}
    about |= kernel_ridge_on_torch(features, responses, alphas)
    about |= {"difference_is": "share of other penalties", "our_peak_mb": memory}
    return about, ours, peers, difference


def banded(np, sx, cv=5):
    """Four kernels, 100 draws; himalaya on torch in single precision, timed on 10 of the draws."""
    import torch
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from sklearn.model_selection import KFold

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rng = np.random.default_rng(6)
    n, n_voxels, few = 1000, 2000, 10
    bands = [rng.normal(size=(n, p)) for p in (300, 300, 600, 1000)]
    shares = rng.uniform(size=(4, n_voxels))
    parts = zip(bands, shares, strict=True)
    responses = sum(x[:, :20] @ rng.normal(size=(20, n_voxels)) * share for x, share in parts)
    responses += 5 * rng.normal(size=responses.shape)
    responses = (responses - responses.mean(axis=0)).astype(np.float32)
    kernels = np.stack([x @ x.T for x in bands])
    draws = np.vstack(
        [np.full(4, 0.25)] + [rng.dirichlet([0.1 if i % 2 else 1.0] * 4) for i in range(1, 100)]
    )
    alphas = np.logspace(0, 5, 20)

    def ours(draws=draws):
        settings = {"alphas": alphas, "alpha_scale": "absolute", "fit_intercept": False, "cv": cv}
        model = sx.BandedRidgeCV("precomputed", draws=draws, **settings)
        return model.fit(list(kernels), responses).best_score_

    seconds, _ = timed(ours, 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    set_backend("torch")
    solver = {"n_iter": draws[:few], "alphas": alphas.astype(np.float32), "progress_bar": False}
    peer = MultipleKernelRidgeCV(
        kernels="precomputed", solver="random_search", solver_params=solver, cv=KFold(5)
    )
    peers, _ = timed(lambda: peer.fit(kernels.astype(np.float32), responses), 1)
    theirs = 1 + np.asarray(peer.cv_scores_).max(axis=0) / (responses.astype(float) ** 2).mean(axis=0)
    set_backend("numpy")
    about = {"workload": f"banded/1000/4 bands/2000/20 alphas/cv={cv}/100 draws/f32"}
    about |= {"peer": f"himalaya MultipleKernelRidgeCV (torch, 5 folds), {few} draws scaled up"}
    about |= {"difference_is": f"best R\u00b2 over {few} draws", "our_peak_mb": memory}
    return about, seconds, peers * 100 / few, np.abs(ours(draws[:few]) - theirs).max()


def banded_gcv(np, sx):
    """As `banded`, by generalised cross-validation; scores differ as the criteria do."""
    return banded(np, sx, cv="gcv")


def permutations(np, sx):
    """Ours is one statistic per voxel, penalties chosen anew; nilearn's is one t per voxel and feature."""
    from nilearn.mass_univariate import permuted_ols

    rng = np.random.default_rng(6)
    n, p, n_voxels = 1000, 512, 50_000
    features = rng.normal(size=(n, p)).astype(np.float32)
    responses = rng.normal(size=(n, n_voxels)).astype(np.float32)
    responses[:, :100] += features[:, :100]
    few, fewer = 40, 4  # permutations of the 1,000; each takes as long
    ours, found = timed(lambda: sx.encoding_test(features, responses, statistic="gcv", n_permutations=few), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    threads = int(os.environ["RAYON_NUM_THREADS"])

    def theirs(count):
        return permuted_ols(features, responses, n_perm=count, n_jobs=threads, verbose=0, random_state=0)

    begin, _ = timed(lambda: theirs(0), 1)
    peers, _ = timed(lambda: theirs(fewer), 1)
    # The observed statistic once, then the permutations.
    flops = 2.0 * n * p * n_voxels
    left = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)[0]
    some = responses[:, :2000].astype(float)
    power = ((left.T.astype(float) @ (some - some.mean(axis=0))) ** 2).sum(axis=0)
    # Least penalty: R² of least squares, from which the score follows.
    least = 1 - (1 - power / some.var(axis=0) / n) * ((n - 1) / (n - 1 - p)) ** 2
    ridge = sx.encoding_test(features, responses[:, :2000], statistic="gcv", alphas=[0.0], n_permutations=1)
    about = {"workload": "permutation_null/1000x512/50000/1000 permutations, max-T/f32"}
    about |= {"peer": "nilearn permuted_ols (scaled up)", "our_peak_mb": memory}
    about |= {"difference_is": "R² at no penalty against its formula"}
    about |= {"gflop_per_s": round(flops * (few + 1) / ours / 1e9, 1), "tflop": round(flops / 1e9)}
    difference = np.abs(ridge.statistic - least).max()
    return about, ours / (few + 1) * 1000, (peers - begin) / fewer * 1000, difference


def recurrent_systems(np, n_systems):
    """Recordings of noisy recurrent networks: ten copies each of n_systems / 10 networks."""
    systems = []
    for k in range(n_systems):
        rng = np.random.default_rng(k // 10)
        weights = 1.3 * rng.normal(size=(20, 20)) / np.sqrt(20)
        rng = np.random.default_rng(1000 + k)
        turn, _ = np.linalg.qr(rng.normal(size=(20, 20)))
        x, trials = rng.normal(size=(20, 20)), []
        for _ in range(200):
            x = 0.7 * x + 0.3 * np.tanh(x @ weights.T) * 2 + 0.1 * rng.normal(size=x.shape)
            trials.append(x @ turn)
        systems.append(np.stack(trials, axis=1))
    return systems


def cayley_adam(np, a, b, steps=1500, rate=5e-3, seed=0):
    """The optimiser that DSA describes, in NumPy: Adam on a skew matrix made by three layers, then Cayley.

    Returns the least squared distance of unit-norm operators over two starts, the second with two coordinates
    of b exchanged. Single precision, as there.
    """
    n = len(a)
    a, b = ((m / np.linalg.norm(m)).astype(np.float32) for m in (a, b))
    swap = np.arange(n)
    swap[:2] = 1, 0
    identity = np.eye(n, dtype=np.float32)
    best = np.inf
    for b_start in (b, b[np.ix_(swap, swap)]):
        rng = np.random.default_rng(seed)
        uniform = [rng.uniform(-1, 1, size=(n, n)) / np.sqrt(n) for _ in range(3)]
        parameters = [identity.copy(), *(w.astype(np.float32) for w in uniform)]
        first = [np.zeros_like(p) for p in parameters]
        second = [np.zeros_like(p) for p in parameters]
        for step in range(1, steps + 1):
            x, w1, w2, w3 = parameters
            h1 = np.tanh(x @ w1.T)
            h2 = np.tanh(h1 @ w2.T)
            h3 = h2 @ w3.T
            skew = h3 - h3.T
            inverse = np.linalg.inv(identity + skew)
            c = inverse @ (identity - skew)
            cb = c @ b_start
            residual = a - cb @ c.T
            best = min(best, float((residual**2).sum()))
            to_c = -2 * (residual @ c @ b_start.T + residual.T @ cb)
            to_skew = -inverse.T @ to_c @ (c + identity).T
            to_h3 = to_skew - to_skew.T
            to_h2 = (to_h3 @ w3) * (1 - h2**2)
            to_h1 = (to_h2 @ w2) * (1 - h1**2)
            slopes = to_h1 @ w1, to_h1.T @ x, to_h2.T @ h1, to_h3.T @ h2
            for p, m, v, g in zip(parameters, first, second, slopes, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return best


def dynamical(np, sx):
    """Processor seconds of a few pairs of 50 systems of rank 100, scaled up to all 1,225."""
    pairs = [(0, 1), (0, 15), (12, 13), (7, 41), (33, 20), (28, 49)]
    systems = recurrent_systems(np, 50)
    used = sorted({k for pair in pairs for k in pair})
    fits = {k: sx.DelayDMD(10, rank=100).fit(systems[k]) for k in used}
    begin = time.process_time()
    ours = [sx.dsa(fits[i], fits[j], tol=1e-4, max_iter=300) for i, j in pairs]
    seconds = time.process_time() - begin
    begin = time.process_time()
    theirs = [cayley_adam(np, fits[i].operator_, fits[j].operator_) for i, j in pairs]
    peers = time.process_time() - begin
    # Squared distances of unit-norm operators: ours above theirs, at worst.
    excess = [2 - 2 * found.similarity - other for found, other in zip(ours, theirs, strict=True)]
    about = {"workload": "dsa/50 systems/rank 100/angular", "peer": "DSA's Cayley-Adam in NumPy, float32"}
    about |= {"difference_is": "excess of our objective (negative: ours is lower)", "pairs_run": len(pairs)}
    about |= {"excess": [round(e, 6) for e in excess], "angles": [round(found.angle, 4) for found in ours]}
    scale = 50 * 49 / 2 / len(pairs)
    return about, seconds * scale, peers * scale, max(excess)


def dsa(np, sx):
    """Processor seconds and objectives of a stratified sample of the 1,225 pairs of 50 systems.

    The peer is DSA itself (`pip install dsa-metric`), with its default 1,500 steps and the better of its two
    starts. ``--pairs N`` takes N pairs at each of ranks 20 and 50, in proportion of the same and of different
    networks.
    """
    import torch
    from DSA.simdist import SimilarityTransformDist

    torch.set_num_threads(1)
    torch.manual_seed(0)
    systems = recurrent_systems(np, 50)
    every = [(i, j) for i in range(50) for j in range(i + 1, 50)]
    rng = np.random.default_rng(0)
    strata = [[p for p in every if (p[0] // 10 == p[1] // 10) == same] for same in (True, False)]
    n_pairs = min(settings["pairs"], len(every))
    sizes = [round(n_pairs * len(strata[0]) / len(every))]
    sizes.append(n_pairs - sizes[0])
    chosen = [
        pairs[k]
        for pairs, size in zip(strata, sizes, strict=True)
        for k in sorted(rng.permutation(len(pairs))[:size])
    ]
    about = {"workload": f"dsa/{n_pairs} of 1,225 pairs of 50 systems/angular"}
    about |= {"peer": "DSA SimilarityTransformDist"}
    about |= {"difference_is": "excess of our objective (negative: ours is lower)"}
    seconds = peers = 0.0
    largest = -np.inf
    for rank in (20, 50):
        fits = {k: sx.DelayDMD(10, rank=rank).fit(systems[k]) for k in sorted({*sum(chosen, ())})}
        begin = time.process_time()
        ours = [2 - 2 * sx.dsa(fits[i], fits[j]).similarity for i, j in chosen]
        seconds += time.process_time() - begin
        begin = time.process_time()
        theirs = []
        for i, j in chosen:
            peer = SimilarityTransformDist(iters=1500, lr=5e-3)
            peer.fit(*(torch.from_numpy(fits[k].operator_).float() for k in (i, j)))
            theirs.append(min(peer.losses))
        peers += time.process_time() - begin
        excess = np.array(ours) - theirs
        # Theirs is in single precision.
        about |= {f"share_equal_or_lower_at_rank_{rank}": float((excess <= 1e-6).mean())}
        spread = np.quantile(excess, [0, 0.5, 0.99, 1])
        about |= {f"excess_at_rank_{rank}": [float(f"{q:.2g}") for q in spread]}
        largest = max(largest, excess.max())
    return about, seconds, peers, largest


def spins(np, sx):
    """Processor seconds of 1,000 rotations of 2 x 32,492 vertices; the peer by a k-d tree, 20 rotations."""
    from scipy.spatial import cKDTree
    from scipy.spatial.transform import Rotation
    from scipy.stats import spearmanr

    golden = np.pi * (3 - np.sqrt(5)) * np.arange(32_492)
    z = 1 - (2 * np.arange(32_492) + 1) / 32_492
    left = np.stack([np.sqrt(1 - z**2) * np.cos(golden), np.sqrt(1 - z**2) * np.sin(golden), z], axis=1)
    spheres = [left, left * [-1, 1, 1]]
    both = np.vstack(spheres)
    x, y = both[:, 0] + both[:, 1] ** 2, both[:, 2] * both[:, 0] + 0.5 * both[:, 0]
    begin = time.process_time()
    found = sx.spin_test(x, y, spheres, n_rotations=1000)
    seconds = time.process_time() - begin
    few = 20
    begin = time.process_time()
    null = []
    for rotation in Rotation.random(few, random_state=0).as_matrix():
        mirror = np.diag([-1.0, 1, 1])
        both_turns = (rotation, mirror @ rotation @ mirror)
        turned = [cKDTree(s @ r.T) for s, r in zip(spheres, both_turns, strict=True)]
        nearest = [tree.query(s)[1] for tree, s in zip(turned, spheres, strict=True)]
        sources = np.concatenate([nearest[0], nearest[1] + len(left)])
        null.append(spearmanr(x, y[sources]).statistic)
    peers = (time.process_time() - begin) * 1000 / few
    about = {
        "workload": "spin test/2x32492/1000/Spearman",
        "peer": f"SciPy cKDTree, {few} rotations scaled up",
    }
    about |= {"difference_is": "spread of the null (other rotations)"}
    return about, seconds, peers, abs(np.std(found.null) - np.std(null))


def intrinsic(np, sx):
    """TwoNN and Levina and Bickel's estimate of one cloud; the peer searches neighbours for each."""
    import skdim

    rng = np.random.default_rng(6)
    points = rng.normal(size=(10_000, 12)) @ rng.normal(size=(12, 1024))
    points += 0.01 * rng.normal(size=points.shape)
    ours, found = timed(lambda: sx.intrinsic_dimension(points, n_halvings=0), 3)

    def theirs():
        mle = skdim.id.MLE().fit(points, n_neighbors=20, comb="mean")
        return skdim.id.TwoNN().fit(points).dimension_, mle.dimension_

    peers, peer = timed(theirs, 1)
    difference = abs(found.two_nn - peer[0])
    about = {"workload": "intrinsic dimension/10000x1024/f64", "peer": "scikit-dimension TwoNN and MLE"}
    return (
        about | {"difference_is": "TwoNN", "mle": [found.levina_bickel_mean, peer[1]]},
        ours,
        peers,
        difference,
    )


def diffusion(np, sx):
    """The same number of neighbours and α; the peer's own bandwidth is as automatic, and another."""
    from pydiffmap import diffusion_map

    rng = np.random.default_rng(7)
    t = 1.5 * np.pi * (1 + 2 * rng.uniform(size=20_000))
    roll = np.column_stack([t * np.cos(t), 21 * rng.uniform(size=20_000), t * np.sin(t)])
    model = sx.DiffusionMap(20, n_neighbors=64)
    ours, found = timed(lambda: model.fit(roll), 1)

    def theirs():
        peer = diffusion_map.DiffusionMap.from_sklearn(n_evecs=20, k=64, epsilon="bgh", alpha=1.0)
        return peer.fit_transform(roll)

    peers, peer = timed(theirs, 1)
    difference = 1 - abs(np.corrcoef(found.embedding_[:, 0], peer[:, 0])[0, 1])
    about = {"workload": "diffusion map/20000 points, 64 neighbours, 20 components", "peer": "pydiffmap"}
    return about | {"difference_is": "1 − |r| of the first coordinate"}, ours, peers, difference


def neighbourhoods(np, sx, n=2000):
    """IAN has no light peer: the seconds alone."""
    rng = np.random.default_rng(8)
    t = 1.5 * np.pi * (1 + 2 * rng.uniform(size=n))
    roll = np.column_stack([t * np.cos(t), 21 * rng.uniform(size=n), t * np.sin(t)])
    ours, found = timed(lambda: sx.IAN().fit(roll), 1)
    about = {"workload": f"IAN/{n} points of a rolled sheet", "peer": "none", "steps": len(found.history_)}
    return about, ours, float("nan"), float(found.n_parts_)


def neighbourhoods_5000(np, sx):
    return neighbourhoods(np, sx, 5000)


def homology(np, sx):
    """Loops of three clouds of 1,000 points, the seconds added up; ripser works in single precision."""
    from ripser import ripser
    from scipy.spatial.distance import pdist, squareform

    rng = np.random.default_rng(10)
    turns = rng.uniform(0, 2 * np.pi, size=(1000, 2))
    sphere = rng.normal(size=(1000, 3))
    ring = 2 + 0.7 * np.cos(turns[:, 1])
    clouds = {
        "sphere": sphere / np.linalg.norm(sphere, axis=1, keepdims=True),
        "torus": np.column_stack(
            [ring * np.cos(turns[:, 0]), ring * np.sin(turns[:, 0]), 0.7 * np.sin(turns[:, 1])]
        ),
        "50 dimensions": rng.normal(size=(1000, 50)),
    }
    seconds, off = {}, 0.0
    for name, points in clouds.items():
        condensed = pdist(points)
        square = squareform(condensed)
        ours, found = timed(lambda d=condensed: sx.persistent_homology(d, metric="precomputed"), 3)
        theirs, peer = timed(lambda d=square: ripser(d, distance_matrix=True, maxdim=1)["dgms"], 1)
        seconds[name] = round(ours, 3), round(theirs, 3)
        off = max(off, sx.diagram_distance(found.diagrams[1], peer[1]))
    about = {"workload": "persistent homology/3 x 1000 points/H1", "peer": "ripser", "seconds": seconds}
    about |= {"difference_is": "bottleneck distance of the loops"}
    return about, sum(s[0] for s in seconds.values()), sum(s[1] for s in seconds.values()), off


def capacity(np, sx):
    """The peer as the reference solves it, one quadratic program per draw by cvxopt at its tolerance: 100 of
    the 10,000, scaled up. Directions that centres share are left in by both."""
    from cvxopt import matrix, solvers

    solvers.options.update(show_progress=False, abstol=1e-12, reltol=1e-12, feastol=1e-12)
    rng = np.random.default_rng(11)
    centers, labels = rng.normal(size=(50, 2000)), np.repeat(np.arange(50), 50)
    points = centers[labels] + rng.normal(size=(2500, 2000))
    ours, found = timed(lambda: sx.manifold_capacity(points, labels), 3)
    searched, _ = timed(lambda: sx.manifold_capacity(points, labels, n_removed="search"), 1)

    def theirs(classes=range(5), draws=20):
        centred, inverse = points - points.mean(axis=0), []
        for c in classes:
            x = centred[labels == c]
            center = x.mean(axis=0)
            spread = (x - center) / np.linalg.norm(center)
            s = np.vstack([np.linalg.qr(spread.T)[0].T @ spread.T, np.ones(len(x))])
            for t in rng.normal(size=(draws, len(s))):
                if (t @ s).max() > 0:
                    told = matrix(np.eye(len(t))), matrix(-t), matrix(s.T.copy()), matrix(np.zeros(len(x)))
                    inverse.append(((np.array(solvers.qp(*told)["x"]).ravel() - t) ** 2).sum())
                else:
                    inverse.append(0.0)
        return 1 / np.mean(inverse)

    peers, peer = timed(theirs, 1)
    about = {"workload": "capacity/50 classes x 50 x 2000/200 draws", "with_search_s": round(searched, 3)}
    about |= {"peer": "cvxopt's quadratic program, 100 of 10,000 scaled up"}
    about |= {"difference_is": "relative, of other draws"}
    return about, ours, peers * 100, abs(found.capacity / peer - 1)


def plain_cp(np, sx):
    import tensortools

    rng = np.random.default_rng(12)
    factors = [rng.exponential(size=(n, 20)) for n in (1000, 88, 33)]
    x = np.einsum("ir,jr,kr->ijk", *factors)
    x += 0.1 * x.std() * np.abs(rng.normal(size=x.shape))
    settings = {"max_iter": 100, "tol": 0.0}
    small = x[:50, :20, :10].copy()
    tensortools.ncp_hals(small, rank=3, max_iter=2, verbose=False)  # compiles its loops
    ours, found = timed(lambda: sx.NonNegativeCP(20, **settings).fit(x), 3)
    peers, peer = timed(
        lambda: tensortools.ncp_hals(x, rank=20, random_state=0, verbose=False, min_iter=100, **settings), 1
    )
    about = {"workload": "non-negative CP/1000x88x33/rank 20/100 iterations", "peer": "tensortools ncp_hals"}
    about |= {"difference_is": "relative error (root), other starts"}
    return about, ours, peers, abs(np.sqrt(found.error_) - peer.obj)


def shift_invariant(np, sx):
    """Seconds of a sweep over ranks 2 to 30, 30 starts of 100 iterations, from iterations of three ranks."""
    rng = np.random.default_rng(13)
    x = rng.exponential(size=(2000, 6, 8, 37))
    per = {}
    for rank in (2, 16, 30):
        few, _ = timed(lambda r=rank: sx.ShiftInvariantCP(r, max_iter=5, tol=0.0).fit(x), 1)
        many, _ = timed(lambda r=rank: sx.ShiftInvariantCP(r, max_iter=25, tol=0.0).fit(x), 1)
        per[rank] = (many - few) / 20
    mean = np.mean([np.interp(rank, list(per), list(per.values())) for rank in range(2, 31)])
    about = {"workload": "shift-invariant sweep/2000x6x8x37/ranks 2-30 x 30 starts x 100 iterations"}
    about |= {"peer": "none", "per_iteration": {rank: round(s, 4) for rank, s in per.items()}}
    return about, mean * 29 * 30 * 100, float("nan"), float("nan")


def correlation_rdm(np, sx, n=4000, p=2048, name="correlation_rdm"):
    """Beside rsatoolbox and SciPy, and beside the one product of matrices that it needs."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm
    from scipy.spatial.distance import pdist

    x = np.random.default_rng(7).normal(size=(n, p))
    ours, found = timed(lambda: sx.rdm(x).values, 3)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    product, _ = timed(lambda: x @ x.T, 3)
    by_scipy, slow = timed(lambda: pdist(x, "correlation"), 1)
    peers, peer = timed(lambda: calc_rdm(Dataset(x), "correlation").dissimilarities[0], 1)
    about = {"workload": f"{name}/{n}x{p}", "peer": "rsatoolbox calc_rdm"}
    about |= {"product_s": round(product, 4), "scipy_pdist_s": round(by_scipy, 3), "our_peak_mb": memory}
    return about, ours, peers, max(np.abs(found - slow).max(), np.abs(found - peer).max())


def correlation_rdm_wide(np, sx):
    """As `correlation_rdm`, with many channels."""
    return correlation_rdm(np, sx, 1000, 20_000)


def crossnobis(np, sx):
    """One measurement of 800 is missing; the peer's balanced form is timed on all of them."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm
    from rsatoolbox.rdm.calc_unbalanced import calc_rdm_unbalanced

    rng = np.random.default_rng(8)
    conditions, runs = np.tile(np.arange(100), 8), np.repeat(np.arange(8), 100)
    x = rng.normal(size=(800, 300))
    noise = sx.noise_precision(rng.normal(size=(500, 300)))
    precision = noise.to_array()

    def theirs(function, kept):
        labels = {"condition": conditions[kept], "run": runs[kept]}
        data = Dataset(x[kept], obs_descriptors=labels)
        found = function(data, "crossnobis", descriptor="condition", cv_descriptor="run", noise=precision)
        return found.dissimilarities[0]

    def ours(kept, pairing):
        return sx.crossnobis(x[kept], conditions[kept], runs[kept], noise=noise, pairing=pairing).values

    most, all_ = np.arange(799), np.arange(800)
    unbalanced, found = timed(lambda: ours(most, "all_measurements"), 5)
    shared, _ = timed(lambda: ours(most, "shared_runs"), 5)
    balanced, complete = timed(lambda: ours(all_, "shared_runs"), 5)
    their_balanced, peer = timed(lambda: theirs(calc_rdm, all_), 3)
    peers, slow = timed(lambda: theirs(calc_rdm_unbalanced, most), 1)
    about = {"workload": "crossnobis/8 runs/100x300/one missing", "peer": "rsatoolbox calc_rdm_unbalanced"}
    about |= {"shared_runs_s": round(shared, 4), "balanced_s": round(balanced, 4)}
    about |= {"peer_balanced_s": round(their_balanced, 4)}
    return about, unbalanced, peers, max(np.abs(found - slow).max(), np.abs(complete - peer).max())


def searchlight(np, sx):
    """50,000 spheres of 123 voxels, 92 conditions, 10 models; the peer on 200 of the spheres, scaled up."""
    from rsatoolbox.inference import eval_fixed
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.util.searchlight import evaluate_models_searchlight, get_searchlight_RDMs

    rng = np.random.default_rng(9)
    mask = np.ones((43, 43, 43), bool)
    x = rng.normal(size=(92, mask.sum())).astype(np.float32)
    models = [sx.rdm(rng.normal(size=(92, 20))) for _ in range(10)]
    ours, light = timed(lambda: sx.searchlight(x, models, mask=mask, radius=3, min_share=1), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    few = np.arange(0, len(light.centres), len(light.centres) // 200)[:200]
    places = np.argwhere(mask)
    spheres = [
        np.flatnonzero(((places - places[centre]) ** 2).sum(axis=1) <= 9) for centre in light.centres[few]
    ]
    fixed = [ModelFixed(str(i), model.square()) for i, model in enumerate(models)]

    def theirs():
        rdms = get_searchlight_RDMs(x, light.centres[few], spheres, np.arange(92), verbose=False)
        return evaluate_models_searchlight(rdms, fixed, eval_fixed, method="spearman")

    peers, slow = timed(theirs, 1)
    slow = np.array([score.evaluations.ravel() for score in slow])
    scale = len(light.centres) / len(few)
    about = {"workload": f"searchlight/{len(light.centres)} x 123/92/10 models/f32", "our_peak_mb": memory}
    about |= {"peer": f"rsatoolbox, {len(few)} spheres scaled up (without finding them)"}
    return about, ours, peers * scale, np.abs(light.values[few] - slow).max()


def shapes(np, sx):
    """Seconds per pair at full rank. netrep is not on PyPI: the peer is its definition, centred sides, the
    full decomposition of units x units, both sides turned, the angle between them; without whitening, which
    its alpha = 1 leaves out."""
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(40, 2048))

    def layer():
        return (rng.normal(size=(1000, 40)) @ mixing + rng.normal(size=(1000, 2048))).astype(np.float32)

    layers = [layer() for _ in range(6)]

    def netrep(x, y):
        x, y = (z.astype(np.float64) - z.mean(axis=0, dtype=np.float64) for z in (x, y))
        left, _, right = np.linalg.svd(x.T @ y)
        a, b = x @ left, y @ right.T
        return np.arccos(np.clip((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))

    few, _ = timed(lambda: sx.pairwise(layers[:2], "procrustes_angular"), 1)
    many, found = timed(lambda: sx.pairwise(layers, "procrustes_angular"), 1)
    # few = 2 factorisations + 1 pair, many = 6 factorisations + 15 pairs.
    per_pair = (many - 3 * few) / 12
    peers, peer = timed(lambda: netrep(layers[0], layers[1]), 1)
    about = {
        "workload": "procrustes/1000x2048/f32, per pair",
        "peer": "the definition of netrep LinearMetric(alpha=1)",
        "factorisation_s": round((few - per_pair) / 2, 3),
    }
    return about, per_pair, peers, abs(peer - found[0, 1])


def measures_at_once(np, sx):
    """All measures of Grams and factors beside the most expensive one alone, which stands for the peer."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=(1000, 4096)).astype(np.float32) for _ in range(2))
    ids = [row["measure"] for row in sx.measures() if row["computed_from"] in ("gram", "factors")]
    ids = [name for name in ids if name != "cca_cross_validated"]  # which factors every fold anew
    ours, table = timed(lambda: sx.compare(x, y, ids, n_permutations=0), 1)
    alone = {name: timed(lambda name=name: sx.compare(x, y, name, n_permutations=0), 1)[0] for name in ids}
    most = max(alone, key=alone.get)
    single = sx.compare(x, y, most, n_permutations=0)["value"][0]
    difference = abs(single - table.where(measure=most)["value"][0])
    about = {"workload": f"{len(ids)} measures/1000x4096/f32", "peer": f"{most} alone"}
    return about, ours, alone[most], difference


def cka_of_all_pairs(np, sx):
    """Seconds for all pairs of 4,000 representations from a block of 64: Grams scale with their number,
    products with its square. The peer is a loop over pairs of centred Grams, 20 of them scaled up."""
    rng = np.random.default_rng(7)
    layers = [rng.normal(size=(1000, 256)).astype(np.float32) for _ in range(64)]
    half, _ = timed(lambda: sx.pairwise(layers[:32], "cka_linear"), 1)
    whole, found = timed(lambda: sx.pairwise(layers, "cka_linear"), 1)
    # a m + b m^2
    square = (whole - 2 * half) / (64**2 - 2 * 32**2)
    linear = (whole - square * 64**2) / 64

    def by_pair():
        centred = [layer.astype(np.float64) - layer.mean(axis=0, dtype=np.float64) for layer in layers[:5]]
        grams = [c @ c.T for c in centred]
        return [(a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) for a in grams[:4] for b in grams]

    peers, peer = timed(by_pair, 1)
    about = {
        "workload": "cka/4000 x 1000x256/f32, from a block",
        "peer": "a loop over Grams in NumPy, scaled up",
    }
    return about, linear * 4000 + square * 4000**2, peers / 20 * 4000**2 / 2, abs(peer[1] - found[0, 1])


def rsa_world(np, n, n_subjects, n_models):
    rng, upper = np.random.default_rng(0), np.triu_indices(n, 1)

    def rdm(x):
        square = (x**2).sum(axis=1)
        return (square[:, None] + square - 2 * x @ x.T)[upper]

    shared = rng.normal(size=(n, 10))
    models = [rdm(np.c_[shared[:, : 1 + k % 10], rng.normal(size=(n, 3))]) for k in range(n_models)]
    return np.array(models), np.array(
        [rdm(np.c_[shared, rng.normal(size=(n, 10))]) for _ in range(n_subjects)]
    )


def rsa(np, sx, size=(92, 20, 20), method="corr", few=10, draws=1000):
    """The dual bootstrap; the peer timed on a few of the 1,000 draws. Estimates are compared on the data."""
    from rsatoolbox.inference import eval_dual_bootstrap, eval_fixed
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    models, data = rsa_world(np, *size)
    named = [ModelFixed(str(k), model) for k, model in enumerate(models)]
    ours, found = timed(lambda: sx.rsa(models, data, method, n_bootstraps=draws), 1)
    peers, _ = timed(lambda: eval_dual_bootstrap(named, RDMs(data), method=method, N=few), 1)
    fixed = eval_fixed(named, RDMs(data), method=method).get_means()
    n, n_subjects, n_models = size
    about = {"workload": f"rsa/{n} conditions/{n_subjects} subjects/{n_models} models/{method}/1000 draws"}
    about |= {"peer": f"rsatoolbox eval_dual_bootstrap, {few} draws scaled up"}
    return about, ours * 1000 / draws, peers * 1000 / few, np.abs(found.estimates - fixed).max()


def rsa_ranks(np, sx):
    """As `rsa`, with ranks of 124,750 pairs in every draw; ours on 100 of the draws."""
    return rsa(np, sx, size=(500, 8, 20), method="rho-a", few=2, draws=100)


def identify(np, sx):
    """100 cuts; the peer's transforms one RDM at a time, as its quantiles run over all of an object."""
    from rsatoolbox.rdm import RDMs
    from rsatoolbox.rdm.transform import geotopological_transform, rank_transform

    rng = np.random.default_rng(0)
    rdms = rng.uniform(size=(10, 4186)) + 0.5 * rng.normal(size=(15, 10, 4186))
    grid = [(low, up) for low in np.linspace(0, 0.45, 10) for up in np.linspace(0.55, 1, 10)]
    ours, found = timed(lambda: sx.identify_regions(rdms, grid=grid), 3)

    def cell(low, up):
        ranked = [rank_transform(RDMs(rdm[None])) for rdm in rdms.reshape(150, -1)]
        cut = [geotopological_transform(rdm, low, up).get_vectors()[0] for rdm in ranked]
        g, right = np.array(cut).reshape(15, 10, -1), 0
        for s in range(15):
            others = (g.sum(axis=0) - g[s]) / 14
            squares = (g[s] ** 2).sum(axis=1)[:, None] - 2 * g[s] @ others.T + (others**2).sum(axis=1)
            right += (squares.argmin(axis=1) == np.arange(10)).sum()
        return right / 150

    few = grid[:3]
    peers, accuracy = timed(lambda: [cell(*cut) for cut in few], 1)
    about = {"workload": "identify/15 subjects/10 regions/92 conditions/100 cuts"}
    about |= {"peer": "rsatoolbox transforms in a loop, 3 cuts scaled up"}
    return about, ours, peers / 3 * 100, np.abs(np.array(accuracy) - found.accuracies["accuracy"][:3]).max()


BENCHES = (
    depth_dmd,
    per_sample,
    permanova,
    ridge,
    leave_one_out,
    wide_ridge,
    projection,
    pls,
    banded,
    banded_gcv,
    permutations,
    dynamical,
    dsa,
    spins,
    intrinsic,
    diffusion,
    neighbourhoods,
    neighbourhoods_5000,
    homology,
    capacity,
    plain_cp,
    shift_invariant,
    correlation_rdm,
    correlation_rdm_wide,
    crossnobis,
    searchlight,
    shapes,
    measures_at_once,
    cka_of_all_pairs,
    rsa,
    rsa_ranks,
    identify,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[bench.__name__ for bench in BENCHES])
    parser.add_argument(
        "--processor",
        action="store_true",
        help="seconds of processor of all threads, where others compute too",
    )
    parser.add_argument("--pairs", type=int, default=settings["pairs"], help="pairs of systems of `dsa`")
    arguments = parser.parse_args()
    settings["pairs"] = arguments.pairs
    if arguments.processor:
        global clock
        clock = time.process_time
    threads = arguments.threads
    # Thread counts are read when the libraries are loaded.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import numpy as np
    import stereotax as sx

    for bench in BENCHES if not arguments.only else [b for b in BENCHES if b.__name__ in arguments.only]:
        about, ours, peers, difference = bench(np, sx)
        about |= {
            "threads": threads,
            "clock": clock.__name__,
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
