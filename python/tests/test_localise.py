"""The unit localiser, against SciPy and planted units."""

import numpy as np
import pytest
import stereotax as sx
from scipy.stats import false_discovery_control, hypergeom, ttest_ind
from sklearn.base import clone

RNG = np.random.default_rng(0)
POSITIVE = {"a": RNG.normal(size=(240, 300)), "b": RNG.normal(size=(240, 200))}
NEGATIVE = {"a": RNG.normal(size=(200, 300)), "b": RNG.normal(size=(200, 200))}
POSITIVE["a"][:, :10] += 1
POSITIVE["b"][:, 5:15] += 1
for kind in (POSITIVE, NEGATIVE):
    kind["b"][:, -7:] = 0  # dead


def test_fixture_of_the_specification():
    found = sx.UnitLocaliser(1, level=1.0, absolute=False).fit(
        np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[0.0], [1.0], [1.0], [0.0], [0.5]])
    )
    assert found.t_["layer 0"][0] == pytest.approx(2.92770, abs=5e-6)
    assert found.p_value_["layer 0"][0] == pytest.approx(0.046865, abs=5e-7)
    assert found.df_["layer 0"][0] == pytest.approx(3.72299, abs=5e-6)


@pytest.mark.parametrize("absolute", [False, True])
def test_tests_are_those_of_scipy(absolute):
    found = sx.UnitLocaliser(20, absolute=absolute).fit(POSITIVE, NEGATIVE)
    alive = {"a": 300, "b": 193}
    p = []
    for layer, n in alive.items():
        x, y = POSITIVE[layer][:, :n], NEGATIVE[layer][:, :n]
        theirs = ttest_ind(*((abs(x), abs(y)) if absolute else (x, y)), equal_var=False)
        np.testing.assert_allclose(found.t_[layer][:n], theirs.statistic)
        np.testing.assert_allclose(found.p_value_[layer][:n], theirs.pvalue, rtol=1e-9)
        np.testing.assert_allclose(found.df_[layer][:n], theirs.df)
        p.append(theirs.pvalue)
    q = np.concatenate([found.q_value_[layer][:n] for layer, n in alive.items()])
    np.testing.assert_allclose(q, false_discovery_control(np.concatenate(p)), rtol=1e-9)
    assert found.n_dead_ == 7 and np.isnan(found.t_["b"][-7:]).all() and not found.selected_["b"][-7:].any()


def test_planted_units_are_found():
    found = sx.UnitLocaliser(20, absolute=False).fit(POSITIVE, NEGATIVE)
    assert found.selected_["a"].nonzero()[0].tolist() == list(range(10))
    assert found.selected_["b"].nonzero()[0].tolist() == list(range(5, 15))
    np.testing.assert_array_equal(found.transform(POSITIVE)[:, 10:], POSITIVE["b"][:, 5:15])
    assert sx.UnitLocaliser(0.02, absolute=False).fit(POSITIVE, NEGATIVE).n_selected_ == 10
    masked = sx.UnitLocaliser(400, absolute=False).fit(POSITIVE, NEGATIVE)
    assert 20 <= masked.n_selected_ < 25
    free = sx.UnitLocaliser(400, level=1.0, absolute=False).fit(POSITIVE, NEGATIVE)
    assert 200 < free.n_selected_ < 320 and min(free.t_["a"][free.selected_["a"]]) > 0
    halves = found.split_half(POSITIVE, NEGATIVE, n_splits=5, seed=1)
    assert halves["dice"].min() > 0.8 and halves["p_overlap"].max() < 1e-15 and halves["t_first"].min() > 10
    others = found.split_half(POSITIVE, NEGATIVE, n_splits=5, seed=2)
    assert others["t_first"].tolist() != halves["t_first"].tolist()


def test_controls_are_other_units():
    found = sx.UnitLocaliser(20, absolute=False).fit(POSITIVE, NEGATIVE)
    for kind in ("random", "lowest", "percentiles"):
        control = found.control(kind)
        assert sum(flags.sum() for flags in control.values()) == 20
        assert not any((control[layer] & found.selected_[layer]).any() for layer in control)
        assert found.transform(POSITIVE, control).shape == (240, 20)
    lowest, middle = found.control("lowest"), found.control("percentiles", percentiles=(45, 55))
    assert max(found.t_["a"][lowest["a"]]) < -1 and abs(found.t_["a"][middle["a"]]).max() < 0.5
    assert not np.array_equal(found.control(seed=1)["a"], found.control(seed=2)["a"])
    assert sum(flags.sum() for flags in found.control(n_units=5).values()) == 5


def test_overlap_is_hypergeometric():
    first, second = RNG.random(100) < 0.3, RNG.random(100) < 0.4
    eligible = np.arange(100) < 90
    found = sx.selection_overlap(first, second, eligible=eligible)
    a, b, both = (first & eligible).sum(), (second & eligible).sum(), (first & second & eligible).sum()
    assert found.p_value == pytest.approx(hypergeom.sf(both - 1, 90, a, b))
    assert found.dice == pytest.approx(2 * both / (a + b)) and found.expected == pytest.approx(a * b / 90)
    assert found.jaccard == pytest.approx(both / (a + b - both))
    same = {"a": first[:50], "b": first[50:]}
    assert sx.selection_overlap(same, same).dice == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.fit(POSITIVE, {"a": NEGATIVE["a"]}), "the same layers"),
        (lambda s: s.fit([POSITIVE["a"]], [NEGATIVE["b"]]), "same units"),
        (lambda s: s.fit(POSITIVE["a"][:1], NEGATIVE["a"]), "2 stimuli"),
        (lambda s: s.set_params(level=5.0).fit(POSITIVE, NEGATIVE), "level"),
        (lambda s: s.set_params(n_units=0).fit(POSITIVE, NEGATIVE), "n_units"),
        (lambda s: s.fit(POSITIVE, NEGATIVE).transform(POSITIVE["a"]), "as in fit"),
        (lambda s: s.fit(POSITIVE, NEGATIVE).control("any"), "random"),
        (lambda s: s.transform(POSITIVE), "not fitted"),
        (lambda s: sx.selection_overlap([1, 0], [1]), "one flag per unit"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(clone(sx.UnitLocaliser(20)))


def test_ablated_units_are_replaced_and_the_others_stay():
    found = sx.UnitLocaliser(20, absolute=False).fit(POSITIVE, NEGATIVE)
    zero, mean = found.ablate(POSITIVE), found.ablate(POSITIVE, fill="mean")
    for layer, gone in found.selected_.items():
        np.testing.assert_array_equal(zero[layer][:, ~gone], POSITIVE[layer][:, ~gone])
        assert (zero[layer][:, gone] == 0).all()
        level = POSITIVE[layer][:, gone].mean(axis=0)
        np.testing.assert_allclose(mean[layer][:, gone], np.tile(level, (240, 1)))
    # What was given is left alone.
    assert POSITIVE["a"][:, :10].std() > 0.5
    others = found.ablate(POSITIVE, found.control("lowest"))
    assert (others["b"][:, 5:15] == POSITIVE["b"][:, 5:15]).all()


def test_performance_that_rests_on_the_selected_units_falls_further_than_without_others():
    found = sx.UnitLocaliser(20, absolute=False).fit(POSITIVE, NEGATIVE)
    seen = []

    def selective(layers):
        seen.append(layers)
        return layers["a"][:, :10].mean() + layers["b"][:, 5:15].mean()

    result = found.ablation(selective, POSITIVE, n_random=39)
    assert result.ablated == 0 and result.change == -result.intact and result.n_units == 20
    assert result.p_value == 1 / 40 and len(seen) == 41
    # Random ablations take as many units, none of them selected or dead, and not always the same.
    counts = [sum(int((layers[k] == 0).all(axis=0).sum()) for k in "ab") for layers in seen[2:]]
    assert counts == [20 + 7] * 39
    np.testing.assert_array_equal(result.random_change, 0)
    assert len({tuple((layers["a"] == 0).all(axis=0)) for layers in seen[2:]}) == 39
    # One that rests on all units alike loses as much without any of them.

    def alike_to_all(layers):
        return -sum(int((values == 0).sum()) for values in layers.values())

    alike = found.ablation(alike_to_all, POSITIVE, n_random=19)
    assert alike.p_value == 1
    again = found.ablation(lambda layers: float(layers["a"][:, 50:].sum()), POSITIVE, n_random=5, seed=3)
    once = found.ablation(lambda layers: float(layers["a"][:, 50:].sum()), POSITIVE, n_random=5, seed=3)
    np.testing.assert_array_equal(again.random_change, once.random_change)


def test_ablations_that_make_no_sense_are_refused():
    found = sx.UnitLocaliser(20, absolute=False).fit(POSITIVE, NEGATIVE)
    with pytest.raises(ValueError, match="'zero' or 'mean'"):
        found.ablate(POSITIVE, fill="noise")
    with pytest.raises(ValueError, match="finite number expected"):
        found.ablation(lambda layers: np.nan, POSITIVE)
    with pytest.raises(ValueError, match="as in fit"):
        found.ablation(lambda layers: 1.0, {"a": POSITIVE["a"]})
