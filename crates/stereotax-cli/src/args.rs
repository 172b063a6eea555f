//! The command line: every flag is defined once, here, with its help text.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Put artificial neural networks into the coordinates of the brain.
#[derive(Debug, Parser)]
#[command(name = "stereotax", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a complete study on a simulated cortex with planted truth; needs no file
    Demo(DemoArgs),
    /// Write a commented study.toml to start from
    Init(InitArgs),
    /// Read everything a study names, say what is wrong, compute nothing
    Check(CheckArgs),
    /// Show what a run would compute, with seconds and gigabytes
    Plan(PlanArgs),
    /// Compute what is missing, write the results and the report
    Run(RunArgs),
    /// Write the report again from finished results
    Report(ReportArgs),
    /// Write the maps and profiles of finished results as files of their own, for papers
    Figures(FiguresArgs),
    /// Say what is inside a file of data, a network, a picture or a sound
    Info(InfoArgs),
    /// Write the arrays of a file in another format
    Convert(ConvertArgs),
    /// Run a network (ONNX) over stimuli and write the activations of its layers
    Extract(ExtractArgs),
    /// Compare arrays of the same stimuli by measures of representational similarity
    Compare(CompareArgs),
    /// Say what a finished node came from
    Why(WhyArgs),
    /// Print the references for the methods a study uses
    Cite(CiteArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// What to look at
    #[arg(value_enum, default_value_t = DemoView::Cortex)]
    pub(crate) view: DemoView,
    /// Folder for data, results and report; an unfinished demo there is continued
    #[arg(long, default_value = "stereotax-demo")]
    pub(crate) out: PathBuf,
    /// Seed of the simulation
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

/// Simulations with planted truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DemoView {
    /// A study of networks and cortex
    Cortex,
    /// A small video network beside a visual area, unit by unit
    Physiology,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// File to write
    #[arg(default_value = "study.toml")]
    pub(crate) file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The study file
    pub(crate) study: PathBuf,
    /// One JSON object per finding on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The study file
    pub(crate) study: PathBuf,
    /// Folder whose finished nodes count as done
    #[arg(long, default_value = "stereotax-out")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// One JSON object per node on stdout, and one with the forecast at the end
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The study file
    pub(crate) study: PathBuf,
    /// Folder for nodes, results and report; an unfinished run there is continued
    #[arg(long, default_value = "stereotax-out")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// Read input files again even where size and time are as before
    #[arg(long)]
    pub(crate) recheck: bool,
    /// One JSON object at the end on stdout: where results and report are
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Resources {
    /// Memory to stay within, such as 8G or 500M
    #[arg(long, value_parser = parse_memory, default_value = "4G")]
    pub(crate) max_memory: u64,
    /// Threads; results do not depend on it [default: all cores]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Folder of a finished run
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FiguresArgs {
    /// Folder of a finished run
    pub(crate) out: PathBuf,
    /// Folder for the figures [default: OUT/figures]
    #[arg(long)]
    pub(crate) to: Option<PathBuf>,
    /// Which formats
    #[arg(long, value_enum, value_delimiter = ',', default_value = "svg")]
    pub(crate) formats: Vec<FigureFormat>,
    /// Points per inch of PNG; figures are 7.5 inches wide
    #[cfg(feature = "png")]
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(36..=1200))]
    pub(crate) dpi: u32,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FigureFormat {
    /// Lines and words to edit
    Svg,
    /// Points
    #[cfg(feature = "png")]
    Png,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// .npy, .npz, .safetensors, .zarr, HDF5, CSV, NIfTI, CIFTI, GIFTI, FreeSurfer, ONNX, PNG, JPEG or WAV
    pub(crate) file: PathBuf,
    /// Count gaps in large arrays too, which reads all of them
    #[arg(long)]
    pub(crate) scan: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// Any file that `info` lists arrays of
    pub(crate) from: PathBuf,
    /// .safetensors or .zarr (several arrays of the same rows, 32 bits, with ids) or .npy (one array, 64 bits)
    pub(crate) to: PathBuf,
    /// Names of the arrays, separated by commas [default: all that hold numbers]
    #[arg(long, value_delimiter = ',')]
    pub(crate) arrays: Vec<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExtractArgs {
    /// The network, an ONNX file; its weights are in it or beside it
    pub(crate) network: PathBuf,
    /// Folder of images or sounds, or a CSV with stimulus_id and file or text
    #[arg(long)]
    pub(crate) stimuli: PathBuf,
    /// `blocks`, `all`, or names of tensors or nodes separated by commas, shallow to deep
    #[arg(long, default_value = "blocks", value_delimiter = ',')]
    pub(crate) layers: Vec<String>,
    /// The store to write: .safetensors or .zarr
    #[arg(long, default_value = "activations.safetensors")]
    pub(crate) out: PathBuf,
    /// How stimuli become inputs [default: the network's name with the ending .toml]
    #[arg(long)]
    pub(crate) preparation: Option<PathBuf>,
    /// What becomes of places, tokens and frames: mean, max, cls, last, flatten, keep, project:NUMBER
    #[arg(long, default_value = "mean")]
    pub(crate) pooling: stereotax_models::pool::Pool,
    /// Stimuli that go through the network at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) batch: u16,
    /// Seed of the random projection
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// What runs the network
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub(crate) engine: EngineChoice,
    /// One JSON object at the end on stdout: what was written
    #[arg(long)]
    pub(crate) json: bool,
}

/// Engines for networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineChoice {
    /// ONNX Runtime where the Python package finds it, otherwise rten
    Auto,
    /// The built-in one
    Rten,
    /// ONNX Runtime, of the Python package `onnxruntime`
    Onnxruntime,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Two files or more, stimuli × units: .npy, .npz, .safetensors, HDF5, CSV or Parquet; FILE#KEY names
    /// one array of a file that holds several
    #[arg(required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
    /// `all`, or ids separated by commas (docs/reference/measures.md); a star ends a group: cka_*
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub(crate) measures: Vec<String>,
    /// Match rows by this column (CSV, Parquet) or array of names, not by their order
    #[arg(long)]
    pub(crate) align_on: Option<String>,
    /// Permutations of stimuli for chance and p-values
    #[arg(long, default_value_t = 99)]
    pub(crate) n_permutations: usize,
    /// Draws for intervals; 0 leaves them out
    #[arg(long, default_value_t = 0)]
    pub(crate) n_bootstraps: usize,
    /// Coverage of intervals
    #[arg(long, default_value_t = 0.95)]
    pub(crate) level: f64,
    /// Seed of all draws
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// One JSON object per measure on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// The beginning of a node's key, as `plan` prints it
    pub(crate) node: String,
    /// Folder of the run
    #[arg(long, default_value = "stereotax-out")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CiteArgs {
    /// The study file; without it, the references of the default analysis
    pub(crate) study: Option<PathBuf>,
}

/// "8G", "500M", "2.5G" or bytes.
fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, unit) =
        match text.trim_end_matches(['b', 'B', 'i']).strip_suffix(['K', 'M', 'G', 'k', 'm', 'g']) {
            Some(digits) => {
                let scale = match text.as_bytes()[digits.len()].to_ascii_uppercase() {
                    b'K' => 1u64 << 10,
                    b'M' => 1 << 20,
                    _ => 1 << 30,
                };
                (digits, scale)
            }
            None => (text, 1),
        };
    match digits.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * unit as f64) as u64),
        _ => Err("expected a size such as 8G, 500M or 2.5G".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("8G"), Ok(8 << 30));
        assert_eq!(parse_memory("500M"), Ok(500 << 20));
        assert_eq!(parse_memory("2.5GiB"), Ok(5 << 29));
        assert_eq!(parse_memory("1024"), Ok(1024));
        assert!(parse_memory("much").is_err());
        assert!(parse_memory("-1G").is_err());
    }
}
