//! The maps of a space as values of ROIs: those that the page shows first.

use std::collections::HashMap;

use crate::input::{ReportInput, Row};

/// Values of ROIs in one or several rows, on one scale.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub name: &'static str,
    /// What the numbers are.
    pub unit: String,
    pub rows: Vec<MapRow>,
}

/// The values of a modality, benchmark or model.
#[derive(Debug, Clone, Default)]
pub(crate) struct MapRow {
    pub name: String,
    /// By ROI; what is undefined or masked has none.
    pub values: HashMap<String, f64>,
}

/// The scale of a map: its ends, and how many values lie beyond the upper one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub low: f64,
    pub high: f64,
    pub n_above: usize,
    pub largest: f64,
}

impl Map {
    /// From 0 (or the least value below it) to the largest value. Ratios have long tails: where the largest
    /// would leave one colour to all others, to where 19 of 20 values have ended. `None` without a value.
    pub fn scale(&self) -> Option<Scale> {
        let mut values: Vec<f64> = self.rows.iter().flat_map(|r| r.values.values().copied()).collect();
        values.retain(|v| v.is_finite());
        values.sort_by(f64::total_cmp);
        let (&least, &largest) = (values.first()?, values.last()?);
        let low = least.min(0.0);
        let most = values[((0.95 * values.len() as f64) as usize).min(values.len() - 1)];
        let cut = most > low && largest - low > 1.5 * (most - low);
        let high = if cut { most } else { largest };
        let n_above = if cut { values.iter().filter(|v| **v > high).count() } else { 0 };
        Some(Scale { low, high, n_above, largest })
    }
}

/// The distinct values of a text column among rows, in order of appearance.
fn distinct(rows: &[Row<'_>], column: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in rows.iter().filter_map(|r| r.text(column)) {
        if !seen.iter().any(|s| s == value) {
            seen.push(value.to_owned());
        }
    }
    seen
}

/// The rows of one value of a column: of the preferred one where it is there, else of the first.
pub(crate) fn narrowed<'a>(rows: Vec<Row<'a>>, column: &str, preferred: &str) -> Vec<Row<'a>> {
    let options = distinct(&rows, column);
    let Some(first) = options.first() else { return rows };
    let wanted = if options.iter().any(|o| o == preferred) { preferred } else { first.as_str() };
    rows.into_iter().filter(|r| r.text(column) == Some(wanted)).collect()
}

fn single(row: &Row<'_>) -> bool {
    row.text("roi").is_some_and(|roi| !roi.starts_with('('))
}

/// One row of a map per value of a column, in order of appearance.
fn by<'a>(rows: &[Row<'a>], column: &str, value: impl Fn(&Row<'a>) -> Option<f64>) -> Vec<MapRow> {
    distinct(rows, column)
        .into_iter()
        .map(|name| {
            let mine = rows.iter().filter(|r| r.text(column) == Some(name.as_str()));
            let values = mine.filter_map(|r| Some((r.text("roi")?.to_owned(), value(r)?))).collect();
            MapRow { name, values }
        })
        .collect()
}

/// Every map of a space that has a value.
pub(crate) fn maps(input: &ReportInput, space: &str, unit: &str) -> Vec<Map> {
    let here = |table: &'static str| -> Vec<Row<'_>> {
        input.rows(table).filter(|r| r.text("space").unwrap_or_default() == space).collect()
    };
    let mut maps = Vec::new();
    let snci: Vec<Row<'_>> = here("snci").into_iter().filter(single).collect();
    let snci = narrowed(narrowed(snci, "representation", "stable_mode"), "kind", "");
    let kind = snci
        .first()
        .and_then(|r| r.text("kind"))
        .map_or(String::new(), |k| format!(" ({})", k.replace('_', " ")));
    maps.push(Map {
        name: "SNCI",
        unit: format!("SNCI{kind}"),
        rows: by(&snci, "modality", |r| r.number("value")),
    });
    maps.push(Map {
        name: "mean score",
        unit: format!("mean score over models, {unit}"),
        rows: by(&snci, "modality", |r| r.number("mean")),
    });
    let convergence = narrowed(here("convergence"), "representation", "stable_mode");
    maps.push(Map {
        name: "convergence",
        unit: "least SNCI over modalities".into(),
        rows: vec![MapRow {
            name: "all modalities".into(),
            values: convergence
                .iter()
                .filter_map(|r| Some((r.text("roi")?.to_owned(), r.number("convergence")?)))
                .collect(),
        }],
    });
    let rois = here("rois");
    let unmasked = |r: &Row<'_>| r.number("ceiling").filter(|_| r.flag("masked") != Some(true));
    let mut ceilings = by(&rois, "benchmark", unmasked);
    if ceilings.is_empty() {
        let values = rois.iter().filter_map(|r| Some((r.text("roi")?.to_owned(), unmasked(r)?))).collect();
        ceilings.push(MapRow { name: "noise ceiling".into(), values });
    }
    maps.push(Map { name: "noise ceiling", unit: "noise ceiling (correlation)".into(), rows: ceilings });
    maps.extend(encoding(input, &rois));
    maps.retain_mut(|map| {
        map.rows.retain(|row| row.values.values().any(|v| v.is_finite()));
        !map.rows.is_empty()
    });
    maps
}

/// Scores of the layers that training rows chose, and where the best layers lie, by model.
fn encoding(input: &ReportInput, rois: &[Row<'_>]) -> Vec<Map> {
    let Some(benchmark) = distinct(rois, "benchmark").into_iter().next() else { return Vec::new() };
    let rows: Vec<Row<'_>> = input
        .rows("selection")
        .filter(|r| r.text("benchmark") == Some(benchmark.as_str()) && single(r))
        .collect();
    let masked: Vec<&str> =
        rois.iter().filter(|r| r.flag("masked") == Some(true)).filter_map(|r| r.text("roi")).collect();
    let rows = narrowed(rows, "subject", "(mean)");
    let rows: Vec<Row<'_>> =
        rows.into_iter().filter(|r| r.text("roi").is_some_and(|roi| !masked.contains(&roi))).collect();
    vec![
        Map {
            name: "depth of the best layer",
            unit: "depth in the network, 0 first layer, 1 last; significant ROIs".into(),
            rows: by(&rows, "model", |r| r.number("depth").filter(|_| r.flag("significant") == Some(true))),
        },
        Map {
            name: "encoding score",
            unit: "correlation with held-out responses".into(),
            rows: by(&rows, "model", |r| r.number("r")),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f64]) -> Map {
        let values = values.iter().enumerate().map(|(i, v)| (i.to_string(), *v)).collect();
        Map { name: "m", unit: String::new(), rows: vec![MapRow { name: "a".into(), values }] }
    }

    #[test]
    fn a_scale_holds_zero_and_ends_before_a_long_tail() {
        let scale = |v: &[f64]| map(v).scale();
        assert_eq!(scale(&[0.2, 0.4]), Some(Scale { low: 0.0, high: 0.4, n_above: 0, largest: 0.4 }));
        assert_eq!(scale(&[-0.2, 0.4]).unwrap().low, -0.2);
        assert_eq!(scale(&[]), None);
        assert_eq!(scale(&[f64::INFINITY]), None);
        // Forty values: the one at ⌊0.95 · 40⌋ = 38 is the 39th, 1.0; the largest is beyond 1.5 of it.
        let mut tail = vec![1.0; 39];
        tail.push(9.0);
        assert_eq!(scale(&tail), Some(Scale { low: 0.0, high: 1.0, n_above: 1, largest: 9.0 }));
    }
}
