//! A sheet of paper: pictures below, lines and words above them; written as SVG, in which words stay words.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::colours::{INK, SOFT};
use crate::picture::png_of;

/// Where words stand about their point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A sheet; lengths are in points of 1/96 inch.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub width: f64,
    pub height: f64,
    pub images: Vec<Image>,
    body: String,
}

#[derive(Debug)]
pub(crate) struct Image {
    pub place: [f64; 4],
    pub size: [usize; 2],
    /// Red, green, blue, opacity (0 or 255) of each point, row by row.
    pub rgba: Vec<u8>,
}

/// Text that may stand in XML: no markup, no characters that XML does not know.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A length with two digits and no zeros behind them.
fn short(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text of at most so many characters.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

impl Sheet {
    pub fn new(width: f64) -> Sheet {
        Sheet { width, ..Sheet::default() }
    }

    /// Points of red, green, blue and opacity (0 or 255), row by row, from (x, y) on.
    pub fn image(&mut self, place: [f64; 4], size: [usize; 2], rgba: Vec<u8>) {
        self.images.push(Image { place, size, rgba });
    }

    /// Words of a size, in ink.
    pub fn words(&mut self, at: [f64; 2], size: f64, bold: bool, anchor: Anchor, text: &str) {
        self.coloured(at, size, bold, anchor, INK, text);
    }

    /// Words that stand back.
    pub fn soft(&mut self, at: [f64; 2], size: f64, anchor: Anchor, text: &str) {
        self.coloured(at, size, false, anchor, SOFT, text);
    }

    pub fn coloured(
        &mut self,
        at: [f64; 2],
        size: f64,
        bold: bool,
        anchor: Anchor,
        colour: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        let (x, y, size) = (short(at[0]), short(at[1]), short(size));
        // Writing to memory cannot fail.
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{weight}{anchor} fill=\"{colour}\">{}</text>",
            escaped(text)
        );
    }

    /// Lines through points, with attributes of the path.
    pub fn lines(&mut self, points: &[[f64; 2]], attributes: &str) {
        let mut d = String::new();
        for (i, [x, y]) in points.iter().enumerate() {
            let _ = write!(d, "{}{} {}", if i == 0 { "M" } else { "L" }, short(*x), short(*y));
        }
        let _ = writeln!(self.body, "<path d=\"{d}\" {attributes}/>");
    }

    /// A rectangle with attributes.
    pub fn rectangle(&mut self, [x, y, width, height]: [f64; 4], attributes: &str) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {attributes}/>"
        );
    }

    /// The symbol of a group around a point: the shapes of the page.
    pub fn mark(&mut self, shape: usize, [x, y]: [f64; 2], r: f64, attributes: &str) {
        let at = |dx: f64, dy: f64| [x + r * dx, y + r * dy];
        let closed = |points: &[[f64; 2]]| {
            let all: Vec<String> =
                points.iter().map(|[x, y]| format!("{} {}", short(*x), short(*y))).collect();
            format!("<path d=\"M{}Z\" {attributes}/>", all.join("L"))
        };
        let drawn = match shape % 6 {
            1 => closed(&[at(0.0, -1.0), at(1.0, 0.8), at(-1.0, 0.8)]),
            2 => closed(&[at(-0.85, -0.85), at(0.85, -0.85), at(0.85, 0.85), at(-0.85, 0.85)]),
            3 => closed(&[at(0.0, -1.15), at(1.0, 0.0), at(0.0, 1.15), at(-1.0, 0.0)]),
            4 => closed(&[at(0.0, -1.0), at(0.8, 1.0), at(0.0, 0.4), at(-0.8, 1.0)]),
            5 => closed(&[at(0.0, 1.0), at(1.0, -1.0), at(-1.0, -1.0)]),
            _ => format!("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {attributes}/>", short(x), short(y), short(r)),
        };
        let _ = writeln!(self.body, "{drawn}");
    }

    /// Lines and words alone, as SVG.
    #[cfg(feature = "png")]
    pub fn drawing(&self) -> String {
        self.head("") + &self.body + "</svg>"
    }

    fn head(&self, size: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {size}viewBox=\"0 0 {} {}\" font-family=\"DejaVu Sans, Verdana, Arial, sans-serif\">\n",
            short(self.width),
            short(self.height)
        )
    }

    /// The sheet as SVG; pictures are inside it.
    pub fn svg(&self, title: &str) -> String {
        let size = format!("width=\"{}\" height=\"{}\" ", short(self.width), short(self.height));
        let mut out = self.head(&size);
        let _ = writeln!(out, "<title>{}</title>", escaped(title));
        out.push_str("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
        for image in &self.images {
            let [x, y, width, height] = image.place.map(short);
            let png = png_of(image.size[0], image.size[1], &image.rgba);
            let _ = writeln!(
                out,
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{}\"/>",
                STANDARD.encode(png)
            );
        }
        out + &self.body + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escaped("a<b>&\"'\n\u{1}"), "a&lt;b&gt;&amp;&quot;&#39; \u{fffd}");
        let mut sheet = Sheet { height: 20.0, ..Sheet::new(60.0) };
        sheet.words([0.0, 10.0], 8.0, false, Anchor::Start, "</text><script>\u{0}");
        let svg = sheet.svg("<b>");
        assert!(!svg.contains("<script") && svg.contains("<title>&lt;b&gt;</title>"), "{svg}");
    }

    #[test]
    fn lengths_and_clipped_words_are_short() {
        assert_eq!([short(1.0), short(0.125), short(-2.5)], ["1", "0.12", "-2.5"]);
        assert_eq!([clip("abcd", 4), clip("äbcde", 4)], ["abcd", "äbc…"]);
    }
}
