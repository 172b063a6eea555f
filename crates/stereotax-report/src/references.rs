//! Read references.bib, which is compiled in, and format entries for the page.

use std::collections::BTreeMap;

const BIB: &str = include_str!("../../../references.bib");

/// One source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    pub key: String,
    fields: BTreeMap<String, String>,
}

/// A source as the page shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Formatted {
    pub key: String,
    pub text: String,
    pub url: String,
}

/// Every source of references.bib.
pub(crate) fn all() -> Vec<Reference> {
    parse(BIB)
}

/// Entries whose fields stand on one line each, with values in braces.
fn parse(bib: &str) -> Vec<Reference> {
    let mut entries: Vec<Reference> = Vec::new();
    for line in bib.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix('@') {
            let key = rest.split_once('{').map_or("", |(_, key)| key).trim_end_matches(',').trim();
            entries.push(Reference { key: key.to_owned(), fields: BTreeMap::new() });
        } else if let (Some((name, value)), Some(entry)) = (line.split_once(" = {"), entries.last_mut()) {
            let value = value.trim_end_matches(',').trim_end_matches('}');
            entry.fields.insert(name.to_owned(), value.replace("\\&", "&").replace("--", "–"));
        }
    }
    entries
}

impl Reference {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// "Anderson 2001", "Freedman and Lane 1983", "Tu et al. 2014".
    pub fn cited(&self) -> String {
        let families: Vec<&str> = self
            .field("author")
            .split(" and ")
            .map(|a| a.split_once(',').map_or(a, |(family, _)| family).trim())
            .collect();
        let who = match families.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [first, second] if *second != "others" => format!("{first} and {second}"),
            [first, ..] => format!("{first} et al."),
        };
        format!("{who} {}", self.field("year"))
    }

    /// Authors (year). Title. Journal volume(number), pages.
    pub fn formatted(&self) -> Formatted {
        let authors: Vec<String> = self
            .field("author")
            .split(" and ")
            .map(|author| match author.split_once(", ") {
                Some((family, given)) => {
                    let initials: String = given
                        .split_whitespace()
                        .map(|name| {
                            let parts: Vec<String> = name
                                .split('-')
                                .filter_map(|p| p.chars().next())
                                .map(|c| format!("{c}."))
                                .collect();
                            parts.join("-")
                        })
                        .collect::<Vec<_>>()
                        .join(" ");
                    format!("{family}, {initials}")
                }
                None if author == "others" => "et al.".to_owned(),
                None => author.to_owned(),
            })
            .collect();
        let authors = match authors.split_last() {
            Some((last, first)) if last == "et al." => format!("{} et al.", first.join(", ")),
            _ => crate::cells::listed(&authors),
        };
        let title = self.field("title");
        let stop = if title.ends_with('?') { "" } else { "." };
        let mut text = format!("{authors} ({}). {title}{stop}", self.field("year"));
        let journal = [self.field("journal"), self.field("publisher")].concat();
        if !journal.is_empty() {
            text.push_str(&format!(" {journal}"));
            if !self.field("volume").is_empty() {
                text.push_str(&format!(" {}", self.field("volume")));
            }
            if !self.field("number").is_empty() {
                text.push_str(&format!("({})", self.field("number")));
            }
            if !self.field("pages").is_empty() {
                text.push_str(&format!(", {}", self.field("pages")));
            }
            text.push('.');
        }
        let url = if !self.field("doi").is_empty() {
            format!("https://doi.org/{}", self.field("doi"))
        } else if !self.field("eprint").is_empty() {
            text.push_str(&format!(" arXiv:{}.", self.field("eprint")));
            format!("https://arxiv.org/abs/{}", self.field("eprint"))
        } else {
            String::new()
        };
        Formatted { key: self.key.clone(), text, url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete_and_unique() {
        let entries = all();
        assert!(entries.len() > 30, "{}", entries.len());
        let mut keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entries.len(), "a key stands twice");
        for entry in &entries {
            for field in ["author", "title", "year"] {
                assert!(!entry.field(field).is_empty(), "{} lacks {field}", entry.key);
            }
            let text = entry.formatted().text;
            assert!(!text.contains(['{', '}', '\\']), "{text}");
        }
    }

    #[test]
    fn formatted_by_hand() {
        let entries = all();
        let by_key = |key: &str| entries.iter().find(|e| e.key == key).unwrap();
        assert_eq!(by_key("anderson2001").cited(), "Anderson 2001");
        assert_eq!(by_key("freedman1983").cited(), "Freedman and Lane 1983");
        assert_eq!(by_key("tu2014").cited(), "Tu et al. 2014");
        assert_eq!(by_key("li2022").cited(), "Li et al. 2022");
        let tu = by_key("tu2014").formatted();
        assert_eq!(
            tu.text,
            "Tu, J. H., Rowley, C. W., Luchtenburg, D. M., Brunton, S. L. and Kutz, J. N. (2014). On dynamic \
             mode decomposition: Theory and applications. Journal of Computational Dynamics 1(2), 391–421."
        );
        assert_eq!(tu.url, "https://doi.org/10.3934/jcd.2014.1.391");
        assert!(by_key("schaefer2018").formatted().text.contains("Zuo, X.-N."), "hyphenated first names");
    }
}
