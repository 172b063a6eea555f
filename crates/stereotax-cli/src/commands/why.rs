//! Say what a finished node came from.

use crate::args::WhyArgs;
use crate::{Failure, print_line};

pub(crate) fn run(args: &WhyArgs) -> Result<(), Failure> {
    for node in stereotax_study::why(&args.out, &args.node)? {
        print_line(&serde_json::to_string_pretty(&node).unwrap_or_default());
    }
    Ok(())
}
