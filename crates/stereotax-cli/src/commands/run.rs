//! Compute what is missing, write the results and the report.

use std::path::Path;

use stereotax::data::Monitor;
use stereotax_study::{Options, Study};

use crate::args::{Resources, RunArgs};
use crate::progress::{Bar, stop_flag};
use crate::{Failure, print_line};

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let study = Study::load(&args.study)?;
    study_to_report(&study, &args.out, &options(&args.resources, args.recheck))?;
    if args.json {
        let made = serde_json::json!({
            "results": args.out.join("results"), "report": args.out.join("report.html"),
        });
        print_line(&made.to_string());
    }
    Ok(())
}

/// What the flags say about memory, threads and trust.
pub(crate) fn options(resources: &Resources, recheck: bool) -> Options {
    Options { max_memory: resources.max_memory, threads: resources.threads, recheck }
}

/// Run a study and write its report; the report's path is told on stderr.
pub(crate) fn study_to_report(study: &Study, out: &Path, options: &Options) -> Result<(), Failure> {
    let bar = Bar::new();
    let follow = |event| bar.follow(&event);
    let outcome = stereotax_study::run(study, out, options, &Monitor::new(&follow, stop_flag()))?;
    for warning in &outcome.warnings {
        eprintln!("warning: {warning}");
    }
    super::report::write(out)?;
    eprintln!(
        "{} nodes computed, {} found finished\nresults  {}\nreport   {}",
        outcome.computed,
        outcome.reused,
        out.join("results").display(),
        out.join("report.html").display(),
    );
    Ok(())
}
