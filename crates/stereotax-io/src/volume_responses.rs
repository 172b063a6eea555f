//! Load responses from NIfTI series: the mean of every region, or its voxels, by a label volume.
//!
//! A table of the ROIs may have a column `index`, the label of each; without one, the names of the table are the
//! labels themselves. Labels that the table does not have belong to no ROI.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::atlas::{Atlas, RegionSeries, VoxelSeries};
use crate::delimited::Delimited;
use crate::error::{IoError, Result};
use crate::nifti::VolumeFile;
use crate::responses::{MIN_VOXELS, ResponsesParams, RoiInfo, Targets, bare, read_rois_by};

/// ROIs of a label volume: the place of each label among them.
struct Regions {
    rois: Vec<RoiInfo>,
    place: HashMap<i64, usize>,
}

/// Mean series: the regions, and volumes × regions.
pub(crate) struct Means {
    pub rois: Vec<RoiInfo>,
    pub n_volumes: usize,
    pub values: Vec<f64>,
}

/// Single voxels: their labels by name, and volumes × voxels.
pub(crate) struct Voxels {
    pub labels: Vec<Option<String>>,
    pub table: Option<Vec<RoiInfo>>,
    pub n_volumes: usize,
    pub values: Vec<f64>,
}

/// Stream a series into the means of its regions.
pub(crate) fn means(path: &Path, params: &ResponsesParams) -> Result<Means> {
    let runs = open(path, params)?;
    let (labels, table) = labels(&runs[0], params)?;
    let regions = regions(params, table, &labels)?;
    let wanted: Vec<i64> =
        labels.iter().map(|l| if regions.place.contains_key(l) { *l } else { 0 }).collect();
    let found = RegionSeries::read(&runs, &wanted)?;
    let column: HashMap<i64, usize> = found.labels.iter().enumerate().map(|(c, l)| (*l, c)).collect();
    let mut rois = regions.rois;
    let mut columns = vec![None; rois.len()];
    for (label, place) in &regions.place {
        columns[*place] = column.get(label).copied();
    }
    for (roi, column) in rois.iter_mut().zip(&columns) {
        let (kept, dropped) = column.map_or((0, 0), |c| (found.n_voxels[c], found.n_dropped[c]));
        if kept < MIN_VOXELS {
            return Err(IoError::shape(
                path,
                &format!("ROI `{}`", roi.roi),
                format!("at least {MIN_VOXELS} voxels that vary and are finite"),
                format!("{kept} ({dropped} left out)"),
                "leave the ROI out of the table, or check that labels and data are in one space",
            ));
        }
        (roi.n_voxels, roi.n_dropped) = (Some(kept), dropped);
    }
    let width = found.labels.len();
    let values = found
        .values
        .chunks_exact(width)
        .flat_map(|line| columns.iter().map(|c| c.map_or(f64::NAN, |c| line[c])))
        .collect();
    Ok(Means { rois, n_volumes: found.n_volumes, values })
}

/// Stream a series into its labelled voxels.
pub(crate) fn voxels(path: &Path, params: &ResponsesParams) -> Result<Voxels> {
    let runs = open(path, params)?;
    let (labels, table) = labels(&runs[0], params)?;
    let regions = regions(params, table, &labels)?;
    let wanted: Vec<i64> =
        labels.iter().map(|l| if regions.place.contains_key(l) { *l } else { 0 }).collect();
    let found = VoxelSeries::read(&runs, &wanted)?;
    Ok(Voxels {
        labels: found.labels.iter().map(|l| Some(regions.rois[regions.place[l]].roi.clone())).collect(),
        table: Some(regions.rois),
        n_volumes: found.n_volumes,
        values: found.values,
    })
}

/// The files of all runs; at least one.
fn open(path: &Path, params: &ResponsesParams) -> Result<Vec<VolumeFile>> {
    std::iter::once(path).chain(params.further.iter().map(PathBuf::as_path)).map(VolumeFile::open).collect()
}

/// The label of every voxel of the series, and the table of ROIs if there is one.
fn labels<'a>(series: &VolumeFile, params: &'a ResponsesParams) -> Result<(Vec<i64>, Option<&'a Path>)> {
    let Targets::Voxels { file: Some(file), rois, .. } = &params.targets else {
        return Err(IoError::shape(
            series.path(),
            "responses",
            "a label volume, since these are volumes of voxels",
            "none",
            "say `voxels = { file = \"atlas.nii.gz\" }` beside the responses",
        ));
    };
    let atlas = Atlas::read(file)?;
    Ok((atlas.on(series.path(), &series.grid, params.resample_labels)?, rois.as_deref()))
}

fn regions(params: &ResponsesParams, table: Option<&Path>, labels: &[i64]) -> Result<Regions> {
    let Some(path) = table else {
        let mut there: Vec<i64> = labels.iter().copied().filter(|l| *l != 0).collect();
        there.sort_unstable();
        there.dedup();
        let rois = there.iter().map(|l| bare(&l.to_string())).collect();
        return Ok(Regions { rois, place: there.into_iter().enumerate().map(|(p, l)| (l, p)).collect() });
    };
    let rois = read_rois_by(path, params.networks.as_deref())?;
    let file = Delimited::read(path)?;
    let index: Vec<Option<i64>> = if file.has("index") {
        file.numbers("index")?.iter().map(|x| (x.fract() == 0.0).then_some(*x as i64)).collect()
    } else {
        rois.iter().map(|roi| roi.roi.parse().ok()).collect()
    };
    let mut place = HashMap::new();
    for (at, label) in index.iter().enumerate() {
        let fresh =
            label.filter(|l| *l != 0).and_then(|label| place.insert(label, at).is_none().then_some(()));
        if fresh.is_none() {
            return Err(IoError::wrong_format(
                path,
                &format!("ROI `{}`", rois[at].roi),
                "the label of its voxels in a column `index`: a whole number other than 0, each once",
                label.map_or("none".to_owned(), |l| l.to_string()),
            ));
        }
    }
    Ok(Regions { rois, place })
}
