//! Write a commented study.toml to start from.

use crate::Failure;
use crate::args::InitArgs;

pub(crate) fn run(args: &InitArgs) -> Result<(), Failure> {
    if args.file.exists() && !args.force {
        return Err(Failure {
            message: format!(
                "`{}` exists already\nhint: give another name, or --force to replace it",
                args.file.display()
            ),
            exit_code: 2,
        });
    }
    stereotax_io::write_atomic(&args.file, stereotax_study::config::template().as_bytes())?;
    eprintln!("wrote {}; fill in your files, then: stereotax check {0}", args.file.display());
    Ok(())
}
