//! Put results into dictionaries.

/// A dictionary of named values, each of which Python can hold.
macro_rules! dict {
    ($py:expr, { $($key:literal : $value:expr),* $(,)? }) => {{
        let dict = pyo3::types::PyDict::new($py);
        $( dict.set_item($key, $value)?; )*
        dict
    }};
}

pub(crate) use dict;
