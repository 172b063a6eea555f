"""Run a whole study file from Python: the same nodes, results and bytes as the command."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _core
from ._arrays import whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Plan(Result):
    """What a run would compute."""

    #: One row per node: key, kind, label, done, seconds.
    nodes: Table
    seconds: float
    memory_bytes: int
    disk_bytes: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Outcome(Result):
    """What a run did."""

    computed: int
    reused: int
    warnings: list[str]
    results: Path
    report: Path

    def to_dict(self) -> dict[str, Any]:
        """All fields, paths as strings."""
        return {**super().to_dict(), "results": str(self.results), "report": str(self.report)}


class Study:
    """A study file: models × layers × subjects × ROIs × controls, with the group statistics over them.

    The file format is that of ``stereotax init``, which writes a commented one. A run computes only what
    is missing in its folder, can be stopped at any moment (Ctrl-C, kill -9), and goes on from there.

    Parameters
    ----------
    path : path-like
        The study.toml. It is read when a method needs it, not before.

    Errors: `FileNotFoundError` for a study file, or a file named in it, that is not there; `ValueError` for
    everything wrong in it, with lines; `OSError` for folders that cannot be written.

    Examples
    --------
    >>> import stereotax as sx
    >>> study = sx.Study("study.toml")
    >>> study
    Study('study.toml')
    >>> study.plan("out")                               # doctest: +SKIP
    >>> study.run("out").computed                       # doctest: +SKIP
    42
    >>> study.results("out")["scores"].to_pandas()      # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def check(self) -> Table:
        """Read everything the study names, compute nothing: a row (severity, code, text) per finding."""
        found = _core.study_check(self._existing())
        columns = list(zip(*found, strict=True)) or [(), (), ()]
        return Table(
            {name: list(column) for name, column in zip(("severity", "code", "text"), columns, strict=True)}
        )

    def plan(
        self,
        out: str | os.PathLike[str],
        *,
        threads: int | None = None,
        max_memory: int | str | None = None,
    ) -> Plan:
        """What `run` would compute, with seconds, bytes of memory and of disk. Writes nothing."""
        found = _core.study_plan(self._existing(), Path(out), _threads(threads), _bytes(max_memory))
        return Plan(**{**found, "nodes": Table(found["nodes"])})

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        threads: int | None = None,
        max_memory: int | str | None = None,
        recheck: bool = False,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> Outcome:
        """Compute what is missing in `out`; write `out/results/` and `out/report.html`.

        Parameters
        ----------
        out : path-like
            Folder; made if it is not there.
        threads : int, optional
            All cores by default. Results do not depend on it.
        max_memory : int or str, optional
            Bytes, or such as "8G" or "500M"; 4 GiB by default. Results do not depend on it.
        recheck : bool
            Read input files again even where size and time are as before.
        progress : callable, optional
            Called now and then as ``progress(task, done, total)``, such as
            ``lambda task, done, total: print(f"{task}: {done}/{total}", end="\\r")``. An exception raised in
            it stops the run.

        Errors: as above; `KeyboardInterrupt` after Ctrl-C, with everything that was finished kept.
        """
        size = _bytes(max_memory)
        found = _core.study_run(self._existing(), Path(out), _threads(threads), size, recheck, progress)
        return Outcome(**found, results=Path(out) / "results", report=Path(out) / "report.html")

    def results(self, out: str | os.PathLike[str]) -> dict[str, Table]:
        """The tables of a finished run by name; what is in them: docs/reference/results.md."""
        tables, _ = _core.study_results(Path(out))
        return {name: Table(columns) for name, columns in tables.items()}

    def manifest(self, out: str | os.PathLike[str]) -> dict[str, Any]:
        """Settings, versions, seed, digests of inputs, warnings and references of a finished run."""
        _, text = _core.study_results(Path(out))
        found: dict[str, Any] = json.loads(text)
        return found

    def _existing(self) -> Path:
        if not self.path.is_file():
            raise FileNotFoundError(
                f"no study file `{self.path}`\nhint: `stereotax init` writes one to start from"
            )
        return self.path

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"


def _threads(threads: int | None) -> int | None:
    return None if threads is None else whole(threads, "threads", 65_536, 1)


def _bytes(size: int | str | None) -> int | None:
    if size is None or isinstance(size, int):
        return None if size is None else whole(size, "max_memory", 2**62)
    text = size.strip().upper().removesuffix("B").removesuffix("I")
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    scale = units.get(text[-1:], 1)
    try:
        return int(float(text[:-1] if scale > 1 else text) * scale)
    except ValueError:
        raise ValueError(
            f"`max_memory` is {size!r}, but a size expected\nhint: bytes, or such as '8G'"
        ) from None
