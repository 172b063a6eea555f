//! Compare arrays of the same stimuli by measures of representational similarity.

use std::path::{Path, PathBuf};

use faer::Mat;
use serde_json::{Value, json};
use stereotax::data::{Monitor, Precision};
use stereotax::similarity::{
    CompareParams, Compared, Comparison, Interval, Measure, Representation, compare, select,
};
use stereotax_io::{ArrayFile, Delimited, FileFormat, Values, match_rows, read_parquet, read_texts};

use crate::args::CompareArgs;
use crate::progress::{Bar, stop_flag};
use crate::{Failure, print_line};

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    let loaded = load_all(args)?;
    let arrays: Vec<Representation<'static>> = loaded
        .into_iter()
        .map(|array| {
            let Array { name, values, precision, .. } = array;
            Representation::owned(&name, values, precision).map_err(core)
        })
        .collect::<Result<_, _>>()?;
    let bar = Bar::new();
    let watcher = |event| bar.follow(&event);
    let monitor = Monitor::new(&watcher, stop_flag());
    let several = arrays.len() > 2;
    if !args.json {
        print_line(&header(several));
    }
    for (i, x) in arrays.iter().enumerate() {
        for y in &arrays[i + 1..] {
            let n_units = x.n_units().max(y.n_units());
            let measures = select(&args.measures, x.n_stimuli(), n_units).map_err(core)?;
            tell_what_is_left_out(args, &measures, x.n_stimuli(), n_units);
            let params = CompareParams {
                n_permutations: args.n_permutations,
                n_bootstraps: args.n_bootstraps,
                level: args.level,
                seed: args.seed,
                blocks: None,
            };
            let found = compare(x, y, &measures, &params, &monitor).map_err(core)?;
            print_pair(args, (x.name(), y.name()), several, &found);
        }
    }
    Ok(())
}

fn print_pair(args: &CompareArgs, names: (&str, &str), several: bool, found: &Comparison) {
    let mut told: Vec<&str> = Vec::new();
    for compared in &found.measures {
        if args.json {
            print_line(&as_json(args, names, several, found, compared).to_string());
        } else {
            print_line(&as_row(names, several, found, compared));
        }
        for warning in &compared.warnings {
            // One sentence for all measures that it holds for.
            if !told.contains(&warning.as_str()) {
                told.push(warning);
                let which: Vec<&str> = found
                    .measures
                    .iter()
                    .filter(|other| other.warnings.contains(warning))
                    .map(|other| other.measure)
                    .collect();
                eprintln!("warning: {} and {}: {}: {warning}", names.0, names.1, which.join(", "));
            }
        }
    }
}

fn as_json(
    args: &CompareArgs,
    names: (&str, &str),
    several: bool,
    found: &Comparison,
    compared: &Compared,
) -> Value {
    let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    let interval = compared.interval.map(|kind| match kind {
        Interval::Bootstrap => "bootstrap",
        Interval::Jackknife => "jackknife",
    });
    let mut line = json!({
        "measure": compared.measure,
        "value": number(compared.value),
        "lower": number(compared.lower),
        "upper": number(compared.upper),
        "chance": number(compared.chance),
        "p_value": number(compared.p_value),
        "n_stimuli": found.n_stimuli,
        "settings": {
            "n_permutations": args.n_permutations,
            "n_bootstraps": args.n_bootstraps,
            "interval": interval,
            "level": args.level,
            "seed": args.seed,
            "align_on": args.align_on,
        },
    });
    if several {
        line["a"] = json!(names.0);
        line["b"] = json!(names.1);
    }
    line
}

fn header(several: bool) -> String {
    let pair = if several { format!("{:24} {:24} ", "a", "b") } else { String::new() };
    format!(
        "{pair}{:26} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}",
        "measure", "value", "lower", "upper", "chance", "p", "n_stimuli"
    )
}

fn as_row(names: (&str, &str), several: bool, found: &Comparison, compared: &Compared) -> String {
    let number = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "-".to_owned() };
    let pair = if several { format!("{:24} {:24} ", names.0, names.1) } else { String::new() };
    format!(
        "{pair}{:26} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}",
        compared.measure,
        number(compared.value),
        number(compared.lower),
        number(compared.upper),
        number(compared.chance),
        number(compared.p_value),
        found.n_stimuli
    )
}

fn tell_what_is_left_out(
    args: &CompareArgs,
    measures: &[&'static Measure],
    n_stimuli: usize,
    n_units: usize,
) {
    use stereotax::similarity::measures::{MOST_STIMULI, MOST_UNITS};
    let all = args.measures.iter().any(|word| word == "all") && !measures.is_empty();
    if all && n_stimuli > MOST_STIMULI {
        eprintln!("note: with {n_stimuli} stimuli, `rtd_1` is left out of `all`; name it to have it");
    }
    if all && n_units > MOST_UNITS {
        eprintln!(
            "note: with {n_units} units, measures that pair units are left out of `all`; name them to have them"
        );
    }
}

/// Errors of the core: what the caller gave is 2, what happened while computing is 1.
pub(super) fn core(error: stereotax::Error) -> Failure {
    use stereotax::Error;
    let exit_code = match &error {
        Error::Cancelled | Error::NoConvergence { .. } | Error::Source { .. } => 1,
        _ => 2,
    };
    let mut message = error.to_string();
    if matches!(error, Error::Shape { .. }) {
        message = message.replace(
            "hint: rows must be the same stimuli in the same order",
            "hint: rows must be the same stimuli in the same order; match them by name with `--align-on stimulus_id`",
        );
    }
    Failure { message, exit_code }
}

/// One array as it was read.
struct Array {
    name: String,
    values: Mat<f64>,
    precision: Precision,
    path: PathBuf,
    ids: Option<Vec<String>>,
}

fn load_all(args: &CompareArgs) -> Result<Vec<Array>, Failure> {
    let mut arrays: Vec<Array> =
        args.files.iter().map(|file| load(file, args.align_on.as_deref())).collect::<Result<_, _>>()?;
    if args.align_on.is_none() {
        return Ok(arrays);
    }
    let wanted = arrays[0].ids.clone().unwrap_or_default();
    for array in &mut arrays[1..] {
        let found = array.ids.clone().unwrap_or_default();
        let rows = match_rows(&wanted, &found).complete(&array.path, &found)?;
        if found.len() > wanted.len() {
            let more = found.len() - wanted.len();
            eprintln!(
                "note: {more} rows of `{}` have no partner in `{}`",
                array.name,
                args.files[0].display()
            );
        }
        array.values = stereotax::linalg::select_rows(array.values.as_ref(), &rows);
    }
    Ok(arrays)
}

/// `FILE` or `FILE#KEY`, unless a file of the whole name exists.
fn split(given: &Path) -> (PathBuf, Option<String>) {
    let text = given.to_string_lossy();
    match text.rsplit_once('#') {
        Some((file, key)) if !given.exists() && !key.is_empty() => {
            (PathBuf::from(file), Some(key.to_owned()))
        }
        _ => (given.to_owned(), None),
    }
}

fn load(given: &Path, align_on: Option<&str>) -> Result<Array, Failure> {
    let (path, key) = split(given);
    let name = given.display().to_string();
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (values, precision, ids) = if ending == "parquet" {
        let (columns, ids) = parquet_columns(&path, align_on)?;
        (from_columns(&columns), Precision::F64, ids)
    } else if matches!(FileFormat::of(&path)?, FileFormat::Csv) && key.is_none() && align_on.is_some() {
        let (columns, ids) = csv_columns(&path, align_on)?;
        (from_columns(&columns), Precision::F64, ids)
    } else {
        let file = ArrayFile::open(&path, key.as_deref())?;
        let (n, width) = (file.n_rows(), file.row_len());
        let read = file.read_all()?;
        let values = Mat::from_fn(n, width, |i, j| read[i * width + j]);
        let ids = align_on.map(|column| read_texts(&path, Some(column))).transpose()?;
        (values, file.precision(), ids)
    };
    if let Some(ids) = &ids {
        check_ids(&name, ids, values.nrows(), align_on.unwrap_or_default())?;
    }
    Ok(Array { name, values, precision, path, ids })
}

fn check_ids(name: &str, ids: &[String], n: usize, column: &str) -> Result<(), Failure> {
    if ids.len() != n {
        return Err(Failure {
            message: format!(
                "`{column}` of `{name}` has {} names, but {n} rows expected\nhint: give one name per row",
                ids.len()
            ),
            exit_code: 2,
        });
    }
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Failure {
            message: format!(
                "`{}` stands twice in `{column}` of `{name}`\nhint: average repeats first, or give rows names of their own",
                pair[0]
            ),
            exit_code: 2,
        }),
    }
}

fn from_columns(columns: &[Vec<f64>]) -> Mat<f64> {
    Mat::from_fn(columns.first().map_or(0, Vec::len), columns.len(), |i, j| columns[j][i])
}

type Columns = (Vec<Vec<f64>>, Option<Vec<String>>);

fn csv_columns(path: &Path, align_on: Option<&str>) -> Result<Columns, Failure> {
    let table = Delimited::read(path)?;
    let ids = align_on.map(|column| table.names_of(column)).transpose()?;
    let columns = table
        .names()
        .iter()
        .filter(|name| Some(name.as_str()) != align_on)
        .map(|name| table.finite_numbers(name))
        .collect::<Result<_, _>>()?;
    Ok((columns, ids))
}

fn parquet_columns(path: &Path, align_on: Option<&str>) -> Result<Columns, Failure> {
    let table = read_parquet(path)?;
    let refuse = |message: String| Failure { message, exit_code: 2 };
    let mut ids = None;
    let mut columns = Vec::new();
    for column in table.columns() {
        let name = &column.name;
        if Some(name.as_str()) == align_on {
            ids = Some(match &column.values {
                Values::Text(texts) => texts.iter().map(|t| t.clone().unwrap_or_default()).collect(),
                Values::Integer(n) => n.iter().map(|n| n.map_or(String::new(), |n| n.to_string())).collect(),
                _ => {
                    return Err(refuse(format!(
                        "`{name}` of `{}` holds no names, but text or whole numbers expected\nhint: name another column",
                        path.display()
                    )));
                }
            });
            continue;
        }
        columns.push(match &column.values {
            Values::Number(v) => v.iter().map(|v| v.unwrap_or(f64::NAN)).collect(),
            Values::Integer(v) => v.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect(),
            _ => return Err(refuse(format!(
                "column `{name}` of `{}` holds no numbers\nhint: drop it, or match rows by it with `--align-on {name}`",
                path.display()
            ))),
        });
    }
    if let (Some(column), None) = (align_on, &ids) {
        return Err(refuse(format!(
            "`{}` has no column `{column}`, but one to match rows by expected\nhint: its columns are {}",
            path.display(),
            table.columns().iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok((columns, ids))
}
