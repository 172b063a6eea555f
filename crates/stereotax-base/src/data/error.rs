//! The closed catalogue of what can be wrong with a caller's data.
//!
//! Every message names the argument, what was expected, what was found and, where there is one, a
//! way out. Outcomes that are no fault of the caller (an undefined statistic, a model too shallow for
//! dynamics) are fields of results, not errors.

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the data, a setting or a source cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two sizes that must agree do not.
    #[error("`{what}` has {found}, but {expected} expected\nhint: {hint}")]
    Shape {
        /// The argument.
        what: String,
        /// What it should have been, in words: "480 rows (one per stimulus of `brain`)".
        expected: String,
        /// What it is, in words.
        found: String,
        /// One way out.
        hint: String,
    },
    /// A NaN or an infinity where a number is needed.
    #[error(
        "`{what}` is not finite at row {row}, column {column} (counted from 0); {count} such values in all\nhint: {hint}"
    )]
    NotFinite {
        /// The argument.
        what: String,
        /// First offending row.
        row: usize,
        /// First offending column.
        column: usize,
        /// How many there are in what was looked at.
        count: usize,
        /// One way out.
        hint: String,
    },
    /// Fewer samples, layers, groups or draws than the method needs.
    #[error("`{what}` has {found}, but at least {needed} needed\nhint: {hint}")]
    TooFew {
        /// The argument.
        what: String,
        /// The least that would do, in words: "3 samples".
        needed: String,
        /// What there is.
        found: String,
        /// One way out.
        hint: String,
    },
    /// A layer, unit or target that does not vary where variance is needed.
    #[error("`{what}` does not vary over samples: {detail}\nhint: {hint}")]
    ZeroVariance {
        /// The layer or target.
        what: String,
        /// Over what it is constant.
        detail: String,
        /// One way out.
        hint: String,
    },
    /// A setting outside its range, or one that contradicts another.
    #[error("`{what}` is {found}, but {expected} expected\nhint: {hint}")]
    Invalid {
        /// The parameter.
        what: String,
        /// The range or the choices.
        expected: String,
        /// What it is.
        found: String,
        /// One way out.
        hint: String,
    },
    /// A request that is refused because its answer would mislead.
    #[error("{what} is refused: {reason}\nhint: {hint}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Why it would mislead.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// A data source could not deliver what it had promised.
    #[error("cannot read `{what}`: {reason}")]
    Source {
        /// Layer or file.
        what: String,
        /// What the source said.
        reason: String,
    },
    /// A decomposition did not converge, which finite input should never cause.
    #[error("the {what} did not converge: {detail}")]
    NoConvergence {
        /// The decomposition.
        what: String,
        /// Size and what is known.
        detail: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request; nothing that was finished is lost")]
    Cancelled,
}
