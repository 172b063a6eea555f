//! Load brain responses as samples × ROIs, with repeats where there are any.
//!
//! Voxels become ROIs by their mean. Memory: 8 bytes per number of the file, once or twice.

use std::path::{Path, PathBuf};

use crate::array::{ArrayFile, FileFormat, keys, read_texts};
use crate::cifti;
use crate::delimited::{Delimited, is_undefined, refuse_duplicates};
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::show_shape;
use crate::volume_responses;

/// A mean over fewer voxels than this is no ROI.
pub const MIN_VOXELS: usize = 5;
/// Responses are held in memory.
const MAX_NUMBERS: usize = 2 << 30;

/// What an axis of a response array counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseAxis {
    /// Stimuli or points in time.
    Sample,
    /// ROIs or voxels.
    Target,
    /// Presentations of the same sample.
    Repeat,
    /// Times after the onset of the sample: every target at every time is a target.
    Time,
}

/// What the targets are and where their names stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Targets {
    /// ROIs named by the CSV header, or `roi_1`, `roi_2`, … in other formats.
    #[default]
    Unnamed,
    /// ROIs described by a CSV table, one line per column of the array: `roi` and, where known,
    /// `network`, `hemisphere`, `x`, `y`, `z` (mm).
    RoiTable(PathBuf),
    /// ROIs named by an array of text in the same file.
    RoiKey(String),
    /// Voxels, each with the label of its ROI; an empty label, `0`, `background` or `unknown` belongs to
    /// none. ROIs come in order of first appearance, or of the table.
    Voxels {
        /// File with one label per voxel (text or whole numbers); `None`: the responses' own file.
        file: Option<PathBuf>,
        /// The array or column with the labels.
        key: Option<String>,
        /// Table of the ROIs, as in [`Targets::RoiTable`]; its order and its ROIs are taken.
        rois: Option<PathBuf>,
    },
}

/// What to do with NaN and infinities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NanPolicy {
    /// Refuse, naming the first.
    #[default]
    Refuse,
    /// Leave out every sample in which some ROI is not finite, and say which.
    MaskSamples,
    /// Leave them where they are.
    Keep,
}

/// How to read a response file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResponsesParams {
    /// The array in the file; `None` where there is only one.
    pub key: Option<String>,
    /// What each axis is; `None`: sample × target, or sample × target × repeat.
    pub axes: Option<Vec<ResponseAxis>>,
    /// What the targets are.
    pub targets: Targets,
    /// What to do with NaN.
    pub nan: NanPolicy,
    /// Column of the ROI table that names networks; `None`: `network`, where there is one.
    pub networks: Option<String>,
    /// Further files, whose samples follow: one per run, in order of time.
    pub further: Vec<PathBuf>,
    /// Seconds of the time axis, ascending; empty where there is none. A target at a time is called `NAME@SECONDS`,
    /// and the times of a target stand together.
    pub times_s: Vec<f64>,
    /// Volumes only: whether labels on another grid may be brought to that of the data, by nearest neighbours.
    pub resample_labels: bool,
}

/// One region of interest.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RoiInfo {
    /// Its name, unique.
    pub roi: String,
    /// The channel, and seconds after the onset, where responses have times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<(String, f64)>,
    /// Its network, where known.
    pub network: Option<String>,
    /// Its hemisphere, where known.
    pub hemisphere: Option<String>,
    /// Coordinates in mm, where known.
    pub x: Option<f64>,
    /// See `x`.
    pub y: Option<f64>,
    /// See `x`.
    pub z: Option<f64>,
    /// Its place in a hierarchy (level, timescale, distance from primary cortex), where known.
    pub hierarchy: Option<f64>,
    /// Voxels that went into the mean; `None` where the file is ROI-level.
    pub n_voxels: Option<usize>,
    /// Voxels left out because they are constant or not finite.
    pub n_dropped: usize,
}

/// Responses in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedResponses {
    /// Samples kept.
    pub n_samples: usize,
    /// Presentations of each sample; 1 where the file has no such axis.
    pub n_repeats: usize,
    /// The regions, in the order of the columns.
    pub rois: Vec<RoiInfo>,
    /// Repeat after repeat, each samples × ROIs row by row: the value of sample s, ROI r in repeat k is
    /// at `(k * n_samples + s) * rois.len() + r`.
    pub values: Vec<f64>,
    /// Which rows of the file were kept, ascending; all of them unless [`NanPolicy::MaskSamples`].
    pub kept: Vec<usize>,
}

impl LoadedResponses {
    /// The value of one sample, ROI and repeat.
    pub fn value(&self, sample: usize, roi: usize, repeat: usize) -> f64 {
        self.values[(repeat * self.n_samples + sample) * self.rois.len() + roi]
    }

    /// The mean over repeats, samples × ROIs row by row.
    pub fn repeat_mean(&self) -> Vec<f64> {
        let size = self.n_samples * self.rois.len();
        let mut mean = vec![0.0; size];
        for repeat in self.values.chunks_exact(size.max(1)) {
            mean.iter_mut().zip(repeat).for_each(|(m, x)| *m += x);
        }
        mean.iter_mut().for_each(|m| *m /= self.n_repeats as f64);
        mean
    }
}

/// Repeat × sample × target.
struct Cube {
    n_repeats: usize,
    n_samples: usize,
    n_targets: usize,
    values: Vec<f64>,
}

impl Cube {
    fn of_volumes(n_samples: usize, n_targets: usize, values: Vec<f64>) -> Self {
        Cube { n_repeats: 1, n_samples, n_targets, values }
    }
}

/// Load responses from `.npy`, `.npz`, `.safetensors`, HDF5 or CSV, or from NIfTI series with a label volume.
///
/// # Errors
/// Names that do not fit the number of columns, NaN (with row and column) unless masked, ROIs with
/// fewer than [`MIN_VOXELS`] usable voxels.
pub fn load_responses(path: &Path, params: &ResponsesParams) -> Result<LoadedResponses> {
    let (mut cube, rois) = match &params.targets {
        _ if FileFormat::of(path)? == FileFormat::Nifti => {
            let found = volume_responses::means(path, params)?;
            (Cube::of_volumes(found.n_volumes, found.rois.len(), found.values), found.rois)
        }
        Targets::Voxels { file, key, rois } => {
            let cube = read_cubes(path, params)?;
            let labels = voxel_labels(path, file.as_deref().unwrap_or(path), key.as_deref(), cube.n_targets)?;
            let networks = params.networks.as_deref();
            let table = rois.as_deref().map(|rois| read_rois_by(rois, networks)).transpose()?;
            average_voxels(path, &cube, &labels, table, params.nan)?
        }
        _ => {
            let cube = read_cubes(path, params)?;
            let rois = roi_names(path, params, cube.n_targets / params.times_s.len().max(1))?;
            let rois = if params.times_s.is_empty() { rois } else { at_times(&rois, &params.times_s) };
            (cube, rois)
        }
    };
    let kept = match params.nan {
        NanPolicy::Refuse => {
            refuse_non_finite(path, &cube, &rois)?;
            (0..cube.n_samples).collect()
        }
        NanPolicy::MaskSamples => mask_samples(path, &mut cube)?,
        NanPolicy::Keep => (0..cube.n_samples).collect(),
    };
    Ok(LoadedResponses {
        n_samples: cube.n_samples,
        n_repeats: cube.n_repeats,
        rois,
        values: cube.values,
        kept,
    })
}

/// Read the table of ROIs: `roi` and, where there are such columns, `network`, `hemisphere`, `x`, `y`,
/// `z`, `hierarchy`; names must be unique.
pub fn read_rois(path: &Path) -> Result<Vec<RoiInfo>> {
    read_rois_by(path, None)
}

/// [`read_rois`] with networks from another column, which must then be there.
pub(crate) fn read_rois_by(path: &Path, networks: Option<&str>) -> Result<Vec<RoiInfo>> {
    let table = Delimited::read(path)?;
    let names = table.names_of("roi")?;
    refuse_duplicates(&table, "roi", &names)?;
    let text = |column: &str| -> Result<Vec<Option<String>>> {
        if !table.has(column) {
            return Ok(vec![None; names.len()]);
        }
        Ok(table.texts(column)?.into_iter().map(|t| Some(t).filter(|t| !is_undefined(t))).collect())
    };
    let number = |column: &str| -> Result<Vec<Option<f64>>> {
        if !table.has(column) {
            return Ok(vec![None; names.len()]);
        }
        Ok(table.numbers(column)?.into_iter().map(|x| Some(x).filter(|x| x.is_finite())).collect())
    };
    let network = match networks {
        Some(column) => {
            table.texts(column)?.into_iter().map(|t| Some(t).filter(|t| !is_undefined(t))).collect()
        }
        None => text("network")?,
    };
    let hemisphere = text("hemisphere")?;
    let (x, y, z) = (number("x")?, number("y")?, number("z")?);
    let hierarchy = number("hierarchy")?;
    Ok((0..names.len())
        .map(|i| RoiInfo {
            network: network[i].clone(),
            hemisphere: hemisphere[i].clone(),
            x: x[i],
            y: y[i],
            z: z[i],
            hierarchy: hierarchy[i],
            ..bare(&names[i])
        })
        .collect())
}

/// A region of which only the name is known.
pub(crate) fn bare(name: &str) -> RoiInfo {
    RoiInfo {
        roi: name.to_owned(),
        at: None,
        network: None,
        hemisphere: None,
        x: None,
        y: None,
        z: None,
        hierarchy: None,
        n_voxels: None,
        n_dropped: 0,
    }
}

/// The cube of a file, and those of the further ones behind it.
fn read_cubes(path: &Path, params: &ResponsesParams) -> Result<Cube> {
    let mut cube = read_cube(path, params)?;
    for file in &params.further {
        let next = read_cube(file, params)?;
        if (next.n_targets, next.n_repeats) != (cube.n_targets, cube.n_repeats) {
            return Err(IoError::shape(
                file,
                "responses",
                format!(
                    "{} targets in {} repeats, as in `{}`",
                    cube.n_targets,
                    cube.n_repeats,
                    path.display()
                ),
                format!("{} in {}", next.n_targets, next.n_repeats),
                "all runs of a subject have the same columns",
            ));
        }
        let (old, new) = (cube.n_samples * cube.n_targets, next.n_samples * cube.n_targets);
        let mut values = Vec::with_capacity(cube.values.len() + next.values.len());
        for repeat in 0..cube.n_repeats {
            values.extend_from_slice(&cube.values[repeat * old..][..old]);
            values.extend_from_slice(&next.values[repeat * new..][..new]);
        }
        cube = Cube { n_samples: cube.n_samples + next.n_samples, values, ..cube };
    }
    Ok(cube)
}

fn read_cube(path: &Path, params: &ResponsesParams) -> Result<Cube> {
    let array = ArrayFile::open(path, params.key.as_deref())?;
    let shape = array.shape().to_vec();
    let default = [ResponseAxis::Sample, ResponseAxis::Target, ResponseAxis::Repeat];
    let axes = match &params.axes {
        Some(axes) => axes.clone(),
        None => default[..shape.len().min(3)].to_vec(),
    };
    let once = |axis| axes.iter().filter(|&&a| a == axis).count();
    let sound = once(ResponseAxis::Sample) == 1
        && once(ResponseAxis::Target) == 1
        && once(ResponseAxis::Repeat) < 2
        && once(ResponseAxis::Time) < 2;
    if axes.len() != shape.len() || !sound {
        return Err(IoError::shape(
            path,
            "responses",
            "samples × ROIs or samples × ROIs × repeats, or a stated order with sample and target once each",
            format!("shape {} with {} named axes", show_shape(&shape), axes.len()),
            "say what each axis is: sample, target, repeat, time",
        ));
    }
    let numbers = shape.iter().try_fold(1usize, |n, &a| n.checked_mul(a)).filter(|&n| n <= MAX_NUMBERS);
    if numbers.is_none() {
        return Err(IoError::too_large(
            path,
            "responses",
            format!("at most {MAX_NUMBERS} numbers"),
            format!("shape {}", show_shape(&shape)),
        ));
    }
    if shape.contains(&0) {
        return Err(IoError::shape(
            path,
            "responses",
            "no empty axis",
            show_shape(&shape),
            "check how the file was written",
        ));
    }
    let raw = array.read_all()?;
    // Length and step of each named axis in the array as it lies.
    let step = |axis| {
        axes.iter()
            .position(|&a| a == axis)
            .map_or((1, 0), |i| (shape[i], shape[i + 1..].iter().product::<usize>()))
    };
    let (n_samples, by_sample) = step(ResponseAxis::Sample);
    let (n_targets, by_target) = step(ResponseAxis::Target);
    let (n_repeats, by_repeat) = step(ResponseAxis::Repeat);
    let (n_times, by_time) = step(ResponseAxis::Time);
    if axes.contains(&ResponseAxis::Time) == params.times_s.is_empty()
        || (!params.times_s.is_empty() && n_times != params.times_s.len())
    {
        return Err(IoError::shape(
            path,
            "responses",
            format!("a time axis of {} (one per time)", params.times_s.len()),
            format!("shape {} with {n_times} on the axis `time`", show_shape(&shape)),
            "give the seconds of every point of the axis `time`",
        ));
    }
    if by_target == 1 && n_repeats == 1 && n_times == 1 {
        return Ok(Cube { n_repeats, n_samples, n_targets, values: raw });
    }
    let mut values = Vec::with_capacity(raw.len());
    for k in 0..n_repeats {
        for s in 0..n_samples {
            for t in 0..n_targets {
                let first = k * by_repeat + s * by_sample + t * by_target;
                values.extend((0..n_times).map(|time| raw[first + time * by_time]));
            }
        }
    }
    Ok(Cube { n_repeats, n_samples, n_targets: n_targets * n_times, values })
}

/// Every target at every time, the times of a target together.
fn at_times(rois: &[RoiInfo], times_s: &[f64]) -> Vec<RoiInfo> {
    let at = |roi: &RoiInfo, time: f64| {
        // Times kept in single precision have microseconds at best.
        let seconds = (time * 1e6).round() / 1e6;
        RoiInfo { roi: format!("{}@{seconds}", roi.roi), at: Some((roi.roi.clone(), seconds)), ..roi.clone() }
    };
    rois.iter().flat_map(|roi| times_s.iter().map(move |&time| at(roi, time))).collect()
}

fn roi_names(path: &Path, params: &ResponsesParams, n_targets: usize) -> Result<Vec<RoiInfo>> {
    let (rois, source) = match &params.targets {
        Targets::RoiTable(table) => (read_rois_by(table, params.networks.as_deref())?, table.as_path()),
        Targets::RoiKey(key) => (read_texts(path, Some(key))?.iter().map(|n| bare(n)).collect(), path),
        _ if params.key.is_none() && FileFormat::of(path)? == FileFormat::Csv => {
            (keys(path)?.iter().map(|n| bare(n)).collect(), path)
        }
        _ if FileFormat::of(path)? == FileFormat::Cifti && !cifti::parcels(path)?.is_empty() => {
            (cifti::parcels(path)?.iter().map(|n| bare(n)).collect(), path)
        }
        _ => ((1..=n_targets).map(|i| bare(&format!("roi_{i}"))).collect(), path),
    };
    if rois.len() != n_targets {
        return Err(IoError::shape(
            source,
            "ROI names",
            format!("{n_targets} names, one per column of the responses"),
            format!("{}", rois.len()),
            "if the columns are voxels, give the label of each voxel's ROI instead",
        ));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = rois.iter().find(|r| !seen.insert(r.roi.as_str())) {
        return Err(IoError::new(
            IoErrorKind::Duplicate,
            source,
            "ROI names",
            "every name once",
            format!("`{}` twice", twice.roi),
            "add the hemisphere to the name",
        ));
    }
    Ok(rois)
}

/// One label per voxel of `data`; `None` belongs to no ROI.
fn voxel_labels(data: &Path, path: &Path, key: Option<&str>, n_voxels: usize) -> Result<Vec<Option<String>>> {
    let both = FileFormat::of(path)? == FileFormat::Cifti && FileFormat::of(data)? == FileFormat::Cifti;
    let column = if key.is_none() && FileFormat::of(path)? == FileFormat::Csv { Some("roi") } else { key };
    let found = if both { cifti::names_on(data, path) } else { read_texts(path, column) };
    let texts = match found {
        Err(error) if error.kind == IoErrorKind::Dtype => {
            // Whole numbers, as atlases use.
            let numbers = ArrayFile::open(path, column)?.read_all()?;
            if let Some(at) = numbers.iter().position(|x| x.fract() != 0.0 || !x.is_finite()) {
                return Err(IoError::dtype(
                    path,
                    "voxel labels",
                    "text or whole numbers",
                    &format!("{} at voxel {at}", numbers[at]),
                ));
            }
            numbers.iter().map(|x| format!("{}", *x as i64)).collect()
        }
        other => other?,
    };
    if texts.len() != n_voxels {
        return Err(IoError::shape(
            path,
            "voxel labels",
            format!("{n_voxels} labels, one per voxel"),
            format!("{}", texts.len()),
            "labels must be in the order of the responses' columns",
        ));
    }
    let none = |t: &str| is_undefined(t) || matches!(t, "0" | "background" | "unknown" | "Unknown" | "???");
    Ok(texts.into_iter().map(|t| Some(t).filter(|t| !none(t))).collect())
}

/// Which voxels are usable, and to which ROI they belong.
struct VoxelPlan {
    rois: Vec<RoiInfo>,
    /// ROI of each voxel that is usable and belongs to one.
    roi_of: Vec<Option<usize>>,
    /// Samples in which no voxel is finite, line by line; only where they may be masked.
    blank: Vec<bool>,
}

fn plan_voxels(
    path: &Path,
    cube: &Cube,
    labels: &[Option<String>],
    table: Option<Vec<RoiInfo>>,
    nan: NanPolicy,
) -> Result<VoxelPlan> {
    let n = cube.n_targets;
    // A sample without any finite voxel says nothing about the voxels; it is masked later, if at all.
    let lines = || cube.values.chunks_exact(n);
    let blank: Vec<bool> =
        lines().map(|line| nan == NanPolicy::MaskSamples && line.iter().all(|x| !x.is_finite())).collect();
    let mut low = vec![f64::INFINITY; n];
    let mut high = vec![f64::NEG_INFINITY; n];
    let mut finite = vec![true; n];
    for (line, _) in lines().zip(&blank).filter(|(_, blank)| !**blank) {
        for (t, &x) in line.iter().enumerate() {
            finite[t] &= x.is_finite();
            low[t] = low[t].min(x);
            high[t] = high[t].max(x);
        }
    }
    let usable: Vec<bool> = (0..n).map(|t| finite[t] && low[t] < high[t]).collect();

    let mut rois = match table {
        Some(rois) => rois,
        None => {
            let mut seen = std::collections::HashSet::new();
            labels.iter().flatten().filter(|l| seen.insert(l.as_str())).map(|l| bare(l)).collect()
        }
    };
    let place: std::collections::HashMap<String, usize> =
        rois.iter().enumerate().map(|(i, r)| (r.roi.clone(), i)).collect();
    let mut roi_of: Vec<Option<usize>> =
        labels.iter().map(|l| l.as_ref().and_then(|l| place.get(l.as_str()).copied())).collect();
    let (mut counts, mut dropped) = (vec![0usize; rois.len()], vec![0usize; rois.len()]);
    for (t, roi) in roi_of.iter().enumerate() {
        if let Some(r) = *roi {
            if usable[t] { counts[r] += 1 } else { dropped[r] += 1 }
        }
    }
    for (r, roi) in rois.iter_mut().enumerate() {
        if counts[r] < MIN_VOXELS {
            return Err(IoError::shape(
                path,
                &format!("ROI `{}`", roi.roi),
                format!("at least {MIN_VOXELS} voxels that vary and are finite"),
                format!("{} ({} left out)", counts[r], dropped[r]),
                "leave the ROI out of the table, join it with a neighbour, or give ROI-level responses",
            ));
        }
        roi.n_voxels = Some(counts[r]);
        roi.n_dropped = dropped[r];
    }
    if rois.is_empty() {
        return Err(IoError::shape(
            path,
            "voxel labels",
            "at least one ROI",
            "none",
            "check the label vector",
        ));
    }
    roi_of.iter_mut().zip(&usable).for_each(|(roi, usable)| *roi = roi.filter(|_| *usable));
    Ok(VoxelPlan { rois, roi_of, blank })
}

/// The mean over the usable voxels of each ROI.
fn average_voxels(
    path: &Path,
    cube: &Cube,
    labels: &[Option<String>],
    table: Option<Vec<RoiInfo>>,
    nan: NanPolicy,
) -> Result<(Cube, Vec<RoiInfo>)> {
    let VoxelPlan { rois, roi_of, blank } = plan_voxels(path, cube, labels, table, nan)?;
    let mut values = Vec::with_capacity(cube.n_repeats * cube.n_samples * rois.len());
    for (line, &blank) in cube.values.chunks_exact(cube.n_targets).zip(&blank) {
        let mut sums = vec![if blank { f64::NAN } else { 0.0 }; rois.len()];
        for (t, &x) in line.iter().enumerate() {
            if let Some(r) = roi_of[t] {
                sums[r] += x;
            }
        }
        values
            .extend(sums.iter().zip(&rois).map(|(sum, roi)| sum / roi.n_voxels.unwrap_or(MIN_VOXELS) as f64));
    }
    let averaged =
        Cube { n_repeats: cube.n_repeats, n_samples: cube.n_samples, n_targets: rois.len(), values };
    Ok((averaged, rois))
}

/// Voxels in memory, each with its ROI.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedVoxels {
    /// The usable voxels that belong to an ROI, named `ROI · number of the column`.
    pub voxels: LoadedResponses,
    /// ROI of each of them, by position in `rois`.
    pub roi_of: Vec<usize>,
    /// The regions.
    pub rois: Vec<RoiInfo>,
}

/// Load the single voxels of every ROI, to be summarised by the caller; `params.targets` must be
/// [`Targets::Voxels`], and NaN may only be in voxels, which are then left out.
///
/// # Errors
/// As [`load_responses`]; targets that are not labelled voxels.
pub fn load_voxels(path: &Path, params: &ResponsesParams) -> Result<LoadedVoxels> {
    let Targets::Voxels { file, key, rois } = &params.targets else {
        return Err(IoError::shape(
            path,
            "voxels",
            "a label for every voxel",
            "none",
            "give the label of each voxel's ROI",
        ));
    };
    let (cube, labels, table) = if FileFormat::of(path)? == FileFormat::Nifti {
        let found = volume_responses::voxels(path, params)?;
        (Cube::of_volumes(found.n_volumes, found.labels.len(), found.values), found.labels, found.table)
    } else {
        let cube = read_cubes(path, params)?;
        let labels = voxel_labels(path, file.as_deref().unwrap_or(path), key.as_deref(), cube.n_targets)?;
        let networks = params.networks.as_deref();
        (cube, labels, rois.as_deref().map(|rois| read_rois_by(rois, networks)).transpose()?)
    };
    let plan = plan_voxels(path, &cube, &labels, table, NanPolicy::Refuse)?;
    let kept: Vec<(usize, usize)> =
        plan.roi_of.iter().enumerate().filter_map(|(t, roi)| Some((t, (*roi)?))).collect();
    let mut values = Vec::with_capacity(cube.n_repeats * cube.n_samples * kept.len());
    for line in cube.values.chunks_exact(cube.n_targets) {
        values.extend(kept.iter().map(|&(t, _)| line[t]));
    }
    Ok(LoadedVoxels {
        voxels: LoadedResponses {
            n_samples: cube.n_samples,
            n_repeats: cube.n_repeats,
            rois: kept.iter().map(|&(t, r)| bare(&format!("{} · {t}", plan.rois[r].roi))).collect(),
            values,
            kept: (0..cube.n_samples).collect(),
        },
        roi_of: kept.into_iter().map(|(_, roi)| roi).collect(),
        rois: plan.rois,
    })
}

fn refuse_non_finite(path: &Path, cube: &Cube, rois: &[RoiInfo]) -> Result<()> {
    let Some(at) = cube.values.iter().position(|x| !x.is_finite()) else { return Ok(()) };
    let count = cube.values.iter().filter(|x| !x.is_finite()).count();
    let (line, target) = (at / cube.n_targets, at % cube.n_targets);
    let (repeat, sample) = (line / cube.n_samples, line % cube.n_samples);
    let place = if cube.n_repeats > 1 { format!(", repeat {repeat}") } else { String::new() };
    Err(IoError::new(
        IoErrorKind::NotFinite,
        path,
        format!("responses, row {sample}{place} (from 0), column `{}`", rois[target].roi),
        "finite numbers",
        format!("{} (and {} more such values)", cube.values[at], count - 1),
        "repair the responses, or choose to leave such samples out (mask_samples)",
    ))
}

/// Remove the samples that are not finite in some ROI and repeat; returns those kept.
fn mask_samples(path: &Path, cube: &mut Cube) -> Result<Vec<usize>> {
    let (n, width) = (cube.n_samples, cube.n_targets);
    let whole = |s: usize| {
        (0..cube.n_repeats).all(|k| cube.values[(k * n + s) * width..][..width].iter().all(|x| x.is_finite()))
    };
    let kept: Vec<usize> = (0..n).filter(|&s| whole(s)).collect();
    if kept.is_empty() {
        return Err(IoError::new(
            IoErrorKind::NotFinite,
            path,
            "responses",
            "at least one sample that is finite in all ROIs",
            "none",
            "leave out the ROIs that are never measured",
        ));
    }
    if kept.len() < n {
        let mut values = Vec::with_capacity(cube.n_repeats * kept.len() * width);
        for k in 0..cube.n_repeats {
            for &s in &kept {
                values.extend_from_slice(&cube.values[(k * n + s) * width..][..width]);
            }
        }
        cube.values = values;
        cube.n_samples = kept.len();
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_target_at_every_time_is_a_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.npy");
        // Two samples, three channels, two times: 100 sample + 10 channel + time.
        let value = |i: usize| (100 * (i / 6) + 10 * (i / 2 % 3) + i % 2) as f64;
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 2), }";
        let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
        bytes.extend(format!("{header:<117}\n").bytes());
        (0..12).for_each(|i| bytes.extend(value(i).to_le_bytes()));
        std::fs::write(&path, bytes).unwrap();
        let axes = |axes: &[ResponseAxis]| Some(axes.to_vec());
        let timed = ResponsesParams {
            axes: axes(&[ResponseAxis::Sample, ResponseAxis::Target, ResponseAxis::Time]),
            times_s: vec![-0.1, f64::from(0.12f32)],
            ..Default::default()
        };
        let found = load_responses(&path, &timed).unwrap();
        let names: Vec<&str> = found.rois.iter().map(|r| r.roi.as_str()).collect();
        assert_eq!(
            names,
            ["roi_1@-0.1", "roi_1@0.12", "roi_2@-0.1", "roi_2@0.12", "roi_3@-0.1", "roi_3@0.12"]
        );
        assert_eq!(found.rois[3].at, Some(("roi_2".to_owned(), 0.12)));
        assert_eq!(found.values, (0..12).map(value).collect::<Vec<_>>());
        // The axes the other way round: channels last.
        let turned = ResponsesParams {
            axes: axes(&[ResponseAxis::Sample, ResponseAxis::Time, ResponseAxis::Target]),
            times_s: vec![0.0, 0.1, 0.2],
            ..Default::default()
        };
        let found = load_responses(&path, &turned).unwrap();
        assert_eq!(found.values[..6], [0.0, 10.0, 20.0, 1.0, 11.0, 21.0]);
        let wrong = ResponsesParams { times_s: vec![0.0], ..timed };
        let error = load_responses(&path, &wrong).unwrap_err().to_string();
        assert!(error.contains("a time axis of 1") && error.contains("2 on the axis `time`"), "{error}");
    }

    #[test]
    fn rois_from_a_csv_header_and_nan_by_choice() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "r.csv", "A1,belt\n1,2\n3,\n5,6\n");
        let error = load_responses(&path, &ResponsesParams::default()).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::NotFinite);
        assert_eq!(error.details.what, "responses, row 1 (from 0), column `belt`");
        let masked = ResponsesParams { nan: NanPolicy::MaskSamples, ..Default::default() };
        let r = load_responses(&path, &masked).unwrap();
        assert_eq!(
            (r.kept.as_slice(), r.values.as_slice()),
            ([0, 2].as_slice(), [1.0, 2.0, 5.0, 6.0].as_slice())
        );
        assert_eq!(r.rois[1].roi, "belt");
    }

    #[test]
    fn voxels_are_averaged_without_the_useless_ones() {
        let folder = tempfile::tempdir().unwrap();
        // Five good voxels, one constant, one with NaN, one of the background.
        let path = write(folder.path(), "v.csv", "a,b,c,d,e,f,g,h\n1,2,3,4,5,7,,9\n2,3,4,5,6,7,1,9\n");
        let labels = write(folder.path(), "l.csv", "roi\nA1\nA1\nA1\nA1\nA1\nA1\nA1\n0\n");
        let targets = Targets::Voxels { file: Some(labels.clone()), key: None, rois: None };
        let params = ResponsesParams { targets, ..Default::default() };
        let r = load_responses(&path, &params).unwrap();
        assert_eq!(r.values, [3.0, 4.0]);
        assert_eq!((r.rois.len(), r.rois[0].n_voxels, r.rois[0].n_dropped), (1, Some(5), 2));
        let single = load_voxels(&path, &params).unwrap();
        assert_eq!(single.roi_of, [0; 5]);
        assert_eq!(single.voxels.values, [1.0, 2.0, 3.0, 4.0, 5.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((&single.rois[0], single.voxels.rois[4].roi.as_str()), (&r.rois[0], "A1 · 4"));
        std::fs::write(&labels, "roi\nA1\nA1\nA1\nA1\n0\nA1\nA1\n0\n").unwrap();
        let error = load_responses(&path, &params).unwrap_err();
        assert_eq!((error.kind, error.details.found.as_str()), (IoErrorKind::Shape, "4 (2 left out)"));
    }

    #[test]
    fn volumes_are_summarised_by_a_label_volume() {
        use crate::nifti::tests::{MM2, bytes};
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        // Twelve voxels, two volumes: label 1 has six, of which one is constant, label 4 five, and one has none.
        let volume =
            |t: f32| (0..12).map(move |v| if v == 2 { 8.0 } else { v as f32 + t * (v % 3 + 1) as f32 });
        let values: Vec<f32> = volume(0.0).chain(volume(1.0)).collect();
        std::fs::write(place("bold.nii"), bytes([3, 2, 2, 2], Some(MM2), &values)).unwrap();
        let labels: Vec<f32> =
            (0..12).map(|v| [1.0, 4.0, 0.0][usize::from(v > 5) + usize::from(v > 10)]).collect();
        std::fs::write(place("atlas.nii"), bytes([3, 2, 2, 1], Some(MM2), &labels)).unwrap();
        let targets = |rois| Targets::Voxels { file: Some(place("atlas.nii")), key: None, rois };
        let params = ResponsesParams { targets: targets(None), ..Default::default() };
        let r = load_responses(&place("bold.nii"), &params).unwrap();
        assert_eq!((r.n_samples, r.rois.len(), r.rois[1].roi.as_str()), (2, 2, "4"));
        // Voxels 0, 1, 3, 4, 5 rise by 1, 2, 1, 2, 3 from a mean of 13/5; voxels 6 to 10 by 1, 2, 3, 1, 2 from 8.
        let by_hand = [2.6, 8.0, 2.6 + 9.0 / 5.0, 8.0 + 9.0 / 5.0];
        assert!(r.values.iter().zip(by_hand).all(|(a, b)| (a - b).abs() < 1e-12), "{:?}", r.values);
        assert_eq!((r.rois[0].n_voxels, r.rois[0].n_dropped), (Some(5), 1));
        // A table names the labels, in its own order; what it leaves out has no ROI.
        let table = write(folder.path(), "rois.csv", "index,roi\n4,A1\n");
        let named = ResponsesParams { targets: targets(Some(table.clone())), ..Default::default() };
        let one = load_responses(&place("bold.nii"), &named).unwrap();
        assert_eq!(
            (one.rois[0].roi.as_str(), one.values.as_slice()),
            ("A1", [r.values[1], r.values[3]].as_slice())
        );
        let single = load_voxels(&place("bold.nii"), &named).unwrap();
        assert_eq!(
            (single.roi_of.len(), single.voxels.values[..5].to_vec()),
            (5, vec![6.0, 7.0, 8.0, 9.0, 10.0])
        );
        // Text, numbers that no voxel has, and no labels at all.
        std::fs::write(&table, "roi\nA1\n").unwrap();
        assert!(load_responses(&place("bold.nii"), &named).unwrap_err().to_string().contains("`index`"));
        std::fs::write(&table, "index,roi\n9,A1\n").unwrap();
        assert_eq!(load_responses(&place("bold.nii"), &named).unwrap_err().kind, IoErrorKind::Shape);
        let none = load_responses(&place("bold.nii"), &ResponsesParams::default()).unwrap_err();
        assert!(none.details.hint.contains("atlas.nii.gz"));
    }

    #[test]
    fn a_table_describes_the_rois() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "r.csv", "a,b\n1,2\n3,4\n");
        let table = write(folder.path(), "rois.csv", "roi,network,x\nA1,auditory,-42.5\nV1,,\n");
        let params = ResponsesParams { targets: Targets::RoiTable(table.clone()), ..Default::default() };
        let r = load_responses(&path, &params).unwrap();
        assert_eq!((r.rois[0].network.as_deref(), r.rois[0].x), (Some("auditory"), Some(-42.5)));
        assert_eq!((r.rois[1].network.as_deref(), r.rois[1].x), (None, None));
        std::fs::write(&table, "roi,network,yeo7\nA1,auditory,SomMot\nV1,visual,Vis\n").unwrap();
        let by_yeo = ResponsesParams { networks: Some("yeo7".into()), ..params.clone() };
        assert_eq!(load_responses(&path, &by_yeo).unwrap().rois[1].network.as_deref(), Some("Vis"));
        let missing = ResponsesParams { networks: Some("yeo17".into()), ..params.clone() };
        assert!(load_responses(&path, &missing).is_err());
        std::fs::write(&table, "roi\nA1\n").unwrap();
        assert_eq!(load_responses(&path, &params).unwrap_err().kind, IoErrorKind::Shape);
    }
}
