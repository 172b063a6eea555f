//! The tables of ROIs, of cortical surfaces and of labelled volumes.

use std::collections::BTreeMap;

use stereotax_io::Table;

use super::table;
use crate::inputs::{BenchmarkInput, Inputs, VolumeInput};
use crate::summary::Ceilings;

pub(super) fn rois_table(inputs: &Inputs, ceilings: &[Ceilings], space_of: &[String]) -> Table {
    let mut rows = Vec::new();
    for ((benchmark, ceiling), space) in inputs.benchmarks.iter().zip(ceilings).zip(space_of) {
        for (j, roi) in benchmark.rois.iter().enumerate() {
            rows.push((space.as_str(), benchmark.id.as_str(), roi, ceiling, j));
        }
    }
    table!(rows;
        text space = |r| Some(r.0), text benchmark = |r| Some(r.1),
        text roi = |r| Some(r.2.roi.clone()), text network = |r| r.2.network.clone(),
        text hemisphere = |r| r.2.hemisphere.clone(),
        number x = |r| r.2.x, number y = |r| r.2.y, number z = |r| r.2.z,
        number ceiling = |r| Some(r.3.mean[r.4]), text ceiling_kind = |r| Some(r.3.kind.clone()),
        flag masked = |r| Some(r.3.masked[r.4]),
        text status = |r| Some(if r.3.masked[r.4] {
            "ceiling below the threshold".to_owned()
        } else {
            r.3.status.clone()
        }),
    )
}

/// The surfaces of each space, from its first benchmark that has any: vertices with their ROIs, and
/// triangles. No tables where there is no surface.
pub(super) fn surface_tables(inputs: &Inputs, space_of: &[String]) -> BTreeMap<String, Table> {
    let mut shown: BTreeMap<&str, &BenchmarkInput> = BTreeMap::new();
    for (benchmark, space) in inputs.benchmarks.iter().zip(space_of) {
        if !benchmark.surfaces.is_empty() {
            shown.entry(space).or_insert(benchmark);
        }
    }
    let (mut vertices, mut faces) = (Vec::new(), Vec::new());
    for (&space, benchmark) in &shown {
        for surface in &benchmark.surfaces {
            for (point, roi) in surface.mesh.vertices.iter().zip(&surface.roi) {
                let roi = roi.map(|j| benchmark.rois[j].roi.as_str());
                vertices.push((space, surface.hemisphere, point, roi));
            }
            faces.extend(surface.mesh.faces.iter().map(|face| (space, surface.hemisphere, face)));
        }
    }
    if faces.is_empty() {
        return BTreeMap::new();
    }
    let vertices = table!(vertices;
        text space = |r| Some(r.0), text hemisphere = |r| Some(r.1),
        number x = |r| Some(r.2[0]), number y = |r| Some(r.2[1]), number z = |r| Some(r.2[2]),
        text roi = |r| r.3,
    );
    let faces = table!(faces;
        text space = |r| Some(r.0), text hemisphere = |r| Some(r.1),
        integer a = |r| Some(i64::from(r.2[0])), integer b = |r| Some(i64::from(r.2[1])),
        integer c = |r| Some(i64::from(r.2[2])),
    );
    BTreeMap::from([("surface_vertices".to_owned(), vertices), ("surface_faces".to_owned(), faces)])
}

/// The label volume of each space, from its first benchmark that has one: where the voxels stand, and which
/// belong to which ROI. No tables where there is no volume.
pub(super) fn volume_tables(inputs: &Inputs, space_of: &[String]) -> BTreeMap<String, Table> {
    let mut shown: BTreeMap<&str, (&BenchmarkInput, &VolumeInput)> = BTreeMap::new();
    for (benchmark, space) in inputs.benchmarks.iter().zip(space_of) {
        if let Some(volume) = &benchmark.volume {
            shown.entry(space).or_insert((benchmark, volume));
        }
    }
    if shown.is_empty() {
        return BTreeMap::new();
    }
    let (mut grids, mut runs) = (Vec::new(), Vec::new());
    for (&space, &(benchmark, volume)) in &shown {
        let Some(affine) = volume.grid.affine else { continue };
        grids.push((space, volume.grid.shape, affine));
        for run in &volume.runs {
            runs.push((space, run, run.roi.map(|j| benchmark.rois[j].roi.as_str())));
        }
    }
    let whole = |x: usize| Some(x as i64);
    let grids = table!(grids;
        text space = |r| Some(r.0),
        integer n_i = |r| whole(r.1[0]), integer n_j = |r| whole(r.1[1]), integer n_k = |r| whole(r.1[2]),
        number x_i = |r| Some(r.2[0][0]), number x_j = |r| Some(r.2[0][1]),
        number x_k = |r| Some(r.2[0][2]), number x_0 = |r| Some(r.2[0][3]),
        number y_i = |r| Some(r.2[1][0]), number y_j = |r| Some(r.2[1][1]),
        number y_k = |r| Some(r.2[1][2]), number y_0 = |r| Some(r.2[1][3]),
        number z_i = |r| Some(r.2[2][0]), number z_j = |r| Some(r.2[2][1]),
        number z_k = |r| Some(r.2[2][2]), number z_0 = |r| Some(r.2[2][3]),
    );
    let runs = table!(runs;
        text space = |r| Some(r.0),
        integer i = |r| whole(r.1.first[0]), integer j = |r| whole(r.1.first[1]),
        integer k = |r| whole(r.1.first[2]), integer n = |r| whole(r.1.n),
        text roi = |r| r.2,
    );
    BTreeMap::from([("volume_grids".to_owned(), grids), ("volume_runs".to_owned(), runs)])
}
