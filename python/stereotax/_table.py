"""Hold results in columns, with NumPy alone."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._arrays import Array


class Table:
    """A small table: named columns of equal length.

    Numbers, counts and flags are NumPy arrays, text is an array of objects (str or None). An undefined
    number is NaN; its reason stands in the column `status` where there is one.

    Parameters
    ----------
    columns : mapping of str to sequence
        The columns, in order.

    Errors: `ValueError` if columns differ in length.

    Examples
    --------
    >>> import stereotax as sx
    >>> table = sx.Table({"roi": ["V1", "A1"], "score": [0.5, 0.25]})
    >>> table.columns
    ['roi', 'score']
    >>> table["score"]
    array([0.5 , 0.25])
    >>> table.where(roi="A1")["score"]
    array([0.25])
    >>> table
    roi  score
    V1     0.5
    A1    0.25
    [2 rows x 2 columns]
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | Array]) -> None:
        self._columns = {str(name): _column(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"columns differ in length: {lengths}\nhint: give every column one value per row"
            )

    @classmethod
    def from_dicts(cls, rows: Iterable[Mapping[str, Any]]) -> Table:
        """A table of rows, the inverse of `to_dicts`; the first row says which columns there are.

        Errors: `ValueError` if a row has others.
        """
        rows = list(rows)
        names = list(rows[0]) if rows else []
        for i, row in enumerate(rows):
            if set(row) != set(names):
                raise ValueError(f"row {i} has the columns {list(row)}, but {names} (as in row 0) expected")
        return cls({name: [row[name] for row in rows] for name in names})

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self), len(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_dicts())

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, key: str | int | slice | Sequence[Any] | Array) -> Any:
        """A column by name, a row (dict) by number, or some rows (Table) by slice, mask or numbers."""
        if isinstance(key, str):
            if key not in self._columns:
                raise KeyError(f"no column `{key}`; there are {', '.join(self._columns)}")
            return self._columns[key]
        if isinstance(key, int | np.integer):
            return {name: values[key] for name, values in self._columns.items()}
        rows = key if isinstance(key, slice) else np.asarray(key)
        return Table({name: values[rows] for name, values in self._columns.items()})

    def where(self, **equal: Any) -> Table:
        """The rows in which each named column has the given value (None: undefined)."""
        keep = np.ones(len(self), dtype=bool)
        for name, value in equal.items():
            column = self[name]
            if value is None:
                keep &= np.array([_undefined(x) for x in column], dtype=bool)
            else:
                keep &= np.array([x == value for x in column], dtype=bool)
        return Table({name: values[keep] for name, values in self._columns.items()})

    def drop(self, *names: str) -> Table:
        """The table without some columns."""
        for name in names:
            self[name]
        return Table({name: values for name, values in self._columns.items() if name not in names})

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns as lists."""
        return {name: values.tolist() for name, values in self._columns.items()}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        return [{name: values[i] for name, values in self._columns.items()} for i in range(len(self))]

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; needs pandas."""
        import pandas

        return pandas.DataFrame(dict(self._columns))

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`, NaN as null; needs pyarrow."""
        import pyarrow

        arrays = {}
        for name, values in self._columns.items():
            mask = np.isnan(values) if values.dtype.kind == "f" else None
            arrays[name] = pyarrow.array(values, mask=mask)
        return pyarrow.table(arrays)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule of the table, for polars, duckdb and others; needs pyarrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_xarray(self, value: str, rows: str, columns: str) -> Any:
        """One column as a labelled array over two others; needs xarray.

        Cells without a row are NaN. Errors: `ValueError` if two rows fall into one cell.
        """
        import xarray

        names = {dim: list(dict.fromkeys(self[dim].tolist())) for dim in (rows, columns)}
        grid = np.full((len(names[rows]), len(names[columns])), np.nan)
        seen = np.zeros(grid.shape, dtype=bool)
        for row, column, x in zip(self[rows], self[columns], self[value], strict=True):
            at = names[rows].index(row), names[columns].index(column)
            if seen[at]:
                raise ValueError(
                    f"two rows have {rows} {row!r} and {columns} {column!r}\n"
                    "hint: select one kind of rows with `where`"
                )
            seen[at], grid[at] = True, x
        return xarray.DataArray(grid, coords=names, dims=(rows, columns), name=value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table) or self.columns != other.columns or len(self) != len(other):
            return False
        return all(
            _equal(a, b)
            for name in self.columns
            for a, b in zip(self._columns[name].tolist(), other._columns[name].tolist(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text(20)

    def _repr_html_(self) -> str:
        """The table as a notebook shows it: at most 60 rows."""
        n, most = len(self), 60
        names = "".join(f"<th>{html.escape(name)}</th>" for name in self._columns)
        rows = []
        for i in _shown(n, most):
            cells = "".join(
                f'<td style="text-align: {"left" if values.dtype == object else "right"}">'
                f"{html.escape(_cell(values[i]))}</td>"
                for values in self._columns.values()
            )
            rows.append(f"<tr>{cells}</tr>")
        if n > most:
            rows.insert(most // 2, f'<tr><td colspan="{max(len(self._columns), 1)}">…</td></tr>')
        return (
            f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>{n} rows × {len(self._columns)} columns</p>"
        )

    def _text(self, most: int) -> str:
        n = len(self)
        shown = _shown(n, most)
        texts = []
        for name, values in self._columns.items():
            cells = [_short(_cell(values[i])) for i in shown]
            width = max([len(name), *map(len, cells)])
            align = str.ljust if values.dtype == object else str.rjust
            texts.append([align(name, width), *(align(cell, width) for cell in cells)])
        lines = ["  ".join(cells).rstrip() for cells in zip(*texts, strict=True)]
        if n > most:
            lines.insert(1 + most // 2, "…")
        return "\n".join([*lines, f"[{n} rows x {len(texts)} columns]"])


def _column(values: Sequence[Any] | Array) -> Array:
    array = np.asarray(values) if not isinstance(values, list | tuple) else None
    if array is None:
        kinds = {type(x) for x in values}
        if kinds <= {float, int, type(None)} and float in kinds or kinds == {int, type(None)}:
            array = np.array([np.nan if x is None else x for x in values], dtype=np.float64)
        elif kinds <= {str, type(None)}:
            array = np.array(values, dtype=object)
        else:
            array = np.asarray(values)
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.ndim != 1:
        raise ValueError(
            f"a column has the shape {array.shape}, but one axis expected\nhint: one value per row"
        )
    return array


def _short(text: str, most: int = 72) -> str:
    """A cell of the text form; `_repr_html_`, `to_pandas` and `[...]` have all of it."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _shown(n: int, most: int) -> list[int]:
    """The rows that a short form shows: the first and the last ones."""
    return list(range(n)) if n <= most else [*range(most // 2), *range(n - most // 2, n)]


def _undefined(x: Any) -> bool:
    return x is None or (isinstance(x, float) and np.isnan(x))


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) or (_undefined(a) and _undefined(b))


def _cell(x: Any) -> str:
    if x is None:
        return "–"
    if isinstance(x, float | np.floating):
        return "–" if np.isnan(x) else f"{x:.4g}"
    return str(x)
