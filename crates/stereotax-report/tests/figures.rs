//! Figures for papers: which there are, that they are well-formed, and that nothing in them is loaded.

mod common;

use common::{NASTY, sample};
use stereotax_report::{ReportInput, figures};

#[test]
fn every_kind_of_figure_is_made() {
    let made = figures(&sample()).unwrap();
    let names: Vec<&str> = made.iter().map(|f| f.name.as_str()).collect();
    for name in [
        "map-snci-from-the-sides",
        "map-mean-score-from-above-and-below",
        "map-convergence-glass-brain",
        "map-noise-ceiling-slices-from-above",
        "map-networks-slices-from-the-right",
        "model-space",
        "layer-weights",
        "layer-profiles",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    // A line of sight may meet several networks.
    assert!(!names.contains(&"map-networks-glass-brain"));
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len());
}

#[test]
fn a_map_has_a_picture_per_view_and_modality_and_loads_nothing() {
    let made = figures(&sample()).unwrap();
    let svg = |name: &str| made.iter().find(|f| f.name == name).unwrap().svg();
    // Three modalities from four sides, and the colour bar.
    assert_eq!(svg("map-snci-from-the-sides").matches("<image ").count(), 13);
    assert_eq!(svg("map-snci-glass-brain").matches("<image ").count(), 10);
    for figure in &made {
        let svg = figure.svg();
        assert!(!svg.contains(NASTY) && !svg.contains("<img") && !svg.contains("<script"), "{}", figure.name);
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "{}", figure.name);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}

#[cfg(feature = "png")]
#[test]
fn a_png_has_the_points_that_were_asked_for() {
    let made = figures(&sample()).unwrap();
    let figure = made.iter().find(|f| f.name == "layer-weights").unwrap();
    let width = |png: &[u8]| u32::from_be_bytes([png[16], png[17], png[18], png[19]]);
    // 7.5 inches.
    assert_eq!(width(&figure.png(96.0).unwrap()), 720);
    assert_eq!(width(&figure.png(300.0).unwrap()), 2250);
}

#[test]
fn what_has_no_data_has_no_figure() {
    let models = stereotax_io::Table::new().text("model", [Some("a")]).text("modality", [Some("audio")]);
    let input =
        ReportInput { tables: [("models".to_owned(), models)].into(), manifest: serde_json::json!({}) };
    assert!(figures(&input).unwrap().is_empty());
    assert!(figures(&ReportInput::default()).is_err());
}

/// Write the sample figures for a person to look at: `STEREOTAX_FIGURES=folder cargo test`.
#[test]
fn sample_figures_for_the_eye() {
    let Some(folder) = std::env::var_os("STEREOTAX_FIGURES") else { return };
    for figure in figures(&sample()).unwrap() {
        let file = std::path::Path::new(&folder).join(&figure.name);
        std::fs::write(file.with_extension("svg"), figure.svg()).unwrap();
        #[cfg(feature = "png")]
        std::fs::write(file.with_extension("png"), figure.png(150.0).unwrap()).unwrap();
    }
}
