//! Figures for papers: the maps, the model space and the profiles of layers, each a file of its own.
//!
//! They show what the page shows first (the stable mode, the mean subject), in the same colours.

use crate::brain::{self, Drawn, Space};
use crate::cells::fixed;
use crate::colours::{self, BARE, GROUPS, INK, LINE, SOFT, UNDEFINED, ZERO};
use crate::error::ReportError;
use crate::input::{ReportInput, Row};
use crate::maps::{self, Map, Scale};
use crate::picture::{BACKGROUND, FIRST_ROI, NO_ROI, darkness};
use crate::sheet::{Anchor, Sheet, clip};
use crate::verdict;

/// Width of every figure: 7.5 inches.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 12.0;
const GAP: f64 = 8.0;
/// Pictures in a row at most.
const COLUMNS: usize = 6;
/// Of pictures in rows of one or two, points of the sheet for one of the picture at most.
const LARGEST: f64 = 0.42;
/// The radius that holds 95 % of a bivariate normal: √ of the quantile of χ² with two degrees of freedom.
const RADIUS_95: f64 = 2.447_746_830_680_816;

/// A figure that stands by itself.
#[derive(Debug)]
pub struct Figure {
    /// A name that may be that of a file: lower-case letters, digits and hyphens.
    pub name: String,
    title: String,
    sheet: Sheet,
}

impl Figure {
    /// As SVG, 7.5 inches wide. Words stay words; maps are pictures inside it.
    pub fn svg(&self) -> String {
        self.sheet.svg(&self.title)
    }

    /// As PNG with so many points per inch, from 36 to 1200.
    ///
    /// # Errors
    /// If the figure cannot be drawn: our own mistake.
    #[cfg(feature = "png")]
    pub fn png(&self, points_per_inch: f64) -> Result<Vec<u8>, ReportError> {
        crate::raster::png(&self.sheet, points_per_inch.clamp(36.0, 1200.0) / 96.0)
    }
}

/// Every figure that the results have data for.
///
/// # Errors
/// As [`crate::render`].
pub fn figures(input: &ReportInput) -> Result<Vec<Figure>, ReportError> {
    input.check()?;
    let unit = verdict::judge(input).unit;
    let modalities = input.distinct("models", "modality");
    let mut made = Vec::new();
    let spaces = brain::spaces(input);
    for (name, space) in &spaces {
        let of_space = if spaces.len() > 1 { format!("-{name}") } else { String::new() };
        for map in maps::maps(input, name, &unit) {
            for group in groups(space) {
                let named = format!("map-{}-{group}{of_space}", map.name);
                let sheet = map_sheet(&map, space, group);
                made.push(figure(&named, format!("{}, {group}", map.name), sheet));
            }
        }
        if let Some(networks) = networks(input, name) {
            for group in groups(space) {
                let sheet = network_sheet(&networks, space, group);
                made.push(figure(
                    &format!("map-networks-{group}{of_space}"),
                    format!("networks, {group}"),
                    sheet,
                ));
            }
        }
    }
    made.push(figure("model-space", "model space".into(), model_space(input, &modalities)));
    made.push(figure("layer-weights", "layer weights".into(), layer_weights(input, &modalities)));
    made.push(figure("layer-profiles", "layer profiles".into(), layer_profiles(input, &modalities, &unit)));
    let mut figures: Vec<Figure> = made.into_iter().flatten().collect();
    // Spaces whose names differ in what a file name may not hold.
    for at in 1..figures.len() {
        let (before, rest) = figures.split_at_mut(at);
        let base = rest[0].name.clone();
        let mut n = 1;
        while before.iter().any(|f| f.name == rest[0].name) {
            n += 1;
            rest[0].name = format!("{base}-{n}");
        }
    }
    Ok(figures)
}

fn figure(name: &str, title: String, sheet: Option<Sheet>) -> Option<Figure> {
    Some(Figure { name: slug(name), title, sheet: sheet? })
}

/// Lower-case letters, digits and hyphens.
fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches('-').chars().take(100).collect()
}

/// The groups of views of a space, in order of appearance.
fn groups(space: &Space) -> Vec<&'static str> {
    let mut groups = Vec::new();
    for view in &space.views {
        if !groups.contains(&view.group) {
            groups.push(view.group);
        }
    }
    groups
}

/// Rows of pictures under a colour bar.
fn map_sheet(map: &Map, space: &Space, group: &str) -> Option<Sheet> {
    let scale = map.scale()?;
    let views: Vec<&Drawn> = space.views.iter().filter(|v| v.group == group).collect();
    let mut sheet = Sheet::new(WIDTH);
    colour_bar(&mut sheet, map, &scale);
    let mut y = 44.0;
    for row in &map.rows {
        sheet.words([MARGIN, y + 10.0], 11.0, true, Anchor::Start, &clip(&row.name, 80));
        let values: Vec<Option<f64>> = space.rois.iter().map(|roi| row.values.get(roi).copied()).collect();
        let span = if scale.high > scale.low { scale.high - scale.low } else { 1.0 };
        let colours: Vec<Option<[u8; 3]>> = values
            .iter()
            .map(|v| v.filter(|v| !v.is_nan()).map(|v| colours::cividis((v - scale.low) / span)))
            .collect();
        y = pictures(&mut sheet, &views, &values, &colours, y + 18.0) + 8.0;
    }
    sheet.height = y;
    Some(sheet)
}

fn colour_bar(sheet: &mut Sheet, map: &Map, scale: &Scale) {
    let steps = 90;
    let rgba: Vec<u8> = (0..steps)
        .flat_map(|i| {
            let [r, g, b] = colours::cividis(f64::from(i) / f64::from(steps - 1));
            [r, g, b, 255]
        })
        .collect();
    let low = fixed(scale.low, 2);
    let start = MARGIN + 8.0 * low.chars().count() as f64;
    sheet.words([start - 6.0, 22.0], 10.0, false, Anchor::End, &low);
    sheet.image([start, 13.0, 150.0, 10.0], [steps as usize, 1], rgba);
    let cut = scale.n_above > 0;
    let high = format!("{}{}", if cut { "≥ " } else { "" }, fixed(scale.high, 2));
    sheet.words([start + 156.0, 22.0], 10.0, false, Anchor::Start, &high);
    let more = format!("; {} larger, up to {}", scale.n_above, fixed(scale.largest, 2));
    let words = format!("{}{}", map.unit, if cut { &more } else { "" });
    let after = start + 168.0 + 7.0 * high.chars().count() as f64;
    sheet.soft([after, 22.0], 10.0, Anchor::Start, &clip(&words, 80));
}

/// Pictures side by side, six in a row at most, on one scale; returns where they end.
fn pictures(
    sheet: &mut Sheet,
    views: &[&Drawn],
    values: &[Option<f64>],
    colours: &[Option<[u8; 3]>],
    top: f64,
) -> f64 {
    let columns = views.len().clamp(1, COLUMNS);
    let widest = views.iter().map(|v| v.picture.width).max().unwrap_or(1) as f64;
    let room = (WIDTH - 2.0 * MARGIN - GAP * (columns - 1) as f64) / columns as f64;
    let mut per_point = room / widest;
    if columns < 3 {
        per_point = per_point.min(LARGEST);
    }
    let mut y = top;
    for line in views.chunks(columns) {
        let height = line.iter().map(|v| v.picture.height).max().unwrap_or(0) as f64 * per_point;
        let mut x = MARGIN;
        for view in line {
            let (w, h) = (view.picture.width as f64 * per_point, view.picture.height as f64 * per_point);
            let rgba = painted(view, values, colours);
            sheet.image([x, y + height - h, w, h], [view.picture.width, view.picture.height], rgba);
            sheet.soft([x + w / 2.0, y + height + 11.0], 9.0, Anchor::Middle, &view.title);
            x += w + GAP;
        }
        y += height + 18.0;
    }
    y
}

/// The points of a picture in the colours of its ROIs; hatched where there is none.
fn painted(view: &Drawn, values: &[Option<f64>], colours: &[Option<[u8; 3]>]) -> Vec<u8> {
    let picture = &view.picture;
    // Of several ROIs on a line of sight, the one with the largest value is shown.
    let largest: Option<Vec<Option<usize>>> = picture.sets.as_ref().map(|sets| {
        sets.iter()
            .map(|set| {
                let defined = set.iter().filter_map(|&roi| {
                    Some((roi as usize, values.get(roi as usize).copied().flatten().filter(|v| !v.is_nan())?))
                });
                defined.fold(None, |best: Option<(usize, f64)>, (roi, value)| match best {
                    Some((_, most)) if most >= value => best,
                    _ => Some((roi, value)),
                })
            })
            .map(|best| best.map(|(roi, _)| roi))
            .collect()
    });
    let (bare, hole, stroke) = (colours::rgb(BARE), colours::rgb(UNDEFINED), colours::rgb(ZERO));
    let mut rgba = Vec::with_capacity(4 * picture.codes.len());
    for (place, (&code, &dark)) in picture.codes.iter().zip(&picture.dark).enumerate() {
        if code == BACKGROUND {
            rgba.extend([0; 4]);
            continue;
        }
        let hatched = || {
            let (x, y) = (place % picture.width, place / picture.width);
            if (x + y) % 9 < 2 { stroke } else { hole }
        };
        let colour = if code == NO_ROI {
            bare
        } else {
            let at = (code - FIRST_ROI) as usize;
            let roi = match &largest {
                Some(largest) => largest.get(at).copied().flatten(),
                None => Some(at),
            };
            roi.and_then(|roi| colours.get(roi).copied().flatten()).unwrap_or_else(hatched)
        };
        let light = 1.0 - darkness(dark);
        rgba.extend(colour.map(|c| (f64::from(c) * light).round() as u8));
        rgba.push(255);
    }
    rgba
}

/// Networks of ROIs: names in order of appearance, and that of each ROI.
struct Networks {
    names: Vec<String>,
    of: std::collections::HashMap<String, usize>,
}

/// `None` where there are fewer than two.
fn networks(input: &ReportInput, space: &str) -> Option<Networks> {
    let names = input.distinct("rois", "network");
    let here = input.rows("rois").filter(|r| r.text("space").unwrap_or_default() == space);
    let of: std::collections::HashMap<String, usize> = here
        .filter_map(|r| {
            let network = r.text("network")?;
            Some((r.text("roi")?.to_owned(), names.iter().position(|n| n == network)?))
        })
        .collect();
    (names.len() > 1 && !of.is_empty()).then_some(Networks { names, of })
}

/// ROIs in the colours of their networks; not for lines of sight, which may meet several.
fn network_sheet(networks: &Networks, space: &Space, group: &str) -> Option<Sheet> {
    let views: Vec<&Drawn> =
        space.views.iter().filter(|v| v.group == group && v.picture.sets.is_none()).collect();
    if views.is_empty() {
        return None;
    }
    let mut sheet = Sheet::new(WIDTH);
    let palette = colours::of_networks(&networks.names);
    let (mut x, mut y) = (MARGIN, 22.0);
    for (name, colour) in networks.names.iter().zip(&palette) {
        let words = clip(name, 30);
        let width = 24.0 + 6.8 * words.chars().count() as f64;
        if x + width > WIDTH - MARGIN && x > MARGIN {
            (x, y) = (MARGIN, y + 16.0);
        }
        sheet.rectangle(
            [x, y - 9.0, 10.0, 10.0],
            &format!("fill=\"{colour}\" stroke=\"{ZERO}\" stroke-width=\"0.7\""),
        );
        sheet.words([x + 14.0, y], 10.0, false, Anchor::Start, &words);
        x += width;
    }
    let colours: Vec<Option<[u8; 3]>> =
        space.rois.iter().map(|roi| networks.of.get(roi).map(|k| colours::rgb(palette[*k]))).collect();
    let values = vec![None; colours.len()];
    sheet.height = pictures(&mut sheet, &views, &values, &colours, y + 12.0) + 4.0;
    Some(sheet)
}

/// A line of modalities with their symbols; returns where it ends.
fn legend(sheet: &mut Sheet, modalities: &[String]) -> f64 {
    let (mut x, mut y) = (MARGIN, 20.0);
    for (i, modality) in modalities.iter().enumerate() {
        let words = clip(modality, 30);
        let width = 28.0 + 6.8 * words.chars().count() as f64;
        if x + width > WIDTH - MARGIN && x > MARGIN {
            (x, y) = (MARGIN, y + 16.0);
        }
        sheet.mark(i, [x + 6.0, y - 4.0], 5.0, &format!("fill=\"{}\"", GROUPS[i % 7]));
        sheet.words([x + 15.0, y], 10.0, false, Anchor::Start, &words);
        x += width;
    }
    y + 10.0
}

/// Models as points, with the ellipses of their draws.
fn model_space(input: &ReportInput, modalities: &[String]) -> Option<Sheet> {
    let rows: Vec<Row<'_>> = input.rows("coordinates").collect();
    let rows = maps::narrowed(rows, "space", "");
    let rows = maps::narrowed(maps::narrowed(rows, "representation", "stable_mode"), "embedding", "");
    let points: Vec<(Row<'_>, [f64; 2])> = rows
        .into_iter()
        .filter_map(|r| Some((r, [r.number("x")?, r.number("y")?])))
        .filter(|(_, p)| p.iter().all(|v| v.is_finite()))
        .collect();
    let first = points.first()?.0;
    let outlines: Vec<Vec<[f64; 2]>> = points.iter().map(|(row, at)| ellipse(row, *at)).collect();
    let all = || points.iter().map(|p| p.1).chain(outlines.iter().flatten().copied());
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for p in all() {
        for k in 0..2 {
            low[k] = low[k].min(p[k]);
            high[k] = high[k].max(p[k]);
        }
    }
    let mut sheet = Sheet::new(WIDTH);
    let top = legend(&mut sheet, modalities) + 6.0;
    let (left, width, height) = (52.0, WIDTH - 52.0 - MARGIN, 440.0);
    sheet.height = top + height + 40.0;
    // One unit is as long on both axes: the plane is a map.
    let unit = 1.12 * ((high[0] - low[0]) / width).max((high[1] - low[1]) / height).max(1e-12);
    let middle = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
    let place = |p: [f64; 2]| {
        [left + width / 2.0 + (p[0] - middle[0]) / unit, top + height / 2.0 - (p[1] - middle[1]) / unit]
    };
    sheet.rectangle(
        [left, top, width, height],
        &format!("fill=\"none\" stroke=\"{ZERO}\" stroke-width=\"1\""),
    );
    for k in 0..2 {
        let half = unit * if k == 0 { width } else { height } / 2.0;
        for tick in ticks(middle[k] - half, middle[k] + half) {
            let mut at = middle;
            at[k] = tick;
            let [x, y] = place(at);
            let line = format!("stroke=\"{LINE}\" stroke-width=\"0.6\"");
            if k == 0 {
                sheet.lines(&[[x, top], [x, top + height]], &line);
                sheet.soft([x, top + height + 14.0], 9.0, Anchor::Middle, &fixed(tick, decimals(unit)));
            } else {
                sheet.lines(&[[left, y], [left + width, y]], &line);
                sheet.soft([left - 5.0, y + 3.0], 9.0, Anchor::End, &fixed(tick, decimals(unit)));
            }
        }
    }
    let share = |column: &str| {
        first.number(column).map_or(String::new(), |v| format!(" ({:.0} % of variance)", 100.0 * v))
    };
    let below = [left + width / 2.0, top + height + 30.0];
    sheet.soft(
        below,
        10.0,
        Anchor::Middle,
        &format!("axis 1{}; up: axis 2{}", share("explained_x"), share("explained_y")),
    );
    let group = |row: &Row<'_>| {
        let modality = row.text("modality").unwrap_or_default();
        modalities.iter().position(|m| m == modality).unwrap_or(0)
    };
    for ((row, _), outline) in points.iter().zip(&outlines) {
        let colour = GROUPS[group(row) % 7];
        let placed: Vec<[f64; 2]> = outline.iter().map(|p| place(*p)).collect();
        if !placed.is_empty() {
            let drawn = format!(
                "fill=\"{colour}\" fill-opacity=\"0.1\" stroke=\"{colour}\" stroke-width=\"1\" stroke-opacity=\"0.8\""
            );
            sheet.lines(&placed, &drawn);
        }
    }
    let mut boxes: Vec<[f64; 4]> = points
        .iter()
        .map(|(_, p)| {
            let [x, y] = place(*p);
            [x - 7.0, y - 7.0, x + 7.0, y + 7.0]
        })
        .collect();
    for (i, (row, p)) in points.iter().enumerate() {
        let [x, y] = place(*p);
        let drawn = format!("fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.8\"", GROUPS[group(row) % 7]);
        sheet.mark(group(row), [x, y], 6.0, &drawn);
        let name = clip(row.text("model").unwrap_or_default(), 26);
        let long = 6.2 * name.chars().count() as f64;
        // The first of four places where the name meets neither a point nor a name that is placed.
        let places = [
            ([x + 9.0, y - 6.0, x + 9.0 + long, y + 6.0], Anchor::Start, [x + 9.0, y + 3.5]),
            ([x - 9.0 - long, y - 6.0, x - 9.0, y + 6.0], Anchor::End, [x - 9.0, y + 3.5]),
            ([x - long / 2.0, y - 21.0, x + long / 2.0, y - 8.0], Anchor::Middle, [x, y - 10.0]),
            ([x - long / 2.0, y + 8.0, x + long / 2.0, y + 21.0], Anchor::Middle, [x, y + 18.0]),
        ];
        let meets = |a: &[f64; 4], b: &[f64; 4]| a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
        let inside = |a: &[f64; 4]| a[0] > left && a[2] < left + width && a[1] > top && a[3] < top + height;
        let free = places.iter().find(|(area, _, _)| {
            inside(area) && !boxes.iter().enumerate().any(|(k, b)| k != i && meets(area, b))
        });
        let (area, anchor, at) = free.unwrap_or(&places[0]);
        boxes.push(*area);
        sheet.words(*at, 10.0, false, *anchor, &name);
    }
    Some(sheet)
}

/// The outline that holds 95 % of the draws of a model if these are taken as normal.
fn ellipse(row: &Row<'_>, [x, y]: [f64; 2]) -> Vec<[f64; 2]> {
    let (Some(sd_x), Some(sd_y)) = (row.number("sd_x"), row.number("sd_y")) else { return Vec::new() };
    let covariance = row.number("cov_xy").filter(|_| sd_x > 0.0 && sd_y > 0.0);
    let rho = covariance.map_or(0.0, |c| (c / (sd_x * sd_y)).clamp(-1.0, 1.0));
    let outline: Vec<[f64; 2]> = (0..=48)
        .map(|i| {
            let (v, u) = (f64::from(i) * std::f64::consts::PI / 24.0).sin_cos();
            let across = rho * u + (1.0 - rho * rho).sqrt() * v;
            [x + RADIUS_95 * sd_x * u, y + RADIUS_95 * sd_y * across]
        })
        .collect();
    if outline.iter().flatten().all(|v| v.is_finite()) { outline } else { Vec::new() }
}

/// About five round numbers between two ends.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    if !(rough > 0.0 && rough.is_finite()) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|k| k * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|k| k as f64 * step).take_while(|t| *t <= high).take(20).collect()
}

/// Digits behind the point at which steps of the axis differ.
fn decimals(unit: f64) -> usize {
    (-(unit * 60.0).log10()).ceil().clamp(0.0, 6.0) as usize
}

/// Small panels of equal size, one per model; returns the sheet and where each panel lies.
fn panels(modalities: &[String], n: usize) -> (Sheet, Vec<[f64; 4]>) {
    const ACROSS: usize = 4;
    let mut sheet = Sheet::new(WIDTH);
    let top = legend(&mut sheet, modalities) + 4.0;
    let (width, height) = ((WIDTH - 2.0 * MARGIN - 3.0 * 14.0) / ACROSS as f64, 132.0);
    let places = (0..n)
        .map(|i| {
            let x = MARGIN + (i % ACROSS) as f64 * (width + 14.0);
            [x, top + (i / ACROSS) as f64 * (height + 10.0), width, height]
        })
        .collect();
    sheet.height = top + n.div_ceil(ACROSS) as f64 * (height + 10.0) + 4.0;
    (sheet, places)
}

/// The axes of a panel from `low` to `high`; returns where a point (0 to 1, value) lies.
fn axes(
    sheet: &mut Sheet,
    [x, y, width, height]: [f64; 4],
    title: &str,
    (low, high): (f64, f64),
    ends: [&str; 2],
) -> impl Fn(f64, f64) -> [f64; 2] + use<> {
    let (left, right, top, bottom) = (x + 34.0, x + width - 4.0, y + 20.0, y + height - 16.0);
    let span = if high > low { high - low } else { 1.0 };
    sheet.words([x, y + 10.0], 9.5, true, Anchor::Start, &clip(title, 26));
    sheet.lines(&[[left, top], [left, bottom], [right, bottom]], &format!("fill=\"none\" stroke=\"{LINE}\""));
    for value in [low, high] {
        let at = bottom - (bottom - top) * (value - low) / span;
        sheet.soft([left - 4.0, at + 3.0], 8.5, Anchor::End, &fixed(value, 2));
    }
    sheet.soft([left, bottom + 12.0], 8.5, Anchor::Start, &clip(ends[0], 13));
    sheet.soft([right, bottom + 12.0], 8.5, Anchor::End, &clip(ends[1], 13));
    move |t, value| [left + (right - left) * t, bottom - (bottom - top) * (value - low) / span]
}

/// Models in the order of modalities, each once.
fn models<'a>(input: &'a ReportInput, modalities: &[String]) -> Vec<(&'a str, usize)> {
    let mut models: Vec<(&str, usize)> = Vec::new();
    for row in input.rows("models") {
        let Some(model) = row.text("model") else { continue };
        let modality = row.text("modality").unwrap_or_default();
        let group = modalities.iter().position(|m| m == modality).unwrap_or(0);
        if !models.iter().any(|(m, _)| *m == model) {
            models.push((model, group));
        }
    }
    models.sort_by_key(|(_, group)| *group);
    models
}

/// Layers in order of depth, as places from 0 to 1.
fn places_of<'a>(rows: &[Row<'a>], depth: impl Fn(&str) -> Option<f64>) -> Vec<(&'a str, f64)> {
    let mut layers: Vec<&str> = Vec::new();
    for layer in rows.iter().filter_map(|r| r.text("layer")) {
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    if layers.iter().all(|l| depth(l).is_some()) {
        layers.sort_by(|a, b| depth(a).unwrap_or(0.0).total_cmp(&depth(b).unwrap_or(0.0)));
    }
    let last = layers.len().saturating_sub(1).max(1) as f64;
    layers.into_iter().enumerate().map(|(i, layer)| (layer, i as f64 / last)).collect()
}

fn place_of(places: &[(&str, f64)], row: &Row<'_>) -> f64 {
    let layer = row.text("layer");
    places.iter().find(|(l, _)| Some(*l) == layer).map_or(0.0, |(_, t)| *t)
}

/// How much each layer enters the stable representation; a line per fold.
fn layer_weights(input: &ReportInput, modalities: &[String]) -> Option<Sheet> {
    let rows: Vec<(Row<'_>, f64)> = input
        .rows("weights")
        .filter_map(|r| Some((r, r.number("weight").filter(|w| w.is_finite())?)))
        .filter(|(r, _)| r.text("layer").is_some())
        .collect();
    let shown: Vec<(&str, usize)> = models(input, modalities)
        .into_iter()
        .filter(|(model, _)| rows.iter().any(|(r, _)| r.text("model") == Some(model)))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let (mut sheet, places) = panels(modalities, shown.len());
    for ((model, group), place) in shown.into_iter().zip(places) {
        let mine: Vec<(Row<'_>, f64)> =
            rows.iter().filter(|(r, _)| r.text("model") == Some(model)).copied().collect();
        let only: Vec<Row<'_>> = mine.iter().map(|(r, _)| *r).collect();
        let depth = |layer: &str| only.iter().find(|r| r.text("layer") == Some(layer))?.number("position");
        let layers = places_of(&only, depth);
        let low = mine.iter().map(|(_, w)| *w).fold(0.0, f64::min);
        let high = mine.iter().map(|(_, w)| *w).fold(0.0, f64::max);
        let at = axes(&mut sheet, place, model, (low, high), ["shallow", "deep"]);
        let equal = 1.0 / layers.len() as f64;
        sheet.lines(&[at(0.0, 0.0), at(1.0, 0.0)], &format!("stroke=\"{LINE}\""));
        if equal < high {
            let dashed = format!("stroke=\"{ZERO}\" stroke-dasharray=\"3 3\"");
            sheet.lines(&[at(0.0, equal), at(1.0, equal)], &dashed);
        }
        let colour = GROUPS[group % 7];
        let mut folds: Vec<Option<String>> = mine.iter().map(|(r, _)| r.shown("fold")).collect();
        folds.sort();
        folds.dedup();
        for fold in folds {
            let mut line: Vec<(f64, f64)> = mine
                .iter()
                .filter(|(r, _)| r.shown("fold") == fold)
                .map(|(r, w)| (place_of(&layers, r), *w))
                .collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points: Vec<[f64; 2]> = line.into_iter().map(|(t, w)| at(t, w)).collect();
            let drawn = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\" opacity=\"0.6\"");
            sheet.lines(&points, &drawn);
            for point in points {
                sheet.mark(group, point, 1.8, &format!("fill=\"{colour}\" opacity=\"0.7\""));
            }
        }
    }
    Some(sheet)
}

/// Scores of single layers by depth: of every ROI, and their mean.
fn layer_profiles(input: &ReportInput, modalities: &[String], unit: &str) -> Option<Sheet> {
    let rows: Vec<Row<'_>> = input
        .rows("scores")
        .filter(|r| r.text("representation") == Some("layer") && r.text("layer").is_some())
        .collect();
    let rows = maps::narrowed(rows, "subject", "(mean)");
    let masked: std::collections::HashSet<&str> =
        input.rows("rois").filter(|r| r.flag("masked") == Some(true)).filter_map(|r| r.text("roi")).collect();
    let rows: Vec<(Row<'_>, f64)> = rows
        .into_iter()
        .filter(|r| {
            r.text("roi").is_some_and(|roi| roi == "(mean)" || !roi.starts_with('(') && !masked.contains(roi))
        })
        .filter_map(|r| Some((r, r.number("score").filter(|s| s.is_finite())?)))
        .collect();
    let shown: Vec<(&str, usize)> = models(input, modalities)
        .into_iter()
        .filter(|(model, _)| rows.iter().any(|(r, _)| r.text("model") == Some(model)))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut positions = std::collections::HashMap::new();
    for row in input.rows("weights") {
        if let (Some(model), Some(layer), Some(position)) =
            (row.text("model"), row.text("layer"), row.number("position"))
        {
            positions.insert((model, layer), position);
        }
    }
    let low = rows.iter().map(|(_, s)| *s).fold(0.0, f64::min);
    let high = rows.iter().map(|(_, s)| *s).fold(0.0, f64::max);
    let (mut sheet, places) = panels(modalities, shown.len());
    sheet.soft([WIDTH - MARGIN, 20.0], 10.0, Anchor::End, &format!("score, {unit}"));
    for ((model, group), place) in shown.into_iter().zip(places) {
        let mine: Vec<(Row<'_>, f64)> =
            rows.iter().filter(|(r, _)| r.text("model") == Some(model)).copied().collect();
        let only: Vec<Row<'_>> = mine.iter().map(|(r, _)| *r).collect();
        let layers = places_of(&only, |layer| positions.get(&(model, layer)).copied());
        let ends = [layers.first().map_or("", |l| l.0), layers.last().map_or("", |l| l.0)];
        let at = axes(&mut sheet, place, model, (low, high), ends);
        let colour = GROUPS[group % 7];
        let mut by_roi: std::collections::BTreeMap<&str, Vec<(f64, f64)>> = std::collections::BTreeMap::new();
        for (row, score) in &mine {
            by_roi
                .entry(row.text("roi").unwrap_or_default())
                .or_default()
                .push((place_of(&layers, row), *score));
        }
        let faint = if by_roi.len() > 100 { 0.12 } else { 0.3 };
        // The mean ("(mean)" is first in order) is drawn last, over the others.
        for (roi, mut line) in by_roi.into_iter().rev() {
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points: Vec<[f64; 2]> = line.into_iter().map(|(t, s)| at(t, s)).collect();
            if roi != "(mean)" {
                let drawn =
                    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"0.7\" opacity=\"{faint}\"");
                sheet.lines(&points, &drawn);
                continue;
            }
            sheet.lines(&points, &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.2\""));
            for point in points {
                sheet.mark(group, point, 2.8, &format!("fill=\"{colour}\""));
            }
        }
        let claim = input.rows("controls").find(|r| {
            r.text("model") == Some(model)
                && r.text("claim_representation").is_none_or(|c| c == "stable_mode")
                && r.number("claim").is_some_and(f64::is_finite)
        });
        let stable = input.rows("models").any(|r| {
            r.text("model") == Some(model) && r.text("verdict").is_none_or(|verdict| verdict == "stable")
        });
        if let Some(claim) = claim.and_then(|r| r.number("claim")) {
            // A mode that is not stable supports no claim: its line stands back.
            let colour = if stable { INK } else { SOFT };
            let opacity = if stable { 1.0 } else { 0.45 };
            let dashed = format!("stroke=\"{colour}\" stroke-dasharray=\"5 3\" opacity=\"{opacity}\"");
            sheet.lines(&[at(0.0, claim), at(1.0, claim)], &dashed);
        }
    }
    Some(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;

    #[test]
    fn names_may_be_those_of_files() {
        assert_eq!(slug("map-SNCI-from the sides-a/../b"), "map-snci-from-the-sides-a-b");
        assert_eq!(slug("…"), "");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-0.7, 0.8), [-0.5, 0.0, 0.5]);
        assert!(ticks(1.0, 1.0).is_empty());
    }

    #[test]
    fn a_line_of_sight_shows_its_largest_value_and_no_value_is_hatched() {
        let picture = Picture {
            width: 5,
            height: 1,
            codes: vec![BACKGROUND, NO_ROI, FIRST_ROI, FIRST_ROI + 1, FIRST_ROI + 2],
            dark: vec![0; 5],
            sets: Some(vec![vec![0, 1], vec![1, 2], vec![3]]),
        };
        let view = Drawn { title: String::new(), group: "g", picture };
        let values = [Some(0.1), Some(0.4), Some(f64::NAN), None];
        let colours = [Some([1, 1, 1]), Some([2, 2, 2]), Some([3, 3, 3]), Some([4, 4, 4])];
        let rgba = painted(&view, &values, &colours);
        let at = |i: usize| [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2], rgba[4 * i + 3]];
        assert_eq!(at(0), [0; 4]);
        assert_eq!(at(1)[..3], colours::rgb(BARE));
        assert_eq!([at(2), at(3)], [[2, 2, 2, 255]; 2]);
        // x + y = 4 lies between the strokes.
        assert_eq!(at(4)[..3], colours::rgb(UNDEFINED));
    }

    #[test]
    fn an_ellipse_is_as_wide_as_its_draws() {
        let table = stereotax_io::Table::new()
            .number("sd_x", [Some(2.0)])
            .number("sd_y", [Some(1.0)])
            .number("cov_xy", [Some(0.0)]);
        let input = ReportInput { tables: [("coordinates".into(), table)].into(), ..Default::default() };
        let outline = ellipse(&input.rows("coordinates").next().unwrap(), [1.0, 0.0]);
        // √5.991 = 2.4477: from 1 to 1 + 4.8955.
        assert!((outline[0][0] - 5.8955).abs() < 1e-4 && outline[0][1].abs() < 1e-12, "{:?}", outline[0]);
        assert!((outline[12][1] - 2.4477).abs() < 1e-4);
    }
}
