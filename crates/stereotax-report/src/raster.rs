//! A sheet as PNG.
//!
//! The DejaVu Sans of the assets is used, so that a figure looks the same on every machine; characters that it
//! lacks (beyond Latin, Greek and Cyrillic) are left out.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, FilterQuality, Pixmap, PixmapPaint, Transform};
use resvg::usvg;

use crate::error::ReportError;
use crate::sheet::{Image, Sheet};

const FONT: &[u8] = include_bytes!("../assets/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("../assets/DejaVuSans-Bold.ttf");

/// A sheet as PNG, `scale` points of the picture for one of the sheet.
///
/// # Errors
/// If the drawing cannot be read back or the picture does not fit into memory: our own mistake.
pub(crate) fn png(sheet: &Sheet, scale: f64) -> Result<Vec<u8>, ReportError> {
    let mistake = |what: String| ReportError::Template { reason: what };
    let (width, height) = ((sheet.width * scale).ceil(), (sheet.height * scale).ceil());
    let mut paper = Pixmap::new(width as u32, height as u32)
        .ok_or_else(|| mistake(format!("a picture of {width} × {height} points")))?;
    paper.fill(Color::WHITE);
    let scale = scale as f32;
    for image in &sheet.images {
        let Some(points) = pixmap(image) else { continue };
        let [x, y, w, h] = image.place.map(|v| v as f32 * scale);
        let [columns, rows] = image.size.map(|n| n as f32);
        let paint = PixmapPaint { quality: FilterQuality::Bilinear, ..PixmapPaint::default() };
        let onto = Transform::from_row(w / columns, 0.0, 0.0, h / rows, x, y);
        paper.draw_pixmap(0, 0, points.as_ref(), &paint, onto, None);
    }
    let options =
        usvg::Options { font_family: "DejaVu Sans".into(), fontdb: fonts(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&sheet.drawing(), &options).map_err(|e| mistake(e.to_string()))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut paper.as_mut());
    paper.encode_png().map_err(|e| mistake(e.to_string()))
}

fn pixmap(image: &Image) -> Option<Pixmap> {
    let mut points = Pixmap::new(image.size[0] as u32, image.size[1] as u32)?;
    // Colours are stored multiplied by opacity, which is 0 or 1 here.
    for (to, from) in points.data_mut().chunks_exact_mut(4).zip(image.rgba.chunks_exact(4)) {
        if from[3] > 0 {
            to.copy_from_slice(from);
        }
    }
    Some(points)
}

/// The fonts of the assets, read once.
fn fonts() -> Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    FONTS
        .get_or_init(|| {
            let mut fonts = usvg::fontdb::Database::new();
            fonts.load_font_data(FONT.to_vec());
            fonts.load_font_data(BOLD.to_vec());
            fonts.set_sans_serif_family("DejaVu Sans");
            Arc::new(fonts)
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::Anchor;

    /// Red, green and blue at a place of a PNG.
    fn point(bytes: &[u8], x: u32, y: u32) -> [u8; 3] {
        let picture = Pixmap::decode_png(bytes).unwrap();
        let p = picture.pixel(x, y).unwrap();
        [p.red(), p.green(), p.blue()]
    }

    #[test]
    fn a_picture_has_its_place_and_lines_lie_over_it() {
        let mut sheet = Sheet::new(40.0);
        sheet.height = 20.0;
        // Two points: red, and nothing.
        sheet.image([10.0, 0.0, 20.0, 10.0], [2, 1], vec![255, 0, 0, 255, 9, 9, 9, 0]);
        sheet.rectangle([10.0, 5.0, 5.0, 5.0], "fill=\"#0000ff\"");
        let bytes = png(&sheet, 2.0).unwrap();
        let picture = Pixmap::decode_png(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (80, 40));
        assert_eq!(point(&bytes, 22, 4), [255, 0, 0]);
        // Each point is 20 wide; towards the empty one colours fade.
        let [red, green, _] = point(&bytes, 36, 4);
        assert!(red == 255 && (1..200).contains(&green), "{green}");
        assert_eq!(point(&bytes, 58, 4), [255, 255, 255]);
        assert_eq!(point(&bytes, 24, 14), [0, 0, 255]);
        assert_eq!(point(&bytes, 5, 5), [255, 255, 255]);
        assert_eq!(sheet.svg("").matches("data:image/png").count(), 1);
    }

    #[test]
    fn words_are_drawn_with_the_font_of_the_assets() {
        let mut sheet = Sheet::new(120.0);
        sheet.height = 30.0;
        sheet.words([5.0, 20.0], 16.0, true, Anchor::Start, "λ² −0.5 Ä");
        let picture = Pixmap::decode_png(&png(&sheet, 1.0).unwrap()).unwrap();
        let dark = picture.pixels().iter().filter(|p| p.red() < 100).count();
        assert!(dark > 150, "{dark}");
    }
}
