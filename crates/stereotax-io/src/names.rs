//! Find the name that was probably meant, and list names without flooding the screen.

/// How many names a message lists before it only counts the rest.
const LISTED: usize = 12;
/// What adding, dropping or changing a letter costs, where changing its case costs 1.
const EDIT: usize = 4;

/// The candidate with the smallest edit distance to `wanted` (letter case counts a quarter of a
/// letter), where at most a third of the letters differ; ties go to the earlier one.
///
/// Cost: length² per candidate.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count().max(3) * EDIT).div_ceil(3);
    candidates
        .into_iter()
        .filter(|c| c.len() < 4 * wanted.len() + 16)
        .map(|c| (distance(wanted, c), c))
        .filter(|(d, c)| *d <= limit.min(EDIT * c.chars().count().max(1)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// The edit distance, where a change of case costs 1 and any other edit [`EDIT`].
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).map(|j| EDIT * j).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = EDIT * (i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = if x == y {
                0
            } else if x.to_lowercase().eq(y.to_lowercase()) {
                1
            } else {
                EDIT
            };
            let here = (diagonal + change).min(row[j] + EDIT).min(row[j + 1] + EDIT);
            diagonal = row[j + 1];
            row[j + 1] = here;
        }
    }
    row[b.len()]
}

/// `` `a`, `b`, `c` `` and how many more.
pub fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|n| format!("`{n}`")).collect();
    let rest = names.len().saturating_sub(LISTED);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        assert_eq!(distance("kitten", "sitting"), 12);
        assert_eq!(distance("Conv1", "conv1"), 1);
        assert_eq!(nearest("conv_1", ["lstm", "conv1", "conv2"]), Some("conv1"));
        assert_eq!(nearest("LSTM", ["lstm", "conv1"]), Some("lstm"));
        assert_eq!(nearest("attention", ["lstm", "conv1"]), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..14).map(|i| format!("n{i}")).collect();
        assert!(list(&names).ends_with("`n11` and 2 more"));
    }
}
