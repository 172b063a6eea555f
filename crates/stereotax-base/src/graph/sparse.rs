//! Symmetric matrices of which few entries are not 0: row after row, columns ascending.
//!
//! Cost of a product with m columns: O(entries · m), rows shared out over threads.

use faer::{Mat, MatRef};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use crate::data::{Error, Result};

/// A row times four columns: four sums of each, every fourth entry its own, so that none waits for the one before.
struct FourSums<'a> {
    columns: &'a [usize],
    values: &'a [f64],
    lines: &'a [[f64; 4]],
}

impl NullaryFnOnce for FourSums<'_> {
    type Output = [f64; 4];

    #[inline(always)]
    fn call(self) -> [f64; 4] {
        let FourSums { columns, values, lines } = self;
        let mut sums = [[0.0; 4]; 4];
        let (fours, rest) = columns.as_chunks::<4>();
        let (of_fours, of_rest) = values.as_chunks::<4>();
        for (columns, values) in fours.iter().zip(of_fours) {
            for lane in 0..4 {
                let line = lines[columns[lane]];
                for k in 0..4 {
                    sums[lane][k] += values[lane] * line[k];
                }
            }
        }
        for (&j, &value) in rest.iter().zip(of_rest) {
            for k in 0..4 {
                sums[0][k] += value * lines[j][k];
            }
        }
        std::array::from_fn(|k| (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]))
    }
}

/// A symmetric n × n matrix without its zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    starts: Vec<usize>,
    columns: Vec<usize>,
    values: Vec<f64>,
}

impl Sparse {
    /// From the entries of each row, (column, value), in any order, each column once.
    ///
    /// Errors: a column beyond the rows or twice in a row, a value that is not finite, (i, j) without an equal (j, i).
    pub fn from_rows(rows: Vec<Vec<(usize, f64)>>) -> Result<Self> {
        let n = rows.len();
        let (mut starts, mut columns, mut values) = (vec![0], vec![], vec![]);
        for mut row in rows {
            row.sort_by_key(|entry| entry.0);
            columns.extend(row.iter().map(|entry| entry.0));
            values.extend(row.iter().map(|entry| entry.1));
            starts.push(columns.len());
        }
        let made = Sparse { starts, columns, values };
        for i in 0..n {
            let (columns, values) = made.row(i);
            let twice = columns.windows(2).any(|w| w[0] == w[1]);
            let bad = columns.iter().zip(values).find(|(j, value)| {
                **j >= n || !value.is_finite() || (made.get(**j, i) - **value).abs() > 1e-9 * value.abs()
            });
            if twice || bad.is_some() {
                return Err(Error::Invalid {
                    what: "kernel".into(),
                    expected: format!("a symmetric {n} × {n} matrix of finite numbers"),
                    found: bad
                        .map_or(format!("a column twice in row {i}"), |(j, v)| format!("{v} at ({i}, {j})")),
                    hint: "average the matrix with its transpose, and drop what is not finite".into(),
                });
            }
        }
        Ok(made)
    }

    /// From a dense matrix; zeros are left out.
    pub fn from_dense(matrix: MatRef<f64>) -> Result<Self> {
        if matrix.nrows() != matrix.ncols() {
            return Err(Error::Shape {
                what: "kernel".into(),
                expected: format!("{} columns (a square matrix)", matrix.nrows()),
                found: format!("{} columns", matrix.ncols()),
                hint: "give points × points, or pass the points themselves".into(),
            });
        }
        let row = |i: usize| {
            (0..matrix.ncols()).map(|j| (j, matrix[(i, j)])).filter(|entry| entry.1 != 0.0).collect()
        };
        Sparse::from_rows((0..matrix.nrows()).map(row).collect())
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries are kept.
    pub fn n_entries(&self) -> usize {
        self.values.len()
    }

    /// Columns and values of a row.
    pub fn row(&self, i: usize) -> (&[usize], &[f64]) {
        let range = self.starts[i]..self.starts[i + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// One entry; 0 if it is not kept.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        if i >= self.len() {
            return 0.0;
        }
        let (columns, values) = self.row(i);
        columns.binary_search(&j).map_or(0.0, |at| values[at])
    }

    /// The same entries with other values.
    pub fn map(&self, mut value: impl FnMut(usize, usize, f64) -> f64) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for i in 0..self.len() {
            let (columns, old) = self.row(i);
            values.extend(columns.iter().zip(old).map(|(&j, &old)| value(i, j, old)));
        }
        Sparse { starts: self.starts.clone(), columns: self.columns.clone(), values }
    }

    /// The rows and columns of some of the points.
    pub fn subset(&self, points: &[usize]) -> Self {
        let mut place = vec![usize::MAX; self.len()];
        points.iter().enumerate().for_each(|(at, &point)| place[point] = at);
        let (mut starts, mut columns, mut values) = (vec![0], vec![], vec![]);
        for &point in points {
            let (from, old) = self.row(point);
            let mut row: Vec<(usize, f64)> = from
                .iter()
                .zip(old)
                .filter(|(j, _)| place[**j] != usize::MAX)
                .map(|(&j, &value)| (place[j], value))
                .collect();
            row.sort_by_key(|entry| entry.0);
            columns.extend(row.iter().map(|entry| entry.0));
            values.extend(row.iter().map(|entry| entry.1));
            starts.push(columns.len());
        }
        Sparse { starts, columns, values }
    }

    /// Sum of each row.
    pub fn row_sums(&self) -> Vec<f64> {
        (0..self.len()).map(|i| self.row(i).1.iter().sum()).collect()
    }

    /// The matrix times a block of columns.
    pub fn times(&self, block: MatRef<f64>) -> Mat<f64> {
        let (n, m) = (self.len(), block.ncols());
        // A row of the block in one piece: neighbours are fetched whole.
        let mut lines = vec![0.0; n * m];
        for j in 0..m {
            block.col(j).iter().enumerate().for_each(|(i, x)| lines[i * m + j] = *x);
        }
        let mut out = vec![0.0; n * m];
        const ROWS: usize = 256;
        let arch = Arch::new();
        out.par_chunks_mut(ROWS * m.max(1)).enumerate().for_each(|(chunk, out)| {
            for (at, line) in out.chunks_mut(m.max(1)).enumerate() {
                let (columns, values) = self.row(chunk * ROWS + at);
                if let Ok(line) = <&mut [f64; 4]>::try_from(&mut *line) {
                    *line = arch.dispatch(FourSums { columns, values, lines: lines.as_chunks::<4>().0 });
                    continue;
                }
                for (&j, &value) in columns.iter().zip(values) {
                    for (to, from) in line.iter_mut().zip(&lines[j * m..(j + 1) * m]) {
                        *to += value * from;
                    }
                }
            }
        });
        let mut product = Mat::zeros(n, m);
        for j in 0..m {
            let column = product.col_as_slice_mut(j);
            column.iter_mut().zip(out[j..].iter().step_by(m)).for_each(|(to, from)| *to = *from);
        }
        product
    }

    /// An order in which connected points stand near one another: breadth first, part by part from its first point.
    ///
    /// Products are faster in it, since a row then finds its neighbours in fast memory.
    pub fn breadth_first(&self) -> Vec<usize> {
        let mut seen = vec![false; self.len()];
        let mut order = Vec::with_capacity(self.len());
        for start in 0..self.len() {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let mut at = order.len();
            order.push(start);
            while at < order.len() {
                for &j in self.row(order[at]).0 {
                    if !std::mem::replace(&mut seen[j], true) {
                        order.push(j);
                    }
                }
                at += 1;
            }
        }
        order
    }

    /// Which connected set of points each belongs to, numbered by their first points. Entries above 0 connect.
    pub fn components(&self) -> Vec<usize> {
        let n = self.len();
        let mut label = vec![usize::MAX; n];
        let mut found = 0;
        for start in 0..n {
            if label[start] != usize::MAX {
                continue;
            }
            let mut open = vec![start];
            label[start] = found;
            while let Some(at) = open.pop() {
                let (columns, values) = self.row(at);
                for (&j, &value) in columns.iter().zip(values) {
                    if value > 0.0 && label[j] == usize::MAX {
                        label[j] = found;
                        open.push(j);
                    }
                }
            }
            found += 1;
        }
        label
    }

    /// The dense matrix.
    pub fn to_dense(&self) -> Mat<f64> {
        let mut out = Mat::zeros(self.len(), self.len());
        for i in 0..self.len() {
            let (columns, values) = self.row(i);
            columns.iter().zip(values).for_each(|(&j, &value)| out[(i, j)] = value);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_components_and_parts_by_hand() {
        // Two pairs of points.
        let dense = Mat::from_fn(4, 4, |i, j| {
            [[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 4.0], [2.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 5.0]][i][j]
        });
        let sparse = Sparse::from_dense(dense.as_ref()).unwrap();
        assert_eq!(sparse.n_entries(), 7);
        assert_eq!(sparse.components(), [0, 1, 0, 1]);
        assert_eq!(sparse.row_sums(), [3.0, 7.0, 2.0, 9.0]);
        let block = Mat::from_fn(4, 2, |i, j| (i + 10 * j) as f64);
        assert_eq!(sparse.times(block.as_ref()), &dense * &block);
        assert_eq!(sparse.breadth_first(), [0, 2, 1, 3]);
        // Four columns have a way of their own; whole numbers add up exactly in any order.
        let wide = Mat::from_fn(11, 11, |i, j| if (i * j) % 3 == 0 { (i + j) as f64 } else { 0.0 });
        let block = Mat::from_fn(11, 4, |i, j| (3 * i) as f64 - (j * j) as f64);
        assert_eq!(Sparse::from_dense(wide.as_ref()).unwrap().times(block.as_ref()), &wide * &block);
        assert_eq!(
            sparse.subset(&[3, 1]).to_dense(),
            Mat::from_fn(2, 2, |i, j| [[5.0, 4.0], [4.0, 3.0]][i][j])
        );
        assert_eq!(sparse.to_dense(), dense);
    }

    #[test]
    fn what_is_not_symmetric_is_refused() {
        let lopsided = Sparse::from_rows(vec![vec![(1, 1.0)], vec![]]).unwrap_err().to_string();
        assert!(lopsided.contains("(0, 1)"), "{lopsided}");
        assert!(Sparse::from_rows(vec![vec![(0, 1.0), (0, 1.0)]]).is_err());
        assert!(Sparse::from_dense(Mat::zeros(2, 3).as_ref()).is_err());
    }
}
