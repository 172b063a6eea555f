//! Small labelled tables: what results are made of.

/// One column's values; `None` is an undefined value, whose reason stands in the `status` column.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Values {
    /// Names, ids, statuses.
    Text(Vec<Option<String>>),
    /// Numbers.
    Number(Vec<Option<f64>>),
    /// Counts and indices.
    Integer(Vec<Option<i64>>),
    /// Yes or no.
    Flag(Vec<Option<bool>>),
}

impl Values {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Text(v) => v.len(),
            Values::Number(v) => v.len(),
            Values::Integer(v) => v.len(),
            Values::Flag(v) => v.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A named column.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Column {
    /// Its name, in snake case.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// A table: columns of equal length, in a stated order.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Table::default()
    }

    /// Add a column of text; `None` where undefined.
    pub fn text<S: Into<String>>(self, name: &str, values: impl IntoIterator<Item = Option<S>>) -> Self {
        self.with(name, Values::Text(values.into_iter().map(|v| v.map(Into::into)).collect()))
    }

    /// Add a column of numbers; NaN becomes undefined.
    pub fn number(self, name: &str, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        self.with(name, Values::Number(values.into_iter().map(|v| v.filter(|x| !x.is_nan())).collect()))
    }

    /// Add a column of whole numbers.
    pub fn integer(self, name: &str, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        self.with(name, Values::Integer(values.into_iter().collect()))
    }

    /// Add a column of yes or no.
    pub fn flag(self, name: &str, values: impl IntoIterator<Item = Option<bool>>) -> Self {
        self.with(name, Values::Flag(values.into_iter().collect()))
    }

    /// Add a column.
    ///
    /// # Panics
    /// If its length differs from that of the columns before it: a bug of the caller.
    pub fn with(mut self, name: &str, values: Values) -> Self {
        if let Some(first) = self.columns.first() {
            assert_eq!(first.values.len(), values.len(), "column `{name}` has another length");
        }
        self.columns.push(Column { name: name.to_owned(), values });
        self
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.columns.first().map_or(0, |c| c.values.len())
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// One column by name.
    pub fn column(&self, name: &str) -> Option<&Values> {
        self.columns.iter().find(|c| c.name == name).map(|c| &c.values)
    }

    /// A column of numbers by name; `None` where there is none of that name and type.
    pub fn numbers(&self, name: &str) -> Option<&[Option<f64>]> {
        match self.column(name) {
            Some(Values::Number(v)) => Some(v),
            _ => None,
        }
    }

    /// A column of text by name; `None` where there is none of that name and type.
    pub fn texts(&self, name: &str) -> Option<&[Option<String>]> {
        match self.column(name) {
            Some(Values::Text(v)) => Some(v),
            _ => None,
        }
    }
}
