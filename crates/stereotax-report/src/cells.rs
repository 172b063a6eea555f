//! Numbers as text, and tables as rows of cells.

use serde::Serialize;

use crate::input::Row;

/// One cell of a table on the page.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Cell {
    /// What is shown.
    pub text: String,
    /// What the pointer shows: why it is undefined, or what it means.
    pub title: String,
    /// What the column is sorted by; empty means by its text.
    pub sort: String,
    /// Classes for the style sheet.
    pub class: &'static str,
}

impl Cell {
    /// Text, or a dash with the reason.
    pub fn text(value: Option<impl Into<String>>, reason: Option<&str>) -> Cell {
        match value {
            Some(text) => Cell { text: text.into(), ..Cell::default() },
            None => Cell::undefined(reason),
        }
    }

    /// A number with so many digits behind the point, or a dash with the reason.
    pub fn number(value: Option<f64>, digits: usize, reason: Option<&str>) -> Cell {
        match value {
            Some(x) => {
                Cell { text: fixed(x, digits), sort: x.to_string(), class: "num", title: x.to_string() }
            }
            None => Cell { class: "num undefined", ..Cell::undefined(reason) },
        }
    }

    /// A p-value, or a dash with the reason.
    pub fn p(value: Option<f64>, reason: Option<&str>) -> Cell {
        match value {
            Some(p) => Cell { text: p_text(p), sort: p.to_string(), class: "num", title: p.to_string() },
            None => Cell { class: "num undefined", ..Cell::undefined(reason) },
        }
    }

    /// A count.
    pub fn count(n: usize) -> Cell {
        Cell { text: n.to_string(), sort: n.to_string(), class: "num", title: String::new() }
    }

    /// A dash whose title says why.
    pub fn undefined(reason: Option<&str>) -> Cell {
        Cell {
            text: "–".into(),
            title: reason.unwrap_or("not given").into(),
            sort: String::new(),
            class: "undefined",
        }
    }

    /// The same cell with a class.
    pub fn classed(self, class: &'static str) -> Cell {
        Cell { class, ..self }
    }

    /// The same cell with a title.
    pub fn titled(self, title: impl Into<String>) -> Cell {
        Cell { title: title.into(), ..self }
    }
}

/// One column's heading.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Head {
    pub label: &'static str,
    pub title: &'static str,
    pub numeric: bool,
}

/// A table on the page.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Grid {
    pub caption: String,
    pub heads: Vec<Head>,
    pub rows: Vec<Vec<Cell>>,
}

/// A heading: label, explanation, whether the column holds numbers.
pub(crate) fn head(label: &'static str, title: &'static str, numeric: bool) -> Head {
    Head { label, title, numeric }
}

/// An interval as text.
pub(crate) fn interval(row: Row<'_>, digits: usize) -> Cell {
    match (row.number("lower"), row.number("upper")) {
        (Some(lower), Some(upper)) => Cell {
            text: format!("{} to {}", fixed(lower, digits), fixed(upper, digits)),
            sort: lower.to_string(),
            class: "num",
            title: String::new(),
        },
        _ => Cell { class: "num undefined", ..Cell::undefined(row.reason()) },
    }
}

/// A number with a fixed count of digits behind the point and a true minus sign.
pub(crate) fn fixed(x: f64, digits: usize) -> String {
    if x.is_infinite() {
        return if x > 0.0 { "∞" } else { "−∞" }.into();
    }
    if x != 0.0 && x.abs() < 0.5 * 10f64.powi(-(digits as i32)) {
        return number(x, 2);
    }
    format!("{x:.digits$}").replace('-', "−")
}

/// A number with so many significant digits, without trailing zeros.
pub(crate) fn number(x: f64, significant: usize) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return if x.is_nan() {
            "–"
        } else if x > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .into();
    }
    let exponent = x.abs().log10().floor() as i32;
    let text = if (-4..9).contains(&exponent) {
        let digits = (significant as i32 - 1 - exponent).max(0) as usize;
        let text = format!("{x:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{:.*e}", significant - 1, x)
    };
    text.replace('-', "−")
}

/// A p-value as text: four digits, and powers of ten below that.
pub(crate) fn p_text(p: f64) -> String {
    if p >= 0.001 {
        format!("{p:.3}")
    } else if p >= 0.0001 {
        format!("{p:.4}")
    } else {
        number(p, 2)
    }
}

/// An eigenvalue as text: a conjugate pair is written with ±.
pub(crate) fn eigenvalue(re: f64, im: f64) -> String {
    if im == 0.0 { fixed(re, 3) } else { format!("{} ± {}i", fixed(re, 2), fixed(im.abs(), 2)) }
}

/// A list in words: "a", "a and b", "a, b and c".
pub(crate) fn listed<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// "1 model", "2 models".
pub(crate) fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_text() {
        assert_eq!(fixed(-0.254, 2), "−0.25");
        assert_eq!(fixed(0.0, 2), "0.00");
        assert_eq!(fixed(0.0004, 2), "0.0004");
        assert_eq!(fixed(f64::INFINITY, 2), "∞");
        assert_eq!(number(1234.5678, 4), "1235");
        assert_eq!(number(0.5, 4), "0.5");
        assert_eq!(number(1e-7, 2), "1.0e−7");
        assert_eq!(p_text(0.0001), "0.0001");
        assert_eq!(p_text(0.04), "0.040");
        assert_eq!(eigenvalue(0.80, 0.31), "0.80 ± 0.31i");
        assert_eq!(eigenvalue(0.9974, 0.0), "0.997");
    }

    #[test]
    fn lists_in_words() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(counted(1, "model"), "1 model");
        assert_eq!(counted(0, "model"), "0 models");
    }
}
