//! Draw cortical surfaces: which ROI each point of a picture shows, and how dark it is lit.
//!
//! The page must open anywhere, so it gets pictures and no mesh. Each view is projected along an axis of
//! the brain and drawn here, once for all maps: a picture of ROI numbers, which the page colours, and one
//! of shadows with the outlines of ROIs, which lies over it. Sizes depend on the picture and hardly on the
//! mesh.
//!
//! ```text
//! place    u = p · right, v = p · up, nearness = p · toward;  right × up = toward (RAS millimetres)
//! point    x = (u − min u) / s + 2, y = (max v − v) / s + 2;  s mm per point, one for all views
//! ROI      that of the corner with the largest weight in the nearest triangle
//! shadow   1 − (0.6 + 0.4 n · l), n the mean normal of the corners turned to the viewer, l a light
//!          above the viewer's left shoulder; 0.35 more on the border between two ROIs
//! ```

use std::collections::BTreeMap;

use stereotax_io::{Table, Values};

use crate::brain::{Drawn, Space};
use crate::input::ReportInput;
use crate::picture::{BACKGROUND, NO_ROI, OUTLINE, Picture, level};

/// Points along the longest side of a picture.
const POINTS: f64 = 600.0;
/// Vertices of an ROI, on average, below which ROIs are not outlined: they would be nothing but outline.
const LEAST_OUTLINED: usize = 8;

type Point = [f64; 3];

/// One mesh with the ROI number of each vertex.
#[derive(Debug, Clone, Default)]
struct Part {
    hemisphere: String,
    vertices: Vec<Point>,
    faces: Vec<[usize; 3]>,
    code: Vec<u32>,
}

/// From where a mesh is looked at.
#[derive(Debug, Clone, Copy)]
struct View {
    title: &'static str,
    /// Views that are shown together.
    group: &'static str,
    right: Point,
    up: Point,
    toward: Point,
}

const SIDES: &str = "from the sides";
const ENDS: &str = "from above and below";
const X: Point = [1.0, 0.0, 0.0];
const Y: Point = [0.0, 1.0, 0.0];
const Z: Point = [0.0, 0.0, 1.0];
const MINUS_X: Point = [-1.0, 0.0, 0.0];
const MINUS_Y: Point = [0.0, -1.0, 0.0];
const MINUS_Z: Point = [0.0, 0.0, -1.0];

const fn from_left(title: &'static str) -> View {
    View { title, group: SIDES, right: MINUS_Y, up: Z, toward: MINUS_X }
}

const fn from_right(title: &'static str) -> View {
    View { title, group: SIDES, right: Y, up: Z, toward: X }
}

const ABOVE: View = View { title: "dorsal, left is left", group: ENDS, right: X, up: Y, toward: Z };
const BELOW: View =
    View { title: "ventral, left is right", group: ENDS, right: MINUS_X, up: Y, toward: MINUS_Z };

/// Add the pictures of every space that has a surface.
pub(crate) fn draw_all(input: &ReportInput, spaces: &mut BTreeMap<String, Space>) {
    let (Some(vertices), Some(faces)) =
        (input.tables.get("surface_vertices"), input.tables.get("surface_faces"))
    else {
        return;
    };
    let mut meshes: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    read_vertices(vertices, &mut meshes, spaces);
    read_faces(faces, &mut meshes);
    for (name, mut parts) in meshes {
        parts.retain(|part| !part.faces.is_empty());
        if parts.is_empty() {
            continue;
        }
        let views = pictures(&parts).into_iter().map(|(view, picture)| Drawn {
            title: view.title.to_owned(),
            group: view.group,
            picture,
        });
        spaces.entry(name).or_default().views.extend(views);
    }
}

/// Vertices in the order of the table, by space and hemisphere.
fn read_vertices(
    table: &Table,
    meshes: &mut BTreeMap<String, Vec<Part>>,
    spaces: &mut BTreeMap<String, Space>,
) {
    let text = |name: &str| table.texts(name).unwrap_or_default();
    let (space, hemisphere, roi) = (text("space"), text("hemisphere"), text("roi"));
    let axes = ["x", "y", "z"].map(|axis| numbers(table, axis));
    for i in 0..table.n_rows() {
        let name = |column: &[Option<String>]| column.get(i).cloned().flatten();
        let space = name(space).unwrap_or_default();
        let part = part(meshes.entry(space.clone()).or_default(), name(hemisphere).unwrap_or_default());
        part.vertices.push([0, 1, 2].map(|axis: usize| axes[axis].get(i).copied().unwrap_or(f64::NAN)));
        part.code.push(match name(roi) {
            None => NO_ROI,
            Some(roi) => spaces.entry(space).or_default().code(&roi),
        });
    }
}

/// Triangles whose corners are all vertices with coordinates.
fn read_faces(table: &Table, meshes: &mut BTreeMap<String, Vec<Part>>) {
    let text = |name: &str| table.texts(name).unwrap_or_default();
    let (space, hemisphere) = (text("space"), text("hemisphere"));
    let corners = ["a", "b", "c"].map(|corner| numbers(table, corner));
    for i in 0..table.n_rows() {
        let name = |column: &[Option<String>]| column.get(i).cloned().flatten().unwrap_or_default();
        let Some(parts) = meshes.get_mut(&name(space)) else { continue };
        let part = part(parts, name(hemisphere));
        let face = [0, 1, 2].map(|k: usize| {
            let corner = corners[k].get(i).copied().unwrap_or(f64::NAN);
            if corner >= 0.0 && corner.fract() == 0.0 { corner as usize } else { usize::MAX }
        });
        let there = |&k: &usize| part.vertices.get(k).is_some_and(|p| p.iter().all(|x| x.is_finite()));
        if face.iter().all(there) {
            part.faces.push(face);
        }
    }
}

fn part(parts: &mut Vec<Part>, hemisphere: String) -> &mut Part {
    let at = parts.iter().position(|p| p.hemisphere == hemisphere).unwrap_or_else(|| {
        parts.push(Part { hemisphere, ..Part::default() });
        parts.len() - 1
    });
    &mut parts[at]
}

fn numbers(table: &Table, column: &str) -> Vec<f64> {
    match table.column(column) {
        Some(Values::Number(v)) => v.iter().map(|x| x.unwrap_or(f64::NAN)).collect(),
        Some(Values::Integer(v)) => v.iter().map(|x| x.map_or(f64::NAN, |x| x as f64)).collect(),
        _ => Vec::new(),
    }
}

/// Every view of a surface, all at one scale.
fn pictures(parts: &[Part]) -> Vec<(View, Picture)> {
    let mut wanted: Vec<(View, Vec<Part>)> = Vec::new();
    let mut sorted: Vec<&Part> = parts.iter().collect();
    sorted.sort_by_key(|p| (p.hemisphere != "left", p.hemisphere != "right"));
    for part in &sorted {
        let of = |view: View| (view, vec![(*part).clone()]);
        match part.hemisphere.as_str() {
            "left" => wanted.extend([of(from_left("left, lateral")), of(from_right("left, medial"))]),
            "right" => wanted.extend([of(from_left("right, medial")), of(from_right("right, lateral"))]),
            _ => wanted.extend([of(from_left("left side")), of(from_right("right side"))]),
        }
    }
    let together = side_by_side(&sorted);
    wanted.extend([(ABOVE, together.clone()), (BELOW, together)]);
    let longest = wanted
        .iter()
        .flat_map(|(view, parts)| {
            let (low, high) = extent(parts, view);
            [high[0] - low[0], high[1] - low[1]]
        })
        .fold(f64::MIN_POSITIVE, f64::max);
    wanted.into_iter().map(|(view, parts)| (view, draw(&parts, &view, longest / POINTS))).collect()
}

/// Both hemispheres, the right one moved away where they would overlap.
fn side_by_side(parts: &[&Part]) -> Vec<Part> {
    let mut parts: Vec<Part> = parts.iter().map(|p| (*p).clone()).collect();
    if let [left, right] = parts.as_mut_slice()
        && left.hemisphere == "left"
        && right.hemisphere == "right"
    {
        let (low, high) = extent(std::slice::from_ref(left), &ABOVE);
        let nearest = extent(std::slice::from_ref(right), &ABOVE).0[0];
        let shift = high[0] + 0.02 * (high[0] - low[0]) - nearest;
        if shift > 0.0 {
            right.vertices.iter_mut().for_each(|p| p[0] += shift);
        }
    }
    parts
}

fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn unit(a: Point) -> Point {
    let length = dot(a, a).sqrt();
    if length > 0.0 { a.map(|x| x / length) } else { a }
}

/// Least and largest (u, v) of the corners of triangles.
fn extent(parts: &[Part], view: &View) -> ([f64; 2], [f64; 2]) {
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for part in parts {
        for &k in part.faces.iter().flatten() {
            let place = [dot(part.vertices[k], view.right), dot(part.vertices[k], view.up)];
            for axis in 0..2 {
                low[axis] = low[axis].min(place[axis]);
                high[axis] = high[axis].max(place[axis]);
            }
        }
    }
    (low, high)
}

/// Draw parts as they look from a view; `scale` in mm per point.
fn draw(parts: &[Part], view: &View, scale: f64) -> Picture {
    let (low, high) = extent(parts, view);
    let points = |axis: usize| ((high[axis] - low[axis]) / scale).ceil() as usize + 4;
    let (width, height) = (points(0), points(1));
    let n = width * height;
    let mut nearest = vec![f64::NEG_INFINITY; n];
    let (mut codes, mut darkness) = (vec![BACKGROUND; n], vec![0.0; n]);
    let light = unit([0, 1, 2].map(|k: usize| view.toward[k] + 0.4 * view.up[k] - 0.3 * view.right[k]));
    for part in parts {
        let normals = normals(part);
        let placed: Vec<Point> = part
            .vertices
            .iter()
            .map(|&p| {
                let (u, v) = (dot(p, view.right), dot(p, view.up));
                [(u - low[0]) / scale + 2.0, (high[1] - v) / scale + 2.0, dot(p, view.toward)]
            })
            .collect();
        for face in &part.faces {
            let [a, b, c] = face.map(|k| placed[k]);
            let area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
            if area.abs() < 1e-12 {
                continue;
            }
            // Points have their middle at half numbers.
            let range = |axis: usize, n: usize| {
                let least = a[axis].min(b[axis]).min(c[axis]) - 0.5;
                let most = a[axis].max(b[axis]).max(c[axis]) - 0.5;
                (least.ceil().max(0.0) as usize)..(most.floor() + 1.0).clamp(0.0, n as f64) as usize
            };
            for row in range(1, height) {
                for column in range(0, width) {
                    let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
                    let at_b = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area;
                    let at_c = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area;
                    let weights = [1.0 - at_b - at_c, at_b, at_c];
                    if weights.iter().any(|w| *w < -1e-9) {
                        continue;
                    }
                    let place = row * width + column;
                    let near = weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2];
                    if near <= nearest[place] {
                        continue;
                    }
                    nearest[place] = near;
                    let mut heaviest = 0;
                    for k in 1..3 {
                        if weights[k] > weights[heaviest] {
                            heaviest = k;
                        }
                    }
                    codes[place] = part.code[face[heaviest]];
                    let mut normal = [0.0; 3];
                    for k in 0..3 {
                        (0..3).for_each(|axis| normal[axis] += weights[k] * normals[face[k]][axis]);
                    }
                    let normal = unit(normal);
                    // Meshes differ in the direction of their normals; what is seen faces the viewer.
                    let turned = if dot(normal, view.toward) < 0.0 { -1.0 } else { 1.0 };
                    darkness[place] = 1.0 - (0.6 + 0.4 * (turned * dot(normal, light)).max(0.0));
                }
            }
        }
    }
    let outlined = if are_outlined(parts) { height - 1 } else { 0 };
    for row in 0..outlined {
        for column in 0..width - 1 {
            let place = row * width + column;
            let differs = |other: usize| codes[other] != codes[place] && codes[other] != BACKGROUND;
            if codes[place] != BACKGROUND && (differs(place + 1) || differs(place + width)) {
                darkness[place] += OUTLINE;
            }
        }
    }
    Picture { width, height, codes, dark: darkness.into_iter().map(level).collect(), sets: None }
}

/// Whether ROIs are so large that an outline tells them apart; a map of single vertices has none.
fn are_outlined(parts: &[Part]) -> bool {
    let mut codes: Vec<u32> = parts.iter().flat_map(|p| &p.code).copied().filter(|c| *c != NO_ROI).collect();
    let vertices = codes.len();
    codes.sort_unstable();
    codes.dedup();
    codes.len() * LEAST_OUTLINED <= vertices
}

/// Normal of each vertex: that of its triangles, larger ones counting more.
fn normals(part: &Part) -> Vec<Point> {
    let mut normals = vec![[0.0; 3]; part.vertices.len()];
    for face in &part.faces {
        let [a, b, c] = face.map(|k| part.vertices[k]);
        let normal = cross(minus(b, a), minus(c, a));
        for &k in face {
            (0..3).for_each(|axis| normals[k][axis] += normal[axis]);
        }
    }
    normals.into_iter().map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::FIRST_ROI;

    /// Where a point lies in a view: right, up, nearness.
    fn seen(view: &View, p: Point) -> [f64; 3] {
        [dot(p, view.right), dot(p, view.up), dot(p, view.toward)]
    }

    #[test]
    fn directions_are_those_of_an_anatomist() {
        let (front, top, left) = ([0.0, 10.0, 0.0], [0.0, 0.0, 10.0], [-10.0, 0.0, 0.0]);
        let lateral_left = from_left("");
        // Seen from the left, the front of the brain is on the left and the left side is near.
        assert_eq!(seen(&lateral_left, front), [-10.0, 0.0, 0.0]);
        assert_eq!(seen(&lateral_left, top), [0.0, 10.0, 0.0]);
        assert_eq!(seen(&lateral_left, left), [0.0, 0.0, 10.0]);
        let lateral_right = from_right("");
        assert_eq!(seen(&lateral_right, front), [10.0, 0.0, 0.0]);
        assert_eq!(seen(&lateral_right, left), [0.0, 0.0, -10.0]);
        // From above, front is up and left is left; from below left is right.
        assert_eq!(seen(&ABOVE, front), [0.0, 10.0, 0.0]);
        assert_eq!(seen(&ABOVE, left), [-10.0, 0.0, 0.0]);
        assert_eq!(seen(&BELOW, left), [10.0, 0.0, 0.0]);
        assert_eq!(seen(&BELOW, top), [0.0, 0.0, -10.0]);
        // No view is a mirror image.
        for view in [lateral_left, lateral_right, ABOVE, BELOW] {
            assert_eq!(cross(view.right, view.up), view.toward, "{}", view.title);
        }
    }

    /// A square of 4 mm in the plane x = at, of one ROI, as two triangles.
    fn square(at: f64, code: u32) -> Part {
        Part {
            hemisphere: "left".into(),
            vertices: vec![[at, 0.0, 0.0], [at, 4.0, 0.0], [at, 4.0, 4.0], [at, 0.0, 4.0]],
            faces: vec![[0, 1, 2], [0, 2, 3]],
            code: vec![code; 4],
        }
    }

    #[test]
    fn a_square_covers_its_points_and_no_others() {
        let picture = draw(&[square(0.0, 2)], &from_left(""), 1.0);
        // 4 mm at 1 mm per point, and a border of two points.
        assert_eq!((picture.width, picture.height), (8, 8));
        for row in 0..8 {
            for column in 0..8 {
                let inside = (2..6).contains(&row) && (2..6).contains(&column);
                assert_eq!(picture.codes[row * 8 + column], if inside { 2 } else { 0 }, "{row} {column}");
            }
        }
        // Seen straight on: n · l = 1 / √(1 + 0.4² + 0.3²) = 0.8944, darkness 1 − 0.9578 = 0.0422 of
        // 0.85 in 15 steps: 0.75, rounded to 1.
        assert_eq!(picture.dark[3 * 8 + 3], 1);
        assert_eq!(picture.dark[0], 0);
    }

    #[test]
    fn the_nearer_triangle_hides_the_farther_one() {
        // From the left, x = −5 is nearer than x = 0, whatever the order of the parts.
        for parts in [[square(0.0, 2), square(-5.0, 3)], [square(-5.0, 3), square(0.0, 2)]] {
            assert_eq!(draw(&parts, &from_left(""), 1.0).codes[3 * 8 + 3], 3);
            assert_eq!(draw(&parts, &from_right(""), 1.0).codes[3 * 8 + 3], 2);
        }
    }

    #[test]
    fn a_point_has_the_roi_of_its_nearest_corner_and_rois_are_outlined() {
        let mut part = square(0.0, 2);
        part.vertices = [[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]].map(|p| [0.0, p[0], p[1]]).to_vec();
        part.code = vec![2, 7, 7, 2];
        // Vertices that no triangle shows make the ROIs large enough to be outlined.
        part.vertices.extend([[0.0; 3]; 12]);
        part.code.extend([2; 12]);
        let picture = draw(&[part], &from_right(""), 1.0);
        let row = &picture.codes[3 * 12..4 * 12];
        assert_eq!(row[2], 2);
        assert_eq!(row[9], 7);
        let border = row.windows(2).position(|pair| pair == [2, 7]).unwrap();
        let dark = &picture.dark[3 * 12..4 * 12];
        // 0.0422 + 0.35 of 0.85 in 15 steps: 6.92.
        assert_eq!((dark[border], dark[border + 1], dark[2]), (7, 1, 1));
    }

    /// A hemisphere as fine as fsaverage5 with deep folds and 200 parcels.
    fn folded(hemisphere: &str, side: f64) -> Part {
        const RINGS: usize = 64;
        const AROUND: usize = 160;
        let mut part = Part { hemisphere: hemisphere.into(), ..Part::default() };
        for ring in 0..RINGS {
            for step in 0..AROUND {
                let t = std::f64::consts::PI * (ring as f64 + 0.5) / RINGS as f64;
                let a = std::f64::consts::TAU * step as f64 / AROUND as f64;
                let fold = 1.0 + 0.08 * (14.0 * t).sin() * (18.0 * a).cos();
                part.vertices.push([
                    side * 34.0 + 30.0 * fold * t.sin() * a.cos(),
                    80.0 * fold * t.cos(),
                    50.0 * fold * t.sin() * a.sin(),
                ]);
                part.code.push(FIRST_ROI + (ring / 6 * 20 + step / 8) as u32);
                if ring + 1 < RINGS {
                    let (here, next) = (ring * AROUND + step, ring * AROUND + (step + 1) % AROUND);
                    part.faces.push([here, next, here + AROUND]);
                    part.faces.push([next, next + AROUND, here + AROUND]);
                }
            }
        }
        part
    }

    #[test]
    fn a_page_grows_by_less_than_a_megabyte() {
        let parts = [folded("left", -1.0), folded("right", 1.0)];
        assert!(parts[0].vertices.len() > 10_200);
        let drawn = pictures(&parts);
        assert_eq!(drawn.len(), 6);
        let bytes: usize =
            drawn.iter().map(|(view, p)| p.json(view.title, view.group).to_string().len()).sum();
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn single_vertices_are_not_outlined() {
        let mut part = square(0.0, 2);
        part.vertices = [[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]].map(|p| [0.0, p[0], p[1]]).to_vec();
        part.code = vec![2, 3, 4, 5];
        let picture = draw(&[part], &from_right(""), 1.0);
        assert!(picture.codes.contains(&5) && picture.dark.iter().all(|d| *d <= 1));
    }

    #[test]
    fn hemispheres_that_overlap_are_moved_apart() {
        let ball = |hemisphere: &str, x: f64| Part {
            hemisphere: hemisphere.into(),
            vertices: vec![[x - 10.0, 0.0, 0.0], [x + 10.0, 0.0, 0.0], [x, 10.0, 5.0]],
            faces: vec![[0, 1, 2]],
            code: vec![2; 3],
        };
        let (left, right) = (ball("left", 0.0), ball("right", 0.0));
        let apart = side_by_side(&[&left, &right]);
        // The left one ends at 10 and is 20 wide: the right one begins at 10.4.
        assert_eq!(apart[0].vertices, left.vertices);
        assert!((apart[1].vertices[0][0] - 10.4).abs() < 1e-12);
        let far = ball("right", 40.0);
        assert_eq!(side_by_side(&[&left, &far])[1].vertices, far.vertices);
    }

    #[test]
    fn faces_without_vertices_are_left_out() {
        let vertices = Table::new()
            .text("space", [Some("s"); 4])
            .text("hemisphere", [Some("left"); 4])
            .number("x", [Some(0.0), Some(0.0), Some(0.0), None])
            .number("y", [Some(0.0), Some(1.0), Some(0.0), Some(3.0)])
            .number("z", [Some(0.0), Some(0.0), Some(1.0), Some(3.0)])
            .text("roi", [Some("V1"), None, Some("V1"), None]);
        let faces = |a: [i64; 3]| {
            Table::new()
                .text("space", [Some("s")])
                .text("hemisphere", [Some("left")])
                .integer("a", [Some(a[0])])
                .integer("b", [Some(a[1])])
                .integer("c", [Some(a[2])])
        };
        let input = |face| ReportInput {
            tables: BTreeMap::from([
                ("surface_vertices".into(), vertices.clone()),
                ("surface_faces".into(), faces(face)),
            ]),
            manifest: serde_json::json!({}),
        };
        let surfaces = |input: &ReportInput| {
            let mut spaces = BTreeMap::new();
            draw_all(input, &mut spaces);
            spaces.remove("s").filter(|s| !s.views.is_empty())
        };
        let drawn = surfaces(&input([0, 1, 2])).unwrap();
        assert_eq!(drawn.rois, ["V1"]);
        assert_eq!(drawn.views.len(), 4);
        for face in [[0, 1, 9], [0, 1, -1], [0, 1, 3]] {
            assert!(surfaces(&input(face)).is_none(), "{face:?}");
        }
        assert!(surfaces(&ReportInput::default()).is_none());
    }
}
