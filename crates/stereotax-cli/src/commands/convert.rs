//! Write the arrays of a file in another format.

use std::path::Path;

use stereotax_io::{ArrayFile, FileFormat, IDS_KEY, StoreWriter, StoredLayer, ZarrWriter, own_ids};

use crate::args::ConvertArgs;
use crate::{Failure, print_line};

/// Rows read at once hold about so many numbers.
const BLOCK: usize = 1 << 20;

pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    let ending = args.to.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if args.to.exists() && !args.force {
        return Err(refused(
            &args.to,
            "a name that is free",
            "a file of that name",
            "say `--force` to replace it",
        ));
    }
    refuse_other_folder(&args.to)?;
    let names = array_names(args)?;
    match ending.as_str() {
        "safetensors" => to_safetensors(args, &names)?,
        "zarr" => to_zarr(args, &names)?,
        "npy" => to_npy(args, &names)?,
        _ => {
            let found = format!("`.{ending}`");
            return Err(refused(
                &args.to,
                "the ending .safetensors, .zarr or .npy",
                &found,
                "name the new file so",
            ));
        }
    }
    print_line(&format!("{}: {}", args.to.display(), names.join(", ")));
    Ok(())
}

/// A folder that is no store is not replaced, whatever is said.
pub(crate) fn refuse_other_folder(to: &Path) -> Result<(), Failure> {
    if to.is_dir() && !stereotax_io::is_zarr(to) {
        return Err(refused(
            to,
            "a name that is free",
            "a folder that is no Zarr store",
            "choose another name",
        ));
    }
    Ok(())
}

fn refused(path: &Path, expected: &str, found: &str, hint: &str) -> Failure {
    Failure {
        message: format!("`{}`: expected {expected}, found {found}\nhint: {hint}", path.display()),
        exit_code: 2,
    }
}

/// The arrays of numbers that are meant.
fn array_names(args: &ConvertArgs) -> Result<Vec<String>, Failure> {
    if !args.arrays.is_empty() {
        return Ok(args.arrays.clone());
    }
    let info = stereotax_io::info(&args.from)?;
    let whole =
        matches!(info.format, FileFormat::Csv | FileFormat::Npy | FileFormat::Nifti | FileFormat::Cifti)
            || ArrayFile::open(&args.from, None).is_ok();
    if whole {
        let stem = args.from.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![
            info.arrays
                .first()
                .filter(|_| info.arrays.len() == 1)
                .and_then(|a| a.key.clone())
                .unwrap_or(stem),
        ]);
    }
    let readable = |array: &&stereotax_io::ArrayInfo| array.problem.is_none() && array.dtype != "text";
    let names: Vec<String> = info
        .arrays
        .iter()
        .filter(readable)
        .filter_map(|a| a.key.clone())
        .filter(|key| key != IDS_KEY && ArrayFile::open(&args.from, Some(key)).is_ok())
        .collect();
    if names.is_empty() {
        return Err(refused(&args.from, "arrays of numbers", "none", "`stereotax info` lists what is there"));
    }
    Ok(names)
}

fn open(args: &ConvertArgs, name: &str) -> Result<ArrayFile, Failure> {
    let keyed = stereotax_io::keys(&args.from)?.iter().any(|key| key == name);
    Ok(ArrayFile::open(&args.from, keyed.then_some(name))?)
}

/// Arrays of the same rows, and the ids of the rows: those of the file, or their numbers.
fn of_one_length(args: &ConvertArgs, names: &[String]) -> Result<(Vec<ArrayFile>, Vec<String>), Failure> {
    let files: Vec<ArrayFile> = names.iter().map(|name| open(args, name)).collect::<Result<_, _>>()?;
    let n_rows = files[0].n_rows();
    if let Some(other) = files.iter().find(|f| f.n_rows() != n_rows) {
        let found = format!("{} and {n_rows} rows", other.n_rows());
        let hint = "choose arrays of one length with `--arrays`";
        return Err(refused(&args.from, "arrays of the same stimuli", &found, hint));
    }
    let ids = match own_ids(&args.from)? {
        Some(ids) if ids.len() == n_rows => ids,
        _ => (0..n_rows).map(|row| row.to_string()).collect(),
    };
    Ok((files, ids))
}

/// Rows from `first` on, block by block.
fn blocks(
    files: &[ArrayFile],
    first: usize,
    mut append: impl FnMut(usize, &[Vec<f32>]) -> stereotax_io::Result<()>,
) -> Result<(), Failure> {
    let n_rows = files[0].n_rows();
    let width: usize = files.iter().map(ArrayFile::row_len).sum();
    let step = (BLOCK / width.max(1)).max(1);
    for start in (first..n_rows).step_by(step) {
        let end = (start + step).min(n_rows);
        let columns = files.iter().map(|f| read_f32(f, start, end)).collect::<Result<Vec<_>, _>>()?;
        append(end - start, &columns)?;
    }
    Ok(())
}

fn row_shape(file: &ArrayFile) -> Vec<usize> {
    file.shape().iter().skip(1).copied().collect()
}

/// 32-bit floats, rows first, ids with them where the file has any.
fn to_safetensors(args: &ConvertArgs, names: &[String]) -> Result<(), Failure> {
    let (files, ids) = of_one_length(args, names)?;
    let layer =
        |(name, file): (&String, &ArrayFile)| StoredLayer { name: name.clone(), row_shape: row_shape(file) };
    let layers: Vec<StoredLayer> = names.iter().zip(&files).map(layer).collect();
    let mut writer = StoreWriter::open(&args.to, "", &ids, &layers, &[])?;
    blocks(&files, writer.rows_done(), |n, columns| writer.append(n, columns))?;
    Ok(writer.finish()?)
}

/// The same as a Zarr folder.
fn to_zarr(args: &ConvertArgs, names: &[String]) -> Result<(), Failure> {
    let (files, ids) = of_one_length(args, names)?;
    into_zarr(&args.to, &files, names, &ids, &[])
}

/// Arrays of the same rows into a Zarr folder.
pub(crate) fn into_zarr(
    to: &Path,
    files: &[ArrayFile],
    names: &[String],
    ids: &[String],
    about: &[(&str, &str)],
) -> Result<(), Failure> {
    let layers: Vec<(String, Vec<usize>)> =
        names.iter().zip(files).map(|(name, file)| (name.clone(), row_shape(file))).collect();
    let mut writer = ZarrWriter::create(to, ids, &layers, about)?;
    blocks(files, 0, |n, columns| writer.append(n, columns))?;
    Ok(writer.finish()?)
}

fn read_f32(file: &ArrayFile, start: usize, end: usize) -> Result<Vec<f32>, Failure> {
    let mut values = vec![0.0; (end - start) * file.row_len()];
    file.read_rows(start..end, &mut values)?;
    if let Some(large) = values.iter().find(|x| x.is_finite() && !(**x as f32).is_finite()) {
        let found = format!("{large}");
        return Err(refused(
            file.path(),
            "numbers that 32 bits hold",
            &found,
            "scale the array first, or write .npy",
        ));
    }
    Ok(values.into_iter().map(|x| x as f32).collect())
}

/// 64-bit floats in one array.
fn to_npy(args: &ConvertArgs, names: &[String]) -> Result<(), Failure> {
    use std::io::Write;
    let [name] = names else {
        let found = format!("{} arrays", names.len());
        return Err(refused(
            &args.from,
            "one array for .npy",
            &found,
            "choose one with `--arrays`, or write .safetensors",
        ));
    };
    let file = open(args, name)?;
    let shape: Vec<String> = file.shape().iter().map(|n| format!("{n},")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", shape.concat());
    while (11 + header.len()) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = stereotax_io::AtomicFile::create(&args.to)?;
    let fail = |e: std::io::Error| Failure { message: format!("`{}`: {e}", args.to.display()), exit_code: 1 };
    out.write_all(b"\x93NUMPY\x01\x00").map_err(fail)?;
    out.write_all(&(header.len() as u16).to_le_bytes()).map_err(fail)?;
    out.write_all(header.as_bytes()).map_err(fail)?;
    let step = (BLOCK / file.row_len().max(1)).max(1);
    for start in (0..file.n_rows()).step_by(step) {
        let end = (start + step).min(file.n_rows());
        let mut values = vec![0.0; (end - start) * file.row_len()];
        file.read_rows(start..end, &mut values)?;
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        out.write_all(&bytes).map_err(fail)?;
    }
    Ok(out.commit()?)
}
