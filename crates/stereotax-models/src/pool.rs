//! One row per stimulus and layer: pool the positions (places, tokens, frames) of what a network gave.
//!
//! ```text
//! mean, max   over all positions of all frames, unit by unit      first, last   of all positions
//! flatten     all positions side by side, units fastest            keep          positions × units, as they are
//! project:K   flatten, then K sparse random directions that keep distances
//! ```
//!
//! Units are the first axis behind the batch after convolutions and their like, else the last. Sums are in 64 bits, in
//! an order that positions fix. Source of the projection: [`stereotax::encoding::projection`] (li2006).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use faer::MatRef;
use stereotax::data::Monitor;
use stereotax::encoding::{ProjectionKind, RandomProjection};

use crate::network::engine::{Numbers, Tensor};

/// What becomes of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pool {
    /// The mean.
    #[default]
    Mean,
    /// The largest value of each unit.
    Max,
    /// The first position: the class token of many transformers.
    First,
    /// The last position: the last token or frame.
    Last,
    /// Side by side.
    Flatten,
    /// Positions × units.
    Keep,
    /// So many sparse random directions of all side by side.
    Project(usize),
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Pool, String> {
        Ok(match text {
            "mean" => Pool::Mean,
            "max" => Pool::Max,
            "first" | "cls" => Pool::First,
            "last" => Pool::Last,
            "flatten" => Pool::Flatten,
            "keep" => Pool::Keep,
            _ => match text.strip_prefix("project:").map(str::parse) {
                Some(Ok(n)) if (1..=1 << 20).contains(&n) => Pool::Project(n),
                _ => return Err("mean, max, cls, last, flatten, keep or project:NUMBER expected".into()),
            },
        })
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pool::Mean => f.write_str("mean"),
            Pool::Max => f.write_str("max"),
            Pool::First => f.write_str("cls"),
            Pool::Last => f.write_str("last"),
            Pool::Flatten => f.write_str("flatten"),
            Pool::Keep => f.write_str("keep"),
            Pool::Project(n) => write!(f, "project:{n}"),
        }
    }
}

/// One stimulus in one layer, while its frames come in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pooled {
    rule: Pool,
    units: usize,
    positions: usize,
    sums: Vec<f64>,
    kept: Vec<f32>,
}

impl Pooled {
    pub(crate) fn new(rule: Pool) -> Self {
        Pooled { rule, units: 0, positions: 0, sums: Vec::new(), kept: Vec::new() }
    }

    /// Add one frame: entry `at` of a tensor whose first axis is the batch.
    pub(crate) fn add(&mut self, tensor: &Tensor, at: usize, units_first: bool) -> Result<(), String> {
        let axes = &tensor.shape[1..];
        let length: usize = axes.iter().product();
        let units = match (axes, units_first) {
            ([], _) => 1,
            ([first, ..], true) => *first,
            ([.., last], false) => *last,
        };
        if length == 0 || units == 0 {
            return Err(format!("a tensor of shape {:?}", tensor.shape));
        }
        if self.positions > 0 && units != self.units {
            return Err(format!("{units} units in one frame and {} in another", self.units));
        }
        let place = at * length..(at + 1) * length;
        let values: Cow<'_, [f32]> = match &tensor.numbers {
            Numbers::Real(values) => Cow::Borrowed(&values[place]),
            Numbers::Whole(values) => values[place].iter().map(|x| *x as f32).collect(),
        };
        // The largest without its sign: infinities and NaN are above every number.
        let largest = values.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
        if !f32::from_bits(largest).is_finite() {
            let place = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
            return Err(format!("{} at place {place}", values[place]));
        }
        let positions = length / units;
        let value = |position: usize, unit: usize| {
            if units_first { values[unit * positions + position] } else { values[position * units + unit] }
        };
        let begins = self.positions == 0;
        self.units = units;
        self.positions += positions;
        match self.rule {
            Pool::Mean => {
                self.sums.resize(units, 0.0);
                if units_first {
                    for (sum, values) in self.sums.iter_mut().zip(values.chunks_exact(positions)) {
                        *sum += sum_of(values);
                    }
                } else {
                    for values in values.chunks_exact(units) {
                        self.sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(*x));
                    }
                }
            }
            Pool::Max => {
                self.kept.resize(units, f32::NEG_INFINITY);
                for (unit, kept) in self.kept.iter_mut().enumerate() {
                    *kept = (0..positions).map(|p| value(p, unit)).fold(*kept, f32::max);
                }
            }
            Pool::First if begins => self.kept = (0..units).map(|unit| value(0, unit)).collect(),
            Pool::First => {}
            Pool::Last => self.kept = (0..units).map(|unit| value(positions - 1, unit)).collect(),
            Pool::Flatten | Pool::Keep | Pool::Project(_) => {
                for p in 0..positions {
                    self.kept.extend((0..units).map(|unit| value(p, unit)));
                }
            }
        }
        Ok(())
    }

    /// The row and its shape. `seed` and the layer's place key the projection.
    pub(crate) fn row(self, seed: u64) -> Result<(Vec<usize>, Vec<f32>), String> {
        let n = self.positions as f64;
        Ok(match self.rule {
            Pool::Mean => (vec![self.units], self.sums.iter().map(|sum| (sum / n) as f32).collect()),
            Pool::Max | Pool::First | Pool::Last => (vec![self.units], self.kept),
            Pool::Flatten => (vec![self.kept.len()], self.kept),
            Pool::Keep => (vec![self.positions, self.units], self.kept),
            Pool::Project(n) if n >= self.kept.len() => (vec![self.kept.len()], self.kept),
            Pool::Project(n) => {
                let p = self.kept.len();
                let map = RandomProjection::new(p, n, ProjectionKind::sparse(p), seed)
                    .map_err(|e| e.to_string())?;
                let row = MatRef::from_row_major_slice(&self.kept, 1, p);
                (vec![n], map.project(row, &Monitor::silent()).map_err(|e| e.to_string())?)
            }
        })
    }
}

/// In eight lanes, which are then added in order.
fn sum_of(values: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    let eights = values.chunks_exact(8);
    let rest: f64 = eights.remainder().iter().map(|x| f64::from(*x)).sum();
    for eight in eights {
        lanes.iter_mut().zip(eight).for_each(|(lane, x)| *lane += f64::from(*x));
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(rule: &str, units_first: bool) -> (Vec<usize>, Vec<f32>) {
        // Two frames in a batch of two stimuli, of which the second is ours: 2 × 3.
        let frame = |values: [f32; 6]| {
            let mut both = vec![9.0; 6];
            both.extend(values);
            Tensor { shape: vec![2, 2, 3], numbers: Numbers::Real(both) }
        };
        let mut found = Pooled::new(rule.parse().unwrap());
        found.add(&frame([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 1, units_first).unwrap();
        found.add(&frame([0.0, 0.0, 9.0, 1.0, 1.0, -2.0]), 1, units_first).unwrap();
        found.row(1).unwrap()
    }

    #[test]
    fn rules_by_hand() {
        // Units last: 4 positions of 3 units.
        assert_eq!(pooled("mean", false), (vec![3], vec![1.5, 2.0, 4.0]));
        assert_eq!(pooled("max", false), (vec![3], vec![4.0, 5.0, 9.0]));
        assert_eq!(pooled("cls", false), (vec![3], vec![1.0, 2.0, 3.0]));
        assert_eq!(pooled("last", false), (vec![3], vec![1.0, 1.0, -2.0]));
        let flat = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 9.0, 1.0, 1.0, -2.0];
        assert_eq!(pooled("flatten", false), (vec![12], flat.clone()));
        assert_eq!(pooled("keep", false), (vec![4, 3], flat.clone()));
        assert_eq!(pooled("project:12", false), (vec![12], flat));
        assert_eq!(pooled("project:5", false).0, [5]);
        // Units first: 6 positions of 2 units.
        assert_eq!(pooled("mean", true), (vec![2], vec![2.5, 2.5]));
        assert_eq!(pooled("cls", true), (vec![2], vec![1.0, 4.0]));
        assert_eq!(pooled("last", true), (vec![2], vec![9.0, -2.0]));
        assert_eq!(pooled("keep", true).1[..4], [1.0, 4.0, 2.0, 5.0]);
        for wrong in ["", "median", "project:", "project:0", "project:x"] {
            assert!(wrong.parse::<Pool>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let tensor = Tensor { shape: vec![1, 2], numbers: Numbers::Real(vec![0.0, f32::NAN]) };
        assert!(Pooled::new(Pool::Mean).add(&tensor, 0, false).is_err());
    }
}
