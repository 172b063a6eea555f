"""Areas and layers, receptive fields, codes of objects, orders, on hierarchies that were built or not."""

import numpy as np
import pytest
import stereotax as sx
from scipy.stats import kendalltau
from sklearn.svm import LinearSVC

AREAS = ["V1", "LM", "RL", "AL"]
HIERARCHY = {"V1": 0.0, "LM": 1.0, "RL": 2.0, "AL": 3.0}


def scores(peaks, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat(AREAS, 30)
    peak = np.repeat(peaks, 30)
    return -0.01 * (np.arange(8)[:, None] - peak) ** 2 + 0.05 * rng.normal(size=(3, 8, 120)), names


def test_a_hierarchy_beats_other_assignments():
    values, names = scores([1, 3, 5, 7])
    found = sx.area_layers(values, names, HIERARCHY, n_permutations=999)
    assert found.layers == [{"V1": 1, "LM": 3, "RL": 5, "AL": 7}] * 3 and found.n_assignments == 24
    assert found.areas["area"].tolist() == AREAS and found.areas["layer"].tolist() == [1, 3, 5, 7]
    assert found.comparisons["comparison"].tolist() == ["final", "single", "permuted"]
    np.testing.assert_allclose(found.comparisons["p_value"], [0.001, 0.001, 1 / 24])
    own = np.mean([values[:, layer, names == area].mean() for area, layer in found.layers[0].items()])
    assert found.own == pytest.approx(own) and not found.biased
    final = values[:, 7].mean()
    assert found.comparisons["difference"][0] == pytest.approx(own - final)
    flat = sx.area_layers(*scores([3, 3, 3, 3]), HIERARCHY, n_permutations=99)
    assert flat.comparisons["difference"][1] < 0 and flat.single_layers == [3, 3, 3]
    backwards = {area: -h for area, h in HIERARCHY.items()}
    assert sx.area_layers(values, names, backwards, n_permutations=0).comparisons["p_value"][2] > 0.9
    assert sx.area_layers(values[0], names, HIERARCHY).biased


def blob(x, y, s1, s2, turn=0.0):
    rows, columns = np.mgrid[:24, :32]
    dx, dy = columns - x, rows - y
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, -np.sin(turn) * dx + np.cos(turn) * dy
    return np.exp(-0.5 * (u**2 / s1**2 + v**2 / s2**2))


def test_receptive_fields_have_their_size():
    rng = np.random.default_rng(0)
    planted = [(12.3, 9.1, 3.0, 1.5, 0.5), (22.0, 12.0, 4.0, 2.5, -1.0)]
    fields = np.stack([blob(*p) for p in planted]) + 0.02 * rng.normal(size=(2, 24, 32))
    found = sx.receptive_fields(fields)
    for k, (x, y, a, b, turn) in enumerate(planted):
        assert found["x"][k] == pytest.approx(x, abs=0.1) and found["y"][k] == pytest.approx(y, abs=0.1)
        assert found["size"][k] == pytest.approx(np.pi * a * b, rel=0.05)
        assert found["angle_deg"][k] == pytest.approx(np.degrees(turn), abs=3)
    assert found["status"].tolist() == [None, None]
    images = rng.normal(size=(5000, 24, 32))
    responses = np.maximum(np.einsum("nhw,khw->nk", images, np.stack([blob(*p) for p in planted])), 0)
    again = sx.receptive_fields(images=images, responses=responses)
    np.testing.assert_allclose(again["size"], found["size"], rtol=0.15)
    left_out = sx.receptive_fields(np.stack([blob(16, 12, 12, 12), np.zeros((24, 32))]))
    assert "above 8" in left_out["status"][0] and "flat" in left_out["status"][1]
    assert sx.receptive_fields(blob(16, 12, 12, 12)[None], widest=20.0)["status"][0] is None


def test_invariance_grows_with_what_does_not_turn():
    rng = np.random.default_rng(0)
    fixed, turning = rng.normal(size=(12, 1, 40)), rng.normal(size=(12, 15, 40))
    found = [sx.rotation_invariance(share * fixed + turning, n_pairs=20).accuracy for share in (0, 0.4, 2)]
    assert found[0] == pytest.approx(0.5, abs=0.08) and found[0] < found[1] < found[2] and found[2] > 0.97
    # The definition, with scikit-learn's machine.
    x = 0.4 * fixed + turning
    ours = sx.rotation_invariance(x, n_pairs=66, n_components=40)
    right = []
    for a, b in ours.pairs:
        for r in range(15):
            kept = [k for k in range(15) if min((k - r) % 15, (r - k) % 15) > 1]
            train = x[:, kept].reshape(-1, 40)
            z = (x - train.mean(axis=0)) / train.std(axis=0, ddof=1)
            machine = LinearSVC(C=1.0, loss="hinge", max_iter=100_000, tol=1e-6)
            machine.fit(np.concatenate([z[a, kept], z[b, kept]]), np.repeat([1, 0], len(kept)))
            right += [machine.predict(z[a, [r]])[0] == 1, machine.predict(z[b, [r]])[0] == 0]
    assert ours.accuracy == pytest.approx(np.mean(right), abs=0.003)


def test_object_information_grows_and_clips_do_not_leak():
    rng = np.random.default_rng(0)
    objects, clips = np.repeat(list("abcd"), 80), np.repeat(np.arange(40), 8)
    of_object, of_clip = rng.normal(size=(4, 30)), rng.normal(size=(40, 30))

    def measure(gain, **told):
        x = gain * of_object[np.repeat(np.arange(4), 80)] + of_clip[clips] + 0.5 * rng.normal(size=(320, 30))
        return sx.object_information(x, objects, clips, n_folds=5, **told)

    none, some, much = (measure(gain) for gain in (0.0, 0.7, 3.0))
    assert abs(none.bits) < 0.12 and none.p_value > 0.02 and none.bits < some.bits < much.bits
    assert much.accuracy > 0.95 and much.raw_bits > 1.7 and much.p_value <= 0.01
    p = much.confusion / much.confusion.sum()
    outer = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    assert much.raw_bits == pytest.approx(np.sum(p[p > 0] * np.log2(p[p > 0] / outer[p > 0])))
    assert measure(1.0, n_shuffles=0).bias == 0


def test_orders_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for n in (4, 7, 10):
        x, y = rng.integers(0, 5, size=n), rng.integers(0, 5, size=n)
        found = sx.order_agreement(x, y)
        assert found.tau_b == pytest.approx(kendalltau(x, y).statistic)
        assert found.slope == pytest.approx(np.polyfit(y, x, 1)[0]) and found.exact == (n < 9)
    x, y = rng.normal(size=(2, 6))  # without ties SciPy's p is exact as well
    assert sx.order_agreement(x, y).p_tau == pytest.approx(kendalltau(x, y, method="exact").pvalue)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.assign_layers({"V1": 1, "LM": 1}, 5, 0), "different finite scores"),
        (lambda: sx.area_layers(np.ones((3, 2)), ["a", "b"], {"a": 0}), "no score of b"),
        (lambda: sx.area_layers(np.ones((3, 2)), ["a"], {"a": 0}), "an area per neuron"),
        (lambda: sx.receptive_fields(), "expected"),
        (lambda: sx.receptive_fields(np.ones((3, 3))), "three axes"),
        (lambda: sx.receptive_fields(images=np.ones((4, 5, 5)), responses=-np.ones((4, 1))), "negative"),
        (lambda: sx.rotation_invariance(np.ones((3, 4, 2))), "5 rotations"),
        (lambda: sx.object_information(np.ones((4, 2)), list("aabb"), list("xxxy")), "one object per clip"),
        (lambda: sx.object_information(np.ones((4, 2)), list("aabb"), list("xyzw"), n_folds=3), "3 clips"),
        (lambda: sx.order_agreement([1, 2], [1, 2]), "3 areas"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
