//! Say what is inside a file: data, a network, a picture, a sound.

use std::path::Path;

use serde_json::{Value, json};
use stereotax_io::{ArrayFile, ArrayInfo, FileFormat, FileInfo};
use stereotax_models::network::blocks::blocks;
use stereotax_models::network::graph::Network;
use stereotax_models::prepare::{image, wave};

use crate::args::InfoArgs;
use crate::{Failure, print_line};

/// Arrays up to this size are read for gaps without being asked.
const SMALL: u64 = 256 << 20;
/// Numbers read at once.
const BLOCK: usize = 1 << 18;

pub(crate) fn run(args: &InfoArgs) -> Result<(), Failure> {
    let ending = args.file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "onnx" => network(args),
        "png" | "jpg" | "jpeg" => {
            let picture = image::decode(&args.file)?;
            let text = format!("a picture of {} rows × {} columns", picture.height, picture.width);
            stimulus(args, &text, json!({ "height": picture.height, "width": picture.width }))
        }
        "wav" => {
            let sound = wave::read(&args.file)?;
            let seconds = sound.samples.len() as f64 / f64::from(sound.rate_hz);
            let text = format!("a sound of {seconds:.3} s at {} Hz", sound.rate_hz);
            stimulus(args, &text, json!({ "rate_hz": sound.rate_hz, "n_samples": sound.samples.len() }))
        }
        _ => data(args),
    }
}

fn stimulus(args: &InfoArgs, what: &str, more: Value) -> Result<(), Failure> {
    if args.json {
        print_line(&json!({ "file": args.file, "what": what, "more": more }).to_string());
    } else {
        print_line(&format!("{}: {what}", args.file.display()));
        print_line("use: stereotax extract NETWORK.onnx --stimuli FOLDER");
    }
    Ok(())
}

fn network(args: &InfoArgs) -> Result<(), Failure> {
    let network = Network::read(&args.file)?;
    let found = blocks(&network);
    let n_weights: usize = network.weights.values().map(|shape| shape.iter().product::<usize>()).sum();
    if args.json {
        let inputs: Vec<Value> = network
            .inputs
            .iter()
            .map(|i| json!({ "name": i.name, "shape": i.shape, "whole_numbers": i.whole_numbers }))
            .collect();
        let tensors: Vec<Value> =
            network.tensors().map(|(name, node)| json!({ "name": name, "made_by": node.op })).collect();
        let line = json!({
            "file": args.file, "what": "a network (ONNX)", "n_weights": n_weights, "inputs": inputs,
            "outputs": network.outputs, "blocks": found, "tensors": tensors,
        });
        print_line(&line.to_string());
        return Ok(());
    }
    print_line(&format!("{}: a network (ONNX) with {n_weights} weights", args.file.display()));
    for input in &network.inputs {
        let shape: Vec<String> =
            input.shape.iter().map(|n| n.map_or("any".into(), |n| n.to_string())).collect();
        let sort = if input.whole_numbers { "whole numbers" } else { "real numbers" };
        print_line(&format!("  input  {:30} {sort}, {}", input.name, shape.join(" × ")));
    }
    for (tensor, node) in network.tensors() {
        let mark = if found.iter().any(|b| b == tensor) { "block " } else { "      " };
        print_line(&format!("  {mark} {tensor:30} {}", node.op));
    }
    print_line(&format!("use: stereotax extract {} --stimuli FOLDER", args.file.display()));
    Ok(())
}

fn data(args: &InfoArgs) -> Result<(), Failure> {
    let info = stereotax_io::info(&args.file)?;
    let gaps: Vec<Option<Gaps>> =
        info.arrays.iter().map(|array| count_gaps(args, array)).collect::<Result<_, _>>()?;
    let line = line_of_study(&args.file, &info);
    if args.json {
        let mut object = json!(info);
        for (at, gaps) in gaps.iter().enumerate() {
            object["arrays"][at]["gaps"] = gaps.as_ref().map_or(Value::Null, |g| json!(g.n));
            object["arrays"][at]["rows_with_gaps"] = gaps.as_ref().map_or(Value::Null, |g| json!(g.n_rows));
        }
        object["study"] = line.map_or(Value::Null, Value::from);
        print_line(&object.to_string());
        return Ok(());
    }
    print_line(&format!("{}: {}, {} bytes", args.file.display(), info.what, info.bytes));
    if let Some(units) = &info.units {
        print_line(&format!("  {units}"));
    }
    for (array, gaps) in info.arrays.iter().zip(&gaps) {
        let shape: Vec<String> = array.shape.iter().map(usize::to_string).collect();
        let told = match (&array.problem, gaps) {
            (Some(problem), _) => format!("cannot be read: {problem}"),
            (None, Some(Gaps { n: 0, .. })) => "no gaps".into(),
            (None, Some(gaps)) => format!("{} NaN or infinite, in {} rows", gaps.n, gaps.n_rows),
            (None, None) if array.dtype == "text" => String::new(),
            (None, None) => "gaps not counted (--scan)".into(),
        };
        let key = array.key.as_deref().unwrap_or("(array)");
        print_line(&format!("  {key:30} {:8} {:24} {told}", array.dtype, shape.join(" × ")));
    }
    if let Some(line) = line {
        print_line(&format!("in study.toml: {line}"));
    }
    Ok(())
}

/// Numbers that are none.
struct Gaps {
    n: usize,
    n_rows: usize,
}

fn count_gaps(args: &InfoArgs, array: &ArrayInfo) -> Result<Option<Gaps>, Failure> {
    let large = array.bytes.unwrap_or(0) > SMALL && !args.scan;
    let text = array.dtype == "text" || array.dtype.starts_with('<') || array.dtype.starts_with('|');
    if array.problem.is_some() || text || large {
        return Ok(None);
    }
    let Ok(file) = ArrayFile::open(&args.file, array.key.as_deref()) else { return Ok(None) };
    let width = file.row_len();
    let step = (BLOCK / width.max(1)).max(1);
    let mut found = Gaps { n: 0, n_rows: 0 };
    let mut values = Vec::new();
    for start in (0..file.n_rows()).step_by(step) {
        let end = (start + step).min(file.n_rows());
        values.resize((end - start) * width, 0.0);
        file.read_rows(start..end, &mut values)?;
        for row in values.chunks_exact(width.max(1)) {
            let n = row.iter().filter(|x| !x.is_finite()).count();
            found.n += n;
            found.n_rows += usize::from(n > 0);
        }
    }
    Ok(Some(found))
}

/// The line of study.toml that would use the file, as far as its form tells.
fn line_of_study(path: &Path, info: &FileInfo) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let quoted = Value::from(name.clone()).to_string();
    let has = |key: &str| info.arrays.iter().any(|a| a.key.as_deref() == Some(key));
    let numbers: Vec<&ArrayInfo> = info
        .arrays
        .iter()
        .filter(|a| a.problem.is_none() && a.dtype != "text" && a.shape.len() > 1)
        .collect();
    let layers = numbers.len() > 1 && numbers.iter().all(|a| a.shape[0] == numbers[0].shape[0]);
    Some(match info.format {
        FileFormat::Csv if has("stimulus_id") => format!("[[stimuli]] ids = {quoted}"),
        FileFormat::Csv if has("roi") => format!("[[brain]] rois = {quoted}"),
        FileFormat::Nifti if info.arrays.first()?.shape.first() == Some(&1) => {
            format!("[[brain]] voxels = {{ file = {quoted} }}, if its numbers are labels")
        }
        FileFormat::Nifti => {
            format!(
                "subjects = [{{ id = \"s1\", responses = {quoted} }}], with voxels = {{ file = \"atlas.nii.gz\" }}"
            )
        }
        FileFormat::Cifti if name.contains(".dlabel.") => format!("[[brain]] voxels = {{ file = {quoted} }}"),
        FileFormat::Cifti if name.contains(".dtseries.") => {
            format!(
                "subjects = [{{ id = \"s1\", responses = {quoted} }}], with voxels = {{ file = \"areas.dlabel.nii\" }}"
            )
        }
        FileFormat::Gifti if has("pointset") => format!("surface = [{{ vertices = {quoted}, labels = … }}]"),
        FileFormat::FreeSurfer => format!("surface = [{{ vertices = {quoted}, labels = … }}]"),
        FileFormat::Annotation => format!("surface = [{{ vertices = …, labels = {quoted} }}]"),
        FileFormat::Gifti if has("label") => format!("surface = [{{ vertices = …, labels = {quoted} }}]"),
        _ if layers => {
            let keys: Vec<&str> = numbers.iter().filter_map(|a| a.key.as_deref()).collect();
            format!("[[model.activations]] file = {quoted}, layers = {}", json!(keys))
        }
        _ if numbers.len() == 1 || info.format == FileFormat::Gifti || info.format == FileFormat::Cifti => {
            format!("subjects = [{{ id = \"s1\", responses = {quoted} }}]")
        }
        _ => return None,
    })
}
