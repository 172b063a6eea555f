//! The assignment problem: pair rows with columns at least total cost.

use faer::MatRef;

/// The column given to each row of a square cost matrix, such that the total cost is least.
///
/// Shortest augmenting paths with dual prices (Kuhn 1955; the O(n³) form of Jonker & Volgenant 1987).
/// Cost: O(n³) time, O(n) memory. Costs must be finite.
pub fn assignment(cost: MatRef<f64>) -> Vec<usize> {
    let n = cost.nrows();
    assert_eq!(n, cost.ncols(), "an assignment needs a square cost matrix");
    // Rows and columns count from 1 here; 0 stands for "none".
    let (mut row_price, mut column_price) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    let mut row_of = vec![0usize; n + 1];
    for row in 1..=n {
        row_of[0] = row;
        let mut reached_from = vec![0usize; n + 1];
        let mut slack = vec![f64::INFINITY; n + 1];
        let mut visited = vec![false; n + 1];
        let mut column = 0;
        loop {
            visited[column] = true;
            let current = row_of[column];
            let (mut delta, mut next) = (f64::INFINITY, 0);
            for j in 1..=n {
                if visited[j] {
                    continue;
                }
                let reduced = cost[(current - 1, j - 1)] - row_price[current] - column_price[j];
                if reduced < slack[j] {
                    slack[j] = reduced;
                    reached_from[j] = column;
                }
                if slack[j] < delta {
                    delta = slack[j];
                    next = j;
                }
            }
            for j in 0..=n {
                if visited[j] {
                    row_price[row_of[j]] += delta;
                    column_price[j] -= delta;
                } else {
                    slack[j] -= delta;
                }
            }
            column = next;
            if row_of[column] == 0 {
                break;
            }
        }
        while column != 0 {
            let previous = reached_from[column];
            row_of[column] = row_of[previous];
            column = previous;
        }
    }
    let mut column_of = vec![0; n];
    for column in 1..=n {
        column_of[row_of[column] - 1] = column - 1;
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    fn least_by_trying_all(cost: &Mat<f64>, row: usize, free: &mut Vec<usize>) -> f64 {
        if row == cost.nrows() {
            return 0.0;
        }
        (0..free.len())
            .map(|k| {
                let column = free.remove(k);
                let total = cost[(row, column)] + least_by_trying_all(cost, row + 1, free);
                free.insert(k, column);
                total
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_other_pairing_is_cheaper() {
        for index in 0..20 {
            let mut stream = Stream::new(2, "assignment", index);
            let cost = Mat::from_fn(6, 6, |_, _| stream.normal());
            let found = assignment(cost.as_ref());
            let total: f64 = found.iter().enumerate().map(|(i, &j)| cost[(i, j)]).sum();
            let least = least_by_trying_all(&cost, 0, &mut (0..6).collect());
            assert!((total - least).abs() < 1e-12, "{total} against {least}");
        }
    }
}
