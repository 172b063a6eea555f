//! The commented study file that `stereotax init` writes.

/// A study file that parses, with every key, its default and a reason of one line.
pub const TEMPLATE: &str = include_str!("template.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ActivationSource, KNOWN_KEYS, NfasSettings, Preset, StudyErrors, parse};

    #[test]
    fn the_template_parses_to_the_defaults() {
        let study = parse(TEMPLATE, "study.toml").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(study.analysis, NfasSettings::default());
        assert_eq!(study.preset, Preset::Robust);
        assert_eq!(study.models[0].twin_of, None);
        assert_eq!(study.models[0].activations[0].source, ActivationSource::File("my-network.npz".into()));
        assert_eq!(study.models[0].activations[0].layers.len(), 5);
    }

    #[test]
    fn the_template_shows_every_key() {
        for (place, keys) in KNOWN_KEYS {
            for key in *keys {
                let shown = TEMPLATE.contains(&format!("{key} = "))
                    || TEMPLATE.contains(&format!("[{key}]"))
                    || TEMPLATE.contains(&format!(".{key}]"))
                    || TEMPLATE.contains(&format!("[{key}."));
                assert!(shown, "{key} of {place}");
            }
        }
    }

    #[test]
    fn the_reference_page_lists_the_same_keys() {
        let page = include_str!("../../../../docs/reference/study-file.md");
        let mut listed: Vec<(String, Vec<String>)> = Vec::new();
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                listed.push((title.trim().replace('`', ""), Vec::new()));
            } else if let Some(rest) = line.strip_prefix("| `")
                && let Some((key, _)) = rest.split_once('`')
                && let Some((_, keys)) = listed.last_mut()
            {
                keys.push(key.to_owned());
            }
        }
        let known: Vec<(String, Vec<String>)> = KNOWN_KEYS
            .iter()
            .map(|(place, keys)| ((*place).to_owned(), keys.iter().map(|k| (*k).to_owned()).collect()))
            .collect();
        listed.retain(|(_, keys)| !keys.is_empty());
        assert_eq!(listed, known);
    }

    /// Without this line the file is still a study: an optional key, or nothing but a comment.
    fn may_go(line: &str) -> bool {
        let required =
            ["name", "id", "ids", "benchmark", "stimuli", "modality", "subjects", "family", "file", "layers"];
        let key = line.split(['=', ' ']).next().unwrap_or("");
        !line.contains('=') && !line.starts_with('[') && line.trim().is_empty()
            || line.starts_with('#')
            || (line.contains('=') && !line.starts_with(' ') && !required.contains(&key))
    }

    #[test]
    fn deleting_any_line_is_harmless_or_told() {
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        for (i, gone) in lines.iter().enumerate() {
            let text: Vec<&str> = lines[..i].iter().chain(&lines[i + 1..]).copied().collect();
            let result = parse(&text.join("\n"), "s.toml");
            if may_go(gone) {
                assert!(result.is_ok(), "without line {}: {gone}\n{}", i + 1, result.err().unwrap());
            }
            if let Err(StudyErrors { problems, .. }) = result {
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|p| p.line >= 1 && p.line <= lines.len() + 1 && p.column >= 1));
            }
        }
    }

    #[test]
    fn a_garbled_value_is_told_at_its_line() {
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        let mut seen = 0;
        for (i, line) in lines.iter().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            if line.starts_with('#') || line.starts_with(' ') || line.ends_with('[') {
                continue;
            }
            for garbage in ["1979-05-27", "-1.5", "\"\\u0000\"", "[[]]", "{ x = 1 }", "@@"] {
                let broken = format!("{key} = {garbage}");
                let mut text = lines.clone();
                text[i] = &broken;
                // A tikhonov-like number may be negative in its kind only; every default here is not.
                let errors = parse(&text.join("\n"), "s.toml").expect_err(&broken);
                assert!(errors.problems.iter().any(|p| p.line == i + 1), "{broken}\n{errors}");
                seen += 1;
            }
            let broken = format!("x{line}");
            let mut text = lines.clone();
            text[i] = &broken;
            let errors = parse(&text.join("\n"), "s.toml").expect_err(&broken);
            let told = errors.problems.iter().find(|p| p.line == i + 1).expect(&broken);
            assert_eq!(told.hint.as_deref(), Some(format!("did you mean `{key}`?").as_str()), "{broken}");
        }
        assert!(seen > 300, "{seen}");
    }

    #[test]
    fn a_cut_file_never_panics() {
        for (end, _) in TEMPLATE.char_indices().step_by(7) {
            if let Err(errors) = parse(&TEMPLATE[..end], "s.toml") {
                assert!(!errors.problems.is_empty());
            }
        }
    }
}
