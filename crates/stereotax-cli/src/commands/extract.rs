//! Run a network over stimuli and write the activations of its layers.

use std::path::{Path, PathBuf};

use stereotax::data::Monitor;
use stereotax_io::ArrayFile;
use stereotax_models::extract::{Layers, Settings, Stimuli, extract, layers, taps};
use stereotax_models::network::engine::{ENGINE, Engine, Loaded};
use stereotax_models::network::graph::Network;
use stereotax_models::prepare::Preparation;

use super::convert::{into_zarr, refuse_other_folder};
use crate::args::{EngineChoice, ExtractArgs};
use crate::progress::{Bar, stop_flag};
use crate::{Failure, FindEngine, OtherEngine, print_line};

/// Other engines take networks as one message of at most so many bytes.
const MAX_MESSAGE: usize = (1 << 31) - 1;

pub(crate) fn run(args: &ExtractArgs, onnxruntime: &FindEngine) -> Result<(), Failure> {
    let network = Network::read(&args.network)?;
    let preparation_file = args.preparation.clone().unwrap_or_else(|| args.network.with_extension("toml"));
    let preparation = Preparation::read(&preparation_file)?;
    let wanted = match args.layers.as_slice() {
        [one] if one == "blocks" => Layers::Blocks,
        [one] if one == "all" => Layers::All,
        names => Layers::Named(names.to_vec()),
    };
    let other = other_engine(args, &network, onnxruntime)?;
    let settings = Settings {
        preparation,
        preparation_file,
        layers: layers(&network, &wanted)?,
        pool: args.pooling,
        batch: usize::from(args.batch),
        seed: args.seed,
        engine: other.as_ref().map_or_else(|| ENGINE.to_owned(), |other| other.name.clone()),
    };
    let stimuli = Stimuli::open(&args.stimuli)?;
    let mut engine: Box<Engine<'_>> = match &other {
        Some(other) => {
            let refused = |reason| Failure {
                message: format!(
                    "`{}`: {} cannot load the network: {reason}\nhint: try `--engine rten`",
                    args.network.display(),
                    other.name
                ),
                exit_code: 2,
            };
            let taps = taps(&settings);
            (other.load)(network.with_outputs(&taps), &taps).map_err(refused)?
        }
        None => {
            let engine = Loaded::new(&network, &taps(&settings))?;
            Box::new(move |inputs| engine.run(inputs))
        }
    };
    let bar = Bar::new();
    let watcher = |event| bar.follow(&event);
    let monitor = Monitor::new(&watcher, stop_flag());
    // A Zarr folder is made from a store that can be gone on with.
    let zarr = args.out.extension().is_some_and(|ending| ending == "zarr");
    let store = if zarr { beside(&args.out) } else { args.out.clone() };
    refuse_other_folder(&args.out)?;
    let done = extract(&network, &settings, &stimuli, &store, &mut *engine, &monitor)?;
    if zarr {
        let names: Vec<String> = done.layers.iter().map(|(name, _)| name.clone()).collect();
        let files =
            names.iter().map(|name| ArrayFile::open(&store, Some(name))).collect::<Result<Vec<_>, _>>()?;
        let pooling = settings.pool.to_string();
        let about = [("engine", settings.engine.as_str()), ("pooling", pooling.as_str())];
        into_zarr(&args.out, &files, &names, &stimuli.ids, &about)?;
        drop(files);
        let _ = std::fs::remove_file(&store);
    }
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
    let (stimuli, layers, out) = (done.n_stimuli, done.layers.len(), args.out.display());
    eprintln!("{stimuli} stimuli, {layers} layers, by {}: {out}", settings.engine);
    Ok(())
}

/// The store that a Zarr folder is made from.
fn beside(out: &Path) -> PathBuf {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    out.with_file_name(format!(".{name}.safetensors"))
}

/// The engine that is not built in, where it is asked for or found; `None` for the one that is.
fn other_engine(
    args: &ExtractArgs,
    network: &Network,
    onnxruntime: &FindEngine,
) -> Result<Option<OtherEngine>, Failure> {
    let small = network.bytes().len() < MAX_MESSAGE;
    match args.engine {
        EngineChoice::Rten => Ok(None),
        EngineChoice::Auto => Ok(if small { onnxruntime().ok() } else { None }),
        EngineChoice::Onnxruntime => {
            let found = if small { onnxruntime() } else { Err("a network above 2 GB".to_owned()) };
            let refused = |reason| Failure {
                message: format!(
                    "--engine onnxruntime: expected ONNX Runtime, found {reason}\nhint: install it, or say `--engine rten`"
                ),
                exit_code: 2,
            };
            found.map(Some).map_err(refused)
        }
    }
}
