//! What lies around each centre: voxels in a sphere, vertices in a disk along a surface.
//!
//! Only members of the mask belong to a neighbourhood; the share of the full sphere (or disk) that they make up is kept,
//! and centres below a least share are left out. Members are numbered in the order of the mask, ascending. Source:
//! specs: peers 1.1. Differs from rsatoolbox, whose spheres hold voxels outside of the mask (its issue 466) and whose
//! radius is exclusive: here a voxel at exactly the radius belongs. Cost: spheres are listed when they are
//! asked for, O(voxels of the sphere); disks once, by shortest paths.

use rayon::prelude::*;

use super::geodesic::Mesh;
use crate::data::{Error, Monitor, Result};

/// The neighbourhoods of some centres.
#[derive(Debug, Clone)]
pub struct Neighbourhoods {
    n_members: usize,
    centres: Vec<usize>,
    shares: Vec<f64>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Spheres {
        shape: [usize; 3],
        /// Number of each voxel of the volume in the mask; MAX outside.
        numbers: Vec<u32>,
        /// Voxels of the mask, in the volume.
        voxels: Vec<usize>,
        steps: Vec<[isize; 3]>,
    },
    Lists {
        starts: Vec<usize>,
        lists: Vec<u32>,
    },
}

/// Numbers of the members of one neighbourhood.
pub type Members = Vec<u32>;

fn check_share(least_share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&least_share) {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "min_share".into(),
        expected: "a share from 0 to 1".into(),
        found: least_share.to_string(),
        hint: "1 keeps only centres all of whose sphere lies in the mask".into(),
    })
}

fn check_radius(radius: f64) -> Result<()> {
    if radius >= 0.0 && radius.is_finite() {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "radius".into(),
        expected: "a number from 0".into(),
        found: radius.to_string(),
        hint: "in the unit of the voxel size, or of the surface's coordinates".into(),
    })
}

impl Neighbourhoods {
    /// Spheres around the voxels of a mask (`shape`, last axis fastest): members within `radius` of the centre, both
    /// in the unit of `voxel_size` (1, 1, 1: voxels).
    ///
    /// Errors: a mask of another size or empty, a radius, share or voxel size out of range.
    pub fn spheres(
        shape: [usize; 3],
        mask: &[bool],
        voxel_size: [f64; 3],
        radius: f64,
        least_share: f64,
    ) -> Result<Self> {
        let size = shape.iter().product::<usize>();
        if mask.len() != size || size >= u32::MAX as usize {
            return Err(Error::Shape {
                what: "mask".into(),
                expected: format!("{size} voxels ({} × {} × {})", shape[0], shape[1], shape[2]),
                found: format!("{} voxels", mask.len()),
                hint: "give one entry per voxel of the volume".into(),
            });
        }
        check_share(least_share)?;
        check_radius(radius)?;
        let reach = voxel_size.map(|size| (radius / size + 1e-9).floor());
        if voxel_size.iter().any(|size| !(*size > 0.0)) || reach.iter().any(|steps| !(*steps < 1e4)) {
            return Err(Error::Invalid {
                what: "voxel_size".into(),
                expected: "three sizes above 0, not too small for the radius".into(),
                found: format!("{voxel_size:?} for a radius of {radius}"),
                hint: "both are in the same unit, such as millimetres".into(),
            });
        }
        let reach = reach.map(|steps| steps as isize);
        let mut steps = vec![];
        for x in -reach[0]..=reach[0] {
            for y in -reach[1]..=reach[1] {
                for z in -reach[2]..=reach[2] {
                    let at = [x, y, z];
                    let square: f64 = (0..3).map(|axis| (at[axis] as f64 * voxel_size[axis]).powi(2)).sum();
                    if square <= radius * radius * (1.0 + 1e-9) {
                        steps.push(at);
                    }
                }
            }
        }
        let mut numbers = vec![u32::MAX; size];
        let voxels: Vec<usize> = (0..size).filter(|&voxel| mask[voxel]).collect();
        voxels.iter().enumerate().for_each(|(number, &voxel)| numbers[voxel] = number as u32);
        if voxels.is_empty() {
            return Err(Error::TooFew {
                what: "mask".into(),
                needed: "1 voxel".into(),
                found: "none".into(),
                hint: "voxels to look at are true".into(),
            });
        }
        let full = steps.len() as f64;
        let n_members = voxels.len();
        let kind = Kind::Spheres { shape, numbers, voxels, steps };
        let all = Neighbourhoods { n_members, centres: (0..n_members).collect(), shares: vec![], kind };
        let shares: Vec<f64> =
            (0..n_members).into_par_iter().map(|at| all.members(at).len() as f64 / full).collect();
        let centres: Vec<usize> = (0..n_members).filter(|&at| shares[at] >= least_share).collect();
        let shares = centres.iter().map(|&at| shares[at]).collect();
        Ok(Neighbourhoods { centres, shares, ..all })
    }

    /// Disks along a surface: vertices within `radius` by shortest paths over all edges. Of the vertices only those of
    /// `mask` (all by default) belong and are centres; they are numbered in its order.
    ///
    /// Errors: a mask of another size or empty, a radius or share out of range.
    pub fn disks(
        mesh: &Mesh,
        mask: Option<&[bool]>,
        radius: f64,
        least_share: f64,
        monitor: &Monitor<'_>,
    ) -> Result<Self> {
        check_share(least_share)?;
        check_radius(radius)?;
        let n = mesh.len();
        if let Some(mask) = mask.filter(|mask| mask.len() != n) {
            return Err(Error::Shape {
                what: "mask".into(),
                expected: format!("{n} entries (one per vertex)"),
                found: mask.len().to_string(),
                hint: "true where a vertex has data".into(),
            });
        }
        let inside: Vec<usize> = (0..n).filter(|&v| mask.is_none_or(|mask| mask[v])).collect();
        let mut numbers = vec![u32::MAX; n];
        inside.iter().enumerate().for_each(|(number, &v)| numbers[v] = number as u32);
        let disks: Vec<(Members, f64)> = inside
            .par_iter()
            .map(|&vertex| {
                monitor.check()?;
                let near = mesh.within(vertex, radius);
                let mut members: Members = near
                    .iter()
                    .map(|d| numbers[d.vertex as usize])
                    .filter(|number| *number != u32::MAX)
                    .collect();
                members.sort_unstable();
                let share = members.len() as f64 / near.len() as f64;
                Ok((members, share))
            })
            .collect::<Result<_>>()?;
        let (mut centres, mut shares, mut starts, mut lists) = (vec![], vec![], vec![0], vec![]);
        for (at, (members, share)) in disks.into_iter().enumerate() {
            if share >= least_share {
                centres.push(at);
                shares.push(share);
                lists.extend(members);
                starts.push(lists.len());
            }
        }
        Ok(Neighbourhoods { n_members: inside.len(), centres, shares, kind: Kind::Lists { starts, lists } })
    }

    /// From lists of your own, one per centre; `n_members` is how many voxels or vertices there are.
    ///
    /// Errors: other numbers of lists, a member that is not there.
    pub fn from_lists(n_members: usize, centres: Vec<usize>, members: &[Vec<usize>]) -> Result<Self> {
        if centres.len() != members.len() {
            return Err(Error::Shape {
                what: "neighbourhoods".into(),
                expected: format!("{} lists (one per centre)", centres.len()),
                found: members.len().to_string(),
                hint: "give the members of every centre".into(),
            });
        }
        let (mut starts, mut lists) = (vec![0], vec![]);
        for list in members {
            let mut list = list.clone();
            list.sort_unstable();
            list.dedup();
            if let Some(&outside) = list.iter().find(|&&member| member >= n_members) {
                return Err(Error::Invalid {
                    what: "neighbourhoods".into(),
                    expected: format!("members below {n_members}"),
                    found: outside.to_string(),
                    hint: "members are columns of the data, counted from 0".into(),
                });
            }
            lists.extend(list.into_iter().map(|member| member as u32));
            starts.push(lists.len());
        }
        let shares = vec![1.0; centres.len()];
        Ok(Neighbourhoods { n_members, centres, shares, kind: Kind::Lists { starts, lists } })
    }

    /// How many neighbourhoods.
    pub fn len(&self) -> usize {
        self.centres.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.centres.is_empty()
    }

    /// How many voxels or vertices the mask has: the columns of the data.
    pub fn n_members(&self) -> usize {
        self.n_members
    }

    /// Centres, by their numbers in the mask.
    pub fn centres(&self) -> &[usize] {
        &self.centres
    }

    /// What share of the full sphere or disk lies in the mask.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// The members around the centre at this place of [`Neighbourhoods::centres`], ascending.
    pub fn members(&self, at: usize) -> Members {
        match &self.kind {
            Kind::Lists { starts, lists } => lists[starts[at]..starts[at + 1]].to_vec(),
            Kind::Spheres { shape, numbers, voxels, steps } => {
                let voxel = voxels[self.centres[at]];
                let here = [voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]];
                let mut out = Members::with_capacity(steps.len());
                for step in steps {
                    let mut place = 0;
                    let inside = (0..3).all(|axis| {
                        let moved = here[axis].wrapping_add_signed(step[axis]);
                        place = place * shape[axis] + moved.min(shape[axis]);
                        moved < shape[axis]
                    });
                    if inside && numbers[place] != u32::MAX {
                        out.push(numbers[place]);
                    }
                }
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spheres_keep_to_the_mask_and_the_volume() {
        // Radius 1: the voxel and its six neighbours; √2: eighteen; voxels twice as high: no neighbour along z.
        let all = [true; 27];
        let sizes = |radius, size, share| -> Vec<usize> {
            let found = Neighbourhoods::spheres([3, 3, 3], &all, size, radius, share).unwrap();
            (0..found.len()).map(|at| found.members(at).len()).collect()
        };
        let unit = [1.0; 3];
        assert_eq!(sizes(1.0, unit, 0.0)[13], 7);
        assert_eq!(sizes(2f64.sqrt(), unit, 0.0)[13], 19);
        assert_eq!(sizes(1.0, [1.0, 1.0, 2.0], 0.0)[13], 5);
        assert_eq!(sizes(1.0, unit, 0.0)[0], 4);
        assert_eq!(sizes(1.0, unit, 1.0), [7]);
        let mut mask = all;
        mask[12] = false;
        let found = Neighbourhoods::spheres([3, 3, 3], &mask, unit, 1.0, 0.8).unwrap();
        // Without one voxel: 6 of 7 around the middle and the other faces; numbers count voxels of the mask.
        assert_eq!(found.centres(), [4, 10, 12, 13, 15, 21]);
        assert!(found.shares().iter().all(|share| *share == 6.0 / 7.0));
        assert_eq!(found.members(2), [4, 10, 12, 13, 15, 21]);
        assert_eq!(found.n_members(), 26);
        assert!(Neighbourhoods::spheres([3, 3, 3], &mask[..5], unit, 1.0, 0.5).is_err());
        assert!(Neighbourhoods::spheres([3, 3, 3], &[false; 27], unit, 1.0, 0.5).is_err());
        assert!(Neighbourhoods::spheres([3, 3, 3], &mask, unit, -1.0, 0.5).is_err());
        assert!(Neighbourhoods::spheres([3, 3, 3], &mask, unit, 1.0, 1.5).is_err());
        assert!(Neighbourhoods::spheres([3, 3, 3], &mask, [0.0, 1.0, 1.0], 1.0, 0.5).is_err());
    }

    #[test]
    fn disks_follow_edges_and_count_only_vertices_with_data() {
        // A path 0 – 1 – 2 – 3 – 4 of unit edges, without data at 2.
        let edges: Vec<[usize; 2]> = (0..4).map(|v| [v, v + 1]).collect();
        let mesh = Mesh::from_edges(5, &edges, &[1.0; 4]).unwrap();
        let mask = [true, true, false, true, true];
        let found = Neighbourhoods::disks(&mesh, Some(&mask), 2.0, 0.0, &Monitor::silent()).unwrap();
        // Paths run through vertex 2; numbers 0 1 . 2 3.
        let lists: Vec<Members> = (0..4).map(|at| found.members(at)).collect();
        assert_eq!(lists, [vec![0, 1], vec![0, 1, 2], vec![1, 2, 3], vec![2, 3]]);
        assert_eq!(found.shares(), [2.0 / 3.0, 0.75, 0.75, 2.0 / 3.0]);
        let some = Neighbourhoods::disks(&mesh, Some(&mask), 2.0, 0.7, &Monitor::silent()).unwrap();
        assert_eq!(some.centres(), [1, 2]);
        assert_eq!(some.members(0), [0, 1, 2]);
        assert!(Neighbourhoods::disks(&mesh, Some(&mask[..3]), 2.0, 0.5, &Monitor::silent()).is_err());
        assert!(Neighbourhoods::from_lists(3, vec![0], &[vec![3]]).is_err());
        let own = Neighbourhoods::from_lists(3, vec![2], &[vec![2, 0, 2]]).unwrap();
        assert_eq!(own.members(0), [0, 2]);
    }
}
