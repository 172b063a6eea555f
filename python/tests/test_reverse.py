"""Reverse regression, against ridge by hand and a planted asymmetry."""

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(3)
MODEL = RNG.normal(size=(240, 8))
BRAIN = 3 + MODEL[:, :4] @ RNG.normal(size=(4, 20)) + 0.3 * RNG.normal(size=(240, 20))


def test_what_is_foreign_to_the_brain_is_not_predicted_from_it():
    found = sx.reverse_regression(MODEL, BRAIN)
    r = found.units["r"]
    assert (r[:4] > 0.9).all() and (abs(r[4:]) < 0.3).all() and found.n_undefined == 0
    assert found.median == pytest.approx(np.median(r))
    # The encoding is blind to it.
    forward = sx.reverse_regression(BRAIN, MODEL)
    assert (forward.units["r"] > 0.9).all()
    # Half of a model without what is foreign is all of it.
    assert sx.reverse_regression(MODEL[:, :4], BRAIN).median > 0.9


def test_it_is_ridge_on_the_responses_fold_by_fold():
    # Groups that no contiguous folds are.
    groups = np.array(list("abcdef"))[np.arange(240) * 7 % 6]
    groups[:30] = "a"
    found = sx.reverse_regression(MODEL, BRAIN, groups=groups, alphas=[0.1, 1, 10])
    deviations = np.zeros((2, 240, 8))
    for held_out in "abcdef":
        test = groups == held_out
        ridge = sx.RidgeCV([0.1, 1, 10]).fit(BRAIN[~test], MODEL[~test], groups[~test])
        for k, values in enumerate((MODEL[test], ridge.predict(BRAIN[test]))):
            deviations[k, test] = values - values.mean(axis=0)
    slow = [np.corrcoef(deviations[0, :, j], deviations[1, :, j])[0, 1] for j in range(8)]
    np.testing.assert_allclose(found.units["r"], slow, atol=1e-9)


def test_units_that_do_not_vary_and_wrong_input():
    constant = MODEL.copy()
    constant[:, 2] = 0.1
    found = sx.reverse_regression(constant, BRAIN)
    assert found.n_undefined == 1 and np.isnan(found.units["r"][2]) and np.isfinite(found.median)
    with pytest.raises(ValueError, match="239 samples, but 240"):
        sx.reverse_regression(MODEL, BRAIN[1:])
    with pytest.raises(ValueError, match="not finite|NaN"):
        sx.reverse_regression(np.where(MODEL == MODEL[3, 3], np.nan, MODEL), BRAIN)
    with pytest.raises(ValueError, match="at most once"):
        sx.reverse_regression(MODEL, BRAIN, cv=[(range(120), range(120, 240)), (range(100), range(120, 140))])
