//! Word what comparing layers with areas found, and lay out its tables.

use crate::cells::{Cell, Grid, fixed, head, interval};
use crate::input::{ReportInput, Row};

/// The section's sentences and tables.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Summary {
    pub sentences: Vec<String>,
    pub best: Grid,
    pub differences: Grid,
    pub map: bool,
}

/// Models that are told in a sentence of their own; of more the table tells.
const TOLD: usize = 6;
/// Pairs of models that stand in the table of the page.
const MOST_PAIRS: usize = 500;
/// An area counts up to this adjusted p-value.
const SIGNIFICANT: f64 = 0.05;

/// What the tables say; `None` where nothing was compared.
pub(crate) fn summary(input: &ReportInput) -> Option<Summary> {
    input.tables.get("similarity_best")?;
    let averaged = input.rows("similarity_best").any(|row| row.text("subject") == Some("(mean)"));
    let shown = |row: &Row<'_>| !averaged || row.text("subject") == Some("(mean)");
    let first_measure = input.rows("similarity_best").find_map(|row| row.text("measure"));
    let mut about: Vec<(&str, &str, Vec<Row<'_>>)> = Vec::new();
    let of_first =
        input.rows("similarity_best").filter(|row| shown(row) && row.text("measure") == first_measure);
    for row in of_first {
        let (model, benchmark) =
            (row.text("model").unwrap_or_default(), row.text("benchmark").unwrap_or_default());
        match about.iter_mut().find(|(m, b, _)| *m == model && *b == benchmark) {
            Some((_, _, rows)) => rows.push(row),
            None => about.push((model, benchmark, vec![row])),
        }
    }
    let measure = first_measure.unwrap_or_default();
    let mut sentences: Vec<String> = about
        .iter()
        .take(TOLD)
        .map(|(model, benchmark, rows)| {
            let judged: Vec<f64> = rows.iter().filter_map(|row| row.number("p_adj")).collect();
            let mut text = format!("{model} on {benchmark}, by {measure}: ");
            if judged.is_empty() {
                text += "no p-values. ";
            } else {
                let significant = judged.iter().filter(|p| **p <= SIGNIFICANT).count();
                text += &format!(
                    "in {significant} of {} areas the best layer is more alike than chance, once all that was looked \
                     at is counted. ",
                    judged.len()
                );
            }
            let strongest = rows.iter().filter(|row| row.number("p_adj").is_some_and(|p| p <= SIGNIFICANT));
            let told: Vec<String> = strongest.take(3).map(|row| told(*row)).collect();
            text + &told.join("; ") + if told.is_empty() { "" } else { "." }
        })
        .collect();
    if about.len() > TOLD {
        sentences.push(format!("{} more stand in the table below.", about.len() - TOLD));
    }
    let map = input.rows("similarity_map").next().is_some();
    Some(Summary { sentences, best: best(input, &shown), differences: differences(input, &shown), map })
}

/// One area with its best layer.
fn told(row: Row<'_>) -> String {
    let number = |column: &str| row.number(column).map_or_else(|| "–".to_owned(), |x| fixed(x, 3));
    format!(
        "{}: {}, {} (corrected {}; chance {}, other subjects {})",
        row.text("area").unwrap_or_default(),
        row.text("best_layer").unwrap_or("no layer"),
        number("value"),
        number("corrected"),
        number("chance"),
        number("ceiling"),
    )
}

fn best(input: &ReportInput, shown: &dyn Fn(&Row<'_>) -> bool) -> Grid {
    let heads = vec![
        head("Model", "", false),
        head("Benchmark", "", false),
        head("Area", "", false),
        head("Measure", "", false),
        head("Best layer", "", false),
        head("Depth", "0 the first layer, 1 the last", true),
        head("Value", "of the best layer: biased by having looked", true),
        head("Corrected", "less what the choice inflates it by", true),
        head("Interval", "of the corrected value, over other stimuli", true),
        head("Wins", "share of draws in which this layer is the best", true),
        head("Chance", "mean over permutations of the stimuli", true),
        head("Others", "the same area of the other subjects in the model’s place", true),
        head("p", "against the best layer of every permutation", true),
        head("p adj.", "over all models, layers, areas and measures", true),
    ];
    let rows = input
        .rows("similarity_best")
        .filter(|row| shown(row))
        .map(|row| {
            let why = row.reason();
            let no_draws = Some(why.unwrap_or("no draws that count"));
            let alone = Some(why.unwrap_or("there is one subject"));
            let no_null = Some(why.unwrap_or("no permutations"));
            vec![
                Cell::text(row.text("model"), None).classed("name"),
                Cell::text(row.text("benchmark"), why),
                Cell::text(row.text("area"), why),
                Cell::text(row.text("measure"), why),
                Cell::text(row.text("best_layer"), why),
                Cell::number(row.number("depth"), 2, why),
                Cell::number(row.number("value"), 3, why),
                Cell::number(row.number("corrected"), 3, no_draws),
                interval(row, 3),
                match row.number("win_share") {
                    Some(share) => Cell::text(Some(format!("{:.0} %", 100.0 * share)), None).classed("num"),
                    None => Cell::undefined(no_draws).classed("num"),
                },
                Cell::number(row.number("chance"), 3, no_null),
                Cell::number(row.number("ceiling"), 3, alone),
                Cell::p(row.number("p"), no_null),
                Cell::p(row.number("p_adj"), no_null),
            ]
        })
        .collect();
    Grid { caption: String::new(), heads, rows }
}

fn differences(input: &ReportInput, shown: &dyn Fn(&Row<'_>) -> bool) -> Grid {
    let heads = vec![
        head("First", "", false),
        head("Second", "", false),
        head("Benchmark", "", false),
        head("Area", "", false),
        head("Measure", "", false),
        head("Difference", "of corrected best layers; above 0 the first is more alike", true),
        head("Interval", "over other stimuli", true),
        head("p", "two-sided, over other stimuli", true),
        head("p adj.", "over all pairs, areas and measures", true),
        head("p subjects", "t-test over subjects, not adjusted", true),
        head("p subjects adj.", "sign flips of subjects, over all pairs, areas and measures", true),
    ];
    let all = input.rows("similarity_differences").filter(|row| shown(row)).count();
    let rows: Vec<Vec<Cell>> = input
        .rows("similarity_differences")
        .filter(|row| shown(row))
        .take(MOST_PAIRS)
        .map(|row| {
            let why = row.reason();
            vec![
                Cell::text(row.text("model_a"), None).classed("name"),
                Cell::text(row.text("model_b"), None).classed("name"),
                Cell::text(row.text("benchmark"), why),
                Cell::text(row.text("area"), why),
                Cell::text(row.text("measure"), why),
                Cell::number(row.number("difference"), 3, why),
                interval(row, 3),
                Cell::p(row.number("p"), why),
                Cell::p(row.number("p_adj"), why),
                Cell::p(row.number("p_subjects"), Some(why.unwrap_or("fewer than 3 subjects"))),
                Cell::p(row.number("p_subjects_adj"), Some(why.unwrap_or("fewer than 3 subjects"))),
            ]
        })
        .collect();
    let caption = match all > rows.len() {
        true => format!("The first {} of {all} rows; the results folder holds all.", rows.len()),
        false => String::new(),
    };
    Grid { caption, heads, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_io::Table;

    #[test]
    fn sentences_speak_of_the_mean_and_of_the_first_measure() {
        let words = |all: [&'static str; 4]| all.map(Some);
        let table = Table::new()
            .text("model", words(["net"; 4]))
            .text("benchmark", words(["b"; 4]))
            .text("subject", words(["one", "(mean)", "(mean)", "(mean)"]))
            .text("area", words(["V1", "V1", "IT", "V1"]))
            .text("measure", words(["cka", "cka", "cka", "rsa"]))
            .text("best_layer", words(["l1", "l1", "l4", "l2"]))
            .number("value", [Some(0.9), Some(0.5), Some(0.4), Some(0.3)])
            .number("corrected", [Some(0.9), Some(0.45), Some(0.35), Some(0.2)])
            .number("p_adj", [Some(0.01), Some(0.01), Some(0.2), Some(0.01)])
            .text("status", words(["ok"; 4]));
        let mut input = ReportInput::default();
        assert!(summary(&input).is_none());
        input.tables.insert("similarity_best".into(), table);
        let found = summary(&input).unwrap();
        assert_eq!(found.sentences.len(), 1);
        assert!(found.sentences[0].contains("net on b, by cka: in 1 of 2 areas"), "{}", found.sentences[0]);
        assert!(found.sentences[0].contains("V1: l1, 0.500 (corrected 0.450; chance –, other subjects –)."));
        assert_eq!((found.best.rows.len(), found.differences.rows.len()), (3, 0));
        assert!(!found.map && found.differences.caption.is_empty());
    }
}
