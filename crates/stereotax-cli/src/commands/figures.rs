//! Write the figures of finished results for papers.

use std::fs;

use crate::Failure;
use crate::args::{FigureFormat, FiguresArgs};
use crate::print_line;

pub(crate) fn run(args: &FiguresArgs) -> Result<(), Failure> {
    let (tables, manifest) = stereotax_study::results::read(&args.out)?;
    let input = stereotax_report::ReportInput { tables, manifest };
    let figures = stereotax_report::figures(&input)?;
    let folder = args.to.clone().unwrap_or_else(|| args.out.join("figures"));
    fs::create_dir_all(&folder).map_err(|e| Failure {
        message: format!(
            "cannot make the folder `{}`: {e}\nhint: name another with `--to`",
            folder.display()
        ),
        exit_code: 1,
    })?;
    for figure in &figures {
        for format in &args.formats {
            let (ending, bytes) = match format {
                FigureFormat::Svg => ("svg", figure.svg().into_bytes()),
                #[cfg(feature = "png")]
                FigureFormat::Png => ("png", figure.png(f64::from(args.dpi))?),
            };
            let file = folder.join(format!("{}.{ending}", figure.name));
            stereotax_io::write_atomic(&file, &bytes)?;
            print_line(&file.display().to_string());
        }
    }
    if figures.is_empty() {
        eprintln!("these results hold nothing to draw: no maps, no coordinates, no layers");
    }
    Ok(())
}
