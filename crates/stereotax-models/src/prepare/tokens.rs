//! Texts to whole numbers: characters by a vocabulary, or numbers that were made elsewhere.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Content;
use crate::error::{Result, invalid};
use crate::network::engine::{Numbers, Tensor};

/// No stimulus has more.
const MAX_TOKENS: usize = 1 << 20;

/// Characters by a vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharactersInput {
    /// The network's input; needed where it has several.
    pub name: Option<String>,
    /// A JSON object of characters and their numbers, beside the preparation file.
    pub vocabulary: PathBuf,
    /// What stands for a character that the vocabulary does not have; without it such a text is refused.
    pub unknown: Option<String>,
}

/// Numbers as they are: a text of whole numbers with blanks between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumbersInput {
    /// The network's input; needed where it has several.
    pub name: Option<String>,
}

/// Characters and their numbers.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    numbers: HashMap<String, i32>,
    unknown: Option<i32>,
}

impl CharactersInput {
    /// Read the vocabulary from the bytes of its file; `preparation` is the file that names it.
    pub(super) fn read(&self, preparation: &Path, bytes: &[u8]) -> Result<Vocabulary> {
        let path = preparation.with_file_name(&self.vocabulary);
        let numbers: HashMap<String, i32> = serde_json::from_slice(bytes).map_err(|e| {
            invalid(
                &path,
                "vocabulary",
                "a JSON object of characters and whole numbers",
                e.to_string(),
                "write it so",
            )
        })?;
        let unknown = match &self.unknown {
            None => None,
            Some(entry) => Some(*numbers.get(entry).ok_or_else(|| {
                invalid(
                    preparation,
                    "input.unknown",
                    "an entry of the vocabulary",
                    format!("`{entry}`"),
                    "name an entry that is there",
                )
            })?),
        };
        Ok(Vocabulary { numbers, unknown })
    }
}

impl Vocabulary {
    pub(super) fn tensor(&self, content: &Content) -> Result<Tensor> {
        let text = text(content)?;
        let mut numbers = Vec::with_capacity(text.len());
        for (at, character) in text.chars().enumerate() {
            let mut buffer = [0; 4];
            match self.numbers.get(&*character.encode_utf8(&mut buffer)).copied().or(self.unknown) {
                Some(number) => numbers.push(number),
                None => {
                    return Err(invalid(
                        content.path(),
                        format!("character {at} of a text"),
                        "a character of the vocabulary",
                        format!("`{character}`"),
                        "name an entry that stands for others with `unknown = …`, or change the text",
                    ));
                }
            }
        }
        sized(content, numbers)
    }
}

/// The numbers of a text.
pub(super) fn numbers(content: &Content) -> Result<Tensor> {
    let text = text(content)?;
    let parse = |word: &str| {
        word.parse::<i32>().map_err(|_| {
            invalid(
                content.path(),
                "numbers of a stimulus",
                "whole numbers with blanks between them",
                format!("`{}`", word.chars().take(40).collect::<String>()),
                "make tokens with the network's own tokeniser first",
            )
        })
    };
    let separated = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    sized(content, separated.map(parse).collect::<Result<_>>()?)
}

fn text(content: &Content) -> Result<String> {
    match content {
        Content::Text { text, .. } => Ok(text.clone()),
        Content::File(path) => {
            let bytes = stereotax_io::read_bytes(path)?;
            String::from_utf8(bytes).map_err(|_| {
                invalid(
                    path,
                    "text",
                    "text in UTF-8",
                    "other bytes",
                    "save it as UTF-8, or name the right files",
                )
            })
        }
    }
}

fn sized(content: &Content, numbers: Vec<i32>) -> Result<Tensor> {
    if numbers.is_empty() || numbers.len() > MAX_TOKENS {
        return Err(invalid(
            content.path(),
            "text",
            format!("1 to {MAX_TOKENS} tokens"),
            format!("{}", numbers.len()),
            "leave the stimulus out, or split it",
        ));
    }
    Ok(Tensor { shape: vec![numbers.len()], numbers: Numbers::Whole(numbers) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content::Text { text: text.into(), table: "texts.csv".into(), line: 2 }
    }

    #[test]
    fn characters_and_numbers_by_hand() {
        let mut vocabulary =
            Vocabulary { numbers: [("a".to_owned(), 3), ("é".to_owned(), 0)].into(), unknown: None };
        let found = vocabulary.tensor(&content("éaa")).unwrap();
        assert_eq!((found.shape, found.numbers), (vec![3], Numbers::Whole(vec![0, 3, 3])));
        assert!(vocabulary.tensor(&content("ab")).unwrap_err().to_string().contains("character 1"));
        vocabulary.unknown = Some(9);
        assert_eq!(vocabulary.tensor(&content("ab")).unwrap().numbers, Numbers::Whole(vec![3, 9]));
        assert!(vocabulary.tensor(&content("")).is_err());
        assert_eq!(numbers(&content("101, 7 -1")).unwrap().numbers, Numbers::Whole(vec![101, 7, -1]));
        assert!(numbers(&content("1 x")).is_err());
    }
}
