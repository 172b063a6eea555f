//! The transport problem with uniform marginals: move what rows have to columns at least total cost.

use faer::{Mat, MatRef};

/// The plan T of least Σ T_ij C_ij whose rows sum to 1/n and columns to 1/m, for an n × m cost.
///
/// For n = m it is a permutation over n (the assignment problem). Shortest augmenting paths with dual prices, as
/// for the assignment problem, with whole numbers of shares: m/g of each row and n/g of each column, g their
/// greatest common divisor. Exact; costs must be finite. Cost: O((n + m) · n m) time for sizes that divide each
/// other, up to some times as much otherwise; O(n m) memory.
pub fn uniform_transport(cost: MatRef<f64>) -> Mat<f64> {
    let (n, m) = (cost.nrows(), cost.ncols());
    if n == 0 || m == 0 {
        return Mat::zeros(n, m);
    }
    let divisor = greatest_common_divisor(n, m);
    let (per_row, per_column) = (m / divisor, n / divisor);
    let mut moved: Mat<usize> = Mat::full(n, m, 0);
    let mut wanted = vec![per_column; m];
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; m]);
    for source in 0..n {
        let mut left = per_row;
        // Reduced costs of all rows so far are at least 0, and so are this one's from here on.
        row_price[source] = (0..m).map(|j| cost[(source, j)] - column_price[j]).fold(f64::INFINITY, f64::min);
        while left > 0 {
            // Shortest way from `source` to a column that wants more, over reduced costs ≥ 0.
            let mut column_far = vec![f64::INFINITY; m];
            let mut row_far = vec![f64::INFINITY; n];
            let (mut from_row, mut from_column) = (vec![usize::MAX; m], vec![usize::MAX; n]);
            let mut done = vec![false; m];
            row_far[source] = 0.0;
            let mut fresh = vec![source];
            let target = loop {
                for &i in &fresh {
                    for j in 0..m {
                        let far = row_far[i] + cost[(i, j)] - row_price[i] - column_price[j];
                        if !done[j] && far < column_far[j] {
                            (column_far[j], from_row[j]) = (far, i);
                        }
                    }
                }
                let open = (0..m).filter(|&j| !done[j]);
                let next = open.fold(usize::MAX, |best, j| {
                    if best == usize::MAX || column_far[j] < column_far[best] { j } else { best }
                });
                done[next] = true;
                if wanted[next] > 0 {
                    break next;
                }
                // Rows that give to this column may give elsewhere instead, at no reduced cost.
                fresh.clear();
                for i in 0..n {
                    if moved[(i, next)] > 0 && row_far[i].is_infinite() {
                        (row_far[i], from_column[i]) = (column_far[next], next);
                        fresh.push(i);
                    }
                }
            };
            let end = column_far[target];
            for i in (0..n).filter(|&i| row_far[i] < end) {
                row_price[i] += end - row_far[i];
            }
            for j in (0..m).filter(|&j| done[j] && column_far[j] < end) {
                column_price[j] -= end - column_far[j];
            }
            // As many shares as every step of the way allows.
            let mut share = left.min(wanted[target]);
            let mut column = target;
            while from_column[from_row[column]] != usize::MAX {
                let row = from_row[column];
                column = from_column[row];
                share = share.min(moved[(row, column)]);
            }
            let mut column = target;
            loop {
                let row = from_row[column];
                moved[(row, column)] += share;
                if from_column[row] == usize::MAX {
                    break;
                }
                column = from_column[row];
                moved[(row, column)] -= share;
            }
            wanted[target] -= share;
            left -= share;
        }
    }
    let one = 1.0 / (n * per_row) as f64;
    Mat::from_fn(n, m, |i, j| moved[(i, j)] as f64 * one)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::assignment;
    use crate::stats::rng::Stream;

    #[test]
    fn two_rows_and_three_columns_by_hand() {
        // Columns 0 and 2 go to their own row; column 1 is shared: 2 · 1/3 · 0 + 1/3 · 1.
        let cost = Mat::from_fn(2, 3, |i, j| [[0.0, 1.0, 5.0], [5.0, 1.0, 0.0]][i][j]);
        let plan = uniform_transport(cost.as_ref());
        let expected = [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]];
        assert!((0..2).all(|i| (0..3).all(|j| (plan[(i, j)] - expected[i][j] / 6.0).abs() < 1e-15)));
    }

    #[test]
    fn equal_sizes_are_an_assignment_and_others_one_of_copies() {
        for (n, m, index) in [(7, 7, 0), (4, 6, 1), (9, 3, 2), (5, 8, 3)] {
            let mut stream = Stream::new(41, "transport tests", index);
            let cost = Mat::from_fn(n, m, |_, _| stream.normal());
            let plan = uniform_transport(cost.as_ref());
            for i in 0..n {
                assert!(((0..m).map(|j| plan[(i, j)]).sum::<f64>() - 1.0 / n as f64).abs() < 1e-14);
            }
            for j in 0..m {
                assert!(((0..n).map(|i| plan[(i, j)]).sum::<f64>() - 1.0 / m as f64).abs() < 1e-14);
            }
            // The slow twin: every row m times, every column n times.
            let copies = Mat::from_fn(n * m, n * m, |i, j| cost[(i / m, j / n)]);
            let pairs = assignment(copies.as_ref());
            let least: f64 = pairs.iter().enumerate().map(|(i, &j)| copies[(i, j)]).sum::<f64>();
            let found: f64 =
                (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).map(|at| plan[at] * cost[at]).sum();
            assert!((found - least / (n * m) as f64).abs() < 1e-12, "{n} {m}");
        }
    }
}
