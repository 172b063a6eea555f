//! Word what encoding layer by layer found, and lay out its table.

use crate::cells::{Cell, Grid, fixed, head, interval, p_text};
use crate::input::{ReportInput, Row};

/// The section's sentences and table.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Summary {
    pub sentences: Vec<String>,
    pub models: Grid,
    pub partition: bool,
    pub weights: bool,
}

/// Models that are told in a sentence of their own; of more the table tells.
const TOLD: usize = 6;

/// Layers that are named beside their weight.
const NAMED: usize = 3;

/// What all layers together say of a model, and which of them weigh most; nothing where they were not combined.
fn combined(input: &ReportInput, row: &Row<'_>) -> String {
    let (Some(name), Some(r), Some(gain)) =
        (row.text("combined"), row.number("combined_r"), row.number("gain"))
    else {
        return String::new();
    };
    let interval = match (row.number("gain_lower"), row.number("gain_upper")) {
        (Some(lower), Some(upper)) => format!(" (95 % interval {} to {})", fixed(lower, 3), fixed(upper, 3)),
        _ => String::new(),
    };
    let same = |other: &Row<'_>, key: &str| other.text(key) == row.text(key);
    let mut weights: Vec<(f64, String)> = input
        .rows("encoding_weights")
        .filter(|w| same(w, "model") && same(w, "benchmark") && same(w, "subject"))
        .filter(|w| w.text("targets") == Some("(all)"))
        .filter_map(|w| Some((w.number("weight")?, w.text("layer")?.to_owned())))
        .collect();
    weights.sort_by(|a, b| b.0.total_cmp(&a.0));
    let named: Vec<String> =
        weights.iter().take(NAMED).map(|(weight, layer)| format!("{layer} {}", fixed(*weight, 2))).collect();
    let rest = match weights.len() {
        0 => String::new(),
        n if n > NAMED => format!("; the largest mean weights of its {n} layers: {}", named.join(", ")),
        _ => format!("; mean weights: {}", named.join(", ")),
    };
    format!(
        " All layers {} predict with r {}, {} {} than the layers chosen{interval}{rest}.",
        if name == "(banded)" { "as bands of one ridge" } else { "stacked" },
        fixed(r, 3),
        fixed(gain.abs(), 3),
        if gain < 0.0 { "less" } else { "more" },
    )
}

/// What the tables say; `None` where no layer was encoded.
pub(crate) fn summary(input: &ReportInput) -> Option<Summary> {
    input.tables.get("encoding_models")?;
    // Averages over subjects where there are any.
    let averaged = input.rows("encoding_models").any(|row| row.text("subject") == Some("(mean)"));
    let told: Vec<_> = input
        .rows("encoding_models")
        .filter(|row| !averaged || row.text("subject") == Some("(mean)"))
        .collect();
    let mut sentences: Vec<String> = told
        .iter()
        .take(TOLD)
        .map(|row| {
            let about = format!(
                "{} on {}{}",
                row.text("model").unwrap_or_default(),
                row.text("benchmark").unwrap_or_default(),
                match row.text("subject") {
                    Some("(mean)") | None => String::new(),
                    Some(subject) => format!(" ({subject})"),
                }
            );
            let (Some(nested), Some(best), Some(bias)) =
                (row.number("nested_r"), row.number("best_r"), row.number("selection_bias"))
            else {
                return format!("{about}: {}.", row.reason().unwrap_or("undefined"));
            };
            let share = row.number("share_significant").map_or(String::new(), |share| {
                format!(" In {:.0} % of the targets the best layer is significant.", 100.0 * share)
            });
            let spatial = match (row.number("spatial_r"), row.shown("n_spatial")) {
                (Some(r), Some(n)) => {
                    let p = row.number("spatial_p").map_or(String::new(), |p| format!(", p {}", p_text(p)));
                    format!(
                        " Over {n} targets the depth of the best layer correlates with the hierarchy by {}{p}.",
                        fixed(r, 2)
                    )
                }
                _ => String::new(),
            };
            format!(
                "{about}: with the layer of every target chosen on training rows, held-out responses correlate \
                 with their predictions by {} on average; the best of the scores themselves would have said {}, \
                 which is {} too {} for having looked.{share}{spatial}{}",
                fixed(nested, 3),
                fixed(best, 3),
                fixed(bias.abs(), 3),
                if bias < 0.0 { "low" } else { "high" },
                combined(input, row),
            )
        })
        .collect();
    if told.len() > TOLD {
        sentences.push(format!("{} more stand in the table below.", told.len() - TOLD));
    }
    let heads = vec![
        head("Model", "", false),
        head("Benchmark", "", false),
        head("Subject", "", false),
        head("Layers", "", true),
        head("Targets", "that every layer can be scored on", true),
        head("All layers", "mean r over targets and layers", true),
        head("Chosen", "mean r of the layers that training rows chose", true),
        head("Interval", "bootstrap over stimuli, of the chosen layers", true),
        head("Best", "mean r of the best layer by its own score: biased", true),
        head("Bias", "best less chosen", true),
        head("R²", "of the chosen layers, against the mean of each held-out fold", true),
        head("Combined", "mean r of all layers as one predictor", true),
        head("Gain", "combined less chosen", true),
        head("Significant", "share of targets whose best layer has an adjusted p of at most 0.05", true),
        head(
            "Depth and hierarchy",
            "correlation over targets of the depth of the best layer with their place in the hierarchy",
            true,
        ),
        head("At edge", "share of penalties on an edge of the grid", true),
    ];
    let rows = input
        .rows("encoding_models")
        .map(|row| {
            let why = row.reason();
            let share = |column: &str, why| match row.number(column) {
                Some(x) => Cell::text(Some(format!("{:.0} %", 100.0 * x)), None).classed("num"),
                None => Cell::undefined(why).classed("num"),
            };
            vec![
                Cell::text(row.text("model"), None).classed("name"),
                Cell::text(row.text("benchmark"), why),
                Cell::text(row.text("subject"), why),
                Cell::text(row.shown("n_layers"), why).classed("num"),
                Cell::text(row.shown("n_targets"), why).classed("num"),
                Cell::number(row.number("mean_r"), 3, why),
                Cell::number(row.number("nested_r"), 3, why),
                interval(row, 3),
                Cell::number(row.number("best_r"), 3, why),
                Cell::number(row.number("selection_bias"), 3, why),
                Cell::number(row.number("nested_r2"), 3, why),
                Cell::number(row.number("combined_r"), 3, Some(why.unwrap_or("layers were not combined"))),
                Cell::number(row.number("gain"), 3, Some(why.unwrap_or("layers were not combined"))),
                share("share_significant", Some(why.unwrap_or("no p-values: too many targets, or no null"))),
                Cell::number(
                    row.number("spatial_r"),
                    2,
                    Some(
                        why.unwrap_or(
                            "the ROI table has no column `hierarchy`, or fewer than 4 targets count",
                        ),
                    ),
                ),
                share("share_at_edge", why),
            ]
        })
        .collect();
    let partition = input.rows("partition").next().is_some();
    let weights = input.rows("encoding_weights").next().is_some();
    Some(Summary { sentences, models: Grid { caption: String::new(), heads, rows }, partition, weights })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_io::Table;

    #[test]
    fn the_sentence_says_what_looking_costs() {
        let table = Table::new()
            .text("model", [Some("net"), Some("net")])
            .text("benchmark", [Some("b"), Some("b")])
            .text("subject", [Some("(mean)"), Some("one")])
            .number("nested_r", [Some(0.25), Some(0.2)])
            .number("best_r", [Some(0.3), Some(0.3)])
            .number("selection_bias", [Some(0.05), Some(0.1)])
            .number("share_significant", [Some(0.5), None])
            .text("status", [Some("ok"), Some("ok")]);
        let mut input = ReportInput::default();
        assert!(summary(&input).is_none());
        input.tables.insert("encoding_models".into(), table);
        let found = summary(&input).unwrap();
        assert_eq!(found.sentences.len(), 1);
        assert!(found.sentences[0].contains("by 0.250 on average"), "{}", found.sentences[0]);
        assert!(found.sentences[0].contains("0.300, which is 0.050 too high"), "{}", found.sentences[0]);
        assert!(found.sentences[0].contains("In 50 % of the targets"));
        assert_eq!(found.models.rows.len(), 2);
        assert!(!found.sentences[0].contains("All layers") && !found.weights);
    }

    #[test]
    fn the_sentence_says_what_all_layers_gain_and_which_weigh_most() {
        let models = Table::new()
            .text("model", [Some("net")])
            .text("benchmark", [Some("b")])
            .text("subject", [Some("one")])
            .number("nested_r", [Some(0.25)])
            .number("best_r", [Some(0.3)])
            .number("selection_bias", [Some(0.05)])
            .text("combined", [Some("(stacked)")])
            .number("combined_r", [Some(0.28)])
            .number("gain", [Some(0.03)])
            .number("gain_lower", [Some(0.01)])
            .number("gain_upper", [Some(0.05)])
            .text("status", [Some("ok")]);
        let weights = Table::new()
            .text("model", [Some("net"); 3])
            .text("benchmark", [Some("b"); 3])
            .text("subject", [Some("one"); 3])
            .text("targets", [Some("(all)"), Some("(all)"), Some("roi")])
            .text("layer", [Some("early"), Some("late"), Some("early")])
            .number("weight", [Some(0.2), Some(0.8), Some(0.9)]);
        let mut input = ReportInput::default();
        input.tables.insert("encoding_models".into(), models);
        input.tables.insert("encoding_weights".into(), weights);
        let found = summary(&input).unwrap();
        let told = "All layers stacked predict with r 0.280, 0.030 more than the layers chosen (95 % interval 0.010 to \
                    0.050); mean weights: late 0.80, early 0.20.";
        assert!(found.sentences[0].contains(told), "{}", found.sentences[0]);
        assert!(found.weights);
    }
}
