//! Find the nearest of many places on a sphere.
//!
//! Places are sorted into cubes about as wide as they are apart; a search looks at cubes around the point, ring by
//! ring, until no nearer place can follow. Cost: O(n + cubes) to build, about 30 places looked at per search.

use faer::MatRef;

use crate::data::{Error, Result};
use crate::stats::summary::check_finite;

/// Most cells of the grid along an axis.
const MOST_CELLS: usize = 160;

/// Squared Euclidean distance.
pub fn squared_distance(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)
}

/// Points on the unit sphere, sorted into cubes.
#[derive(Debug)]
pub struct SphereGrid {
    points: Vec<[f64; 3]>,
    cells: usize,
    /// First entry of each cube in `sorted`, and the end.
    begins: Vec<u32>,
    /// Points and their indices, cube by cube.
    sorted: Vec<([f64; 3], u32)>,
}

impl SphereGrid {
    /// From places × 3 about the origin; radii are brought to 1. `name` is for messages.
    ///
    /// Errors: other than 3 coordinates, no place, one at the origin, values that are not finite.
    pub fn new(name: &str, sphere: MatRef<f64>) -> Result<Self> {
        let n = sphere.nrows();
        if sphere.ncols() != 3 || n == 0 {
            return Err(Error::Shape {
                what: name.into(),
                expected: "places × 3 coordinates".into(),
                found: format!("{n} × {}", sphere.ncols()),
                hint: "give the vertices of the sphere (surf.gii, lh.sphere)".into(),
            });
        }
        check_finite(name, sphere)?;
        let mut points = Vec::with_capacity(n);
        for i in 0..n {
            let at = [0, 1, 2].map(|j| sphere[(i, j)]);
            let norm = squared_distance(&at, &[0.0; 3]).sqrt();
            if norm == 0.0 {
                return Err(Error::Invalid {
                    what: name.into(),
                    expected: "places on a sphere about the origin".into(),
                    found: format!("place {i} at the origin"),
                    hint: "pass the sphere, not the cortical surface".into(),
                });
            }
            points.push(at.map(|x| x / norm));
        }
        // Cubes about as wide as places are apart.
        let cells = ((n as f64 / std::f64::consts::PI).sqrt() as usize).clamp(1, MOST_CELLS);
        let mut grid =
            SphereGrid { points, cells, begins: vec![0; cells * cells * cells + 1], sorted: Vec::new() };
        let cubes: Vec<usize> = grid.points.iter().map(|p| grid.cube(&grid.axes(p))).collect();
        for &cube in &cubes {
            grid.begins[cube + 1] += 1;
        }
        for cube in 0..cells * cells * cells {
            grid.begins[cube + 1] += grid.begins[cube];
        }
        let mut next = grid.begins.clone();
        let mut sorted = vec![([0.0; 3], 0u32); n];
        for (i, &cube) in cubes.iter().enumerate() {
            sorted[next[cube] as usize] = (grid.points[i], i as u32);
            next[cube] += 1;
        }
        grid.sorted = sorted;
        Ok(grid)
    }

    fn axes(&self, p: &[f64; 3]) -> [usize; 3] {
        p.map(|x| ((((x + 1.0) * 0.5 * self.cells as f64).max(0.0)) as usize).min(self.cells - 1))
    }

    fn cube(&self, axes: &[usize; 3]) -> usize {
        (axes[0] * self.cells + axes[1]) * self.cells + axes[2]
    }

    /// The places, on the unit sphere.
    pub fn points(&self) -> &[[f64; 3]] {
        &self.points
    }

    /// The nearest place to a point on the unit sphere; of equally near ones the first.
    pub fn nearest(&self, p: &[f64; 3]) -> u32 {
        let width = 2.0 / self.cells as f64;
        let centre = self.axes(p);
        let (mut best, mut least) = (0u32, f64::INFINITY);
        for ring in 0..=self.cells {
            // What lies in this ring of cubes or beyond is at least this far.
            let inside =
                if ring == 0 { 0.0 } else { (ring - 1) as f64 * width + self.margin(p, &centre, width) };
            if least < inside * inside {
                break;
            }
            let range =
                |axis: usize| centre[axis].saturating_sub(ring)..=(centre[axis] + ring).min(self.cells - 1);
            for a in range(0) {
                for b in range(1) {
                    let shell = a.abs_diff(centre[0]) == ring || b.abs_diff(centre[1]) == ring;
                    let mut look = |c: usize| {
                        let cube = self.cube(&[a, b, c]);
                        let (begin, end) = (self.begins[cube] as usize, self.begins[cube + 1] as usize);
                        for (q, index) in &self.sorted[begin..end] {
                            let far = squared_distance(p, q);
                            if far < least || (far == least && *index < best) {
                                (best, least) = (*index, far);
                            }
                        }
                    };
                    if shell {
                        range(2).for_each(&mut look);
                    } else {
                        if centre[2] >= ring {
                            look(centre[2] - ring);
                        }
                        if ring > 0 && centre[2] + ring < self.cells {
                            look(centre[2] + ring);
                        }
                    }
                }
            }
        }
        best
    }

    /// How far `p` is from the nearest wall of its own cube.
    fn margin(&self, p: &[f64; 3], centre: &[usize; 3], width: f64) -> f64 {
        (0..3)
            .map(|j| {
                let low = p[j] + 1.0 - centre[j] as f64 * width;
                low.min(width - low).max(0.0)
            })
            .fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    /// Nearly even places on a sphere (a Fibonacci spiral).
    pub(crate) fn sphere(n: usize) -> Mat<f64> {
        let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
        Mat::from_fn(n, 3, |i, j| {
            let z = 1.0 - (2.0 * i as f64 + 1.0) / n as f64;
            let r = (1.0 - z * z).sqrt();
            let angle = golden * i as f64;
            100.0 * [r * angle.cos(), r * angle.sin(), z][j]
        })
    }

    #[test]
    fn the_grid_finds_what_looking_at_all_finds() {
        for n in [1, 2, 7, 100, 2562] {
            let grid = SphereGrid::new("sphere", sphere(n).as_ref()).unwrap();
            let mut stream = Stream::new(2, "queries", n as u64);
            for _ in 0..400 {
                let p = [0, 1, 2].map(|_| stream.normal());
                let norm = squared_distance(&p, &[0.0; 3]).sqrt();
                let p = p.map(|x| x / norm);
                let slow = (0..n).fold(0, |best, i| {
                    if squared_distance(&p, &grid.points[i]) < squared_distance(&p, &grid.points[best]) {
                        i
                    } else {
                        best
                    }
                });
                assert_eq!(grid.nearest(&p) as usize, slow, "{n}");
            }
        }
    }
}
