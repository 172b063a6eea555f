//! Distances along a surface: shortest paths over its edges.
//!
//! d(s, v) = min over paths of Σ edge lengths (Dijkstra 1959). Paths keep to edges, so that distances on a triangulated
//! surface are longer than straight ones across the faces by up to about a tenth on regular meshes. Cost: O(m log m)
//! for the m vertices within the limit.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::data::{Error, Result};

/// A graph of vertices with lengths on its edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    starts: Vec<usize>,
    /// Neighbour and length of the edge to it, ascending neighbours for each vertex.
    edges: Vec<(u32, f64)>,
}

/// A vertex and how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Which vertex.
    pub vertex: u32,
    /// In the unit of the edges.
    pub distance: f64,
}

/// What the heap holds; the nearest first, the lower number of equals.
struct Front(Distance);

impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.distance.total_cmp(&self.0.distance).then(other.0.vertex.cmp(&self.0.vertex))
    }
}
impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Front {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Front {}

impl Mesh {
    /// From pairs of vertices and the length of each edge; of repeated edges the shortest counts.
    ///
    /// Errors: a vertex beyond `n_vertices` or paired with itself, other numbers of lengths, lengths that are not
    /// above 0.
    pub fn from_edges(n_vertices: usize, edges: &[[usize; 2]], lengths: &[f64]) -> Result<Self> {
        if edges.len() != lengths.len() || n_vertices > u32::MAX as usize {
            return Err(Error::Shape {
                what: "lengths".into(),
                expected: format!("{} numbers (one per edge)", edges.len()),
                found: lengths.len().to_string(),
                hint: "give the length of every edge".into(),
            });
        }
        let mut lists: Vec<Vec<(u32, f64)>> = vec![vec![]; n_vertices];
        for (&[a, b], &length) in edges.iter().zip(lengths) {
            if a >= n_vertices || b >= n_vertices || a == b || !(length > 0.0 && length.is_finite()) {
                return Err(Error::Invalid {
                    what: "edges".into(),
                    expected: format!("pairs of different vertices below {n_vertices}, with lengths above 0"),
                    found: format!("({a}, {b}) of length {length}"),
                    hint: "vertices count from 0; two vertices at one place should be merged".into(),
                });
            }
            lists[a].push((b as u32, length));
            lists[b].push((a as u32, length));
        }
        let (mut starts, mut all) = (vec![0], vec![]);
        for mut list in lists {
            list.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            list.dedup_by_key(|edge| edge.0);
            all.extend(list);
            starts.push(all.len());
        }
        Ok(Mesh { starts, edges: all })
    }

    /// Of a triangulated surface with its vertices in space.
    ///
    /// Errors: a face that names a vertex twice or one that is not there; two joined vertices at one place.
    pub fn from_surface(coordinates: &[[f64; 3]], faces: &[[usize; 3]]) -> Result<Self> {
        let edges: Vec<[usize; 2]> = faces.iter().flat_map(|&[a, b, c]| [[a, b], [b, c], [c, a]]).collect();
        let at = |vertex: usize| coordinates.get(vertex).copied().unwrap_or([f64::NAN; 3]);
        let length = |edge: &[usize; 2]| {
            let (a, b) = (at(edge[0]), at(edge[1]));
            (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
        };
        let lengths: Vec<f64> = edges.iter().map(length).collect();
        Self::from_edges(coordinates.len(), &edges, &lengths)
    }

    /// How many vertices.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All vertices within `limit` of one, itself included, the nearest first (the lower number of equals).
    pub fn within(&self, vertex: usize, limit: f64) -> Vec<Distance> {
        let mut best = std::collections::HashMap::new();
        let mut done = vec![];
        let mut heap = BinaryHeap::from([Front(Distance { vertex: vertex as u32, distance: 0.0 })]);
        best.insert(vertex as u32, 0.0);
        while let Some(Front(here)) = heap.pop() {
            if best.get(&here.vertex).is_some_and(|best| here.distance > *best) {
                continue;
            }
            done.push(here);
            for &(next, length) in
                &self.edges[self.starts[here.vertex as usize]..self.starts[here.vertex as usize + 1]]
            {
                let distance = here.distance + length;
                let known = best.entry(next).or_insert(f64::INFINITY);
                if distance <= limit && distance < *known {
                    *known = distance;
                    heap.push(Front(Distance { vertex: next, distance }));
                }
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_paths_by_hand() {
        // 0 –1– 1 –1– 2, 0 –5– 2, 2 –1– 3; 4 alone.
        let mesh = Mesh::from_edges(5, &[[0, 1], [1, 2], [2, 0], [3, 2], [1, 0]], &[1.0, 1.0, 5.0, 1.0, 2.0])
            .unwrap();
        let found = |limit| -> Vec<(u32, f64)> {
            mesh.within(0, limit).iter().map(|d| (d.vertex, d.distance)).collect()
        };
        assert_eq!(found(9.0), [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]);
        assert_eq!(found(2.0), [(0, 0.0), (1, 1.0), (2, 2.0)]);
        assert_eq!(mesh.within(4, 9.0).len(), 1);
        assert!(Mesh::from_edges(2, &[[0, 1]], &[0.0]).is_err());
        assert!(Mesh::from_edges(2, &[[0, 2]], &[1.0]).is_err());
        assert!(Mesh::from_edges(2, &[[0, 1]], &[]).is_err());
    }

    #[test]
    fn a_surface_is_measured_along_itself() {
        // A square folded in the middle: along it 2, straight through √2.
        let points = [
            [1.0, 0.0, 0.0],
            [1.0, 1.0, 0.0],
            [0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 1.0, 1.0],
        ];
        let faces = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]];
        let mesh = Mesh::from_surface(&points, &faces).unwrap();
        let far = mesh.within(0, 10.0).into_iter().find(|d| d.vertex == 4).unwrap();
        assert_eq!(far.distance, 2.0);
        assert!(Mesh::from_surface(&points, &[[0, 1, 9]]).is_err());
    }
}
