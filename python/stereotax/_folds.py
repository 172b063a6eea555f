"""Divide samples into those that fit and those that are held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import COUNT, Array, as_names, whole

Fold = tuple[list[int], list[int]]


def as_folds(cv: Any, groups: Any, n: int, *, least: int = 1) -> list[Fold]:
    """The (train, test) rows of every fold of `n` samples; at least `least` of them held out in each.

    `cv` is a number of contiguous folds, an object with `split` such as scikit-learn's, or an iterable of
    (train, test), each row numbers or a mask. With `groups` and a number, one group at a time is held out.
    """
    if callable(getattr(cv, "split", None)) and not isinstance(cv, str | bytes):
        cv = list(cv.split(np.zeros((n, 1)), None, groups))
    elif groups is not None:
        return _leave_one_group_out(groups, n)
    if isinstance(cv, int | np.integer):
        parts = np.array_split(np.arange(n), _count(cv, n, least))
        return [(np.setdiff1d(np.arange(n), part).tolist(), part.tolist()) for part in parts]
    if cv is None or isinstance(cv, str | bytes | float) or not hasattr(cv, "__iter__"):
        raise ValueError(
            f"`cv` is {cv!r}, but a number of folds or pairs (train, test) expected\n"
            "hint: 5, or list(KFold(5, shuffle=True, random_state=0).split(X)) of scikit-learn"
        )
    folds = [_fold(each, f"fold {i} of `cv`", n, least) for i, each in enumerate(cv)]
    if not folds:
        raise ValueError(
            "`cv` has no folds, but at least 1 expected\n"
            "hint: a generator is used up by the first fit; pass list(...) of it"
        )
    return folds


def folds_once(cv: Any, groups: Any, n: int) -> list[Fold]:
    """`as_folds` that hold out no sample twice."""
    folds = as_folds(cv, groups, n)
    twice = held_out_twice(folds, n)
    if twice is not None:
        raise ValueError(
            f"`cv` holds out row {twice} in several splits, but each at most once expected\n"
            "hint: `predict_splits` returns one array per split"
        )
    return folds


def held_out_twice(folds: list[Fold], n: int) -> int | None:
    """The first row that more than one fold holds out, if any."""
    times = np.zeros(n, dtype=int)
    for _, test in folds:
        times[np.unique(test)] += 1
    return int(times.argmax()) if times.max(initial=0) > 1 else None


def _count(cv: Any, n: int, least: int) -> int:
    n_folds = whole(cv, "cv", COUNT, least=2)
    if n // n_folds < least:
        single = ", or cv='loo' to leave out single samples" if least > 1 else ""
        raise ValueError(
            f"`cv` is {n_folds} folds of {n} samples, but at least {least} held-out samples each expected\n"
            f"hint: at most {n // least} folds{single}"
        )
    return n_folds


def _leave_one_group_out(groups: Any, n: int) -> list[Fold]:
    if not isinstance(groups, str) and any(name is None or name != name for name in groups):
        raise ValueError("`groups` has None or NaN, but a name per sample expected\nhint: name every sample")
    names, rows = np.asarray(as_names(groups, "groups")), np.arange(n)
    if len(names) != n:
        raise ValueError(f"`groups` has {len(names)} names, but {n} expected (one per sample)")
    held = [names == name for name in dict.fromkeys(names)]
    if len(held) < 2:
        raise ValueError("`groups` names one group, but at least 2 expected\nhint: pass `cv` instead")
    return [(rows[~out].tolist(), rows[out].tolist()) for out in held]


def _fold(pair: Any, what: str, n: int, least: int) -> Fold:
    try:
        train, test = pair
    except (TypeError, ValueError):
        raise ValueError(f"{what} is {pair!r:.60}, but a pair (train, test) expected") from None
    sides = _rows(train, f"{what} (train)", n), _rows(test, f"{what} (test)", n)
    both = np.intersect1d(*sides)
    if both.size:
        raise ValueError(
            f"{what} has row {both[0]} on both sides, but held-out rows that do not train expected\n"
            "hint: such scores would be of samples that the fit has seen"
        )
    n_test = len(np.unique(sides[1]))
    if len(sides[0]) < 2 or n_test < least:
        raise ValueError(
            f"{what} has {len(sides[0])} training and {n_test} held-out rows, but at least 2 and {least} "
            "expected\nhint: cv='loo' of RidgeCV leaves out single samples"
        )
    return sides[0].tolist(), sides[1].tolist()


def _rows(values: Any, what: str, n: int) -> Array:
    rows = np.asarray(values)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"{what} holds {rows.dtype} values of the shape {rows.shape}, but row numbers expected\n"
            f"hint: whole numbers from 0 to {n - 1}, or a mask of {n} samples"
        )
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"{what} has row {wrong}, but rows below {n} expected, counted from 0")
    return rows.astype(np.int64)
