//! Take choices by the words of the study file: one parser, one set of words, one set of messages.

use pyo3::exceptions::PyValueError;
use stereotax_study::config::{NfasSettings, parse_choices};

use crate::error::{Failure, Result};

/// Read lines such as `rank = "energy:0.99"`, keys as in `[analysis.nfas]`; `place` is who asks, for
/// messages.
///
/// Errors: everything that a study file would be refused for.
pub fn read(text: &str, place: &str, has_nuisance: bool) -> Result<NfasSettings> {
    let settings = parse_choices(text, place, has_nuisance).map_err(|refused| {
        let told: Vec<String> = refused
            .problems
            .into_iter()
            .map(|problem| {
                // The one word that has another name in Python.
                let message = problem.message.replace("`outer_folds`", "`n_folds`");
                match problem.hint {
                    Some(hint) => format!("{message}\nhint: {hint}"),
                    None => message,
                }
            })
            .collect();
        Failure::Python(PyValueError::new_err(told.join("\n")))
    })?;
    Ok(settings)
}
