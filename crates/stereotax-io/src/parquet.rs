//! Write tables as Parquet, CSV and JSON Lines, and read Parquet back.
//!
//! The writer's settings are fixed and neither times nor versions go in, so the same table gives the
//! same bytes. An undefined value is null in Parquet and JSON and an empty cell in CSV.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::atomic::write_atomic;
use crate::error::{IoError, IoErrorKind, Result};
use crate::positioned::PositionedFile;
use crate::table::{Table, Values};

/// Result tables are small; a larger one is a mistake.
const MAX_ROWS: i64 = 100_000_000;

/// Write a table as Parquet, atomically.
pub fn write_parquet(table: &Table, path: &Path) -> Result<()> {
    let bytes = parquet_bytes(table).map_err(|e| {
        IoError::new(IoErrorKind::Write, path, "table", "to encode it", e, "give every column its own name")
    })?;
    write_atomic(path, &bytes)
}

/// Write a table as CSV with a header, atomically; numbers in the shortest form that reads back alike.
pub fn write_csv(table: &Table, path: &Path) -> Result<()> {
    let bytes = csv_bytes(table).map_err(|e| {
        IoError::new(IoErrorKind::Write, path, "table", "to encode it", e, "check the column names")
    })?;
    write_atomic(path, &bytes)
}

/// Write a table as JSON Lines, atomically.
pub fn write_json_lines(table: &Table, path: &Path) -> Result<()> {
    write_atomic(path, json_lines(table).as_bytes())
}

/// A table as one compact JSON object per line, columns in order, undefined (and any number that is not
/// finite) as null.
pub fn json_lines(table: &Table) -> String {
    let mut text = String::new();
    for row in 0..table.n_rows() {
        for (index, column) in table.columns().iter().enumerate() {
            text.push_str(if index == 0 { "{" } else { "," });
            push_json_text(&mut text, &column.name);
            text.push(':');
            match &column.values {
                Values::Text(v) => match &v[row] {
                    Some(t) => push_json_text(&mut text, t),
                    None => text.push_str("null"),
                },
                Values::Number(v) => match v[row].filter(|x| x.is_finite()) {
                    Some(x) => text.push_str(&show_number(x)),
                    None => text.push_str("null"),
                },
                Values::Integer(v) => push_or_null(&mut text, v[row]),
                Values::Flag(v) => push_or_null(&mut text, v[row]),
            }
        }
        text.push_str("}\n");
    }
    text
}

fn push_or_null<T: std::fmt::Display>(text: &mut String, value: Option<T>) {
    match value {
        // Writing to a String cannot fail.
        Some(value) => drop(write!(text, "{value}")),
        None => text.push_str("null"),
    }
}

fn push_json_text(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

/// The shortest digits that read back to the same f64; very large and small ones with an exponent.
fn show_number(x: f64) -> String {
    format!("{x:?}")
}

fn csv_bytes(table: &Table) -> std::result::Result<Vec<u8>, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = table.columns().iter().map(|c| c.name.as_str());
    writer.write_record(names).map_err(|e| e.to_string())?;
    for row in 0..table.n_rows() {
        let cells = table.columns().iter().map(|c| match &c.values {
            Values::Text(v) => v[row].clone().unwrap_or_default(),
            Values::Number(v) => v[row].filter(|x| !x.is_nan()).map(show_number).unwrap_or_default(),
            Values::Integer(v) => v[row].map(|x| x.to_string()).unwrap_or_default(),
            Values::Flag(v) => v[row].map(|x| x.to_string()).unwrap_or_default(),
        });
        writer.write_record(cells).map_err(|e| e.to_string())?;
    }
    writer.into_inner().map_err(|e| e.to_string())
}

fn parquet_bytes(table: &Table) -> std::result::Result<Vec<u8>, String> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in table.columns() {
        let (kind, array): (DataType, ArrayRef) = match &column.values {
            Values::Text(v) => {
                (DataType::Utf8, Arc::new(v.iter().map(Option::as_deref).collect::<StringArray>()))
            }
            Values::Number(v) => (DataType::Float64, Arc::new(v.iter().copied().collect::<Float64Array>())),
            Values::Integer(v) => (DataType::Int64, Arc::new(v.iter().copied().collect::<Int64Array>())),
            Values::Flag(v) => (DataType::Boolean, Arc::new(v.iter().copied().collect::<BooleanArray>())),
        };
        fields.push(Field::new(&column.name, kind, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let level = ZstdLevel::try_new(3).map_err(|e| e.to_string())?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("stereotax".to_owned())
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).map_err(|e| e.to_string())?;
    if !table.columns().is_empty() {
        let batch = RecordBatch::try_new(schema, arrays).map_err(|e| e.to_string())?;
        writer.write(&batch).map_err(|e| e.to_string())?;
    }
    writer.into_inner().map_err(|e| e.to_string())
}

/// Read a Parquet file of text, numbers, whole numbers and flags, whoever wrote it.
pub fn read_parquet(path: &Path) -> Result<Table> {
    let file = std::fs::File::open(path).map_err(|e| IoError::reading(path, "table", &e))?;
    if PositionedFile::open(path)?.head(4)? != b"PAR1" {
        return Err(IoError::wrong_format(path, "table", "a Parquet file", "other bytes at its start"));
    }
    let broken = |e: String| IoError::wrong_format(path, "table", "a Parquet file", e);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| broken(e.to_string()))?;
    let rows = builder.metadata().file_metadata().num_rows();
    if !(0..=MAX_ROWS).contains(&rows) {
        return Err(IoError::too_large(path, "table", format!("at most {MAX_ROWS} rows"), format!("{rows}")));
    }
    let fields = builder.schema().fields().clone();
    let reader = builder.build().map_err(|e| broken(e.to_string()))?;
    let mut columns: Vec<Values> = Vec::new();
    for field in fields.iter() {
        columns.push(match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => Values::Text(Vec::new()),
            DataType::Float32 | DataType::Float64 => Values::Number(Vec::new()),
            DataType::Boolean => Values::Flag(Vec::new()),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => Values::Integer(Vec::new()),
            other => {
                return Err(IoError::dtype(
                    path,
                    &format!("column `{}`", field.name()),
                    "text, numbers, whole numbers or flags",
                    &other.to_string(),
                ));
            }
        });
    }
    for batch in reader {
        let batch = batch.map_err(|e| broken(e.to_string()))?;
        for (values, array) in columns.iter_mut().zip(batch.columns()) {
            append(values, array.as_ref());
        }
    }
    Ok(fields
        .iter()
        .zip(columns)
        .fold(Table::new(), |table, (field, values)| table.with(field.name(), values)))
}

fn append(values: &mut Values, array: &dyn Array) {
    let any = array.as_any();
    macro_rules! from {
        ($target:expr, $convert:expr, $($kind:ty),+) => {
            {
                $(if let Some(a) = any.downcast_ref::<$kind>() {
                    $target.extend(a.iter().map(|x| x.map($convert)));
                })+
            }
        };
    }
    match values {
        Values::Text(v) => from!(v, str::to_owned, StringArray, LargeStringArray),
        Values::Number(v) => {
            from!(v, |x| x, Float64Array);
            from!(v, f64::from, Float32Array);
        }
        Values::Flag(v) => from!(v, |x| x, BooleanArray),
        Values::Integer(v) => {
            from!(v, |x| x, Int64Array);
            from!(v, i64::from, Int8Array, Int16Array, Int32Array, UInt8Array, UInt16Array, UInt32Array);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new()
            .text("roi", [Some("A1"), None, Some("é,\"ß")])
            .number("score", [Some(0.1), None, Some(-1.5e300)])
            .integer("n", [Some(1), None, Some(-3)])
            .flag("kept", [Some(true), None, Some(false)])
    }

    #[test]
    fn parquet_round_trips_and_repeats_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.parquet"), folder.path().join("b.parquet"));
        write_parquet(&table(), &a).unwrap();
        write_parquet(&table(), &b).unwrap();
        let bytes = std::fs::read(&a).unwrap();
        assert_eq!(bytes, std::fs::read(&b).unwrap());
        assert_eq!(read_parquet(&a).unwrap(), table());
        let empty = Table::new().text("roi", Vec::<Option<&str>>::new());
        write_parquet(&empty, &a).unwrap();
        assert_eq!(read_parquet(&a).unwrap(), empty);
        for cut in (0..bytes.len()).step_by(11) {
            std::fs::write(&b, &bytes[..cut]).unwrap();
            assert!(read_parquet(&b).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn reads_what_pyarrow_writes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/table.parquet");
        let read = read_parquet(&path).unwrap();
        assert_eq!(read.texts("roi").unwrap(), [Some("A1".into()), None, Some("é–ß".into())]);
        assert_eq!(read.numbers("score").unwrap(), [Some(0.25), None, Some(-1.5)]);
        assert_eq!(read.column("n").unwrap(), &Values::Integer(vec![Some(1), None, Some(3)]));
        assert_eq!(read.column("small").unwrap(), &Values::Integer(vec![Some(1), Some(2), None]));
        assert_eq!(read.column("kept").unwrap(), &Values::Flag(vec![Some(true), None, Some(false)]));
    }

    #[test]
    fn text_forms_by_hand() {
        assert_eq!(
            json_lines(&table()),
            "{\"roi\":\"A1\",\"score\":0.1,\"n\":1,\"kept\":true}\n\
             {\"roi\":null,\"score\":null,\"n\":null,\"kept\":null}\n\
             {\"roi\":\"é,\\\"ß\",\"score\":-1.5e300,\"n\":-3,\"kept\":false}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        write_csv(&table(), &path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "roi,score,n,kept\nA1,0.1,1,true\n,,,\n\"é,\"\"ß\",-1.5e300,-3,false\n"
        );
        assert_eq!(crate::read_csv(&path).unwrap(), table());
    }
}
