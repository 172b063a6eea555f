//! Read TOML tables so that every problem is told with its line, and all of them at once.
//!
//! A [`Reader`] looks at one table. Its methods write what they find into a place that holds the
//! default already, and put what is wrong into a shared [`Sink`].

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::hints::nearest;

/// Everything that is wrong with a study file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct StudyErrors {
    /// Name of the file, as given.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// What was expected and what was found.
    pub message: String,
    /// One way out.
    pub hint: Option<String>,
}

impl fmt::Display for StudyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "error: {}:{}:{}: {}", self.file, problem.line, problem.column, problem.message)?;
            write!(f, "\n  | {}", problem.text)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// Where problems are collected.
pub(super) struct Sink<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Sink { text, problems: RefCell::new(Vec::new()) }
    }

    pub(super) fn push(&self, offset: usize, message: String, hint: Option<String>) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        let text = self.text[start..].lines().next().unwrap_or("").trim().chars().take(160).collect();
        let column = self.text[start..offset].chars().count() + 1;
        self.problems.borrow_mut().push(Problem { line, column, text, message, hint });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }

    pub(super) fn slice(&self, span: &Range<usize>) -> String {
        let text = self.text.get(span.clone()).unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
    }
}

/// One word of a choice, with the number that may follow its colon.
pub(super) struct Form<T> {
    pub(super) word: &'static str,
    pub(super) argument: Option<Argument>,
    pub(super) make: fn(f64) -> T,
}

/// Short names that users bring from papers and other programs, with the words that are stored.
pub const SHORT_NAMES: &[(&str, &str)] = &[
    ("tls", "total_least_squares"),
    ("fb", "forward_backward"),
    ("opt", "optimised"),
    ("bop", "bagged"),
    ("rrr", "reduced_rank"),
    ("svht", "hard_threshold"),
];

/// The long word that a short name stands for; any other word is returned as it is.
pub fn long_word(word: &str) -> &str {
    SHORT_NAMES.iter().find(|(short, _)| *short == word).map_or(word, |(_, long)| long)
}

/// The number after a colon: `energy:0.99`.
#[derive(Clone, Copy)]
pub(super) struct Argument {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) whole: bool,
    /// May follow the number: `20s`.
    pub(super) unit: &'static str,
    /// Taken where the word stands alone.
    pub(super) default: Option<f64>,
    /// In words, with an example.
    pub(super) expected: &'static str,
}

/// A word without a number.
pub(super) const fn word<T>(word: &'static str, make: fn(f64) -> T) -> Form<T> {
    Form { word, argument: None, make }
}

/// A word with a number.
pub(super) const fn with<T>(word: &'static str, argument: Argument, make: fn(f64) -> T) -> Form<T> {
    Form { word, argument: Some(argument), make }
}

/// One value, with its key for messages.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) name: String,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) sink: &'a Sink<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn offset(&self) -> usize {
        self.value.span().start
    }

    pub(super) fn found(&self) -> String {
        match self.value.get_ref() {
            DeValue::Table(_) => "a table".into(),
            DeValue::Array(items) if items.is_empty() => "an empty array".into(),
            _ => format!("`{}`", self.sink.slice(&self.value.span())),
        }
    }

    pub(super) fn wrong<T>(&self, expected: &str, hint: Option<String>) -> Option<T> {
        self.sink.push(
            self.offset(),
            format!("{} is {}, but {expected} expected", self.name, self.found()),
            hint,
        );
        None
    }

    pub(super) fn text(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(s) if !s.trim().is_empty() && !s.chars().any(char::is_control) => {
                Some(s.to_string())
            }
            DeValue::String(_) => self.wrong("a text that is not empty", None),
            _ => self.wrong("a text in quotes", None),
        }
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text().map(PathBuf::from)
    }

    pub(super) fn number(&self, least: f64, most: f64, expected: &str) -> Option<f64> {
        let number = match self.value.get_ref() {
            DeValue::Float(f) => f.as_str().parse::<f64>().ok(),
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i as f64),
            _ => None,
        };
        match number {
            Some(x) if x.is_finite() && x >= least && x <= most => Some(x),
            _ => self.wrong(expected, None),
        }
    }

    pub(super) fn count(&self, least: u64, most: u64) -> Option<u64> {
        let found = match self.value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        match found {
            Some(n) if (least..=most).contains(&n) => Some(n),
            _ => self.wrong(&format!("a whole number from {least} to {most}"), None),
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            _ => self.wrong("`true` or `false`", None),
        }
    }

    pub(super) fn form<T>(&self, forms: &[Form<T>]) -> Option<T> {
        let list = || {
            format!("one of {}", forms.iter().map(|f| format!("`{}`", f.word)).collect::<Vec<_>>().join(", "))
        };
        let DeValue::String(text) = self.value.get_ref() else { return self.wrong(&list(), None) };
        let (head, tail) = match text.split_once(':') {
            Some((head, tail)) => (head.trim(), Some(tail.trim())),
            None => (text.trim(), None),
        };
        let head = long_word(head);
        let Some(form) = forms.iter().find(|form| form.word == head) else {
            let hint = nearest(head, forms.iter().map(|form| form.word));
            return self.wrong(&list(), hint.map(|word| format!("did you mean `\"{word}\"`?")));
        };
        match (&form.argument, tail) {
            (None, None) => Some((form.make)(0.0)),
            (None, Some(_)) => self.wrong(&format!("`\"{head}\"` without a number"), None),
            (Some(Argument { default: Some(x), .. }), None) => Some((form.make)(*x)),
            (Some(argument), tail) => {
                let tail = tail.unwrap_or("");
                let digits = tail.strip_suffix(argument.unit).unwrap_or(tail).trim();
                match digits.parse::<f64>() {
                    Ok(x)
                        if x >= argument.least
                            && x <= argument.most
                            && (!argument.whole || x.fract() == 0.0) =>
                    {
                        Some((form.make)(x))
                    }
                    _ => self.wrong(argument.expected, None),
                }
            }
        }
    }

    /// The members of an array that is not empty.
    pub(super) fn items(&self) -> Option<Vec<Value<'a>>> {
        match self.value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => Some(
                items
                    .iter()
                    .map(|value| Value { name: format!("a member of {}", self.name), value, sink: self.sink })
                    .collect(),
            ),
            _ => self.wrong("an array with at least one member", None),
        }
    }

    /// The texts of an array; twice the same is an error.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let mut texts: Vec<String> = Vec::new();
        for item in self.items()? {
            let text = item.text()?;
            if texts.contains(&text) {
                self.sink.push(item.offset(), format!("{} names `{text}` twice", self.name), None);
                return None;
            }
            texts.push(text);
        }
        Some(texts)
    }

    pub(super) fn table(&self, place: &str, keys: &'static [&'static str]) -> Option<Reader<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                Some(Reader::new(table, self.offset(), place.to_owned(), keys, self.sink))
            }
            _ => self.wrong("a table", None),
        }
    }

    /// One table, or an array of tables.
    pub(super) fn tables(&self, place: &str, keys: &'static [&'static str]) -> Vec<Reader<'a>> {
        match self.value.get_ref() {
            DeValue::Array(_) => {
                self.items().unwrap_or_default().iter().filter_map(|item| item.table(place, keys)).collect()
            }
            _ => self.table(place, keys).into_iter().collect(),
        }
    }
}

/// One table whose keys are known.
pub(super) struct Reader<'a> {
    table: &'a DeTable<'a>,
    offset: usize,
    place: String,
    pub(super) sink: &'a Sink<'a>,
}

impl<'a> Reader<'a> {
    /// Look at a table; keys that are not known are reported here.
    pub(super) fn new(
        table: &'a DeTable<'a>,
        offset: usize,
        place: String,
        keys: &'static [&'static str],
        sink: &'a Sink<'a>,
    ) -> Self {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                let hint = nearest(name, keys.iter().copied()).map_or_else(
                    || format!("known here: {}", keys.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                sink.push(key.span().start, format!("unknown key `{name}` in {place}"), Some(hint));
            }
        }
        Reader { table, offset, place, sink }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let (_, value) = self.table.iter().find(|(k, _)| k.get_ref().as_ref() == key)?;
        Some(Value { name: format!("`{key}` in {}", self.place), value, sink: self.sink })
    }

    /// Where this key's value stands, or the table if it is not given.
    pub(super) fn at(&self, key: &str) -> usize {
        self.get(key).map_or(self.offset, |value| value.offset())
    }

    pub(super) fn problem(&self, key: &str, message: String, hint: &str) {
        self.sink.push(self.at(key), message, Some(hint.to_owned()));
    }

    pub(super) fn required(&self, key: &str, example: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("`{key}` is missing in {}", self.place);
            self.sink.push(self.offset, message, Some(format!("add `{example}`")));
        }
        value
    }

    pub(super) fn text(&self, key: &str, example: &str) -> String {
        self.required(key, example).and_then(|v| v.text()).unwrap_or_default()
    }

    pub(super) fn form<T>(&self, key: &str, target: &mut T, forms: &[Form<T>]) {
        if let Some(found) = self.get(key).and_then(|v| v.form(forms)) {
            *target = found;
        }
    }

    pub(super) fn flag(&self, key: &str, target: &mut bool) {
        if let Some(found) = self.get(key).and_then(|v| v.flag()) {
            *target = found;
        }
    }

    pub(super) fn count(&self, key: &str, target: &mut usize, least: u64, most: u64) {
        if let Some(found) = self.get(key).and_then(|v| v.count(least, most)) {
            *target = found as usize;
        }
    }

    pub(super) fn number(&self, key: &str, target: &mut f64, least: f64, most: f64, expected: &str) {
        if let Some(found) = self.get(key).and_then(|v| v.number(least, most, expected)) {
            *target = found;
        }
    }
}
