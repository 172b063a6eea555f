//! Stimuli as points and as paths in the space of a population's first principal components.
//!
//! Rows are (stimulus, direction) pairs of the mean over time, or (stimulus, direction, time) triples; columns are
//! units. Columns are centred and not scaled, and all rows are decomposed together. The largest loading of every
//! component is positive. Ends of stimuli that are shorter than others take no part and come back as NaN.
//! Source: specs: encoding-manifolds 4.1 and 4.2. Cost: rows · units · min(rows, units).

use faer::Mat;

use stereotax_base::data::{Error, ResponseTensor, Result};
use stereotax_base::linalg::{centre_columns, column_means, product, svd};

/// Principal components of a population's states.
#[derive(Debug, Clone)]
pub struct PrincipalStates {
    /// Rows × components; NaN at the padded ends of stimuli.
    pub scores: Mat<f64>,
    /// Units × components; the largest entry of each is positive.
    pub loadings: Mat<f64>,
    /// Share of the variance of each component.
    pub explained: Vec<f64>,
    /// Time bins of each row's stimulus; 1 without time.
    pub n_times: usize,
}

/// States over time (rows stimulus, direction, time, the last fastest), or their means over time.
///
/// Errors: a unit that was not shown a stimulus (named), responses that do not vary, fewer rows or units than
/// components.
pub fn principal_states(
    responses: &ResponseTensor,
    n_components: usize,
    over_time: bool,
) -> Result<PrincipalStates> {
    let [n_units, n_stimuli, n_directions, n_times] = responses.shape();
    for n in 0..n_units {
        for s in 0..n_stimuli {
            if !responses.valid()[n * n_stimuli + s] {
                return Err(Error::Invalid {
                    what: format!(
                        "response of unit `{}` to `{}`",
                        responses.units()[n],
                        responses.stimuli()[s]
                    ),
                    expected: "a map: states need all units".into(),
                    found: "none".into(),
                    hint: "leave the unit or the stimulus out".into(),
                });
            }
        }
    }
    let length = |s: usize| responses.lengths()[s];
    let mut rows: Vec<(usize, usize, Option<usize>)> = vec![];
    for s in 0..n_stimuli {
        for d in 0..n_directions {
            if over_time {
                rows.extend((0..length(s)).map(|t| (s, d, Some(t))));
            } else {
                rows.push((s, d, None));
            }
        }
    }
    let mut x = Mat::from_fn(rows.len(), n_units, |i, n| {
        let (s, d, t) = rows[i];
        let line = &responses.map(n, s)[d * n_times..][..length(s)];
        match t {
            Some(t) => line[t],
            None => line.iter().sum::<f64>() / line.len() as f64,
        }
    });
    let most = n_units.min(rows.len() - 1);
    if n_components == 0 || n_components > most {
        return Err(Error::Invalid {
            what: "n_components".into(),
            expected: format!("from 1 to {most} ({} states of {n_units} units)", rows.len()),
            found: n_components.to_string(),
            hint: "3 are customary".into(),
        });
    }
    let means = column_means(x.as_ref());
    centre_columns(x.as_mut(), &means);
    let found = svd(x.as_ref())?;
    let total: f64 = found.s.iter().map(|s| s * s).sum();
    if !(total > 0.0) {
        return Err(Error::ZeroVariance {
            what: "responses".into(),
            detail: "all states are the same".into(),
            hint: "leave silent units out".into(),
        });
    }
    let mut loadings = found.v.get(.., ..n_components).to_owned();
    for c in 0..n_components {
        let column = loadings.col_as_slice_mut(c);
        let largest = column.iter().fold(0.0, |best: f64, &v| if v.abs() > best.abs() { v } else { best });
        if largest < 0.0 {
            column.iter_mut().for_each(|v| *v = -*v);
        }
    }
    let placed = product(x.as_ref(), loadings.as_ref());
    let width = if over_time { n_times } else { 1 };
    let mut scores = Mat::full(n_stimuli * n_directions * width, n_components, f64::NAN);
    for (i, &(s, d, t)) in rows.iter().enumerate() {
        let at = (s * n_directions + d) * width + t.unwrap_or(0);
        (0..n_components).for_each(|c| scores[(at, c)] = placed[(i, c)]);
    }
    let explained = found.s[..n_components].iter().map(|s| s * s / total).collect();
    Ok(PrincipalStates { scores, loadings, explained, n_times: width })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: Vec<f64>, n_units: usize) -> ResponseTensor {
        let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect::<Vec<String>>();
        ResponseTensor::new(values, names("u", n_units), names("s", 2), vec![0.0, 180.0], 0.1).unwrap()
    }

    #[test]
    fn a_line_through_the_units_is_the_first_component() {
        // Two units, the second twice the first: all states lie on (1, 2)/√5.
        let line: Vec<f64> = (0..12).map(|i| ((i * 7) % 5) as f64).collect();
        let mut values = line.clone();
        values.extend(line.iter().map(|v| 2.0 * v));
        let found = principal_states(&tensor(values.clone(), 2), 1, true).unwrap();
        assert!((found.explained[0] - 1.0).abs() < 1e-12);
        assert!((found.loadings[(1, 0)] - 2.0 / 5f64.sqrt()).abs() < 1e-12);
        let mean = line.iter().sum::<f64>() / 12.0;
        assert!((found.scores[(4, 0)] - (line[4] - mean) * 5f64.sqrt()).abs() < 1e-12);
        // The second stimulus lasts two bins of three: its last bin is nowhere.
        for i in [8, 11, 20, 23] {
            values[i] = f64::NAN;
        }
        let found = principal_states(&tensor(values.clone(), 2), 1, true).unwrap();
        assert!(found.scores[(8, 0)].is_nan() && found.scores[(7, 0)].is_finite());
        let still = principal_states(&tensor(values.clone(), 2), 1, false).unwrap();
        assert_eq!((still.scores.nrows(), still.n_times), (4, 1));
        values[6..12].fill(f64::NAN);
        let refused = principal_states(&tensor(values, 2), 1, true).unwrap_err().to_string();
        assert!(refused.contains("unit `u0` to `s1`"), "{refused}");
    }
}
