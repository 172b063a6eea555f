"""A network beside a brain in one call: what is planted comes back, what cannot be done is said."""

import inspect

import numpy as np
import pytest
import stereotax as sx
from test_arguments import recording

STIMULI, DIRECTIONS = ["grating", "dots", "triples"], list(range(0, 360, 45))


def population(n, seed):
    """Units on a line from early responses to gratings to late ones to dots, in any direction."""
    rng = np.random.default_rng(seed)
    place, times = np.linspace(0.1, 0.9, n), np.arange(10)
    early, late = (np.exp(-(((times - at) / 1.7) ** 2)) for at in (2, 6))
    course = (1 - place[:, None]) * early + place[:, None] * late
    turned = np.deg2rad(np.subtract(DIRECTIONS, rng.choice(DIRECTIONS, size=n)[:, None]))
    drive = np.stack([1 - place, place, np.full(n, 0.4)], axis=1)
    values = drive[:, :, None, None] * (1.2 + np.cos(turned))[:, None, :, None] * course[:, None, None]
    values += 0.01 * rng.uniform(size=values.shape)
    return sx.ResponseTensor(values, stimuli=STIMULI, directions=DIRECTIONS, bin_s=1 / 30), place


QUICK = dict(smoothing_bins=0, rank=3, n_starts=2, max_iterations=60, n_folds=2, n_repeats=1,
             n_draws=3, n_permutations=9)  # fmt: skip


def test_the_view_agrees_with_its_parts():
    (core, _), (area, place) = population(30, 1), population(40, 2)
    found = sx.physiology({"core": core}, {"V1": area}, **QUICK)
    assert found.populations["role"].tolist() == ["module", "area"]
    x = found.units.where(population="V1")["x"]
    assert abs(np.corrcoef(x, place)[0, 1]) > 0.9
    tuned = sx.tuning(area)
    np.testing.assert_array_equal(found.units.where(population="V1")["stimulus"], tuned["stimulus"])
    tubes = sx.tubularity(
        {"core": np.asarray(core.values), "V1": np.asarray(area.values)}, n_draws=3, seed=0
    ).scores
    ours = found.tubularity.where(score="tightness")
    np.testing.assert_allclose(ours["mean"], tubes["tightness"], rtol=1e-12)
    ratio = sx.participation_ratio(area.values.mean(axis=3).transpose(1, 2, 0).reshape(24, -1)).both
    row = found.dimensions.where(population="V1", estimate="participation_both")
    assert row["value"][0] == pytest.approx(ratio, rel=1e-9)
    x, y = (each.values.mean(axis=3).transpose(1, 2, 0).reshape(24, -1) for each in (core, area))
    row = found.alignment.where(measure="cka_debiased")
    assert row["value"][0] == pytest.approx(sx.cka(x, y, debiased=True), rel=1e-9)
    assert found.alignment["measure"].tolist().count("linear_predictivity") == 2
    assert len(found.paths) == 2 * 3 * 8 * 10 and len(found.notes.columns) == 2
    again = sx.physiology({"core": core}, {"V1": area}, **QUICK)
    assert again.units == found.units


def test_what_a_population_does_not_allow_is_said():
    core, _ = population(20, 3)
    values = core.values.copy()
    values[0] = 0
    values[2] = values[1]
    silent = sx.ResponseTensor(values, stimuli=STIMULI, directions=DIRECTIONS, bin_s=0.1)
    still = sx.ResponseTensor(values[1:, :, :1], stimuli=STIMULI, directions=[0], bin_s=0.1)
    found = sx.physiology({"silent": silent, "still": still}, **{**QUICK, "ranks": [2, 3, 500], "rank": None})
    said = "\n".join(found.notes["note"])
    for words in ("take no part: `unit 0`", "`unit 2`", "one direction only", "ranks above", "left out"):
        assert words in said, said
    with pytest.raises(ValueError, match="twice"):
        sx.physiology({"a": core}, {"a": core})
    with pytest.raises(ValueError, match="1 module or area"):
        sx.physiology()
    with pytest.raises(ValueError, match="a ResponseTensor expected"):
        sx.physiology({"a": core.values})
    with pytest.raises(ValueError, match="`nothing`"):
        sx.physiology({"a": core}, measures=["nothing"])


def test_repeats_are_held_out_where_there_are_some_and_directions_where_not():
    rng = np.random.default_rng(5)
    area, _ = population(30, 5)
    repeats = [area._with(area.values + 0.1 * rng.uniform(size=area.shape)) for _ in range(3)]
    mean = area._with(np.mean([each.values for each in repeats], axis=0))
    found = sx.physiology({"means": mean}, {"repeats": repeats}, **QUICK)
    rows = found.populations
    assert rows["held_out"].tolist() == ["directions", "repeats"]
    assert rows["accuracy"][0] > 0.9 and rows["accuracy"][1] == 1.0
    # Everything else is that of the mean.
    for table in (found.units, found.paths, found.dimensions):
        a, b = table.where(population="means"), table.where(population="repeats")
        for name in table.columns[1:]:
            if np.issubdtype(np.asarray(a[name]).dtype, np.number):
                np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=1e-9)
    alone = sx.physiology(areas={"one": repeats[:1]}, **QUICK).populations
    assert alone["held_out"].tolist() == ["directions"]
    # One stimulus by two names: below chance where the directions of each are dealt by themselves.
    twice = sx.ResponseTensor(
        area.values[:, [0, 0]] + 0.01 * rng.uniform(size=(30, 2, 8, 10)),
        stimuli=["a", "b"], directions=DIRECTIONS, bin_s=0.1,
    )  # fmt: skip
    for held_out, low, high in (("stratified", 0, 0.25), ("directions", 0.25, 0.75)):
        found = sx.physiology({"twice": twice}, held_out=held_out, **{**QUICK, "n_folds": 8})
        assert low <= found.populations["accuracy"][0] <= high, held_out
        assert any("below" in note for note in found.notes["note"]) == (held_out == "stratified")
    with pytest.raises(ValueError, match="held_out"):
        sx.physiology({"a": mean}, held_out="runs", **QUICK)
    other = sx.ResponseTensor(area.values[:, ::-1], stimuli=STIMULI[::-1], directions=DIRECTIONS, bin_s=0.1)
    with pytest.raises(ValueError, match="repeat 1 of `a`"):
        sx.physiology({"a": [area, other]}, **QUICK)


CHANGES = {
    "smoothing_bins": 2.0, "normalise": "maximum", "ranks": [2, 3, 4], "rank": 2, "n_starts": 1,
    "max_iterations": 50, "n_coordinates": 4, "n_components": 2, "n_dynamical": 2, "classifier": "neighbours",
    "n_folds": 3, "n_repeats": 2, "n_draws": 2, "tube_smoothing": 0.01, "matched": False,
    "held_out": "stratified", "measures": ["cka_linear"], "n_permutations": 5, "seed": 1,
}  # fmt: skip


recorded = recording("_physiology")


def test_every_argument_arrives(recorded):
    core, _ = population(16, 4)
    parameters = set(inspect.signature(sx.physiology).parameters) - {"modules", "areas"}
    assert parameters == set(CHANGES), "a new argument needs a value here"

    def arrives(**more):
        calls = recorded(lambda: sx.physiology({"a": core}, **{**QUICK, **more}))
        return [(name, args[1:], rest) for name, args, rest in calls]

    before = arrives()
    for key, value in CHANGES.items():
        assert arrives(**{key: value}) != before, f"`{key}` gets lost"
