//! Run a network over stimuli and write the activations of its layers.

use stereotax::data::Monitor;
use stereotax_models::extract::{Layers, Settings, Stimuli, extract, layers, taps};
use stereotax_models::network::engine::{ENGINE, Loaded};
use stereotax_models::network::graph::Network;
use stereotax_models::prepare::Preparation;

use crate::args::ExtractArgs;
use crate::progress::{Bar, stop_flag};
use crate::{Failure, print_line};

pub(crate) fn run(args: &ExtractArgs) -> Result<(), Failure> {
    let network = Network::read(&args.network)?;
    let preparation_file = args.preparation.clone().unwrap_or_else(|| args.network.with_extension("toml"));
    let preparation = Preparation::read(&preparation_file)?;
    let wanted = match args.layers.as_slice() {
        [one] if one == "blocks" => Layers::Blocks,
        [one] if one == "all" => Layers::All,
        names => Layers::Named(names.to_vec()),
    };
    let settings = Settings {
        preparation,
        preparation_file,
        layers: layers(&network, &wanted)?,
        pool: args.pooling,
        batch: usize::from(args.batch),
        seed: args.seed,
        engine: ENGINE.to_owned(),
    };
    let stimuli = Stimuli::open(&args.stimuli)?;
    let engine = Loaded::new(&network, &taps(&settings))?;
    let bar = Bar::new();
    let watcher = |event| bar.follow(&event);
    let monitor = Monitor::new(&watcher, stop_flag());
    let done = extract(&network, &settings, &stimuli, &args.out, &mut |inputs| engine.run(inputs), &monitor)?;
    if args.json {
        let layers: Vec<_> = done
            .layers
            .iter()
            .map(|(name, shape)| serde_json::json!({ "name": name, "row_shape": shape }))
            .collect();
        let line = serde_json::json!({
            "file": args.out, "n_stimuli": done.n_stimuli, "n_before": done.n_before, "layers": layers,
            "pooling": settings.pool.to_string(), "engine": settings.engine,
        });
        print_line(&line.to_string());
        return Ok(());
    }
    for (name, shape) in &done.layers {
        print_line(&format!("{name:40} {shape:?}"));
    }
    eprintln!("{} stimuli, {} layers: {}", done.n_stimuli, done.layers.len(), args.out.display());
    Ok(())
}
