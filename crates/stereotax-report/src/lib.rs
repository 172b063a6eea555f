//! Results to one offline HTML page, and to figures for papers.
//!
//! Input is what a run leaves behind (docs/reference/results.md): tables by name and the manifest of
//! `study.json`. Output is one file that opens from a disk, prints, and needs no network. This crate
//! computes no statistic: it lays out, counts and words what the tables say. What is undefined there
//! is shown as a dash with its reason.
//!
//! Every name comes from a file and is therefore escaped: in the markup by the template engine, in
//! the embedded data by writing `<`, `>` and `&` as JSON escapes, and in the figures by the script.

mod brain;
mod cells;
mod colours;
mod embed;
mod encoding;
mod error;
mod figures;
mod input;
mod maps;
mod methods;
mod page;
mod physiology;
mod picture;
#[cfg(feature = "png")]
mod raster;
mod references;
mod schema;
mod sheet;
mod similarity;
mod surface;
mod verdict;
mod volume;
mod warnings;

pub use error::ReportError;
pub use figures::{Figure, figures};
pub use input::ReportInput;
pub use page::{SECTIONS, Section, render};
pub use physiology::{PHYSIOLOGY_TABLES, render_physiology};

/// The references of these keys as text, one line each, in the order of keys; unknown keys are left out.
pub fn bibliography(keys: &[String]) -> Vec<String> {
    let known = references::all();
    keys.iter()
        .filter_map(|key| known.iter().map(|r| r.formatted()).find(|r| r.key == *key))
        .map(|r| if r.url.is_empty() { r.text } else { format!("{} {}", r.text, r.url) })
        .collect()
}
