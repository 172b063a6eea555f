//! Say what is inside a data file.

use crate::args::InfoArgs;
use crate::{Failure, print_line};

pub(crate) fn run(args: &InfoArgs) -> Result<(), Failure> {
    let info = stereotax_io::info(&args.file)?;
    if args.json {
        print_line(&serde_json::json!(info).to_string());
        return Ok(());
    }
    print_line(&format!("{}: {:?}, {} bytes", args.file.display(), info.format, info.bytes));
    for array in &info.arrays {
        print_line(&format!(
            "  {:30} {:8} {:?}",
            array.key.as_deref().unwrap_or("(array)"),
            array.dtype,
            array.shape
        ));
    }
    Ok(())
}
