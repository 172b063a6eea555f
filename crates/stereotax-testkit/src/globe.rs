//! Simulate a cortical surface for the regions of a simulated cortex.
//!
//! Each hemisphere is a subdivided icosahedron, pressed into half an ellipsoid with a nearly flat inner
//! wall and shallow folds. A vertex belongs to the region of its hemisphere whose centre is nearest, but
//! for a patch in the middle of the inner wall, which belongs to none. This is no anatomy.

use std::collections::HashMap;

use crate::cortex::{Hemisphere, Roi};

/// A simulated hemisphere.
#[derive(Debug, Clone, PartialEq)]
pub struct Globe {
    /// Side.
    pub hemisphere: Hemisphere,
    /// x, y, z of each vertex in mm.
    pub vertices: Vec<[f64; 3]>,
    /// Corners of each triangle, counted from 0; counter-clockwise from outside.
    pub faces: Vec<[u32; 3]>,
    /// Index of the region of each vertex.
    pub roi: Vec<Option<usize>>,
}

/// Both hemispheres, each of 10·4ⁿ + 2 vertices for n subdivisions (5: 10,242, as fsaverage5).
pub fn globes(rois: &[Roi], n_subdivisions: usize) -> [Globe; 2] {
    let (sphere, faces) = icosphere(n_subdivisions);
    [Hemisphere::Left, Hemisphere::Right].map(|hemisphere| {
        let side = if hemisphere == Hemisphere::Left { -1.0 } else { 1.0 };
        let vertices: Vec<[f64; 3]> = sphere.iter().map(|p| press(*p, side)).collect();
        let roi = sphere
            .iter()
            .zip(&vertices)
            .map(|(p, at)| {
                // A patch in the middle of the inner wall.
                let wall = side * p[0] < -0.2 && (p[1] / 0.55).powi(2) + (p[2] / 0.4).powi(2) < 1.0;
                let distance = |roi: &Roi| {
                    (at[1] - roi.y).powi(2) + (at[2] - roi.z).powi(2) + (0.6 * (at[0] - roi.x)).powi(2)
                };
                let mine = rois.iter().enumerate().filter(|(_, r)| r.hemisphere == hemisphere);
                let nearest = mine.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
                nearest.map(|(index, _)| index).filter(|_| !wall)
            })
            .collect();
        Globe { hemisphere, vertices, faces: faces.clone(), roi }
    })
}

/// From the unit sphere to half an ellipsoid; the half axes are those on which the regions lie.
fn press(p: [f64; 3], side: f64) -> [f64; 3] {
    let out = side * p[0];
    let folds = 1.0 + 0.025 * ((9.0 * p[1]).sin() * (11.0 * p[2] + 2.0 * p[1]).sin());
    let x = if out > 0.0 { 2.0 + 66.0 * out * folds } else { 2.0 + 1.5 * out };
    [side * x, 85.0 * p[1] * folds - 18.0, 58.0 * p[2] * folds + 16.0]
}

/// A sphere of triangles: an icosahedron whose triangles are cut in four, again and again.
fn icosphere(n_subdivisions: usize) -> (Vec<[f64; 3]>, Vec<[u32; 3]>) {
    let g = (1.0 + 5f64.sqrt()) / 2.0;
    let mut vertices: Vec<[f64; 3]> = Vec::new();
    for (a, b) in [(-1.0, g), (1.0, g), (-1.0, -g), (1.0, -g)] {
        vertices.push(unit([a, b, 0.0]));
    }
    for (a, b) in [(-1.0, g), (1.0, g), (-1.0, -g), (1.0, -g)] {
        vertices.push(unit([0.0, a, b]));
    }
    for (a, b) in [(g, -1.0), (g, 1.0), (-g, -1.0), (-g, 1.0)] {
        vertices.push(unit([a, 0.0, b]));
    }
    let mut faces: Vec<[u32; 3]> = vec![
        [0, 11, 5],
        [0, 5, 1],
        [0, 1, 7],
        [0, 7, 10],
        [0, 10, 11],
        [1, 5, 9],
        [5, 11, 4],
        [11, 10, 2],
        [10, 7, 6],
        [7, 1, 8],
        [3, 9, 4],
        [3, 4, 2],
        [3, 2, 6],
        [3, 6, 8],
        [3, 8, 9],
        [4, 9, 5],
        [2, 4, 11],
        [6, 2, 10],
        [8, 6, 7],
        [9, 8, 1],
    ];
    for _ in 0..n_subdivisions {
        let mut middles: HashMap<(u32, u32), u32> = HashMap::new();
        let mut finer = Vec::with_capacity(4 * faces.len());
        for [a, b, c] in faces {
            let mut middle = |p: u32, q: u32| {
                *middles.entry((p.min(q), p.max(q))).or_insert_with(|| {
                    let (p, q) = (vertices[p as usize], vertices[q as usize]);
                    vertices.push(unit([p[0] + q[0], p[1] + q[1], p[2] + q[2]]));
                    vertices.len() as u32 - 1
                })
            };
            let (ab, bc, ca) = (middle(a, b), middle(b, c), middle(c, a));
            finer.extend([[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]]);
        }
        faces = finer;
    }
    (vertices, faces)
}

fn unit(p: [f64; 3]) -> [f64; 3] {
    let length = (p[0] * p[0] + p[1] * p[1] + p[2] * p[2]).sqrt();
    p.map(|x| x / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cortex::{CortexParams, simulate};

    #[test]
    fn icospheres_are_closed_and_face_outwards() {
        for n in 0..4 {
            let (vertices, faces) = icosphere(n);
            assert_eq!(vertices.len(), 10 * 4usize.pow(n as u32) + 2);
            assert_eq!(faces.len(), 20 * 4usize.pow(n as u32));
            // Every edge belongs to two triangles, once in each direction.
            let mut edges: HashMap<(u32, u32), usize> = HashMap::new();
            for [a, b, c] in &faces {
                for edge in [(*a, *b), (*b, *c), (*c, *a)] {
                    *edges.entry(edge).or_default() += 1;
                }
            }
            assert!(edges.iter().all(|(&(a, b), &k)| k == 1 && edges.contains_key(&(b, a))));
            for [a, b, c] in &faces {
                let [a, b, c] = [a, b, c].map(|&k| vertices[k as usize]);
                let det = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
                    + a[2] * (b[0] * c[1] - b[1] * c[0]);
                assert!(det > 0.0, "a triangle faces inwards");
            }
        }
    }

    #[test]
    fn every_region_has_vertices_on_its_own_side() {
        let rois = simulate(&CortexParams::crossed(1)).rois;
        for globe in globes(&rois, 4) {
            for (j, roi) in rois.iter().enumerate().filter(|(_, r)| r.hemisphere == globe.hemisphere) {
                assert!(globe.roi.contains(&Some(j)), "{}", roi.name);
            }
            assert!(globe.roi.iter().flatten().all(|&j| rois[j].hemisphere == globe.hemisphere));
            assert!(globe.roi.contains(&None));
            let side = if globe.hemisphere == Hemisphere::Left { -1.0 } else { 1.0 };
            assert!(globe.vertices.iter().all(|p| side * p[0] > 0.0));
        }
    }
}
