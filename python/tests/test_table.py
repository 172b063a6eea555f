"""Tables hold what was put in and hand it on."""

import numpy as np
import pytest
import stereotax as sx

TABLE = sx.Table(
    {
        "model": ["a", "a", "b"],
        "roi": ["V1", "A1", "V1"],
        "r": [0.5, None, 0.25],
        "n": [3, 4, 5],
        "on": [True, False, True],
    }
)


def test_columns_rows_and_selections():
    assert TABLE.columns == ["model", "roi", "r", "n", "on"] and len(TABLE) == 3 and TABLE.shape == (3, 5)
    assert TABLE["n"].dtype.kind == "i" and TABLE["on"].dtype == bool and np.isnan(TABLE["r"][1])
    assert TABLE[2] == {"model": "b", "roi": "V1", "r": 0.25, "n": 5, "on": True}
    assert TABLE.where(model="a", roi="V1")["r"].tolist() == [0.5]
    assert TABLE.where(r=None)["roi"].tolist() == ["A1"]
    assert TABLE[1:]["n"].tolist() == [4, 5] and TABLE[TABLE["on"]]["n"].tolist() == [3, 5]
    assert TABLE[[2, 0]]["model"].tolist() == ["b", "a"]
    assert [row["n"] for row in TABLE] == [3, 4, 5]
    assert sx.Table(TABLE.to_dict()) == TABLE and TABLE != TABLE[:2]
    with pytest.raises(KeyError, match="no column `score`; there are model, roi"):
        TABLE["score"]
    with pytest.raises(ValueError, match="differ in length"):
        sx.Table({"a": [1], "b": [1, 2]})


def test_long_tables_are_shortened_and_empty_ones_shown():
    text = repr(sx.Table({"i": np.arange(100), "x": np.linspace(0, 1, 100)}))
    assert "…" in text and text.endswith("[100 rows x 2 columns]") and len(text.splitlines()) == 23
    assert repr(sx.Table({"i": []})) == "i\n[0 rows x 1 columns]"
    assert len(sx.Table({})) == 0
    assert "–" in repr(TABLE)


def test_a_notebook_shows_all_text_and_no_markup_of_its_own():
    page = sx.Table({"text": ["<b>", "x" * 200, None], "x": [1.0, None, 2.0]})._repr_html_()
    assert "&lt;b&gt;" in page and "x" * 200 in page and "3 rows × 2 columns" in page
    assert page.count("<tr>") == 4 and "–" in page
    long = sx.Table({"i": np.arange(100)})._repr_html_()
    assert "…" in long and long.count("<tr>") == 62
    assert "0 rows" in sx.Table({})._repr_html_()
    # The text form shortens what would not fit on a line.
    text = repr(sx.Table({"status": ["a long reason " * 20]}))
    assert max(map(len, text.splitlines())) <= 72 and "…" in text


def test_columns_are_dropped_by_name():
    assert TABLE.drop("r", "n").columns == ["model", "roi", "on"] and len(TABLE.drop("r")) == 3
    with pytest.raises(KeyError, match="no column `score`"):
        TABLE.drop("score")


def test_to_pandas_and_arrow_and_back():
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    frame = TABLE.to_pandas()
    assert list(frame.columns) == TABLE.columns and frame["n"].tolist() == [3, 4, 5]
    arrow = TABLE.to_arrow()
    assert arrow["r"].null_count == 1 and arrow["r"].type == pyarrow.float64()
    assert pyarrow.table(TABLE).equals(arrow), "the capsule"
    assert isinstance(frame, pandas.DataFrame)


def test_to_xarray():
    pytest.importorskip("xarray")
    array = TABLE.to_xarray("r", rows="model", columns="roi")
    assert array.dims == ("model", "roi") and float(array.sel(model="b", roi="V1")) == 0.25
    assert np.isnan(float(array.sel(model="b", roi="A1")))
    with pytest.raises(ValueError, match="two rows"):
        sx.Table({"a": ["x", "x"], "b": ["y", "y"], "v": [1.0, 2.0]}).to_xarray("v", "a", "b")
