"""Accumulate what depth dynamics needs of a network, in one pass over its activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_layers, as_matrix, as_names, whole


class DepthMoments:
    """Sums of products between layers, and of activations, per resampling block of the samples.

    Formula: for block b with samples t, ``M_b[l, m] = Σ_t ⟨h_l(t), h_m(t)⟩`` (L × L) and
    ``s_b[l] = Σ_t h_l(t)`` (K per layer). The Gram matrix of the layers under any weighting of the blocks
    (a fold, a bootstrap draw) follows without the data.

    An object is never changed in place except by `add_tile`; it can be merged, pickled, and kept as bytes.

    Parameters
    ----------
    layer_names : sequence of str, or int
        Names of the layers, shallow to deep; or how many there are.
    width : int
        K, units per layer: all layers must share one state. For layers of unequal width use
        `DepthDMD(layer_map="procrustes")` on arrays.
    block_names : sequence of str
        Names of the resampling blocks (runs, stories). One block by default.
    unit_sample : bool
        Divide every sample by its length first; needed for `scale="unit_sample"`.
    precision : {"float64", "float32", "float16", "bfloat16"}
        Format in which the network computed; it sets what counts as numerical rank.
    triangles : bool
        Keep, per block, the triangular factor of its centred rows beside the products (a QR that is never
        squared). A fit then knows directions down to 1e-15 of the largest instead of 1e-7, at three times
        the cost.

    Errors: `ValueError` for layers of unequal width, a block name twice, NaN or infinity (layer, sample
    and unit are named).

    Cost: n·K·L²/2 multiply-adds for n samples; memory blocks·(L² + L·K).

    Source: specs nfas-dmd 4; the moments are those of Schmid 2010 for snapshots that are layers.

    Examples
    --------
    >>> import numpy as np, stereotax as sx
    >>> layers = np.random.default_rng(0).normal(size=(6, 100, 8))
    >>> whole = sx.DepthMoments.from_layers(layers)
    >>> tiles = sx.DepthMoments(6, 8)
    >>> for start in range(0, 100, 25):
    ...     tiles.add_tile(0, [layer[start:start + 25] for layer in layers])
    >>> np.allclose(whole.gram(), tiles.gram())
    True
    >>> whole.n_samples, whole.gram().shape
    (100, (6, 6))
    """

    def __init__(
        self,
        layer_names: Sequence[str] | int,
        width: int,
        block_names: Sequence[str] = ("all",),
        *,
        unit_sample: bool = False,
        precision: str = "float64",
        triangles: bool = False,
    ) -> None:
        width = whole(width, "width", COUNT, 1)
        if isinstance(layer_names, int):
            whole(layer_names, "layer_names", 100_000, 1)
            layer_names = [f"layer {i}" for i in range(layer_names)]
        names, blocks = as_names(layer_names, "layer_names"), as_names(block_names, "block_names")
        values = len(names) * (len(names) + width) * len(blocks)
        if values > 2**32:
            raise ValueError(
                f"moments of {len(names)} layers of {width} units in {len(blocks)} blocks would take "
                f"{values * 8 / 2**30:.0f} GiB, but at most 32 are allowed\n"
                "hint: use fewer blocks, or pool the units"
            )
        self._core = _core.Moments.empty(names, width, blocks, bool(unit_sample), precision, bool(triangles))

    @classmethod
    def _of(cls, core: _core.Moments) -> DepthMoments:
        self = cls.__new__(cls)
        self._core = core
        return self

    @classmethod
    def from_layers(
        cls,
        layers: Iterable[Any] | Any,
        *,
        layer_names: Sequence[str] | None = None,
        blocks: Sequence[Any] | None = None,
        unit_sample: bool = False,
        triangles: bool = False,
    ) -> DepthMoments:
        """Accumulate layers that are in memory (or memory-mapped).

        Parameters
        ----------
        layers : iterable of arrays (n_samples, K), or a mapping of names to such arrays
            float64, float32 and float16 are read in place; NumPy, torch on the CPU, DLPack.
        layer_names : sequence of str, optional
            Names for messages and results.
        blocks : sequence of str, length n_samples, optional
            Resampling block of each sample; all in one block by default.
        unit_sample : bool
            Divide every sample by its length first.
        triangles : bool
            Keep triangular factors too.

        Returns
        -------
        DepthMoments
            The same bits for any number of threads.
        """
        arrays, names = as_layers(layers, layer_names)
        n_samples = arrays[0].shape[0] if arrays else 0
        of_sample = ["all"] * n_samples if blocks is None else as_names(blocks, "blocks")
        block_names = list(dict.fromkeys(of_sample)) or ["all"]
        index = {name: i for i, name in enumerate(block_names)}
        codes = [index[name] for name in of_sample]
        core = _core.Moments.accumulate(
            arrays, names, codes, block_names, bool(unit_sample), bool(triangles)
        )
        return cls._of(core)

    @classmethod
    def from_tiles(
        cls,
        tiles: Iterable[tuple[str, Sequence[Any]]],
        *,
        layer_names: Sequence[str] | None = None,
        unit_sample: bool = False,
        precision: str = "float64",
        triangles: bool = False,
    ) -> DepthMoments:
        """Accumulate a stream of ``(block name, [one array per layer])``: data that never fit in memory.

        The bits depend on how the stream is cut; the values do not.

        Examples
        --------
        >>> import numpy as np, stereotax as sx
        >>> def stream():
        ...     rng = np.random.default_rng(0)
        ...     for run in ("run 1", "run 2"):
        ...         yield run, [rng.normal(size=(50, 3)) for _ in range(5)]
        >>> sx.DepthMoments.from_tiles(stream()).block_sizes
        {'run 1': 50, 'run 2': 50}
        """
        moments: DepthMoments | None = None
        for block, layers in tiles:
            arrays, names = as_layers(layers, layer_names)
            widths = {array.shape[1] for array in arrays}
            if len(widths) != 1:
                raise ValueError(
                    f"layers have {sorted(widths)} units, but one width expected\n"
                    "hint: layers of unequal width need `DepthDMD(layer_map='procrustes')` on arrays"
                )
            new = cls(
                names,
                widths.pop(),
                [str(block)],
                unit_sample=unit_sample,
                precision=precision,
                triangles=triangles,
            )
            new.add_tile(0, arrays)
            moments = new if moments is None else moments.merge(new)
        if moments is None:
            raise ValueError(
                "`tiles` is empty, but at least one tile expected\nhint: the iterator was used up"
            )
        return moments

    def add_tile(self, block: int | str, layers: Iterable[Any] | Any) -> None:
        """Add samples that are at hand: one array (n, K) per layer, all of block `block`.

        If it fails nothing has been added.
        """
        arrays, _ = as_layers(layers, None)
        if isinstance(block, str):
            if block not in self.block_names:
                raise ValueError(f"no block `{block}`\nhint: there are {', '.join(self.block_names)}")
            block = self.block_names.index(block)
        tiles = [as_matrix(array, f"layer {i}") for i, array in enumerate(arrays)]
        self._core = self._core.with_tile(int(block), sum(self.block_sizes.values()), tiles)

    def merge(self, other: DepthMoments) -> DepthMoments:
        """The moments of both parts; blocks of the same name are added up."""
        return DepthMoments._of(self._core.merge(other._core))

    __add__ = merge

    def gram(
        self, weights: Sequence[float] | None = None, *, centring: str = "stimuli", scale: str = "frobenius"
    ) -> Array:
        """The Gram matrix of the layers (L × L): all that depth dynamics needs.

        Parameters
        ----------
        weights : sequence of float, one per block, optional
            How often each block counts: 0 leaves it out, 2 counts it twice. All once by default.
        centring : {"stimuli", "none"}
            Whether the mean over samples is taken out of every unit.
        scale : {"frobenius", "none", "pair", "unit_sample"}
            How layers are made comparable; "frobenius" divides each by its RMS.

        Errors: `ValueError` for a layer that does not vary over samples (it is named).
        """
        return self._core.gram(_floats(weights), centring, scale)

    def layer_means(self, weights: Sequence[float] | None = None) -> Array:
        """Mean of every unit over the weighted samples (L × K), in the units of the activations."""
        return self._core.layer_means(_floats(weights))

    def to_bytes(self) -> bytes:
        """All of it as bytes, with a checksum: the same moments give the same bytes."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> DepthMoments:
        """Read what `to_bytes` wrote; runs no code, and anything damaged is refused."""
        return cls._of(_core.Moments.from_bytes(data))

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return DepthMoments.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DepthMoments) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @property
    def layer_names(self) -> list[str]:
        """The layers, shallow to deep."""
        return self._core.layer_names

    @property
    def n_layers(self) -> int:
        """L."""
        return len(self._core.layer_names)

    @property
    def width(self) -> int:
        """K, units per layer."""
        return self._core.width

    @property
    def block_names(self) -> list[str]:
        """The resampling blocks, in order."""
        return self._core.block_names

    @property
    def block_sizes(self) -> dict[str, int]:
        """Samples in each block."""
        return dict(zip(self._core.block_names, self._core.block_sizes, strict=True))

    @property
    def n_samples(self) -> int:
        """Samples in all."""
        return sum(self._core.block_sizes)

    def __repr__(self) -> str:
        return (
            f"DepthMoments({self.n_layers} layers of {self.width} units, "
            f"{self.n_samples} samples in {len(self.block_names)} blocks)"
        )


def _floats(weights: Sequence[float] | None) -> list[float] | None:
    return None if weights is None else [float(w) for w in np.asarray(weights, dtype=np.float64).ravel()]
