//! Which condition and which run each measurement belongs to, and the mean pattern of every such cell.

use faer::{Mat, MatRef};

use super::check_numbers;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::Real;

/// Condition and run of every measurement (row), as numbers from 0. Runs are what measurements of a condition
/// must differ in to be independent; any number of measurements may share a cell or be missing from it.
#[derive(Debug, Clone, Copy)]
pub struct Repeats<'a> {
    /// One per row.
    pub conditions: &'a [usize],
    /// One per row.
    pub runs: &'a [usize],
}

/// Mean patterns of conditions within runs.
#[derive(Debug, Clone)]
pub(crate) struct Cells {
    pub n_conditions: usize,
    pub n_runs: usize,
    pub n_channels: usize,
    /// Measurements of cell (condition, run), at condition · n_runs + run.
    pub counts: Vec<usize>,
    /// Channels side by side, cells in the order of `counts`; zeros where there is none.
    pub means: Vec<f64>,
}

impl Repeats<'_> {
    /// The numbers of conditions and runs. Errors: other lengths than `n_rows`, fewer than 2 of either.
    pub fn check(&self, n_rows: usize) -> Result<(usize, usize)> {
        for (what, codes) in [("conditions", self.conditions), ("runs", self.runs)] {
            if codes.len() != n_rows {
                return Err(Error::Shape {
                    what: what.into(),
                    expected: format!("{n_rows} entries (one per measurement)"),
                    found: codes.len().to_string(),
                    hint: "rows of the patterns are measurements; name condition and run of each".into(),
                });
            }
        }
        let count = |codes: &[usize]| codes.iter().max().map_or(0, |most| most + 1);
        let (n_conditions, n_runs) = (count(self.conditions), count(self.runs));
        for (what, count, hint) in [
            ("conditions", n_conditions, "a dissimilarity needs a pair"),
            (
                "runs",
                n_runs,
                "cross-validated dissimilarities multiply differences of independent runs; without repeats use \
                 Mahalanobis distances",
            ),
        ] {
            if count < 2 {
                return Err(Error::TooFew {
                    what: what.into(),
                    needed: format!("2 different {what}"),
                    found: count.to_string(),
                    hint: hint.into(),
                });
            }
        }
        Ok((n_conditions, n_runs))
    }

    /// Measurements per cell.
    pub(crate) fn counts(&self, n_conditions: usize, n_runs: usize) -> Vec<usize> {
        let mut counts = vec![0; n_conditions * n_runs];
        for (condition, run) in self.conditions.iter().zip(self.runs) {
            counts[condition * n_runs + run] += 1;
        }
        counts
    }

    /// Means of all cells; `patterns` is measurements × channels.
    pub(crate) fn cells<T: Real>(&self, patterns: MatRef<T>) -> Result<Cells> {
        let (n_conditions, n_runs) = self.check(patterns.nrows())?;
        check_numbers("patterns", patterns)?;
        let counts = self.counts(n_conditions, n_runs);
        Ok(self.cells_of(patterns, n_conditions, n_runs, counts))
    }

    /// As [`Repeats::cells`], of what was checked before.
    pub(crate) fn cells_of<T: Real>(
        &self,
        patterns: MatRef<T>,
        n_conditions: usize,
        n_runs: usize,
        counts: Vec<usize>,
    ) -> Cells {
        let n_channels = patterns.ncols();
        let mut means = vec![0.0; n_channels * counts.len()];
        for (row, (condition, run)) in self.conditions.iter().zip(self.runs).enumerate() {
            let out = &mut means[(condition * n_runs + run) * n_channels..][..n_channels];
            match patterns.row(row).try_as_row_major() {
                Some(line) => {
                    out.iter_mut().zip(line.as_slice()).for_each(|(out, value)| *out += (*value).into());
                }
                None => {
                    for (channel, out) in out.iter_mut().enumerate() {
                        *out += patterns[(row, channel)].into();
                    }
                }
            }
        }
        for (cell, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 1) {
            let mean = &mut means[cell * n_channels..][..n_channels];
            mean.iter_mut().for_each(|value| *value /= count as f64);
        }
        Cells { n_conditions, n_runs, n_channels, counts, means }
    }
}

impl Cells {
    /// (n_channels, n_conditions · n_runs).
    pub(crate) fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.means, self.n_channels, self.counts.len())
    }

    /// Take the mean over the conditions of a run off all of them: differences within runs stay.
    pub(crate) fn centre_runs(&mut self) {
        let p = self.n_channels;
        let mut mean = vec![0.0; p];
        for run in 0..self.n_runs {
            let there: Vec<usize> = (0..self.n_conditions)
                .map(|condition| condition * self.n_runs + run)
                .filter(|&cell| self.counts[cell] > 0)
                .collect();
            mean.fill(0.0);
            for &cell in &there {
                mean.iter_mut().zip(&self.means[cell * p..][..p]).for_each(|(sum, value)| *sum += value);
            }
            mean.iter_mut().for_each(|sum| *sum /= there.len().max(1) as f64);
            for &cell in &there {
                let column = &mut self.means[cell * p..][..p];
                column.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
            }
        }
    }
}

/// Measurements minus the mean of their condition (within their run, where runs are given): the noise that repeats
/// show, for [`super::noise_precision`]. Degrees of freedom: rows minus the cells that have rows.
///
/// Errors: labels of another length, values that are not finite, no condition (or cell) with two measurements.
pub fn deviations_from_conditions<T: Real>(
    patterns: MatRef<T>,
    conditions: &[usize],
    runs: Option<&[usize]>,
) -> Result<(Mat<f64>, usize)> {
    check_numbers("patterns", patterns)?;
    let (n, p) = (patterns.nrows(), patterns.ncols());
    let none = vec![0; n];
    let runs = runs.unwrap_or(&none);
    for (what, codes) in [("conditions", conditions), ("runs", runs)] {
        if codes.len() != n {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n} entries (one per measurement)"),
                found: codes.len().to_string(),
                hint: "rows of the patterns are measurements".into(),
            });
        }
    }
    let n_runs = runs.iter().max().map_or(0, |most| most + 1);
    let cell_of: Vec<usize> = conditions.iter().zip(runs).map(|(c, r)| c * n_runs + r).collect();
    let n_cells = cell_of.iter().max().map_or(0, |most| most + 1);
    let mut counts = vec![0usize; n_cells];
    cell_of.iter().for_each(|&cell| counts[cell] += 1);
    let dof = n - counts.iter().filter(|count| **count > 0).count();
    if dof == 0 {
        return Err(Error::TooFew {
            what: "repeats".into(),
            needed: "one condition measured twice".into(),
            found: "one measurement of each".into(),
            hint: "estimate the noise from residuals of a model instead, or over runs".into(),
        });
    }
    let mut out = Mat::zeros(n, p);
    let mut sums = vec![0.0; n_cells];
    for channel in 0..p {
        sums.fill(0.0);
        for row in 0..n {
            sums[cell_of[row]] += Into::<f64>::into(patterns[(row, channel)]);
        }
        let column = out.col_as_slice_mut(channel);
        for row in 0..n {
            let mean = sums[cell_of[row]] / counts[cell_of[row]] as f64;
            column[row] = Into::<f64>::into(patterns[(row, channel)]) - mean;
        }
    }
    Ok((out, dof))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    #[test]
    fn cells_are_means_within_runs() {
        let x = mat![[1.0, 2.0], [3.0, 6.0], [5.0, 5.0], [7.0, 1.0]];
        let repeats = Repeats { conditions: &[0, 0, 1, 0], runs: &[0, 0, 0, 1] };
        let mut cells = repeats.cells(x.as_ref()).unwrap();
        assert_eq!(cells.counts, [2, 1, 1, 0]);
        assert_eq!(cells.means, [2.0, 4.0, 7.0, 1.0, 5.0, 5.0, 0.0, 0.0]);
        cells.centre_runs();
        assert_eq!(cells.means, [-1.5, -0.5, 0.0, 0.0, 1.5, 0.5, 0.0, 0.0]);
        let (deviations, dof) = deviations_from_conditions(x.as_ref(), &[0, 0, 1, 0], None).unwrap();
        assert_eq!(dof, 2);
        assert!((deviations[(0, 0)] - (1.0 - 11.0 / 3.0)).abs() < 1e-15 && deviations[(2, 1)] == 0.0);
        let (within, dof) =
            deviations_from_conditions(x.as_ref(), &[0, 0, 1, 0], Some(&[0, 0, 0, 1])).unwrap();
        assert_eq!((within[(0, 0)], within[(3, 0)], dof), (-1.0, 0.0, 1));
    }

    #[test]
    fn designs_that_have_no_repeats_are_refused() {
        let x = mat![[1.0], [2.0]];
        let message = |conditions: &[usize], runs: &[usize]| {
            Repeats { conditions, runs }.cells(x.as_ref()).unwrap_err().to_string()
        };
        assert!(message(&[0, 1], &[0, 0]).contains("2 different runs"));
        assert!(message(&[0, 0], &[0, 1]).contains("2 different conditions"));
        assert!(message(&[0, 1, 1], &[0, 1]).contains("one per measurement"));
        let found = deviations_from_conditions(x.as_ref(), &[0, 1], None).unwrap_err();
        assert!(found.to_string().contains("measured twice"));
    }
}
