//! `stereotax compare`, from files to stdout.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{stereotax, told, write_arrays};
use stereotax::stats::rng::Stream;
use stereotax_io::{Table, write_parquet};

const N: usize = 30;

/// Two views of one latent, and noise.
fn write(folder: &Path) -> [PathBuf; 3] {
    let mut stream = Stream::new(21, "compare command", 0);
    let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| stream.normal()).collect() };
    let latent = draw(N * 3);
    let mut seen = |width: usize| -> Vec<f32> {
        let (mixing, noise) = (draw(3 * width), draw(N * width));
        (0..N * width)
            .map(|at| {
                let (i, j) = (at / width, at % width);
                let signal: f64 = (0..3).map(|k| latent[i * 3 + k] * mixing[k * width + j]).sum();
                (signal + 0.5 * noise[at]) as f32
            })
            .collect()
    };
    let files = [folder.join("a.safetensors"), folder.join("b.safetensors"), folder.join("c.safetensors")];
    write_arrays(&files[0], &[("x", 5, seen(5))]);
    write_arrays(&files[1], &[("x", 8, seen(8)), ("y", 4, seen(4))]);
    write_arrays(&files[2], &[("x", 6, draw(N * 6).into_iter().map(|v| v as f32).collect())]);
    files
}

fn lines(arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = stereotax(arguments);
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_object_per_measure_and_pair() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = write(folder.path());
    let (a, c) = (a.to_str().unwrap(), c.to_str().unwrap());
    let key = format!("{}#x", b.display());
    let found = lines(&["compare", a, &key, "--json", "--n-bootstraps", "40", "--n-permutations", "19"]);
    assert_eq!(found.len(), stereotax::similarity::MEASURES.len());
    for (line, measure) in found.iter().zip(stereotax::similarity::MEASURES) {
        assert_eq!(line["measure"], measure.id);
        assert_eq!(line["n_stimuli"], N);
        assert!(line.get("a").is_none());
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"));
        assert!(number("lower") <= number("value") && number("value") <= number("upper"), "{line}");
        assert!(number("p_value") >= 0.05 && number("chance").is_finite());
        assert_eq!(line["settings"]["n_bootstraps"], 40);
    }
    // Three files: which pair is told. Without draws, what they give is null.
    let arguments =
        ["compare", a, &key, c, "--measures", "cka_debiased,svcca", "--json", "--n-permutations", "0"];
    let found = lines(&arguments);
    assert_eq!(found.len(), 6);
    assert_eq!((found[4]["a"].as_str().unwrap(), found[4]["b"].as_str().unwrap()), (&key[..], c));
    assert!(found[0]["value"].as_f64() > found[2]["value"].as_f64());
    assert!(found[0]["p_value"].is_null() && found[0]["lower"].is_null());
    let table = stereotax(&["compare", a, &key, "--measures", "cka_*", "--n-permutations", "9"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("measure") && table.lines().count() == 6, "{table}");
}

#[test]
fn rows_are_matched_by_name_whatever_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = Stream::new(22, "compare command", 0);
    let values: Vec<f64> = (0..N * 3).map(|_| stream.normal()).collect();
    let order = stream.permutation(N);
    let id = |i: usize| format!("s{i:02}");
    let csv: String = (0..N)
        .map(|i| format!("{},{},{},{}\n", id(i), values[3 * i], values[3 * i + 1], values[3 * i + 2]))
        .collect();
    let (one, two) = (folder.path().join("one.csv"), folder.path().join("two.parquet"));
    fs::write(&one, format!("stimulus_id,u,v,w\n{csv}")).unwrap();
    let column = |j: usize| order.iter().map(|&i| Some(values[3 * i + j])).collect::<Vec<_>>();
    let table = Table::new()
        .text("stimulus_id", order.iter().map(|&i| Some(id(i))))
        .number("u", column(0))
        .number("v", column(1))
        .number("w", column(2));
    write_parquet(&table, &two).unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let arguments =
        ["compare", one, two, "--align-on", "stimulus_id", "--measures", "procrustes_angular", "--json"];
    assert!(lines(&arguments)[0]["value"].as_f64().unwrap() < 1e-10);
    fs::write(one, format!("stimulus_id,u,v,w\n{csv}extra,1,2,3\n")).unwrap();
    let output = stereotax(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("extra"), "{}", told(&output));
}

#[test]
fn what_is_wrong_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let [a, _, _] = write(folder.path());
    let short = folder.path().join("short.safetensors");
    write_arrays(&short, &[("x", 4, vec![1.0; 20 * 4])]);
    let constant = folder.path().join("constant.safetensors");
    write_arrays(&constant, &[("x", 4, vec![1.0; N * 4])]);
    let refused = |arguments: &[&str], words: &[&str]| {
        let mut all = vec!["compare"];
        all.extend(arguments);
        let output = stereotax(&all);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        words.iter().for_each(|word| assert!(told.contains(word), "`{word}` is not in: {told}"));
    };
    let (a, short, constant) = (a.to_str().unwrap(), short.to_str().unwrap(), constant.to_str().unwrap());
    refused(&[a, short], &["20 rows", "30 rows", "hint:", "--align-on stimulus_id"]);
    refused(&[a, a, "--measures", "cka"], &["`cka`", "cka_linear", "hint:"]);
    refused(&[a, "missing.npy"], &["missing.npy"]);
    refused(&[a, &format!("{a}#nothing")], &["nothing"]);
    refused(&[a, a, "--level", "2"], &["level"]);
    refused(&[a], &["FILES"]);
    // A constant side is undefined: null, not an error and not 0.
    let found = lines(&["compare", a, constant, "--json", "--measures", "cka_linear,cca_mean"]);
    assert!(found.iter().all(|line| line["value"].is_null() && line["p_value"].is_null()), "{found:?}");
}
