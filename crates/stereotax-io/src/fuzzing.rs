//! Give a file to every reader: the common entry of the tests on changed files and of the fuzz targets.

use std::path::Path;

use crate::array::{ArrayFile, info, keys, own_ids, read_texts};
use crate::atlas::Atlas;
use crate::nifti::VolumeFile;
use crate::responses::{ResponsesParams, Targets, load_responses, read_rois};
use crate::stimuli::read_stimuli;
use crate::surface::{read_mesh, read_vertex_labels};

/// Numbers that are read of one array.
const SOME: usize = 1 << 16;

/// Read a file in every way there is; what comes of it does not matter, as long as it comes.
pub fn read_everything(path: &Path) {
    let _ = info(path);
    let _ = own_ids(path);
    let found = keys(path).unwrap_or_default();
    for key in found.iter().take(8).map(|key| Some(key.as_str())).chain([None]) {
        if let Ok(array) = ArrayFile::open(path, key) {
            let rows = (SOME / array.row_len().max(1)).min(array.n_rows());
            let mut out = vec![0.0; rows * array.row_len()];
            let _ = array.read_rows(0..rows, &mut out);
            let last = array.n_rows().saturating_sub(rows);
            let _ = array.read_rows(last..array.n_rows(), &mut out);
        }
        let _ = read_texts(path, key);
    }
    let small = ArrayFile::open(path, None).is_ok_and(|a| a.n_rows().saturating_mul(a.row_len()) <= SOME);
    if small {
        let _ = load_responses(path, &ResponsesParams::default());
        let own = Targets::Voxels { file: Some(path.to_owned()), key: None, rois: None };
        let _ = load_responses(path, &ResponsesParams { targets: own, ..ResponsesParams::default() });
        let _ = read_vertex_labels(path, 6);
    }
    let _ = read_mesh(path, None);
    let _ = read_rois(path);
    let _ = read_stimuli(path);
    let _ = crate::read_parquet(path);
    if let Ok(volumes) = VolumeFile::open(path)
        && volumes.grid.n_voxels() <= SOME
    {
        let _ = volumes.each_volume(|at, _| if at < 4 { Ok(()) } else { Err(volumes_enough(path)) });
        let _ = Atlas::read(path);
    }
}

/// Ends a walk over volumes.
fn volumes_enough(path: &Path) -> crate::IoError {
    crate::IoError::truncated(path, "volumes", "a few", "a few")
}
