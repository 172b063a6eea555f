//! The page in a browser: opened from a disk, without a network, every figure drawn, no script error.
//!
//! Needs `chromium` or `chromium-browser` in PATH; without one, the test says so and ends.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use stereotax_report::{ReportInput, SECTIONS, render};

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// The finished document and what the console said.
fn opened(browser: &Path, input: &ReportInput) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, render(input).unwrap()).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--v=0",
            "--window-size=1300,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

fn check(input: &ReportInput) -> Option<String> {
    let Some(browser) = browser() else {
        // Seen with `cargo test -- --nocapture`; a machine without a browser can still test the rest.
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: neither chromium nor chromium-browser is in PATH");
        }
        return None;
    };
    let (dom, console) = opened(&browser, input);
    assert!(dom.contains("data-ready=\"true\""), "the script did not reach its end\n{console}");
    assert!(dom.contains("data-errors=\"0\""), "a figure failed\n{console}");
    assert!(!console.contains("CONSOLE"), "{console}");
    for section in SECTIONS {
        assert!(dom.contains(&format!("<section id=\"{}\">", section.id)), "{}", section.id);
    }
    assert!(!dom.contains("data-broken"), "a name ran as a script");
    Some(dom)
}

#[test]
fn every_figure_is_drawn_without_a_script_error() {
    let Some(dom) = check(&common::sample()) else { return };
    for figure in [
        "model-space",
        "dots",
        "heatmap",
        "surface",
        "networks",
        "snci",
        "convergence",
        "differences",
        "spectra",
        "weights",
        "profiles",
        "multiverse",
    ] {
        let (_, after) = dom.split_once(&format!("id=\"fig-{figure}\"")).expect(figure);
        let drawn = after.split("<figcaption>").next().unwrap();
        let plot = drawn.split_once("class=\"plot\"").expect(figure).1;
        assert!(plot.contains("<svg") || plot.contains("<canvas"), "{figure} is empty");
        assert!(!plot.contains("class=\"absent\""), "{figure} says that it has no data");
    }
    // Three modalities from four sides, each with its shadows.
    assert_eq!(dom.matches("class=\"surface-view\"").count(), 12);
    assert_eq!(dom.matches("data:image/png;base64,").count(), 12 + 6 + 3 + 36);
    // One panel per model with a spectrum, and the symbol of each modality in the legend.
    assert!(dom.contains("eigenvalues of vgg16"));
}

#[test]
fn a_volume_alone_is_shown_as_a_glass_brain() {
    let mut input = common::sample();
    input.tables.remove("surface_vertices");
    let Some(dom) = check(&input) else { return };
    // Three modalities along three axes.
    assert_eq!(dom.matches("class=\"surface-view\"").count(), 9);
    assert!(dom.contains("from above, left is left"));
}

#[test]
fn an_almost_empty_page_has_no_script_error() {
    let models = stereotax_io::Table::new().text("model", [Some("a")]).text("modality", [Some("audio")]);
    let input =
        ReportInput { tables: [("models".to_owned(), models)].into(), manifest: serde_json::json!({}) };
    let Some(dom) = check(&input) else { return };
    assert!(dom.contains("No coordinates are among these results."));
}

/// Write the sample page for a person to look at: `STEREOTAX_SAMPLE=report.html cargo test`.
#[test]
fn sample_page_for_the_eye() {
    if let Some(file) = std::env::var_os("STEREOTAX_SAMPLE") {
        std::fs::write(file, render(&common::sample()).unwrap()).unwrap();
    }
}
