//! Regions of NIfTI series.

use std::path::PathBuf;

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax_io::{Atlas, RegionSeries, VolumeFile};

use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Mean series of every region over the volumes of all runs.
#[pyfunction]
#[pyo3(signature = (runs, atlas, resample))]
pub fn roi_means(
    py: Python<'_>,
    runs: Vec<PathBuf>,
    atlas: PathBuf,
    resample: bool,
) -> Result<Bound<'_, PyDict>> {
    let (found, tr_s, lengths) = watch::run(py, |_| -> stereotax_io::Result<_> {
        let series =
            runs.iter().map(|run| VolumeFile::open(run)).collect::<stereotax_io::Result<Vec<_>>>()?;
        let labels = match series.first() {
            Some(first) => Atlas::read(&atlas)?.on(first.path(), &first.grid, resample)?,
            None => Vec::new(),
        };
        let lengths: Vec<usize> = series.iter().map(|run| run.n_volumes).collect();
        let tr_s = series.first().and_then(|run| run.tr_s);
        Ok((RegionSeries::read(&series, &labels)?, tr_s, lengths))
    })?;
    Ok(dict!(py, {
        "labels": PyArray1::from_vec(py, found.labels),
        "values": PyArray1::from_vec(py, found.values),
        "n_voxels": found.n_voxels,
        "n_dropped": found.n_dropped,
        "n_volumes": lengths,
        "tr_s": tr_s,
    }))
}
