//! The tables of ROIs and of cortical surfaces.

use std::collections::BTreeMap;

use stereotax_io::Table;

use super::table;
use crate::inputs::{BenchmarkInput, Inputs};
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
