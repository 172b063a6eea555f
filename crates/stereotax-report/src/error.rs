//! What can be wrong with the input of a report.

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A table that every report needs is not there.
    #[error(
        "the results have no table `{table}`, which every report needs\nhint: run the study again; `{table}.parquet` belongs into its results folder"
    )]
    MissingTable {
        /// The table.
        table: &'static str,
    },
    /// A table lacks a column that names its rows.
    #[error(
        "table `{table}` has no column `{column}`\nhint: the columns are listed in docs/reference/results.md; make the results again with this version"
    )]
    MissingColumn {
        /// The table.
        table: String,
        /// The column.
        column: &'static str,
    },
    /// A column holds another type than it should.
    #[error(
        "column `{column}` of table `{table}` holds {found}, but {expected} is expected\nhint: make the results again with this version"
    )]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: &'static str,
    },
    /// The manifest is not an object.
    #[error(
        "the manifest holds {found}, but a JSON object is expected\nhint: `study.json` belongs to the results; make them again"
    )]
    Manifest {
        /// What it holds.
        found: &'static str,
    },
    /// The page could not be put together: our own mistake.
    #[error("the page could not be put together: {reason}; this is a bug in stereotax, please report it")]
    Template {
        /// What the template engine said.
        reason: String,
    },
}
