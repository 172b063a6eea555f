//! Lists of neighbours: of the voxels of a mask, of the vertices of a surface, or as given by edges.
//!
//! Vertices count from 0. The list of each is ascending, without itself and without repeats; neighbours are
//! mutual. Cost: O(vertices + edges · log degree).

use crate::data::{Error, Result};

/// Which of the 26 voxels around a voxel are its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// 6: those that share a face.
    Faces,
    /// 18: those that share an edge.
    Edges,
    /// 26: those that share a corner.
    Corners,
}

/// The neighbours of every vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    /// Where the list of each vertex begins in `lists`; one more at the end.
    starts: Vec<usize>,
    lists: Vec<usize>,
}

impl Neighbours {
    /// From pairs of vertices, in either order, repeats allowed.
    ///
    /// Errors: a vertex beyond `n_vertices`, a vertex paired with itself.
    pub fn from_edges(n_vertices: usize, edges: &[[usize; 2]]) -> Result<Self> {
        let mut lists = vec![vec![]; n_vertices];
        for &[a, b] in edges {
            if a >= n_vertices || b >= n_vertices || a == b {
                return Err(Error::Invalid {
                    what: "edges".into(),
                    expected: format!("pairs of different vertices below {n_vertices}"),
                    found: format!("({a}, {b})"),
                    hint: "vertices count from 0".into(),
                });
            }
            lists[a].push(b);
            lists[b].push(a);
        }
        Ok(Self::of_lists(lists))
    }

    /// Of the vertices of a surface: those that share an edge of a triangle.
    ///
    /// Errors: a face that names a vertex twice or one beyond `n_vertices`.
    pub fn from_faces(n_vertices: usize, faces: &[[usize; 3]]) -> Result<Self> {
        let edges: Vec<[usize; 2]> = faces.iter().flat_map(|&[a, b, c]| [[a, b], [b, c], [c, a]]).collect();
        Self::from_edges(n_vertices, &edges)
    }

    /// Of the voxels inside a mask of this shape (last axis fastest), numbered in the order of the mask.
    ///
    /// Errors: a mask of another size.
    pub fn from_mask(shape: [usize; 3], mask: &[bool], connectivity: Connectivity) -> Result<Self> {
        let size = shape.iter().product::<usize>();
        if mask.len() != size {
            return Err(Error::Shape {
                what: "mask".into(),
                expected: format!("{size} voxels ({} × {} × {})", shape[0], shape[1], shape[2]),
                found: format!("{} voxels", mask.len()),
                hint: "give one entry per voxel of the volume".into(),
            });
        }
        let most = match connectivity {
            Connectivity::Faces => 1,
            Connectivity::Edges => 2,
            Connectivity::Corners => 3,
        };
        let steps: Vec<[isize; 3]> = (0..27)
            .map(|k: isize| [k / 9 - 1, k / 3 % 3 - 1, k % 3 - 1])
            .filter(|step| (1..=most).contains(&step.iter().map(|s| s.abs()).sum::<isize>()))
            .collect();
        let mut number = vec![usize::MAX; size];
        let inside: Vec<usize> = (0..size).filter(|&i| mask[i]).collect();
        inside.iter().enumerate().for_each(|(at, &i)| number[i] = at);
        let lists = inside
            .iter()
            .map(|&i| {
                let here = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
                steps
                    .iter()
                    .filter_map(|step| {
                        let mut at = 0;
                        for axis in 0..3 {
                            let moved = here[axis].checked_add_signed(step[axis])?;
                            at = at * shape[axis] + (moved < shape[axis]).then_some(moved)?;
                        }
                        mask[at].then_some(number[at])
                    })
                    .collect()
            })
            .collect();
        Ok(Self::of_lists(lists))
    }

    fn of_lists(lists: Vec<Vec<usize>>) -> Self {
        let (mut starts, mut all) = (vec![0], vec![]);
        for mut list in lists {
            list.sort_unstable();
            list.dedup();
            all.extend(list);
            starts.push(all.len());
        }
        Neighbours { starts, lists: all }
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The neighbours of one vertex, ascending.
    pub fn of(&self, vertex: usize) -> &[usize] {
        &self.lists[self.starts[vertex]..self.starts[vertex + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_of_a_cube_has_6_18_or_26_neighbours() {
        let all = [true; 27];
        for (connectivity, centre, corner) in
            [(Connectivity::Faces, 6, 3), (Connectivity::Edges, 18, 6), (Connectivity::Corners, 26, 7)]
        {
            let found = Neighbours::from_mask([3, 3, 3], &all, connectivity).unwrap();
            assert_eq!((found.of(13).len(), found.of(0).len(), found.len()), (centre, corner, 27));
        }
        let found = Neighbours::from_mask([3, 3, 3], &all, Connectivity::Faces).unwrap();
        assert_eq!(found.of(13), [4, 10, 12, 14, 16, 22]);
    }

    #[test]
    fn voxels_outside_the_mask_are_no_neighbours_and_rows_do_not_wrap() {
        // 1 × 2 × 3 without its second voxel: numbered 0 . 1 / 2 3 4.
        let mask = [true, false, true, true, true, true];
        let found = Neighbours::from_mask([1, 2, 3], &mask, Connectivity::Faces).unwrap();
        let lists: Vec<&[usize]> = (0..5).map(|i| found.of(i)).collect();
        assert_eq!(lists, [&[2][..], &[4], &[0, 3], &[2, 4], &[1, 3]]);
        assert!(Neighbours::from_mask([1, 2, 3], &mask[..5], Connectivity::Faces).is_err());
    }

    #[test]
    fn two_triangles_share_an_edge() {
        let found = Neighbours::from_faces(5, &[[0, 1, 2], [2, 1, 3]]).unwrap();
        assert_eq!((found.of(1), found.of(3), found.of(4)), (&[0, 2, 3][..], &[1, 2][..], &[][..]));
        assert!(Neighbours::from_faces(3, &[[0, 1, 3]]).is_err());
        assert!(Neighbours::from_edges(3, &[[1, 1]]).is_err());
    }
}
