//! Draw volumes of labelled voxels: as a glass brain and as slices.
//!
//! The voxels are brought to a grid along x (right), y (forward) and z (up) by nearest neighbours, of the side
//! of the smallest voxel or larger, so that whole brains of any resolution make pages of one size.
//!
//! ```text
//! glass brain   each point shows every ROI on its line of sight; the page paints the largest of their values
//! slices        12 planes per axis, evenly spaced from 4 to 96 % of what is labelled
//! outline       darker where two ROIs meet, and where the labelled voxels end
//! ```

use std::collections::BTreeMap;

use stereotax_io::{Table, Values, VolumeGrid};

use crate::brain::{Drawn, Space};
use crate::input::ReportInput;
use crate::picture::{BACKGROUND, FIRST_ROI, NO_ROI, OUTLINE, Picture, level};

/// Groups of views that are of volumes.
pub(crate) const GROUPS: [&str; 4] = [GLASS, FROM_ABOVE, FROM_BEHIND, FROM_RIGHT];

const GLASS: &str = "glass brain";
const FROM_ABOVE: &str = "slices from above";
const FROM_BEHIND: &str = "slices from behind";
const FROM_RIGHT: &str = "slices from the right";

/// Cells of the grid that is drawn, at most; a whole brain at 2 mm has 900,000.
const MAX_CELLS: f64 = 1.3e6;
/// Voxels of the box around the labels, at most.
const MAX_VOXELS: usize = 1 << 27;
const N_SLICES: usize = 12;
/// Share of the labelled extent that is left out at each end.
const MARGIN: f64 = 0.04;
/// Points along the longest side of a slice, and of a glass brain, or a little less.
const SLICE_POINTS: usize = 240;
const GLASS_POINTS: usize = 420;
/// Empty points around a picture.
const BORDER: usize = 2;
/// Cells of an ROI, on average, below which ROIs are not outlined: they would be nothing but outline.
const LEAST_OUTLINED: usize = 8;

/// Which axes of space go to the right and up, and which is looked along.
#[derive(Debug, Clone, Copy)]
struct Plane {
    slices: &'static str,
    right: usize,
    up: usize,
    along: usize,
    glass: &'static str,
}

const PLANES: [Plane; 3] = [
    Plane { slices: FROM_ABOVE, right: 0, up: 1, along: 2, glass: "from above, left is left" },
    Plane { slices: FROM_BEHIND, right: 0, up: 2, along: 1, glass: "from behind, left is left" },
    Plane { slices: FROM_RIGHT, right: 1, up: 2, along: 0, glass: "from the right" },
];

/// ROI numbers on a grid along x, y and z; x fastest.
#[derive(Debug, Clone, PartialEq)]
struct Cells {
    shape: [usize; 3],
    /// Side of a cell in mm.
    side: f64,
    /// Middle of the first cell.
    origin: [f64; 3],
    codes: Vec<u32>,
}

/// Add the pictures of every space that has a labelled volume.
pub(crate) fn draw_all(input: &ReportInput, spaces: &mut BTreeMap<String, Space>) {
    let (Some(grids), Some(runs)) = (input.tables.get("volume_grids"), input.tables.get("volume_runs"))
    else {
        return;
    };
    for (name, grid) in read_grids(grids) {
        let space = spaces.entry(name.clone()).or_default();
        let Some(cells) = read_cells(&grid, runs, &name, space) else { continue };
        space.views.extend(glass_brain(&cells));
        space.views.extend(slices(&cells));
    }
}

/// The grid of each space; rows that are no grid are left out.
fn read_grids(table: &Table) -> BTreeMap<String, VolumeGrid> {
    let columns: Vec<Vec<f64>> = [
        "n_i", "n_j", "n_k", "x_i", "x_j", "x_k", "x_0", "y_i", "y_j", "y_k", "y_0", "z_i", "z_j", "z_k",
        "z_0",
    ]
    .iter()
    .map(|name| numbers(table, name))
    .collect();
    let spaces = table.texts("space").unwrap_or_default();
    let mut grids = BTreeMap::new();
    for at in 0..table.n_rows() {
        let row: Vec<f64> = columns.iter().map(|c| c.get(at).copied().unwrap_or(f64::NAN)).collect();
        if row.iter().any(|x| !x.is_finite()) || row[..3].iter().any(|n| *n < 1.0 || *n > 65_536.0) {
            continue;
        }
        let affine = [0, 1, 2].map(|axis| [0, 1, 2, 3].map(|column| row[3 + 4 * axis + column]));
        let shape = [0, 1, 2].map(|axis: usize| row[axis] as usize);
        let space = spaces.get(at).cloned().flatten().unwrap_or_default();
        grids.insert(space, VolumeGrid { shape, affine: Some(affine) });
    }
    grids
}

/// The labelled voxels of a space on a grid along x, y, z; `None` where there are none.
fn read_cells(grid: &VolumeGrid, runs: &Table, name: &str, space: &mut Space) -> Option<Cells> {
    let [i, j, k, n] = ["i", "j", "k", "n"].map(|column| numbers(runs, column));
    let (of, roi) = (runs.texts("space")?, runs.texts("roi")?);
    let mut found = Vec::new();
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for at in 0..runs.n_rows() {
        if of[at].as_deref().unwrap_or_default() != name {
            continue;
        }
        let whole =
            |x: f64, most: usize| (x >= 0.0 && x.fract() == 0.0 && x < most as f64).then_some(x as usize);
        let [ni, nj, nk] = grid.shape;
        let (Some(i), Some(j), Some(k)) = (whole(i[at], ni), whole(j[at], nj), whole(k[at], nk)) else {
            continue;
        };
        let Some(n) = whole(n[at], ni - i + 1).filter(|n| *n > 0) else { continue };
        let code = roi[at].as_deref().map_or(NO_ROI, |roi| space.code(roi));
        for (axis, (first, last)) in [(i, i + n - 1), (j, j), (k, k)].into_iter().enumerate() {
            low[axis] = low[axis].min(first);
            high[axis] = high[axis].max(last);
        }
        found.push(([i, j, k], n, code));
    }
    if found.is_empty() {
        return None;
    }
    // The box around the labels.
    let shape = [0, 1, 2].map(|axis| high[axis] - low[axis] + 1);
    if shape.iter().product::<usize>() > MAX_VOXELS {
        return None;
    }
    let mut codes = vec![BACKGROUND; shape.iter().product()];
    for (first, n, code) in found {
        let [i, j, k] = [0, 1, 2].map(|axis| first[axis] - low[axis]);
        let start = i + shape[0] * (j + shape[1] * k);
        codes[start..start + n].fill(code);
    }
    let mut affine = grid.affine?;
    for row in &mut affine {
        row[3] += (0..3).map(|axis| row[axis] * low[axis] as f64).sum::<f64>();
    }
    upright(&VolumeGrid { shape, affine: Some(affine) }, &codes)
}

/// Bring codes to a grid along x, y and z.
fn upright(grid: &VolumeGrid, codes: &[u32]) -> Option<Cells> {
    let affine = grid.affine?;
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for corner in 0..8 {
        let at =
            [0, 1, 2].map(|axis| if corner >> axis & 1 == 1 { grid.shape[axis] as f64 - 0.5 } else { -0.5 });
        let place = grid.place(at)?;
        for axis in 0..3 {
            low[axis] = low[axis].min(place[axis]);
            high[axis] = high[axis].max(place[axis]);
        }
    }
    let smallest = (0..3)
        .map(|column| affine.iter().map(|row| row[column] * row[column]).sum::<f64>().sqrt())
        .fold(f64::INFINITY, f64::min);
    let volume: f64 = (0..3).map(|axis| high[axis] - low[axis]).product();
    let side = smallest.max((volume / MAX_CELLS).cbrt());
    if !(side > 0.0 && side.is_finite()) {
        return None;
    }
    let shape = [0, 1, 2].map(|axis| (((high[axis] - low[axis]) / side - 1e-6).ceil() as usize).max(1));
    let origin = low.map(|x| x + 0.5 * side);
    let onto = VolumeGrid {
        shape,
        affine: Some([[side, 0.0, 0.0, origin[0]], [0.0, side, 0.0, origin[1]], [0.0, 0.0, side, origin[2]]]),
    };
    let nearest = grid.nearest(&onto)?;
    let codes = nearest.into_iter().map(|at| at.map_or(BACKGROUND, |at| codes[at])).collect();
    Some(Cells { shape, side, origin, codes })
}

impl Cells {
    /// The code at `right` columns and `up` rows of a plane, `along` deep.
    fn code(&self, plane: &Plane, right: usize, up: usize, along: usize) -> u32 {
        let mut at = [0; 3];
        (at[plane.right], at[plane.up], at[plane.along]) = (right, up, along);
        self.codes[at[0] + self.shape[0] * (at[1] + self.shape[1] * at[2])]
    }

    /// First and last plane along an axis that hold a label.
    fn extent(&self, plane: &Plane) -> Option<(usize, usize)> {
        let labelled = |along: &usize| {
            (0..self.shape[plane.up]).any(|up| {
                (0..self.shape[plane.right]).any(|right| self.code(plane, right, up, *along) != BACKGROUND)
            })
        };
        let n = self.shape[plane.along];
        Some(((0..n).find(labelled)?, (0..n).rev().find(labelled)?))
    }

    fn are_outlined(&self) -> bool {
        let mut codes: Vec<u32> = self.codes.iter().copied().filter(|c| *c >= FIRST_ROI).collect();
        let cells = codes.len();
        codes.sort_unstable();
        codes.dedup();
        codes.len() * LEAST_OUTLINED <= cells
    }
}

/// The whole volume seen along each axis.
fn glass_brain(cells: &Cells) -> Vec<Drawn> {
    let longest = cells.shape.into_iter().max().unwrap_or(1);
    let times = (GLASS_POINTS / longest).max(1);
    PLANES
        .iter()
        .map(|plane| {
            let mut numbers: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
            let mut sets = Vec::new();
            let picture = draw(cells.shape[plane.right], cells.shape[plane.up], times, false, |right, up| {
                let line = (0..cells.shape[plane.along]).map(|along| cells.code(plane, right, up, along));
                let mut there: Vec<u32> = line.filter(|code| *code != BACKGROUND).collect();
                if there.is_empty() {
                    return BACKGROUND;
                }
                there.retain(|code| *code != NO_ROI);
                there.iter_mut().for_each(|code| *code -= FIRST_ROI);
                there.sort_unstable();
                there.dedup();
                if there.is_empty() {
                    return NO_ROI;
                }
                *numbers.entry(there).or_insert_with_key(|set| {
                    sets.push(set.clone());
                    sets.len() as u32 - 1 + FIRST_ROI
                })
            });
            Drawn {
                title: plane.glass.into(),
                group: GLASS,
                picture: Picture { sets: Some(sets), ..picture },
            }
        })
        .collect()
}

/// Planes through the volume.
fn slices(cells: &Cells) -> Vec<Drawn> {
    let longest = cells.shape.into_iter().max().unwrap_or(1);
    let times = (SLICE_POINTS / longest).max(1);
    let outlined = cells.are_outlined();
    let mut drawn = Vec::new();
    for plane in &PLANES {
        let Some((first, last)) = cells.extent(plane) else { continue };
        let extent = (last - first + 1) as f64;
        let mut shown: Vec<usize> = (0..N_SLICES)
            .map(|s| MARGIN + (1.0 - 2.0 * MARGIN) * (s as f64 + 0.5) / N_SLICES as f64)
            .map(|share| first + (share * extent) as usize)
            .collect();
        shown.dedup();
        for along in shown {
            let picture =
                draw(cells.shape[plane.right], cells.shape[plane.up], times, outlined, |right, up| {
                    cells.code(plane, right, up, along)
                });
            let place = cells.origin[plane.along] + cells.side * along as f64;
            let title = format!("{} = {} mm", ["x", "y", "z"][plane.along], whole(place));
            drawn.push(Drawn { title, group: plane.slices, picture });
        }
    }
    drawn
}

/// A whole number with a typographic minus, and no minus in front of zero.
fn whole(x: f64) -> String {
    let x = x.round();
    if x < 0.0 { format!("−{}", -x) } else { format!("{}", x.abs()) }
}

/// Paint cells, `times` points a side, the lowest row below.
fn draw(
    columns: usize,
    rows: usize,
    times: usize,
    outlined: bool,
    mut code: impl FnMut(usize, usize) -> u32,
) -> Picture {
    let (width, height) = (columns * times + 2 * BORDER, rows * times + 2 * BORDER);
    let mut codes = vec![BACKGROUND; width * height];
    for up in 0..rows {
        let top = BORDER + (rows - 1 - up) * times;
        for right in 0..columns {
            let code = code(right, up);
            if code == BACKGROUND {
                continue;
            }
            for row in top..top + times {
                let start = row * width + BORDER + right * times;
                codes[start..start + times].fill(code);
            }
        }
    }
    let mut dark = vec![0; codes.len()];
    for row in 0..height - 1 {
        for column in 0..width - 1 {
            let place = row * width + column;
            for other in [place + 1, place + width] {
                let (a, b) = (codes[place], codes[other]);
                if a != b && a.min(b) == BACKGROUND {
                    // The rim lies on the labelled side and is as dark as can be.
                    dark[if a == BACKGROUND { other } else { place }] = level(1.0);
                } else if a != b && outlined {
                    dark[place] = dark[place].max(level(OUTLINE));
                }
            }
        }
    }
    Picture { width, height, codes, dark, sets: None }
}

fn numbers(table: &Table, column: &str) -> Vec<f64> {
    match table.column(column) {
        Some(Values::Number(v)) => v.iter().map(|x| x.unwrap_or(f64::NAN)).collect(),
        Some(Values::Integer(v)) => v.iter().map(|x| x.map_or(f64::NAN, |x| x as f64)).collect(),
        _ => vec![f64::NAN; table.n_rows()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of runs: space s, (i, j, k), n, ROI.
    fn runs(rows: &[([i64; 3], i64, Option<&str>)]) -> Table {
        Table::new()
            .text("space", rows.iter().map(|_| Some("s")))
            .integer("i", rows.iter().map(|r| Some(r.0[0])))
            .integer("j", rows.iter().map(|r| Some(r.0[1])))
            .integer("k", rows.iter().map(|r| Some(r.0[2])))
            .integer("n", rows.iter().map(|r| Some(r.1)))
            .text("roi", rows.iter().map(|r| r.2))
    }

    fn grid(shape: [usize; 3], affine: [[f64; 4]; 3]) -> VolumeGrid {
        VolumeGrid { shape, affine: Some(affine) }
    }

    const PLAIN: [[f64; 4]; 3] = [[2.0, 0.0, 0.0, -4.0], [0.0, 2.0, 0.0, 10.0], [0.0, 0.0, 2.0, 0.0]];

    #[test]
    fn cells_stand_where_the_affine_says() {
        let mut space = Space::default();
        let table = runs(&[([1, 2, 3], 2, Some("V1")), ([1, 3, 3], 1, None)]);
        let cells = read_cells(&grid([5, 6, 7], PLAIN), &table, "s", &mut space).unwrap();
        // i = 1 and 2, j = 2 and 3, k = 3: first middle at (−4 + 2, 10 + 4, 6).
        assert_eq!((cells.shape, cells.side, cells.origin), ([2, 2, 1], 2.0, [-2.0, 14.0, 6.0]));
        assert_eq!(cells.codes, [2, 2, 1, 0]);
        assert_eq!(space.rois, ["V1"]);
        // Axes turned round and exchanged: i runs to the left, j up and k forward.
        let turned = [[-2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 2.0, 0.0, 0.0]];
        let table = runs(&[([0, 0, 0], 1, Some("a")), ([1, 0, 0], 1, Some("b")), ([0, 1, 0], 1, Some("c"))]);
        let mut space = Space::default();
        let cells = read_cells(&grid([2, 2, 2], turned), &table, "s", &mut space).unwrap();
        assert_eq!((cells.shape, cells.origin), ([2, 1, 2], [-2.0, 0.0, 0.0]));
        // x = −2 is b, x = 0 is a; above, x = 0 is c.
        assert_eq!(cells.codes, [3, 2, 0, 4]);
    }

    #[test]
    fn runs_off_the_grid_are_left_out() {
        let mut space = Space::default();
        let none = runs(&[([4, 0, 0], 2, Some("a")), ([0, 6, 0], 1, Some("a")), ([-1, 0, 0], 1, Some("a"))]);
        assert!(read_cells(&grid([5, 6, 7], PLAIN), &none, "s", &mut space).is_none());
        assert!(read_cells(&grid([5, 6, 7], PLAIN), &runs(&[([0; 3], 1, None)]), "t", &mut space).is_none());
        let flat = [[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
        assert!(read_cells(&grid([5, 6, 7], flat), &runs(&[([0; 3], 1, None)]), "s", &mut space).is_none());
    }

    #[test]
    fn a_fine_volume_is_drawn_coarser() {
        let shape = [200, 200, 200];
        let codes = vec![2; 8_000_000];
        let fine = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let cells = upright(&grid(shape, fine), &codes).unwrap();
        // The cube root of 8 million over 1.3 million: 1.8325 mm, 109.1 cells, of which the last juts out.
        assert!((cells.side - 1.8325).abs() < 1e-3 && cells.shape == [110; 3], "{cells:?}");
    }

    /// 2 × 2 × 2 cells: a below on the left, b above it, nothing else but one voxel without ROI.
    fn block() -> Cells {
        let mut codes = vec![BACKGROUND; 8];
        codes[0] = 2; // x 0, y 0, z 0
        codes[4] = 3; // x 0, y 0, z 1
        codes[7] = NO_ROI; // x 1, y 1, z 1
        Cells { shape: [2, 2, 2], side: 3.0, origin: [-3.0, 0.0, -0.2], codes }
    }

    #[test]
    fn a_glass_brain_keeps_every_roi_on_the_line_of_sight() {
        let drawn = glass_brain(&block());
        assert_eq!(drawn.len(), 3);
        let at = |view: &Drawn, right: usize, up: usize| {
            let times = GLASS_POINTS / 2;
            let picture = &view.picture;
            picture.codes[(BORDER + (1 - up) * times + 1) * picture.width + BORDER + right * times + 1]
        };
        let above = &drawn[0];
        let sets = above.picture.sets.as_ref().unwrap();
        // From above, a and b lie behind one another; front is up, so the voxel without ROI is above right.
        assert_eq!(sets, &[vec![0, 1]]);
        assert_eq!([at(above, 0, 0), at(above, 1, 0), at(above, 1, 1)], [FIRST_ROI, BACKGROUND, NO_ROI]);
        let behind = &drawn[1];
        assert_eq!(behind.picture.sets.as_ref().unwrap(), &[vec![0], vec![1]]);
        assert_eq!(
            [at(behind, 0, 0), at(behind, 0, 1), at(behind, 1, 1)],
            [FIRST_ROI, FIRST_ROI + 1, NO_ROI]
        );
    }

    #[test]
    fn slices_name_their_place() {
        let drawn = slices(&block());
        let titles: Vec<&str> = drawn.iter().map(|d| d.title.as_str()).collect();
        assert_eq!(titles, ["z = 0 mm", "z = 3 mm", "y = 0 mm", "y = 3 mm", "x = −3 mm", "x = 0 mm"]);
        assert!(drawn.iter().all(|d| GROUPS.contains(&d.group) && d.picture.sets.is_none()));
        // The lower slice holds a alone, at the back on the left: below on the left of the picture.
        let codes = &drawn[0].picture.codes;
        let (width, height) = (drawn[0].picture.width, drawn[0].picture.height);
        assert_eq!(codes[(height - BORDER - 1) * width + BORDER], 2);
        assert_eq!(codes.iter().filter(|c| **c != BACKGROUND).count(), (SLICE_POINTS / 2).pow(2));
    }

    #[test]
    fn a_rim_is_dark_and_a_border_between_rois_less_so() {
        // Three cells in a row: ROI, ROI, nothing; two points each.
        let picture = draw(3, 1, 2, true, |right, _| [2, 3, BACKGROUND][right]);
        assert_eq!((picture.width, picture.height), (10, 6));
        let middle = &picture.dark[2 * 10..3 * 10];
        // 0.35 of 0.85 in 15 steps: 6.2. The row above is background, so the whole row is rim but for its middle.
        assert!(middle[2..6].iter().all(|d| *d == 15));
        let lone = draw(2, 3, 3, true, |right, _| [2, 3][right]);
        let row = &lone.dark[(BORDER + 4) * lone.width..][..lone.width];
        assert_eq!(row, [0, 0, 15, 0, 6, 0, 0, 15, 0, 0]);
        let plain = draw(2, 3, 3, false, |right, _| [2, 3][right]);
        assert_eq!(plain.dark[(BORDER + 4) * plain.width + 4], 0);
    }

    #[test]
    fn a_whole_brain_is_less_than_two_megabytes() {
        // An ellipsoid at 2 mm with 400 parcels, numbered by place.
        let shape = [91, 109, 91];
        let mut codes = vec![BACKGROUND; shape.iter().product()];
        for k in 0..91 {
            for j in 0..109 {
                for i in 0..91 {
                    let r = [(i as f64 - 45.0) / 36.0, (j as f64 - 54.0) / 45.0, (k as f64 - 45.0) / 34.0];
                    if r.iter().map(|x| x * x).sum::<f64>() <= 1.0 {
                        codes[i + 91 * (j + 109 * k)] =
                            FIRST_ROI + (i / 13 * 56 + j / 14 * 7 + k / 13) as u32;
                    }
                }
            }
        }
        let cells = Cells { shape, side: 2.0, origin: [-90.0, -126.0, -72.0], codes };
        let mut drawn = glass_brain(&cells);
        drawn.extend(slices(&cells));
        assert_eq!(drawn.len(), 3 + 36);
        let bytes: usize = drawn.iter().map(|v| v.picture.json(&v.title, v.group).to_string().len()).sum();
        assert!((50_000..2_000_000).contains(&bytes), "{bytes}");
    }
}
