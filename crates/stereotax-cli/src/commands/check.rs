//! Read everything a study names, say what is wrong, compute nothing.

use stereotax::data::Monitor;
use stereotax_study::{Study, check};

use crate::args::CheckArgs;
use crate::progress::stop_flag;
use crate::{Failure, print_line};

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let study = Study::load(&args.study)?;
    let found = check(&study, &Monitor::stoppable(stop_flag()))?;
    for line in &found {
        if args.json {
            print_line(&serde_json::json!(line).to_string());
        } else {
            print_line(&format!("{:8} {}", line.severity, line.text));
        }
    }
    let warnings = found.iter().filter(|line| line.severity != "note").count();
    eprintln!("{}: readable and consistent, {warnings} warning(s)", args.study.display());
    Ok(())
}
