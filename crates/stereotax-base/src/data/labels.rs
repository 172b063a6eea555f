//! Group labels: which of a few named groups each object belongs to.

use super::error::{Error, Result};

/// One group per object, with the group names sorted, so that nothing depends on input order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Labels {
    names: Vec<String>,
    codes: Vec<usize>,
}

impl Labels {
    /// Code each object's group name; groups are numbered in the sorted order of their names.
    pub fn new<S: AsRef<str>>(groups: &[S]) -> Self {
        let mut names: Vec<String> = groups.iter().map(|g| g.as_ref().to_owned()).collect();
        names.sort();
        names.dedup();
        let codes = groups
            .iter()
            .map(|g| names.binary_search_by(|n| n.as_str().cmp(g.as_ref())).unwrap_or_default())
            .collect();
        Labels { names, codes }
    }

    /// Group of each object, as an index into [`Labels::names`].
    pub fn codes(&self) -> &[usize] {
        &self.codes
    }

    /// The group names, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many objects.
    pub fn n_objects(&self) -> usize {
        self.codes.len()
    }

    /// How many groups.
    pub fn n_groups(&self) -> usize {
        self.names.len()
    }

    /// Objects per group.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.names.len()];
        for &code in &self.codes {
            sizes[code] += 1;
        }
        sizes
    }

    /// The objects of one group, in input order.
    pub fn members(&self, group: usize) -> Vec<usize> {
        (0..self.codes.len()).filter(|&i| self.codes[i] == group).collect()
    }

    /// Refuse labels that do not belong to `n_objects` objects or make fewer than two groups.
    pub fn check_for_test(&self, what: &str, n_objects: usize) -> Result<()> {
        if self.codes.len() != n_objects {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n_objects} labels (one per object)"),
                found: format!("{} labels", self.codes.len()),
                hint: "give one group name per row of the distance matrix".into(),
            });
        }
        if self.names.len() < 2 {
            return Err(Error::TooFew {
                what: what.into(),
                needed: "2 groups".into(),
                found: format!("{} group(s)", self.names.len()),
                hint: "a comparison of groups needs at least two of them".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbered_by_name_not_by_appearance() {
        let labels = Labels::new(&["vision", "audio", "vision"]);
        assert_eq!(labels.names(), ["audio", "vision"]);
        assert_eq!(labels.codes(), [1, 0, 1]);
        assert_eq!(labels.sizes(), [1, 2]);
        assert_eq!(labels.members(1), [0, 2]);
    }
}
