//! Show what a run would compute, with seconds and gigabytes.

use stereotax_study::{Study, plan};

use crate::args::PlanArgs;
use crate::{Failure, print_line};

pub(crate) fn run(args: &PlanArgs) -> Result<(), Failure> {
    let study = Study::load(&args.study)?;
    let plan = plan(&study, &args.out, &super::run::options(&args.resources, false))?;
    for node in &plan.nodes {
        if args.json {
            print_line(&serde_json::json!(node).to_string());
        } else {
            let state = if node.done { "done" } else { "to do" };
            print_line(&format!("{}  {state:5}  {:7.1} s  {}", &node.key[..12], node.seconds, node.label));
        }
    }
    let forecast = &plan.forecast;
    if args.json {
        print_line(&serde_json::json!({"forecast": forecast}).to_string());
    }
    eprintln!(
        "{} nodes, {} done; about {:.0} s and {:.2} GB of memory, {:.2} GB of disk",
        plan.nodes.len(),
        plan.nodes.iter().filter(|n| n.done).count(),
        forecast.seconds,
        forecast.memory_bytes as f64 / 1e9,
        forecast.disk_bytes as f64 / 1e9,
    );
    Ok(())
}
