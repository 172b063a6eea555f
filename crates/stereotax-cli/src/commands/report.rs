//! Write the report again from finished results.

use std::path::Path;

use crate::Failure;
use crate::args::ReportArgs;

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    write(&args.out)?;
    eprintln!("report   {}", args.out.join("report.html").display());
    Ok(())
}

/// Read `DIR/results` and write `DIR/report.html`.
pub(crate) fn write(out: &Path) -> Result<(), Failure> {
    let (tables, manifest) = stereotax_study::results::read(out)?;
    let page = stereotax_report::render(&stereotax_report::ReportInput { tables, manifest })?;
    stereotax_io::write_atomic(&out.join("report.html"), page.as_bytes())?;
    Ok(())
}
