//! The page as text: every section, every word that must be there, nothing that could break out.

mod common;

use common::{NASTY, sample};
use stereotax_report::{ReportInput, SECTIONS, render};

#[test]
fn every_section_has_its_id_and_title() {
    let page = render(&sample()).unwrap();
    for section in SECTIONS {
        let opening = format!("<section id=\"{}\">\n<h2>{}</h2>", section.id, section.title);
        assert_eq!(page.matches(&opening).count(), 1, "{}", section.id);
        assert!(
            page.contains(&format!("<a href=\"#{}\">", section.id)),
            "{} is not in the navigation",
            section.id
        );
    }
}

#[test]
fn the_verdict_cannot_be_misread() {
    let page = render(&sample()).unwrap();
    assert!(page.contains("NO stable mode"));
    assert!(page.contains("a rotating pair at 0.80 ± 0.31i"));
    assert!(page.contains(
        "r² of 0.47 is not the score of a stable mode and supports no claim; it is also less than layer mean \
         (0.73), last layer (0.80)"
    ));
    assert!(page.contains("(0.47)"), "the number stands in brackets");
    assert!(page.contains("The claim holds against all its controls in 3 of 9 models"));
}

#[test]
fn preset_simulation_truth_and_confound_are_told() {
    let page = render(&sample()).unwrap();
    assert!(page.contains("paper_literal: a reconstruction, not a replication"));
    assert!(page.contains("SIMULATED DATA"));
    assert!(page.contains("Planted against recovered"));
    assert!(page.contains("Benchmark and modality are the same label here"));
    let mut measured = sample();
    measured.manifest["simulation"] = serde_json::Value::Null;
    assert!(!render(&measured).unwrap().contains("SIMULATED DATA"));
}

#[test]
fn names_cannot_break_out() {
    let page = render(&sample()).unwrap();
    let plain = render(&ReportInput { manifest: serde_json::json!({}), ..sample() }).unwrap();
    assert!(!page.contains(NASTY) && !page.contains("<img src=x"));
    // Three scripts are opened and closed by us: data, charts, ours.
    for text in [&page, &plain] {
        assert_eq!(text.matches("</script").count(), 3);
    }
    assert!(page.contains("aud&quot;io&lt;&#x2f;script&gt;"), "the name is shown");
}

#[test]
fn a_hostile_study_name_and_setting_are_escaped() {
    let mut input = sample();
    input.manifest["name"] = NASTY.into();
    input.manifest["settings"] = serde_json::json!({ NASTY: NASTY });
    input.manifest["inputs"] = serde_json::json!([{ "name": NASTY, "digest": NASTY }]);
    input.manifest["warnings"] = serde_json::json!([NASTY]);
    let page = render(&input).unwrap();
    assert!(!page.contains("<img src=x"));
    assert_eq!(page.matches("</script").count(), 3);
}

#[test]
fn nothing_is_loaded() {
    let page = render(&sample()).unwrap();
    for attribute in ["<script src", "<link", " src=\"", "@import", "url("] {
        let ours = page.split("<script>").next().unwrap();
        assert!(!ours.contains(attribute), "{attribute}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn maps_on_the_surface_appear_only_where_a_surface_was_given() {
    let page = render(&sample()).unwrap();
    assert!(page.contains("<h3>Maps on the surface and in the volume</h3>"));
    // Mesh and voxels themselves stay in the results folder.
    for table in ["surface_vertices", "surface_faces", "volume_grids", "volume_runs"] {
        assert!(!page.contains(table), "{table}");
    }
    let without = |tables: &[&str]| {
        let mut input = sample();
        tables.iter().for_each(|table| drop(input.tables.remove(*table)));
        render(&input).unwrap()
    };
    for missing in ["volume_grids", "volume_runs"] {
        let page = without(&[missing]);
        assert!(
            page.contains("<h3>Maps on the cortical surface</h3>") && page.contains("id=\"fig-surface\"")
        );
        assert!(!page.contains("In the glass brain"));
    }
    let page = without(&["surface_faces"]);
    assert!(page.contains("<h3>Maps in the volume</h3>") && page.contains("In the glass brain"));
    for missing in [["surface_vertices", "volume_runs"], ["surface_faces", "volume_grids"]] {
        let page = without(&missing);
        assert!(!page.contains("<h3>Maps") && !page.contains("id=\"fig-surface\""));
        assert!(page.contains("\"surfaces\":null"));
    }
}

#[test]
fn undefined_values_are_dashes_with_a_reason() {
    let page = render(&sample()).unwrap();
    assert!(page.contains("title=\"fewer than 3 models in a group\">–</td>"));
}

#[test]
fn the_smallest_input_makes_a_page() {
    let models = stereotax_io::Table::new().text("model", [Some("a")]).text("modality", [Some("audio")]);
    let input =
        ReportInput { tables: [("models".to_owned(), models)].into(), manifest: serde_json::json!({}) };
    let page = render(&input).unwrap();
    for section in SECTIONS {
        assert!(page.contains(&format!("<section id=\"{}\">", section.id)));
    }
    assert!(page.contains("No control was run"));
}

#[test]
fn what_is_missing_is_named() {
    let error = render(&ReportInput { manifest: serde_json::json!({}), ..Default::default() }).unwrap_err();
    assert!(error.to_string().contains("no table `models`"), "{error}");
    let error = render(&ReportInput { manifest: serde_json::json!([]), ..sample() }).unwrap_err();
    assert!(error.to_string().contains("holds a list"), "{error}");
}

#[test]
fn methods_cite_before_the_full_stop() {
    let page = render(&sample()).unwrap();
    assert!(page.contains(
        "over all layers <span class=\"cite\">(<a href=\"#ref-jovanovic2014\">Jovanović et al. 2014</a>)</span>. "
    ));
    assert!(page.contains("<li id=\"ref-jovanovic2014\">"));
    assert!(page.contains("unknown2031 (named by the study)"));
}

#[test]
fn same_input_same_bytes() {
    assert!(render(&sample()).unwrap() == render(&sample()).unwrap());
}

#[test]
fn rois_of_several_benchmarks_are_counted_once_and_an_empty_truth_has_no_heading() {
    let mut input = sample();
    let rois = stereotax_io::Table::new()
        .text("space", [Some("a + b"); 4])
        .text("benchmark", [Some("a"), Some("a"), Some("b"), Some("b")])
        .text("roi", [Some("V1"), Some("V2"), Some("V1"), Some("V2")])
        .flag("masked", [Some(true), Some(false), Some(true), Some(false)]);
    input.tables.insert("rois".into(), rois);
    input.manifest["truth"] = serde_json::json!([]);
    let page = render(&input).unwrap();
    assert!(page.contains("<dt>ROIs</dt><dd>2 (1 masked)</dd>"));
    assert!(!page.contains("Planted against recovered"));
}
