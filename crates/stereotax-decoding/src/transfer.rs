//! Train on one population, test on another: subjects, areas, modules.
//!
//! Rows of all populations are the same samples. A classifier is fitted on the training samples of the source and
//! asked for held-out samples of the target. Features must mean the same on both sides: either they do already
//! (regions of an atlas, units matched one to one), or every population is described by its first principal
//! components of the training samples, and the target is turned onto the source by the orthogonal Q that minimises
//! ‖S_t Q − S_s‖ over these (Schönemann 1966). No held-out sample takes part in either step.
//! The diagonal of the result is decoding within a population, in the same components.
//! Cost: per fold P decompositions of n × p and P² fits.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::classifier::Machine;
use super::decode::{DecodeParams, Tally, check};
use stereotax_base::data::{Error, Fold, Labels, Monitor, Result};
use stereotax_base::linalg::{column_means, cross, orthogonal_factor, product, select_rows, svd};

/// What makes features of two populations mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Common {
    /// Nothing: they do already.
    #[default]
    Features,
    /// Principal components, turned onto each other; how many.
    Turned(usize),
}

/// Accuracies between populations.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Accuracy, source × target.
    pub accuracy: Mat<f64>,
    /// Balanced accuracy.
    pub balanced_accuracy: Mat<f64>,
    /// Fits that stopped before their optimum.
    pub n_unconverged: usize,
}

/// Decode between all pairs of populations (samples × features each).
///
/// Errors: those of [`super::decode`]; populations with other rows, or other features where nothing makes them
/// common; fewer training samples or features than components.
pub fn transfer_decoding(
    names: &[String],
    populations: &[MatRef<'_, f64>],
    labels: &Labels,
    folds: &[Fold],
    common: Common,
    params: &DecodeParams,
    monitor: &Monitor<'_>,
) -> Result<Transfer> {
    let Some(first) = populations.first() else {
        return Err(Error::TooFew {
            what: "populations".into(),
            needed: "1 population".into(),
            found: "none".into(),
            hint: "map names to arrays".into(),
        });
    };
    for (name, x) in names.iter().zip(populations) {
        let features = common == Common::Features && x.ncols() != first.ncols();
        if x.nrows() != first.nrows() || features {
            return Err(Error::Shape {
                what: name.clone(),
                expected: format!(
                    "{} samples × {} features (as `{}`)",
                    first.nrows(),
                    first.ncols(),
                    names[0]
                ),
                found: format!("{} × {}", x.nrows(), x.ncols()),
                hint: "rows are the same samples in all; for other units say how many components to turn"
                    .into(),
            });
        }
        check(*x, labels, folds, &params.classifier)?;
        if let Common::Turned(k) = common {
            let least = folds.iter().map(|fold| fold.train.len() - 1).min().unwrap_or(0).min(x.ncols());
            if k == 0 || k > least {
                return Err(Error::Invalid {
                    what: "n_components".into(),
                    expected: format!("from 1 to {least} (features and training samples of `{name}`)"),
                    found: k.to_string(),
                    hint: "components are those of the training samples".into(),
                });
            }
        }
    }
    let (count, k) = (populations.len(), labels.n_groups());
    let told = folds
        .par_iter()
        .map(|fold| {
            let sides = populations
                .iter()
                .map(|x| side(*x, fold, common))
                .collect::<Result<Vec<(Mat<f64>, Mat<f64>)>>>()?;
            let y: Vec<usize> = fold.train.iter().map(|&i| labels.codes()[i]).collect();
            let (mut cells, mut n_early) = (vec![], 0);
            for source in 0..count {
                monitor.check()?;
                let train = &sides[source].0;
                let tests = (0..count)
                    .map(|target| {
                        let (known, held) = &sides[target];
                        if common == Common::Features || source == target {
                            return Ok(held.clone());
                        }
                        let turn = orthogonal_factor(cross(known.as_ref(), train.as_ref()).as_ref())?;
                        Ok(product(held.as_ref(), turn.as_ref()))
                    })
                    .collect::<Result<Vec<_>>>()?;
                let tests: Vec<MatRef<'_, f64>> = tests.iter().map(|x| x.as_ref()).collect();
                let machine = Machine::new(train.as_ref(), &tests, params.classifier, params.scaling)?;
                let told = machine.tell(&y, k)?;
                n_early += usize::from(!told.converged);
                cells.extend(told.classes);
            }
            Ok((cells, n_early))
        })
        .collect::<Result<Vec<_>>>()?;
    let tally = |cell: usize| {
        let of: Vec<Vec<Option<usize>>> = told.iter().map(|(cells, _)| cells[cell].clone()).collect();
        Tally::new(folds, labels.codes(), &of, k)
    };
    Ok(Transfer {
        accuracy: Mat::from_fn(count, count, |s, t| tally(s * count + t).accuracy()),
        balanced_accuracy: Mat::from_fn(count, count, |s, t| tally(s * count + t).balanced()),
        n_unconverged: told.iter().map(|(_, n)| n).sum(),
    })
}

/// Training and held-out samples of one population, in its components where these are turned.
fn side(x: MatRef<f64>, fold: &Fold, common: Common) -> Result<(Mat<f64>, Mat<f64>)> {
    let (mut train, mut held) = (select_rows(x, &fold.train), select_rows(x, &fold.test));
    let Common::Turned(k) = common else { return Ok((train, held)) };
    let means = column_means(train.as_ref());
    stereotax_base::linalg::centre_columns(train.as_mut(), &means);
    stereotax_base::linalg::centre_columns(held.as_mut(), &means);
    let found = svd(train.as_ref())?;
    let basis = found.v.get(.., ..k);
    Ok((product(train.as_ref(), basis), product(held.as_ref(), basis)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Classifier;
    use stereotax_base::data::Folds;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn turned_populations_are_told_by_each_other_and_strangers_are_not() {
        let mut stream = Stream::new(3, "transfer tests", 0);
        let n = 60;
        let a = Mat::from_fn(n, 5, |i, f| stream.normal() + if f == i % 3 { 6.0 } else { 0.0 });
        let turn = thin_qr(Mat::from_fn(5, 5, |_, _| stream.normal()).as_ref()).0;
        let b = product(a.as_ref(), turn.as_ref());
        let c = Mat::from_fn(n, 8, |_, _| stream.normal());
        let labels = Labels::new(&(0..n).map(|i| ["x", "y", "z"][i % 3]).collect::<Vec<_>>());
        let folds: Vec<Fold> = Folds::stratified(&labels, 4, 0).unwrap().iter().cloned().collect();
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let params = DecodeParams { classifier: Classifier::MaximumCorrelation, ..Default::default() };
        let all = [a.as_ref(), b.as_ref(), c.as_ref()];
        let turned = Common::Turned(5);
        let found =
            transfer_decoding(&names, &all, &labels, &folds, turned, &params, &Monitor::silent()).unwrap();
        // A rotation is undone exactly: across is as good as within.
        assert_eq!(found.accuracy[(0, 1)], found.accuracy[(0, 0)]);
        assert!(found.accuracy[(0, 0)] > 0.9 && found.accuracy[(0, 2)] < 0.6, "{:?}", found.accuracy);
        let plain = transfer_decoding(
            &names[..2],
            &all[..2],
            &labels,
            &folds,
            Common::Features,
            &params,
            &Monitor::silent(),
        )
        .unwrap();
        assert!(plain.accuracy[(0, 1)] < 0.9);
        let refused =
            transfer_decoding(&names, &all, &labels, &folds, Common::Features, &params, &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("`c`"));
    }
}
