//! The two passes over the tensor that an iteration makes: one for the row modes, one for the column modes.
//!
//! With Z the tensor as rows × columns, L and R the Khatri–Rao products of the row and column factors, the first
//! pass gives Z R and the second Zᵀ L, from which the products for every mode follow by small contractions. Where
//! maps may rotate or entries are missing, the model L Rᵀ is made tile by tile: the first pass chooses the
//! rotations and measures the residual, and both read rotated maps with missing entries filled by the model.

use std::ops::Range;

use faer::{MatMut, MatRef};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::kernels::{best_rotation, inner, rotate, squared_distance};
use super::problem::{CpTensor, Cyclic};
use stereotax_base::linalg::add_product;

/// Groups of rows that threads may take; their sums are added in order.
const GROUPS: usize = 16;
/// Numbers in a tile of the model: half a megabyte stays in a processor's own cache.
const TILE: usize = 1 << 16;

/// What the first pass found.
#[derive(Debug)]
pub struct Left {
    /// Z R, rows × rank.
    pub product: Vec<f64>,
    /// One rotation per map, where maps may rotate.
    pub shifts: Vec<u16>,
    /// Maps for which no rotation is better than another.
    pub n_undefined: usize,
    /// ½ Σ (z − model)² over observed entries.
    pub cost: f64,
    /// Σ model² over observed entries.
    pub model_squares: f64,
}

/// Everything the passes read.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    pub tensor: &'a CpTensor,
    /// L, rows × rank.
    pub rows: &'a [f64],
    /// R, columns × rank.
    pub columns: &'a [f64],
    pub rank: usize,
    /// Whether threads may share the rows.
    pub parallel: bool,
}

impl Pass<'_> {
    /// Z R, the rotations, and how far the model is from the tensor.
    ///
    /// Without rotations and gaps the cost comes from norms and inner products; `exact` asks for residuals, which
    /// do not cancel.
    pub fn left(&self, exact: bool) -> Left {
        let Pass { tensor, rank, .. } = *self;
        let by_model = exact || tensor.cyclic_axes().is_some() || tensor.observed().is_some();
        let parts = self
            .over_groups(|range| if by_model { self.left_by_model(range) } else { self.left_at_once(range) });
        let mut all = Left {
            product: Vec::with_capacity(tensor.n_rows() * rank),
            shifts: Vec::with_capacity(tensor.n_shifts()),
            n_undefined: 0,
            cost: 0.0,
            model_squares: 0.0,
        };
        for part in parts {
            all.product.extend(part.product);
            all.shifts.extend(part.shifts);
            all.n_undefined += part.n_undefined;
            all.cost += part.cost;
            all.model_squares += part.model_squares;
        }
        if !by_model {
            let (left, right) = (
                super::kernels::factor_gram(self.rows, rank),
                super::kernels::factor_gram(self.columns, rank),
            );
            all.model_squares = left.iter().zip(&right).map(|(l, r)| l * r).sum();
            let shared: f64 = all.product.iter().zip(self.rows).map(|(p, l)| p * l).sum();
            all.cost = 0.5 * (tensor.squared_norm() + all.model_squares) - shared;
        }
        all
    }

    /// Zᵀ L, columns × rank, of maps rotated as the first pass found.
    pub fn right(&self, shifts: &[u16]) -> Vec<f64> {
        let Pass { tensor, rank, .. } = *self;
        let by_model = tensor.cyclic_axes().is_some() || tensor.observed().is_some();
        let parts = self.over_groups(|range| {
            let mut sum = vec![0.0; tensor.n_columns() * rank];
            if by_model {
                let mut room = Room::new(tensor);
                for tile in self.tiles(range) {
                    self.fill(&mut room, tile.clone(), Some(shifts));
                    self.add_transposed(&mut sum, &room.filled[..tile.len() * tensor.n_columns()], tile);
                }
            } else {
                let n_columns = tensor.n_columns();
                let values = &tensor.values()[range.start * n_columns..range.end * n_columns];
                self.add_transposed(&mut sum, values, range);
            }
            sum
        });
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        for part in parts {
            all.iter_mut().zip(part).for_each(|(all, part)| *all += part);
        }
        all
    }

    /// The fibre along the last mode that the model misses most: its row, the cell of the other column modes, and
    /// what is missing there (at least 0). `None` where nothing is.
    pub fn most_missing(&self, shifts: &[u16]) -> Option<(usize, usize, Vec<f64>)> {
        let tensor = self.tensor;
        let length = *tensor.shape().last()?;
        let n_columns = tensor.n_columns();
        let parts = self.over_groups(|range| {
            let mut room = Room::new(tensor);
            let mut best: (f64, Option<(usize, usize, Vec<f64>)>) = (0.0, None);
            for tile in self.tiles(range) {
                self.fill(&mut room, tile.clone(), Some(shifts));
                for (i, row) in tile.enumerate() {
                    let at = i * n_columns..(i + 1) * n_columns;
                    let (filled, model) = (&room.filled[at.clone()], &room.model[at]);
                    for (cell, (z, m)) in filled.chunks(length).zip(model.chunks(length)).enumerate() {
                        let missing = z.iter().zip(m).map(|(z, m)| (z - m).max(0.0));
                        let squares: f64 = missing.clone().map(|x| x * x).sum();
                        if squares > best.0 {
                            best = (squares, Some((row, cell, missing.collect())));
                        }
                    }
                }
            }
            best
        });
        parts.into_iter().fold((0.0, None), |best, part| if part.0 > best.0 { part } else { best }).1
    }

    fn left_at_once(&self, range: Range<usize>) -> Left {
        let Pass { tensor, rank, .. } = *self;
        let n_columns = tensor.n_columns();
        let mut product = vec![0.0; range.len() * rank];
        let values = &tensor.values()[range.start * n_columns..range.end * n_columns];
        self.add_rows(&mut product, values, range.len());
        Left { product, shifts: vec![], n_undefined: 0, cost: 0.0, model_squares: 0.0 }
    }

    fn left_by_model(&self, range: Range<usize>) -> Left {
        let Pass { tensor, rank, .. } = *self;
        let mut room = Room::new(tensor);
        let mut found = Left {
            product: vec![0.0; range.len() * rank],
            shifts: Vec::new(),
            n_undefined: 0,
            cost: 0.0,
            model_squares: 0.0,
        };
        for tile in self.tiles(range.clone()) {
            let told = self.fill(&mut room, tile.clone(), None);
            found.shifts.extend(told.shifts);
            found.n_undefined += told.n_undefined;
            found.cost += 0.5 * told.residual;
            found.model_squares += told.model_squares;
            let to = (tile.start - range.start) * rank..(tile.end - range.start) * rank;
            let filled = &room.filled[..tile.len() * tensor.n_columns()];
            self.add_rows(&mut found.product[to], filled, tile.len());
        }
        found
    }

    /// Make the model of some rows and their rotated, filled data; choose rotations where none are given.
    fn fill(&self, room: &mut Room, tile: Range<usize>, shifts: Option<&[u16]>) -> Told {
        let Pass { tensor, rank, .. } = *self;
        let n_columns = tensor.n_columns();
        let size = tile.len() * n_columns;
        room.model[..size].fill(0.0);
        add_product(
            MatMut::from_row_major_slice_mut(&mut room.model[..size], tile.len(), n_columns),
            MatRef::from_row_major_slice(&self.rows[tile.start * rank..tile.end * rank], tile.len(), rank),
            MatRef::from_row_major_slice(self.columns, n_columns, rank).transpose(),
            1.0,
        );
        Arch::new().dispatch(Fill { tensor, room, tile, shifts })
    }

    /// out += tile · R.
    fn add_rows(&self, out: &mut [f64], tile: &[f64], n_rows: usize) {
        let (rank, n_columns) = (self.rank, self.tensor.n_columns());
        add_product(
            MatMut::from_row_major_slice_mut(out, n_rows, rank),
            MatRef::from_row_major_slice(tile, n_rows, n_columns),
            MatRef::from_row_major_slice(self.columns, n_columns, rank),
            1.0,
        );
    }

    /// out += tileᵀ · L.
    fn add_transposed(&self, out: &mut [f64], tile: &[f64], range: Range<usize>) {
        let (rank, n_columns) = (self.rank, self.tensor.n_columns());
        add_product(
            MatMut::from_row_major_slice_mut(out, n_columns, rank),
            MatRef::from_row_major_slice(tile, range.len(), n_columns).transpose(),
            MatRef::from_row_major_slice(&self.rows[range.start * rank..range.end * rank], range.len(), rank),
            1.0,
        );
    }

    fn tiles(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let step = tile_rows(self.tensor.n_columns());
        range.clone().step_by(step).map(move |begin| begin..(begin + step).min(range.end))
    }

    /// The groups depend on the tensor alone, so their sums have the same bits for any number of threads.
    fn over_groups<T: Send>(&self, work: impl Fn(Range<usize>) -> T + Sync + Send) -> Vec<T> {
        let n_rows = self.tensor.n_rows();
        let step = n_rows.div_ceil(GROUPS).max(16);
        let groups: Vec<Range<usize>> =
            (0..n_rows).step_by(step).map(|begin| begin..(begin + step).min(n_rows)).collect();
        if self.parallel {
            groups.into_par_iter().map(work).collect()
        } else {
            groups.into_iter().map(work).collect()
        }
    }
}

fn tile_rows(n_columns: usize) -> usize {
    (TILE / n_columns).max(4)
}

/// Room for a tile.
struct Room {
    model: Vec<f64>,
    filled: Vec<f64>,
    seen: Vec<bool>,
    twice: Vec<f64>,
}

impl Room {
    fn new(tensor: &CpTensor) -> Self {
        let size = tile_rows(tensor.n_columns()) * tensor.n_columns();
        let map = tensor.cyclic_axes().map_or(0, |cyclic| cyclic.n_directions * cyclic.n_times);
        Room {
            model: vec![0.0; size],
            filled: vec![0.0; size],
            seen: vec![true; map],
            twice: vec![0.0; 2 * map],
        }
    }
}

/// Sums over a tile.
#[derive(Default)]
struct Told {
    shifts: Vec<u16>,
    n_undefined: usize,
    residual: f64,
    model_squares: f64,
}

struct Fill<'a> {
    tensor: &'a CpTensor,
    room: &'a mut Room,
    tile: Range<usize>,
    shifts: Option<&'a [u16]>,
}

impl NullaryFnOnce for Fill<'_> {
    type Output = Told;

    #[inline(always)]
    fn call(self) -> Told {
        let Fill { tensor, room, tile, shifts } = self;
        let n_columns = tensor.n_columns();
        let mut told = Told::default();
        for (i, row) in tile.enumerate() {
            let at = i * n_columns..(i + 1) * n_columns;
            let (model, filled) = (&room.model[at.clone()], &mut room.filled[at]);
            let (values, observed) = (tensor.row(row), tensor.observed_row(row));
            let Some(Cyclic { n_stimuli, n_directions, n_times }) = tensor.cyclic_axes() else {
                filled.copy_from_slice(values);
                told.take(filled, model, observed);
                continue;
            };
            let length = n_directions * n_times;
            for s in 0..n_stimuli {
                let map = s * length..(s + 1) * length;
                let (values, model) = (&values[map.clone()], &model[map.clone()]);
                let seen = observed.map(|observed| &observed[map.clone()]);
                // A map without gaps needs no flags, which is faster.
                let seen = seen.filter(|seen| seen.iter().any(|there| !there));
                let shift = match shifts {
                    Some(shifts) => usize::from(shifts[row * n_stimuli + s]),
                    None => {
                        let found = best_rotation(values, seen, model, n_directions, &mut room.twice);
                        told.n_undefined += usize::from(!found.defined);
                        // Directions are at most as many as fit in 16 bits, which `fit` checks.
                        told.shifts.push(found.shift as u16);
                        found.shift
                    }
                };
                rotate(values, shift, n_directions, &mut filled[map.clone()]);
                let seen = seen.map(|seen| {
                    rotate(seen, shift, n_directions, &mut room.seen);
                    &room.seen[..]
                });
                told.take(&mut filled[map], model, seen);
            }
        }
        told
    }
}

impl Told {
    /// Add up residual and model over observed entries, and fill the others.
    #[inline(always)]
    fn take(&mut self, filled: &mut [f64], model: &[f64], observed: Option<&[bool]>) {
        let Some(observed) = observed else {
            self.residual += squared_distance(filled, model);
            self.model_squares += inner(model, model);
            return;
        };
        for ((z, m), &there) in filled.iter_mut().zip(model).zip(observed) {
            if there {
                self.residual += (*z - m) * (*z - m);
                self.model_squares += m * m;
            } else {
                *z = *m;
            }
        }
    }
}
