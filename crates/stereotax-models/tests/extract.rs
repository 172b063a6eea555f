//! Small networks, written by hand, over small stimuli: rows by hand, interrupted runs, wrong input.

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stereotax::data::{Event, Monitor};
use stereotax_io::{ArrayFile, read_texts};
use stereotax_models::ModelError;
use stereotax_models::extract::{Extracted, Layers, Settings, Stimuli, extract, layers, taps};
use stereotax_models::network::blocks::{blocks, units_first};
use stereotax_models::network::engine::Loaded;
use stereotax_models::network::graph::Network;
use stereotax_models::pool::Pool;
use stereotax_models::prepare::Preparation;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(network: &[u8], preparation: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("net.onnx"), network).unwrap();
        std::fs::write(folder.path().join("net.toml"), preparation).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, wanted: &str, pool: &str, batch: usize) -> Result<(Network, Settings), ModelError> {
        let network = Network::read(&self.path("net.onnx"))?;
        let preparation_file = self.path("net.toml");
        let wanted = match wanted {
            "blocks" => Layers::Blocks,
            "all" => Layers::All,
            names => Layers::Named(names.split(',').map(str::to_owned).collect()),
        };
        let settings = Settings {
            preparation: Preparation::read(&preparation_file)?,
            preparation_file,
            layers: layers(&network, &wanted)?,
            pool: pool.parse::<Pool>().unwrap(),
            batch,
            seed: 3,
            engine: "test".into(),
        };
        Ok((network, settings))
    }

    fn run(&self, wanted: &str, pool: &str, batch: usize, out: &str) -> Result<Extracted, ModelError> {
        self.run_watched(wanted, pool, batch, out, &Monitor::silent())
    }

    fn run_watched(
        &self,
        wanted: &str,
        pool: &str,
        batch: usize,
        out: &str,
        monitor: &Monitor<'_>,
    ) -> Result<Extracted, ModelError> {
        let (network, settings) = self.settings(wanted, pool, batch)?;
        let table = self.path("stimuli.csv");
        let stimuli = Stimuli::open(if table.exists() { &table } else { self.folder.path() })?;
        let engine = Loaded::new(&network, &taps(&settings))?;
        let out = self.path(&store(out));
        extract(&network, &settings, &stimuli, &out, &mut |inputs| engine.run(inputs), monitor)
    }

    fn read(&self, out: &str, layer: &str) -> (Vec<usize>, Vec<f64>) {
        let file = ArrayFile::open(&self.path(&store(out)), Some(layer)).unwrap();
        (file.shape().to_vec(), file.read_all().unwrap())
    }
}

/// The file of a store.
fn store(name: &str) -> String {
    format!("{name}.safetensors")
}

const IMAGE: &str = "[input]\nkind = \"image\"\nheight = 2\nwidth = 2\nscale = 1.0\n";

fn png(path: &Path, pixels: &[[u8; 3]; 4]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), 2, 2);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(&pixels.concat()).unwrap();
}

/// Eleven pictures; picture i has red i everywhere, green 1 in one pixel, blue 2.
fn pictures() -> Place {
    let place = Place::new(&common::residual(), IMAGE);
    let mut table = "stimulus_id,file\n".to_owned();
    for i in 0..11u8 {
        let name = format!("p{i}.png");
        png(&place.path(&name), &[[i, 1, 2], [i, 0, 2], [i, 0, 2], [i, 0, 2]]);
        table.push_str(&format!("picture {i},{name}\n"));
    }
    std::fs::write(place.path("stimuli.csv"), table).unwrap();
    place
}

#[test]
fn rows_by_hand() {
    let place = pictures();
    let done = place.run("blocks", "mean", 4, "a").unwrap();
    assert_eq!(done.layers, [("sum1".to_owned(), vec![2]), ("block2".to_owned(), vec![2])]);
    // Picture 3: stem = (2·3 − 1, 2 + ¼) on average, sum1 = both added, block2 = 11 sum1.
    let (shape, values) = place.read("a", "sum1");
    assert_eq!(shape, [11, 2]);
    assert_eq!(values[6..8], [7.25, 7.25]);
    assert_eq!(place.read("a", "block2").1[6..8], [79.75, 79.75]);
    // Picture 0: 2·0 − 1 is cut at 0.
    assert_eq!(values[..2], [2.25, 2.25]);
    let ids = read_texts(&place.path("a.safetensors"), Some("stimulus_id")).unwrap();
    assert_eq!(ids[10], "picture 10");
    // Without pooling: places × units, the units of a convolution last.
    place.run("stem,conv1/Conv", "keep", 4, "b").unwrap();
    let (shape, values) = place.read("b", "stem");
    assert_eq!(shape, [11, 4, 2]);
    assert_eq!(values[3 * 8..4 * 8], [5.0, 3.0, 5.0, 2.0, 5.0, 2.0, 5.0, 2.0]);
    assert_eq!(place.read("b", "conv1").1[3 * 8..3 * 8 + 4], [3.0, 5.0, 2.0, 5.0]);
}

#[test]
fn the_batch_changes_nothing_and_an_interrupted_run_goes_on() {
    let place = pictures();
    let bytes = |name: &str| std::fs::read(place.path(&store(name))).unwrap();
    for (batch, name) in [(1, "one"), (4, "four"), (64, "all")] {
        place.run("all", "flatten", batch, name).unwrap();
    }
    assert_eq!(bytes("one"), bytes("four"));
    assert_eq!(bytes("one"), bytes("all"));
    let (stop, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let watcher = |event: Event| {
        if matches!(event, Event::Advanced { .. }) && seen.fetch_add(1, Ordering::Relaxed) == 1 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let stopped = place.run_watched("all", "flatten", 4, "again", &Monitor::new(&watcher, &stop));
    assert!(matches!(stopped, Err(ModelError::Stopped { done: 8, total: 11 })), "{stopped:?}");
    assert!(!place.path("again.safetensors").exists());
    let done = place.run("all", "flatten", 4, "again").unwrap();
    assert_eq!((done.n_before, done.n_stimuli), (8, 11));
    assert_eq!(bytes("again"), bytes("four"));
    // Other settings do not go on from there.
    let _ = place.run_watched("all", "flatten", 4, "other", &Monitor::new(&watcher, &stop));
    assert_eq!(place.run("all", "max", 4, "other").unwrap().n_before, 0);
}

#[test]
fn blocks_and_the_axis_of_units() {
    let network = Network::parse(Path::new("n"), common::residual()).unwrap();
    assert_eq!(blocks(&network), ["sum1", "block2"]);
    assert!(units_first(&network, "block2") && units_first(&network, "pooled"));
    let network = Network::parse(Path::new("n"), common::tokens()).unwrap();
    assert!(!units_first(&network, "mixed"));
    // A row of layers without additions: a depthwise convolution belongs to the next; the answer is left out.
    let row = common::Graph::default()
        .input("x", 1, &[-1, 2, 4, 4])
        .weight("w0", &[2, 2, 1, 1], &[0.0; 4])
        .weight("d1", &[2, 1, 1, 1], &[0.0; 2])
        .weight("p1", &[2, 2, 1, 1], &[0.0; 4])
        .weight("w2", &[2, 3], &[0.0; 6])
        .node("Conv", &["x", "w0"], &["c0"], &[])
        .node("Relu", &["c0"], &["r0"], &[])
        .node("MaxPool", &["r0"], &["m0"], &[])
        .node("Conv", &["m0", "d1"], &["c1"], &[("group", &[2])])
        .node("Relu", &["c1"], &["r1"], &[])
        .node("Conv", &["r1", "p1"], &["c2"], &[])
        .node("Relu", &["c2"], &["r2"], &[])
        .node("GlobalAveragePool", &["r2"], &["g"], &[])
        .node("Flatten", &["g"], &["f"], &[])
        .node("Gemm", &["f", "w2"], &["answer"], &[])
        .output("answer")
        .model();
    assert_eq!(blocks(&Network::parse(Path::new("n"), row).unwrap()), ["r0", "r2"]);
}

/// Two transformer blocks of one attention and one feed-forward sum each; the norm before or behind them.
fn transformer(post_norm: bool) -> Vec<u8> {
    let mut graph = common::Graph::default()
        .input("x", 1, &[-1, 3, 2])
        .weight("w", &[2, 2], &[1.0; 4])
        .weight("g", &[2], &[1.0; 2]);
    let mut stream = "x".to_owned();
    for b in 0..2 {
        for part in ["attention", "feed"] {
            let name = |s: &str| format!("{s}_{part}{b}");
            let norm = |graph: common::Graph, from: &str, to: &str| {
                graph.node("LayerNormalization", &[from, "g"], &[to], &[("axis", &[-1])])
            };
            let mut inner = stream.clone();
            if !post_norm {
                graph = norm(graph, &inner, &name("norm"));
                inner = name("norm");
            }
            graph = graph.node("MatMul", &[&inner, "w"], &[&name("mixed")], &[]);
            let op = if part == "attention" { "Softmax" } else { "Relu" };
            graph = graph.node(op, &[&name("mixed")], &[&name("act")], &[]);
            graph = graph.node("Add", &[&stream, &name("act")], &[&name("sum")], &[]);
            stream = name("sum");
            if post_norm {
                graph = norm(graph, &stream, &name("norm"));
                stream = name("norm");
            }
        }
    }
    graph = if post_norm {
        graph.node("Relu", &[&stream], &["last"], &[])
    } else {
        graph.node("LayerNormalization", &[&stream, "g"], &["last"], &[("axis", &[-1])])
    };
    graph.output("last").model()
}

#[test]
fn a_transformer_has_one_output_per_block() {
    let found = |post| blocks(&Network::parse(Path::new("n"), transformer(post)).unwrap());
    // Before the final norm, not behind it.
    assert_eq!(found(false), ["sum_feed0", "sum_feed1"]);
    assert_eq!(found(true), ["norm_feed0", "norm_feed1"]);
}

#[test]
fn tokens_of_different_lengths() {
    let place = Place::new(&common::tokens(), "[input]\nkind = \"numbers\"\n");
    std::fs::write(place.path("stimuli.csv"), "stimulus_id,text\na,0 1\nb,3 2\nc,1\n").unwrap();
    place.run("mixed", "mean", 8, "mean").unwrap();
    assert_eq!(place.read("mean", "mixed").1, [5.0, -1.5, 25.0, -3.5, 10.0, -2.0]);
    place.run("embedding", "last", 8, "last").unwrap();
    assert_eq!(place.read("last", "embedding").1, [10.0, 2.0, 20.0, 3.0, 10.0, 2.0]);
    let told = place.run("mixed", "flatten", 8, "flat").unwrap_err().to_string();
    assert!(told.contains("stimulus `c`") && told.contains("differ in length"), "{told}");
    let told = place.run("time_first", "mean", 8, "turned").unwrap_err().to_string();
    assert!(told.contains("first axis"), "{told}");
}

#[test]
fn weights_may_lie_beside_the_network_and_nowhere_else() {
    let (model, weights) = common::tokens_outside("net.data", "16", "32");
    let place = Place::new(&model, "[input]\nkind = \"numbers\"\n");
    std::fs::write(place.path("stimuli.csv"), "stimulus_id,text\na,0 1\nb,3 2\nc,1\n").unwrap();
    let told = |location: &str, offset: &str, length: &str| {
        let network = common::tokens_outside(location, offset, length).0;
        std::fs::write(place.path("net.onnx"), network).unwrap();
        place.run("mixed", "mean", 8, "x").unwrap_err().to_string()
    };
    assert!(told("net.data", "16", "32").contains("net.data"));
    std::fs::write(place.path("net.data"), &weights[..60]).unwrap();
    let cut = told("net.data", "16", "32");
    assert!(cut.contains("weight `w`") && cut.contains("a file of 60 bytes"), "{cut}");
    std::fs::write(place.path("net.data"), &weights).unwrap();
    std::fs::create_dir(place.path("below")).unwrap();
    let outside = place.folder.path().join("net.data");
    for location in ["../net.data", "/etc/hostname", "", "below/../net.data", outside.to_str().unwrap()] {
        assert!(told(location, "16", "32").contains("in the network's own folder"), "{location}");
    }
    assert!(told("below", "16", "32").contains("a folder"));
    assert!(told("net.data", "16", "31").contains("32 bytes by its shape"));
    assert!(told("net.data", "40", "32").contains("weight `table`"));
    assert!(told("net.data", "18446744073709551615", "32").contains("weight `table`"));
    assert!(told("net.data", "-1", "32").contains("cannot be brought in"));
    let elsewhere = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        std::fs::write(elsewhere.path().join("net.data"), &weights).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("net.data"), place.path("link")).unwrap();
        assert!(told("link", "16", "32").contains("in the network's own folder"));
        // As model hubs keep them: both are links to one place.
        std::fs::write(elsewhere.path().join("net.onnx"), &model).unwrap();
        std::fs::remove_file(place.path("net.data")).unwrap();
        std::fs::remove_file(place.path("net.onnx")).unwrap();
        for name in ["net.data", "net.onnx"] {
            std::os::unix::fs::symlink(elsewhere.path().join(name), place.path(name)).unwrap();
        }
    }
    place.run("mixed", "mean", 8, "mean").unwrap();
    assert_eq!(place.read("mean", "mixed").1, [5.0, -1.5, 25.0, -3.5, 10.0, -2.0]);
}

#[test]
fn a_state_runs_over_the_frames_of_a_sound() {
    let preparation = "[input]\nkind = \"waveform\"\nname = \"frame\"\nrate_hz = 8000\nframe = 2\n[state]\nbefore = \"after\"\n";
    let place = Place::new(&common::running_sum(), preparation);
    let wav = |name: &str, samples: &[i16]| {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(8000u32.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend((2 * samples.len() as u32).to_le_bytes());
        bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        std::fs::write(place.path(name), bytes).unwrap();
    };
    wav("s.wav", &[8192, 0, 8192, 16384]);
    wav("t.wav", &[0, 0, 0, -8192]);
    std::fs::write(place.path("stimuli.csv"), "stimulus_id,file\ns,s.wav\nt,t.wav\n").unwrap();
    place.run("after", "keep", 8, "sums").unwrap();
    // Frames (¼, 0), (¼, ½); the second sound starts at zero again.
    assert_eq!(place.read("sums", "after").1, [0.25, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, -0.25]);
}

#[test]
fn wrong_input_is_named() {
    let place = pictures();
    let told = |wanted: &str| place.run(wanted, "mean", 4, "x").unwrap_err().to_string();
    assert!(told("sum3").contains("did you mean `sum"), "{}", told("sum3"));
    assert!(told("sum1,sum1").contains("twice"));
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("net.toml", "[input]\nkind = \"image\"\nheight = 2\nwidht = 2\n");
    assert!(told("blocks").contains("widht"), "{}", told("blocks"));
    write("net.toml", "[input]\nkind = \"image\"\nheight = 3\nwidth = 2\n");
    assert!(
        told("blocks").contains("3 × 2 × 2") || told("blocks").contains("any × 3 × 2 × 2"),
        "{}",
        told("blocks")
    );
    write("net.toml", IMAGE);
    write("p4.png", "no picture");
    assert!(told("blocks").contains("p4.png"));
    write("stimuli.csv", "stimulus_id,file\na,../p0.png\n");
    assert!(told("blocks").contains("within the table's folder"));
    write("stimuli.csv", "stimulus_id,file\na,p0.png\na,p1.png\n");
    assert!(told("blocks").contains("`a`"));
    write("net.onnx", "PK\u{3}\u{4}archive");
    assert!(told("blocks").contains("PyTorch"));
    assert!(!place.path("x.safetensors").exists());
}

#[test]
fn a_cut_or_changed_network_never_ends_the_program() {
    for whole in [common::residual(), common::tokens(), transformer(true)] {
        for n in (0..whole.len()).step_by(3) {
            if let Ok(network) = Network::parse(Path::new("n"), whole[..n].to_vec()) {
                blocks(&network);
                network.with_outputs(&blocks(&network));
            }
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = changed[at].wrapping_add(1 + (at % 250) as u8);
            if let Ok(network) = Network::parse(Path::new("n"), changed) {
                let found = blocks(&network);
                network.with_outputs(&found);
                found.iter().for_each(|tensor| {
                    units_first(&network, tensor);
                });
            }
        }
    }
}
