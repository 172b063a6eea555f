//! Summarise the volumes of a series by the regions of a labelled volume.
//!
//! Label 0 belongs to no region. A voxel that is constant over the series or not finite somewhere is left out
//! and counted. The label volume must stand on the grid of the series (same shape, corners within half a voxel);
//! brought there by nearest neighbours only if asked. Memory: one series per region, two volumes, and 17 bytes
//! per labelled voxel; single voxels are kept only where they are what is asked for. Cost: one pass over the
//! series, two where a labelled voxel proves useless after it was added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{IoError, IoErrorKind, Result};
use crate::nifti::{VolumeFile, VolumeGrid};

/// Further apart than this, in voxels, two grids are not the same.
const MAX_DISTANCE: f64 = 0.5;

/// A volume of whole numbers, each a region.
#[derive(Debug, Clone, PartialEq)]
pub struct Atlas {
    path: PathBuf,
    /// Where its voxels stand.
    pub grid: VolumeGrid,
    /// Label of each voxel, i fastest; 0 is none.
    pub labels: Vec<i64>,
}

/// The mean series of every region.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionSeries {
    /// Labels, ascending.
    pub labels: Vec<i64>,
    /// Volumes × regions, volume after volume; NaN for a region without a usable voxel.
    pub values: Vec<f64>,
    /// Volumes.
    pub n_volumes: usize,
    /// Voxels averaged, per region.
    pub n_voxels: Vec<usize>,
    /// Voxels left out because they are constant or not finite somewhere, per region.
    pub n_dropped: Vec<usize>,
}

/// The series of every labelled voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct VoxelSeries {
    /// Position of each in its volume, i fastest, ascending.
    pub positions: Vec<usize>,
    /// Its label.
    pub labels: Vec<i64>,
    /// Volumes × voxels, volume after volume, as they are in the file.
    pub values: Vec<f64>,
    /// Volumes.
    pub n_volumes: usize,
}

impl Atlas {
    /// Read a label volume.
    ///
    /// # Errors
    /// As [`VolumeFile::open`]; several volumes, labels that are no whole numbers.
    pub fn read(path: &Path) -> Result<Atlas> {
        let file = VolumeFile::open(path)?;
        if file.n_volumes != 1 {
            return Err(IoError::shape(
                path,
                "labels",
                "one volume of whole numbers",
                format!("{} volumes", file.n_volumes),
                "a probabilistic atlas has a volume per region: take the most probable label of each voxel first",
            ));
        }
        let mut labels = Vec::new();
        file.each_volume(|_, values| {
            if let Some(at) = values.iter().position(|v| v.fract() != 0.0 || v.abs() > 9e15) {
                return Err(IoError::dtype(
                    path,
                    "labels",
                    "whole numbers",
                    &format!("{} at voxel {at} (i fastest)", values[at]),
                ));
            }
            labels = values.iter().map(|v| *v as i64).collect();
            Ok(())
        })?;
        Ok(Atlas { path: path.to_owned(), grid: file.grid, labels })
    }

    /// The label of every voxel of another grid.
    ///
    /// # Errors
    /// Grids that differ by more than half a voxel, unless `resample`: then the label of the nearest voxel.
    pub fn on(&self, path: &Path, grid: &VolumeGrid, resample: bool) -> Result<Vec<i64>> {
        if self.grid.distance(grid).is_some_and(|distance| distance <= MAX_DISTANCE) {
            return Ok(self.labels.clone());
        }
        let refuse = |found: String, hint: &str| {
            let expected = format!("the grid of `{}`", path.display());
            Err(IoError::shape(&self.path, "labels", expected, found, hint))
        };
        if self.grid.affine.is_none() || grid.affine.is_none() {
            return refuse(
                format!(
                    "{:?} voxels for {:?}, of which one or both have no known place",
                    self.grid.shape, grid.shape
                ),
                "write an affine into both files, or give labels of the same shape",
            );
        }
        if !resample {
            let found = match self.grid.distance(grid) {
                Some(distance) => format!("corners that are {distance:.2} voxels away"),
                None => format!("{:?} voxels for {:?}", self.grid.shape, grid.shape),
            };
            return refuse(found, "bring the labels to the grid of the data, or ask for it (`resample`)");
        }
        match self.grid.nearest(grid) {
            Some(nearest) => Ok(nearest.into_iter().map(|at| at.map_or(0, |at| self.labels[at])).collect()),
            None => refuse("axes that do not span space".into(), "check the affine of both files"),
        }
    }
}

/// What was seen of a labelled voxel so far.
#[derive(Clone, Copy)]
struct Seen {
    position: usize,
    region: usize,
    first: f64,
    varies: bool,
    finite: bool,
}

impl RegionSeries {
    /// Average the voxels of every region over the volumes of all runs; `labels` has one entry per voxel.
    ///
    /// # Errors
    /// As [`VolumeFile::each_volume`]; another number of labels, no label but 0, runs on different grids.
    pub fn read(runs: &[VolumeFile], labels: &[i64]) -> Result<RegionSeries> {
        let (names, mut voxels) = labelled(runs, labels)?;
        let n_volumes = runs.iter().map(|run| run.n_volumes).sum();
        let mut sums = vec![0.0; n_volumes * names.len()];
        let mut spoiled = false;
        each_volume(runs, |t, values| {
            let sums = &mut sums[t * names.len()..][..names.len()];
            for voxel in &mut voxels {
                let value = values[voxel.position];
                if !value.is_finite() {
                    // What it added before must go; in the first volume it has not added anything.
                    spoiled |= voxel.finite && t > 0;
                    voxel.finite = false;
                } else if voxel.finite {
                    if t == 0 {
                        voxel.first = value;
                    }
                    voxel.varies |= value != voxel.first;
                    sums[voxel.region] += value;
                }
            }
            Ok(())
        })?;
        let single = n_volumes == 1;
        let usable = |voxel: &Seen| voxel.finite && (voxel.varies || single);
        // Constant zeros, as outside the brain, have added nothing.
        spoiled |= voxels.iter().any(|v| v.finite && !usable(v) && v.first != 0.0);
        if spoiled {
            sums.fill(0.0);
            each_volume(runs, |t, values| {
                let sums = &mut sums[t * names.len()..][..names.len()];
                voxels.iter().filter(|v| usable(v)).for_each(|v| sums[v.region] += values[v.position]);
                Ok(())
            })?;
        }
        let (mut n_voxels, mut n_dropped) = (vec![0; names.len()], vec![0; names.len()]);
        for voxel in &voxels {
            let count = if usable(voxel) { &mut n_voxels } else { &mut n_dropped };
            count[voxel.region] += 1;
        }
        for volume in sums.chunks_exact_mut(names.len().max(1)) {
            // 0 / 0 is NaN: a region without a voxel has no series.
            volume.iter_mut().zip(&n_voxels).for_each(|(sum, n)| *sum /= *n as f64);
        }
        Ok(RegionSeries { labels: names, values: sums, n_volumes, n_voxels, n_dropped })
    }
}

impl VoxelSeries {
    /// Keep every labelled voxel of all runs; `labels` has one entry per voxel.
    ///
    /// # Errors
    /// As [`RegionSeries::read`].
    pub fn read(runs: &[VolumeFile], labels: &[i64]) -> Result<VoxelSeries> {
        let (names, voxels) = labelled(runs, labels)?;
        let mut values = Vec::new();
        each_volume(runs, |_, volume| {
            values.extend(voxels.iter().map(|v| volume[v.position]));
            Ok(())
        })?;
        Ok(VoxelSeries {
            positions: voxels.iter().map(|v| v.position).collect(),
            labels: voxels.iter().map(|v| names[v.region]).collect(),
            values,
            n_volumes: runs.iter().map(|run| run.n_volumes).sum(),
        })
    }
}

/// The volumes of all runs, counted through.
fn each_volume(runs: &[VolumeFile], mut take: impl FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
    let mut before = 0;
    for run in runs {
        run.each_volume(|t, values| take(before + t, values))?;
        before += run.n_volumes;
    }
    Ok(())
}

fn labelled(runs: &[VolumeFile], labels: &[i64]) -> Result<(Vec<i64>, Vec<Seen>)> {
    let Some(series) = runs.first() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let same = |run: &VolumeFile| run.grid.distance(&series.grid).is_some_and(|d| d <= MAX_DISTANCE);
    if let Some(other) = runs.iter().find(|run| !same(run)) {
        return Err(IoError::shape(
            other.path(),
            "volumes",
            format!("the grid of `{}`", series.path().display()),
            format!("{:?} voxels elsewhere", other.grid.shape),
            "bring all runs to one space first",
        ));
    }
    if labels.len() != series.grid.n_voxels() {
        return Err(IoError::shape(
            series.path(),
            "labels",
            format!("{} labels, one per voxel", series.grid.n_voxels()),
            labels.len().to_string(),
            "bring the labels to the grid of the series first",
        ));
    }
    let mut places: BTreeMap<i64, usize> = labels.iter().filter(|l| **l != 0).map(|l| (*l, 0)).collect();
    if places.is_empty() {
        return Err(IoError::new(
            IoErrorKind::Shape,
            series.path(),
            "labels",
            "at least one region",
            "no label but 0",
            "check that the label volume covers the data; both must be in one space",
        ));
    }
    places.values_mut().enumerate().for_each(|(place, at)| *at = place);
    let voxels = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| **label != 0)
        .map(|(position, label)| Seen {
            position,
            region: places[label],
            first: 0.0,
            varies: false,
            finite: true,
        })
        .collect();
    Ok((places.into_keys().collect(), voxels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nifti::tests::{MM2, bytes};

    fn open(folder: &Path, name: &str, bytes: &[u8]) -> VolumeFile {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        VolumeFile::open(&path).unwrap()
    }

    #[test]
    fn regions_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        // Six voxels, three volumes. Label 7: a good voxel, a constant one, one with NaN late. Label 3: two good
        // ones. The last voxel has no label.
        let v: [[f32; 6]; 3] = [
            [1.0, 5.0, 2.0, 10.0, 30.0, 99.0],
            [2.0, 5.0, 3.0, 20.0, 10.0, 99.0],
            [4.0, 5.0, f32::NAN, 30.0, 50.0, 98.0],
        ];
        let labels = [7, 7, 7, 3, 3, 0];
        let series = open(folder.path(), "s.nii", &bytes([3, 2, 1, 3], Some(MM2), &v.concat()));
        let found = RegionSeries::read(std::slice::from_ref(&series), &labels).unwrap();
        assert_eq!((found.labels.as_slice(), found.n_volumes), ([3, 7].as_slice(), 3));
        assert_eq!(found.values, [20.0, 1.0, 15.0, 2.0, 40.0, 4.0]);
        assert_eq!((found.n_voxels, found.n_dropped), (vec![2, 1], vec![0, 2]));
        let voxels = VoxelSeries::read(std::slice::from_ref(&series), &labels).unwrap();
        assert_eq!((voxels.positions, voxels.labels), (vec![0, 1, 2, 3, 4], vec![7, 7, 7, 3, 3]));
        assert_eq!(voxels.values[5..7], [2.0, 5.0]);
        // Two runs are one series: what is constant in one of them is not constant.
        let v: Vec<f32> = [[3.0; 6], [3.0; 6]].concat();
        let more = open(folder.path(), "t.nii", &bytes([3, 2, 1, 2], Some(MM2), &v));
        let both = RegionSeries::read(&[series, more], &labels).unwrap();
        assert_eq!((both.n_volumes, both.n_voxels.clone(), both.values[8]), (5, vec![2, 2], 3.0));
        assert_eq!(both.values[1], 3.0);
        // A region of useless voxels has no series; NaN from the first volume on needs no second pass.
        let v: Vec<f32> = [f32::NAN, 0.0, 1.0, f32::NAN, 0.0, 2.0].to_vec();
        let series = open(folder.path(), "u.nii", &bytes([3, 1, 1, 2], Some(MM2), &v));
        let found = RegionSeries::read(std::slice::from_ref(&series), &[1, 1, 2]).unwrap();
        assert!(found.values[0].is_nan() && found.values[2].is_nan());
        assert_eq!((found.values[1], found.values[3], found.n_dropped), (1.0, 2.0, vec![2, 0]));
        assert_eq!(
            RegionSeries::read(std::slice::from_ref(&series), &[0; 3]).unwrap_err().kind,
            IoErrorKind::Shape
        );
        assert_eq!(
            RegionSeries::read(std::slice::from_ref(&series), &[1; 4]).unwrap_err().kind,
            IoErrorKind::Shape
        );
    }

    #[test]
    fn labels_move_to_another_grid_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let labels = [1.0f32, 2.0, 3.0, 4.0];
        open(folder.path(), "a.nii", &bytes([4, 1, 1, 1], Some(MM2), &labels));
        let atlas = Atlas::read(&folder.path().join("a.nii")).unwrap();
        let mut shifted = MM2;
        shifted[0][3] += 0.9;
        let near = VolumeGrid { shape: [4, 1, 1], affine: Some(shifted.map(|row| row.map(f64::from))) };
        let data = Path::new("bold.nii");
        assert_eq!(atlas.on(data, &near, false).unwrap(), [1, 2, 3, 4]);
        shifted[0][3] += 1.1;
        let far = VolumeGrid { shape: [4, 1, 1], affine: Some(shifted.map(|row| row.map(f64::from))) };
        let error = atlas.on(data, &far, false).unwrap_err();
        assert!(error.to_string().contains("1.00 voxels away"), "{error}");
        assert_eq!(atlas.on(data, &far, true).unwrap(), [2, 3, 4, 0]);
        let unknown = VolumeGrid { shape: [4, 1, 1], affine: None };
        assert!(atlas.on(data, &unknown, true).unwrap_err().to_string().contains("no known place"));
        open(folder.path(), "p.nii", &bytes([2, 1, 1, 2], Some(MM2), &labels));
        assert!(Atlas::read(&folder.path().join("p.nii")).unwrap_err().to_string().contains("probabilistic"));
        open(folder.path(), "f.nii", &bytes([2, 1, 1, 1], Some(MM2), &[1.0, 0.5]));
        assert_eq!(Atlas::read(&folder.path().join("f.nii")).unwrap_err().kind, IoErrorKind::Dtype);
    }
}
