"""A study's folder from recordings and responses is one that `check` accepts and `run` runs."""

import csv

import numpy as np
import pytest
import stereotax as sx
from test_tap import transformer

RNG = np.random.default_rng(7)
NAMES = {"model_modality": "vision", "brain_modality": "visual"}


@pytest.fixture
def recorded(tmp_path):
    stimuli = {f"größe {i}": RNG.normal(size=(3, 6)) for i in range(40)}
    return sx.tap(transformer(5)).record(stimuli, tmp_path / "networks" / "m.safetensors")


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "networks").mkdir()


@pytest.mark.parametrize("repeats", [0, 2])
def test_it_is_checked_and_run_with_rows_matched_by_id(tmp_path, recorded, repeats):
    order = RNG.permutation(40)
    ids = [recorded.ids[i] for i in order]
    shape = (repeats, 40, 3) if repeats else (40, 3)
    values = RNG.normal(size=shape)
    rois = ["V1", "V4", "IT"]
    study = sx.write_study(tmp_path / "study", {"m": recorded}, values, ids, rois=rois, **NAMES)
    assert "error" not in study.check()["severity"].tolist()
    with open(tmp_path / "study" / "stimuli.csv", encoding="utf-8") as file:
        assert [row["stimulus_id"] for row in csv.DictReader(file)] == ids
    np.testing.assert_array_equal(np.load(tmp_path / "study" / "responses.npy"), values)
    plan = study.plan(tmp_path / "out")
    assert len(plan.nodes["key"]) > 0


def test_what_does_not_fit_is_told(tmp_path, recorded):
    values, ids = RNG.normal(size=(40, 3)), recorded.ids
    rois = ["a", "b", "c"]
    for change, message in (
        ({"responses": values[:39]}, r"\(39, 3\), but 40 rows"),
        ({"rois": ["a"]}, "1 columns"),
        ({"ids": [ids[0], *ids[:39]]}, "twice"),
        ({"runs": ["r"]}, "`runs` has 1"),
        ({"events": "words.csv"}, "need `tr_s`"),
        ({"recordings": {}}, "at least one recorded network"),
    ):
        call = {"recordings": {"m": recorded}, "responses": values, "ids": ids, "rois": rois} | change
        with pytest.raises(ValueError, match=message):
            sx.write_study(tmp_path / "wrong", **call, **NAMES)
    assert not (tmp_path / "wrong").exists()
    sx.write_study(tmp_path / "s", {"m": recorded}, values, ids, rois=rois, **NAMES)
    with pytest.raises(ValueError, match="is there already"):
        sx.write_study(tmp_path / "s", {"m": recorded}, values, ids, rois=rois, **NAMES)
