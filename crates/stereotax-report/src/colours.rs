//! The colours of the light page, for figures that stand outside it. A test compares them with the page's own.

/// From low to high; readable without colour vision and in grey.
pub(crate) const CIVIDIS: [&str; 10] = [
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55",
    "#fee838",
];
/// Modalities (or networks) in order of appearance.
pub(crate) const GROUPS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#aa4b87", "#b87f00", "#2b8cc4", "#5b5b5b"];
pub(crate) const INK: &str = "#1c2024";
pub(crate) const SOFT: &str = "#565d66";
pub(crate) const LINE: &str = "#d5d9de";
pub(crate) const ZERO: &str = "#8a919a";
pub(crate) const UNDEFINED: &str = "#dfe2e6";
pub(crate) const BARE: &str = "#f1f0ee";

/// The seven networks of Yeo et al. (2011) in the colours of their authors, with the names that atlases give them.
const YEO7: [(&str, &[&str]); 7] = [
    ("#781286", &["vis", "visual"]),
    ("#4682b4", &["sommot", "somatomotor"]),
    ("#00760e", &["dorsattn", "dorsalattention"]),
    ("#c43afa", &["salventattn", "ventralattention", "ventattn", "salienceventralattention"]),
    ("#dcf8a4", &["limbic"]),
    ("#e69422", &["cont", "control", "frontoparietal"]),
    ("#cd3e4e", &["default", "defaultmode"]),
];

/// Red, green and blue of `#rrggbb`.
pub(crate) fn rgb(hex: &str) -> [u8; 3] {
    let part = |k: usize| hex.get(k..k + 2).and_then(|h| u8::from_str_radix(h, 16).ok()).unwrap_or(0);
    [part(1), part(3), part(5)]
}

/// A colour of the scale of all maps, `t` from 0 to 1.
pub(crate) fn cividis(t: f64) -> [u8; 3] {
    let at = t.clamp(0.0, 1.0) * (CIVIDIS.len() - 1) as f64;
    let low = (at.floor() as usize).min(CIVIDIS.len() - 2);
    let (a, b) = (rgb(CIVIDIS[low]), rgb(CIVIDIS[low + 1]));
    [0, 1, 2].map(|k| {
        let (a, b) = (f64::from(a[k]), f64::from(b[k]));
        (a + (b - a) * (at - low as f64)).round() as u8
    })
}

/// The colour of every network: its authors' where all are of the seven, else those of groups.
pub(crate) fn of_networks(names: &[String]) -> Vec<&'static str> {
    let known: Option<Vec<&str>> = names
        .iter()
        .map(|name| {
            let word: String = name.to_lowercase().chars().filter(char::is_ascii_lowercase).collect();
            YEO7.iter().find(|(_, names)| names.contains(&word.as_str())).map(|(colour, _)| *colour)
        })
        .collect();
    known.unwrap_or_else(|| (0..names.len()).map(|i| GROUPS[i % GROUPS.len()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_page() {
        let style = include_str!("../assets/report.css");
        let light = style.split('}').next().unwrap();
        for (name, colour) in [
            ("ink", INK),
            ("soft", SOFT),
            ("line", LINE),
            ("zero", ZERO),
            ("undefined", UNDEFINED),
            ("bare", BARE),
        ] {
            assert!(light.contains(&format!("--{name}: {colour};")), "{name}");
        }
        for (i, colour) in GROUPS.iter().enumerate() {
            assert!(light.contains(&format!("--m{i}: {colour};")), "{i}");
        }
        let script = include_str!("../assets/report.js");
        assert!(script.contains(&format!("CIVIDIS = [\"{}\"]", CIVIDIS.join("\", \""))));
        let seven = script.split_once("const YEO7 = {").unwrap().1.split('}').next().unwrap();
        let names = script.split_once("const YEO7_NAMES = {").unwrap().1.split('}').next().unwrap();
        for (colour, words) in YEO7 {
            assert!(seven.contains(&format!("{}: \"{colour}\"", words[0])), "{words:?}");
            for word in &words[1..] {
                assert!(names.contains(&format!("{word}: \"{}\"", words[0])), "{word}");
            }
        }
        assert_eq!(names.matches(':').count(), YEO7.iter().map(|(_, words)| words.len() - 1).sum::<usize>());
    }

    #[test]
    fn the_scale_meets_its_marks_and_halves_between_them() {
        assert_eq!(cividis(0.0), rgb(CIVIDIS[0]));
        assert_eq!(cividis(2.0), rgb(CIVIDIS[9]));
        assert_eq!(cividis(4.0 / 9.0), rgb(CIVIDIS[4]));
        // Half-way from #00224e to #123570: 9, 43.5, 95.
        assert_eq!(cividis(0.5 / 9.0), [9, 44, 95]);
    }

    #[test]
    fn seven_networks_have_their_authors_colours_and_others_those_of_groups() {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(of_networks(&names(&["Default", "Dorsal Attention"])), ["#cd3e4e", "#00760e"]);
        assert_eq!(of_networks(&names(&["Default", "mine"])), [GROUPS[0], GROUPS[1]]);
    }
}
