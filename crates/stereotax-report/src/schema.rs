//! The tables and columns that a report reads, as docs/reference/results.md lists them.

use stereotax_io::{Table, Values};

use crate::error::ReportError;

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Numbers or whole numbers.
    Number,
    /// Anything: shown as it is.
    Any,
}

/// One table: its columns, of which the first `n_keys` name its rows and must be there.
#[derive(Debug)]
pub(crate) struct TableSchema {
    pub name: &'static str,
    pub n_keys: usize,
    pub columns: &'static [(&'static str, Kind)],
}

use Kind::{Any, Number, Text};

/// Every table of a run, in the order in which the page offers them.
pub(crate) const TABLES: &[TableSchema] = &[
    TableSchema {
        name: "models",
        n_keys: 2,
        columns: &[
            ("model", Text),
            ("modality", Text),
            ("family", Text),
            ("benchmark", Text),
            ("trained", Any),
            ("twin_of", Text),
            ("space", Text),
            ("n_layers", Number),
            ("layer_map", Text),
            ("trajectory", Text),
            ("verdict", Text),
            ("reason", Text),
            ("lambda_re", Number),
            ("lambda_im", Number),
            ("depth_gain", Number),
            ("depth_rotation", Number),
            ("energy", Number),
            ("residual", Number),
            ("weight_stability", Number),
            ("lambda_sd", Number),
            ("leave_one_layer_out", Number),
            ("bootstrap_correlation", Number),
            ("modulus_lower", Number),
            ("modulus_upper", Number),
            ("share_qualifying", Number),
            ("versus_persistence", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "scores",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("modality", Text),
            ("family", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("roi", Text),
            ("representation", Text),
            ("layer", Text),
            ("time_s", Number),
            ("measure", Text),
            ("r", Number),
            ("score", Number),
            ("score_kind", Text),
            ("ceiling", Number),
            ("ceiling_kind", Text),
            ("chance", Number),
            ("n", Number),
            ("n_eff", Number),
            ("p", Number),
            ("p_adj", Number),
            ("adjustment", Text),
            ("p_max_t", Number),
            ("q_bh", Number),
            ("q_by", Number),
            ("alpha", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "coordinates",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("representation", Text),
            ("embedding", Text),
            ("model", Text),
            ("modality", Text),
            ("family", Text),
            ("x", Number),
            ("y", Number),
            ("sd_x", Number),
            ("sd_y", Number),
            ("cov_xy", Number),
            ("explained_x", Number),
            ("explained_y", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "snci",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("representation", Text),
            ("modality", Text),
            ("roi", Text),
            ("kind", Text),
            ("value", Number),
            ("lower", Number),
            ("upper", Number),
            ("mean", Number),
            ("sd", Number),
            ("n_models", Number),
            ("n_families", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "convergence",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("representation", Text),
            ("roi", Text),
            ("network", Text),
            ("convergence", Number),
            ("lower", Number),
            ("upper", Number),
            ("n_modalities", Number),
            ("all_above", Any),
            ("threshold", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "tests",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("representation", Text),
            ("test", Text),
            ("contrast", Text),
            ("statistic_name", Text),
            ("statistic", Number),
            ("r2", Number),
            ("omega2", Number),
            ("p", Number),
            ("p_adj", Number),
            ("adjustment", Text),
            ("n_permutations", Number),
            ("exact", Any),
            ("n_objects", Number),
            ("restricted", Any),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "controls",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("model", Text),
            ("modality", Text),
            ("claim_representation", Text),
            ("control", Text),
            ("claim", Number),
            ("value", Number),
            ("difference", Number),
            ("lower", Number),
            ("upper", Number),
            ("p", Number),
            ("n_rois", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "multiverse",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("trajectory", Text),
            ("scale", Text),
            ("select", Text),
            ("rank", Any),
            ("estimator", Text),
            ("score", Number),
            ("versus_layer_mean", Number),
            ("lambda_re", Number),
            ("lambda_im", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "spectra",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("fold", Any),
            ("segment", Any),
            ("mode", Any),
            ("re", Number),
            ("im", Number),
            ("modulus", Number),
            ("depth_gain", Number),
            ("depth_rotation", Number),
            ("energy", Number),
            ("residual", Number),
            ("versus_persistence", Number),
            ("selected", Any),
        ],
    },
    TableSchema {
        name: "weights",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("fold", Any),
            ("layer", Text),
            ("position", Number),
            ("weight", Number),
        ],
    },
    TableSchema {
        name: "encoding",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("roi", Text),
            ("time_s", Number),
            ("layer", Text),
            ("position", Number),
            ("r", Number),
            ("r2", Number),
            ("ceiling", Number),
            ("of_ceiling", Number),
            ("n", Number),
            ("p", Number),
            ("p_adj", Number),
            ("adjustment", Text),
            ("alpha", Number),
            ("inner_score", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "layers",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("targets", Text),
            ("layer", Text),
            ("position", Number),
            ("r", Number),
            ("lower", Number),
            ("upper", Number),
            ("r2", Number),
            ("n_targets", Number),
            ("n_chosen", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "selection",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("roi", Text),
            ("time_s", Number),
            ("chosen_layer", Text),
            ("chosen_share", Number),
            ("r", Number),
            ("lower", Number),
            ("upper", Number),
            ("r2", Number),
            ("p", Number),
            ("best_layer", Text),
            ("best_r", Number),
            ("selection_bias", Number),
            ("depth", Number),
            ("centroid", Number),
            ("at_boundary", Any),
            ("significant", Any),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "time_selection",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("channel", Text),
            ("chosen_layer", Text),
            ("layer_share", Number),
            ("chosen_time_s", Number),
            ("time_share", Number),
            ("r", Number),
            ("lower", Number),
            ("upper", Number),
            ("r2", Number),
            ("p", Number),
            ("p_adj", Number),
            ("best_layer", Text),
            ("best_time_s", Number),
            ("best_r", Number),
            ("selection_bias", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "encoding_models",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("modality", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("n_layers", Number),
            ("n_targets", Number),
            ("n_undefined", Number),
            ("mean_r", Number),
            ("nested_r", Number),
            ("lower", Number),
            ("upper", Number),
            ("best_r", Number),
            ("selection_bias", Number),
            ("nested_r2", Number),
            ("share_significant", Number),
            ("combined", Text),
            ("combined_r", Number),
            ("combined_lower", Number),
            ("combined_upper", Number),
            ("combined_r2", Number),
            ("gain", Number),
            ("gain_lower", Number),
            ("gain_upper", Number),
            ("spatial_r", Number),
            ("spatial_p", Number),
            ("n_spatial", Number),
            ("temporal_r", Number),
            ("temporal_p", Number),
            ("share_at_edge", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "encoding_weights",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("targets", Text),
            ("layer", Text),
            ("position", Number),
            ("weight", Number),
            ("r2", Number),
            ("joint_r2", Number),
            ("n_targets", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "partition",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("targets", Text),
            ("kind", Text),
            ("sets", Text),
            ("r2", Number),
            ("lower", Number),
            ("upper", Number),
            ("n_targets", Number),
            ("n_negative", Number),
            ("n_overfitted", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "similarity",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("area", Text),
            ("layer", Text),
            ("position", Number),
            ("measure", Text),
            ("value", Number),
            ("lower", Number),
            ("upper", Number),
            ("interval", Text),
            ("chance", Number),
            ("p", Number),
            ("p_adj", Number),
            ("adjustment", Text),
            ("ceiling", Number),
            ("n", Number),
            ("n_units", Number),
            ("n_columns", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "similarity_best",
        n_keys: 0,
        columns: &[
            ("model", Text),
            ("modality", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("area", Text),
            ("measure", Text),
            ("best_layer", Text),
            ("depth", Number),
            ("value", Number),
            ("corrected", Number),
            ("lower", Number),
            ("upper", Number),
            ("win_share", Number),
            ("chance", Number),
            ("ceiling", Number),
            ("p", Number),
            ("p_adj", Number),
            ("n_layers", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "similarity_differences",
        n_keys: 0,
        columns: &[
            ("model_a", Text),
            ("model_b", Text),
            ("benchmark", Text),
            ("subject", Text),
            ("area", Text),
            ("measure", Text),
            ("difference", Number),
            ("lower", Number),
            ("upper", Number),
            ("p", Number),
            ("p_adj", Number),
            ("adjustment", Text),
            ("p_subjects", Number),
            ("p_subjects_adj", Number),
            ("n_subjects", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "similarity_map",
        n_keys: 0,
        columns: &[
            ("benchmark", Text),
            ("kind", Text),
            ("model", Text),
            ("modality", Text),
            ("layer", Text),
            ("position", Number),
            ("subject", Text),
            ("area", Text),
            ("x", Number),
            ("y", Number),
            ("distance", Text),
            ("stress", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "similarity_distances",
        n_keys: 0,
        columns: &[
            ("benchmark", Text),
            ("measure", Text),
            ("object_a", Number),
            ("model_a", Text),
            ("layer_a", Text),
            ("subject_a", Text),
            ("area_a", Text),
            ("object_b", Number),
            ("model_b", Text),
            ("layer_b", Text),
            ("subject_b", Text),
            ("area_b", Text),
            ("distance", Number),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "rois",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("benchmark", Text),
            ("roi", Text),
            ("network", Text),
            ("hemisphere", Text),
            ("x", Number),
            ("y", Number),
            ("z", Number),
            ("ceiling", Number),
            ("ceiling_kind", Text),
            ("masked", Any),
            ("status", Text),
        ],
    },
    TableSchema {
        name: "surface_vertices",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("hemisphere", Text),
            ("x", Number),
            ("y", Number),
            ("z", Number),
            ("roi", Text),
        ],
    },
    TableSchema {
        name: "surface_faces",
        n_keys: 0,
        columns: &[("space", Text), ("hemisphere", Text), ("a", Number), ("b", Number), ("c", Number)],
    },
    TableSchema {
        name: "volume_grids",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("n_i", Number),
            ("n_j", Number),
            ("n_k", Number),
            ("x_i", Number),
            ("x_j", Number),
            ("x_k", Number),
            ("x_0", Number),
            ("y_i", Number),
            ("y_j", Number),
            ("y_k", Number),
            ("y_0", Number),
            ("z_i", Number),
            ("z_j", Number),
            ("z_k", Number),
            ("z_0", Number),
        ],
    },
    TableSchema {
        name: "volume_runs",
        n_keys: 0,
        columns: &[
            ("space", Text),
            ("i", Number),
            ("j", Number),
            ("k", Number),
            ("n", Number),
            ("roi", Text),
        ],
    },
];

/// Check that the columns that a report reads hold what they should.
pub(crate) fn check(name: &str, table: &Table) -> Result<(), ReportError> {
    let Some(schema) = TABLES.iter().find(|s| s.name == name) else { return Ok(()) };
    for (i, &(column, kind)) in schema.columns.iter().enumerate() {
        let Some(values) = table.column(column) else {
            if i < schema.n_keys {
                return Err(ReportError::MissingColumn { table: name.to_owned(), column });
            }
            continue;
        };
        // A column without any defined value may have come back from a file as another type.
        let expected = match (kind, values) {
            (Any, _) | (Text, Values::Text(_)) | (Number, Values::Number(_) | Values::Integer(_)) => continue,
            _ if all_undefined(values) => continue,
            (Text, _) => "text",
            (Number, _) => "numbers",
        };
        let found = match values {
            Values::Text(_) => "text",
            Values::Number(_) => "numbers",
            Values::Integer(_) => "whole numbers",
            Values::Flag(_) => "flags",
        };
        return Err(ReportError::ColumnType {
            table: name.to_owned(),
            column: column.to_owned(),
            expected,
            found,
        });
    }
    Ok(())
}

fn all_undefined(values: &Values) -> bool {
    match values {
        Values::Text(v) => v.iter().all(Option::is_none),
        Values::Number(v) => v.iter().all(Option::is_none),
        Values::Integer(v) => v.iter().all(Option::is_none),
        Values::Flag(v) => v.iter().all(Option::is_none),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page and this file list the same tables and columns.
    #[test]
    fn matches_the_reference_page() {
        let page = include_str!("../../../docs/reference/results.md");
        for schema in TABLES {
            let start = format!("| `{}.parquet` |", schema.name);
            let line =
                page.lines().find(|l| l.starts_with(&start)).unwrap_or_else(|| panic!("{}", schema.name));
            let listed = line.split('|').nth(3).unwrap();
            // Remarks in brackets may hold commas.
            let mut depth = 0;
            let plain: String = listed
                .chars()
                .filter(|c| {
                    match c {
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    depth == 0 && *c != ')'
                })
                .collect();
            let columns: Vec<&str> = plain.split(',').map(str::trim).collect();
            let ours: Vec<&str> = schema.columns.iter().map(|c| c.0).collect();
            assert_eq!(columns, ours, "{}", schema.name);
        }
    }

    #[test]
    fn wrong_type_is_named() {
        let table = Table::new().text("model", [Some("a")]).number("modality", [Some(1.0)]);
        let error = check("models", &table).unwrap_err().to_string();
        assert!(
            error.contains("`modality` of table `models` holds numbers, but text is expected"),
            "{error}"
        );
    }

    #[test]
    fn key_columns_are_required() {
        let table = Table::new().text("model", [Some("a")]);
        let error = check("models", &table).unwrap_err().to_string();
        assert!(error.contains("has no column `modality`"), "{error}");
    }

    #[test]
    fn undefined_column_of_another_type_passes() {
        let table = Table::new()
            .text("model", [Some("a")])
            .text("modality", [Some("audio")])
            .text("lambda_re", [None::<String>]);
        assert!(check("models", &table).is_ok());
    }
}
