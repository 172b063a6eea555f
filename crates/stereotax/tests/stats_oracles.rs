//! Group statistics against other programs' values and a simulation with a known answer.
//!
//! The 33 × 33 distance matrix is not part of this repository: it is read from the folder
//! `distance_statistics_fixtures` (data.npz) in the folder that STEREOTAX_DATA names, or in
//! `../../../shared/data`; without it that test has nothing to compare and passes.

use std::io::Read;
use std::path::{Path, PathBuf};

use faer::Mat;
use stereotax::data::{Labels, Monitor};
use stereotax::stats::distance::{DistanceKind, Distances, object_distances};
use stereotax::stats::permanova::permanova;
use stereotax::stats::permdisp::{Centre, NegativeAxes, PermdispParams, permdisp};
use stereotax::stats::rng::Stream;
use stereotax::stats::score::ScoreKind;
use stereotax::stats::shuffles::PermutationParams;

fn shared_archive() -> Option<PathBuf> {
    let named = std::env::var_os("STEREOTAX_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = named.unwrap_or(beside).join("distance_statistics_fixtures/data.npz");
    path.is_file().then_some(path)
}

/// The bytes behind the header of an array in an npz archive.
fn array(archive: &Path, name: &str) -> Vec<u8> {
    let file = std::fs::File::open(archive).unwrap();
    let mut bytes = Vec::new();
    zip::ZipArchive::new(file)
        .unwrap()
        .by_name(&format!("{name}.npy"))
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "format 1.0");
    bytes.split_off(10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]])))
}

#[test]
fn dispersion_agrees_with_published_values_and_keeps_negative_axes() {
    let Some(archive) = shared_archive() else { return };
    let values: Vec<f64> = array(&archive, "moving_pictures_dm")
        .chunks_exact(8)
        .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    // Names of up to 10 characters in UTF-32.
    let sites: Vec<String> = array(&archive, "moving_pictures_bodysite")
        .chunks_exact(40)
        .map(|name| {
            name.chunks_exact(4)
                .filter_map(|c| char::from_u32(u32::from(c[0])))
                .filter(|&c| c != '\0')
                .collect()
        })
        .collect();
    let distances = Distances::new(Mat::from_fn(33, 33, |i, j| values[33 * i + j])).unwrap();
    let labels = Labels::new(&sites);
    assert_eq!((labels.n_objects(), labels.n_groups()), (33, 4));
    let run = |centre, negative_axes| {
        let permutations = PermutationParams { n_permutations: 999, ..Default::default() };
        let params = PermdispParams { centre, negative_axes, permutations, ..Default::default() };
        permdisp(&distances, &labels, &params, &Monitor::silent()).unwrap()
    };
    // Published to four decimals (scikit-bio's test data, said there to come from vegan::betadisper). They
    // hold on the positive axes alone.
    let (median, centroid) =
        (run(Centre::SpatialMedian, NegativeAxes::Drop), run(Centre::Centroid, NegativeAxes::Drop));
    assert!((median.f - 10.1956).abs() < 5.1e-5, "{}", median.f);
    assert!((centroid.f - 17.4242).abs() < 5.1e-5, "{}", centroid.f);
    assert!(median.p_value <= 0.002 && centroid.p_value <= 0.002);
    assert!(median.converged && median.n_negative_axes == 2);
    // With both signs: values of the same formulas written in NumPy 2, from its own eigenvectors.
    let (median, centroid) =
        (run(Centre::SpatialMedian, NegativeAxes::Subtract), run(Centre::Centroid, NegativeAxes::Subtract));
    assert!((median.f - 10.410413235875).abs() < 1e-8, "{}", median.f);
    assert!((centroid.f - 17.727477346529).abs() < 1e-9, "{}", centroid.f);
}

/// Median p and mean R² of PERMANOVA over simulated studies in which 45 models share one ROI profile, but
/// each modality was measured on a data set with ceilings of its own.
fn confounded_studies(kind: ScoreKind) -> (f64, f64) {
    let (n_rois, n_studies) = (60, 20);
    let groups: Vec<&str> = (0..45).map(|i| ["audio", "language", "vision"][i / 15]).collect();
    let labels = Labels::new(&groups);
    let (mut p, mut r2) = (Vec::new(), 0.0);
    for study in 0..n_studies {
        let mut stream = Stream::new(study, "confounded studies", 0);
        let profile: Vec<f64> = (0..n_rois).map(|_| 0.3 + 0.5 * stream.uniform()).collect();
        let ceilings = Mat::from_fn(3, n_rois, |_, _| 0.3 + 0.5 * stream.uniform());
        let scores = Mat::from_fn(45, n_rois, |i, j| {
            let ceiling = ceilings[(i / 15, j)];
            // A model reaches a share of the ceiling; the noise is the model's own.
            let r = ceiling * (profile[j] + 0.12 * stream.normal());
            kind.of(r, ceiling, 1000.0)
        });
        let d = object_distances(scores.as_ref(), DistanceKind::Euclidean).unwrap().distances;
        let params = PermutationParams { n_permutations: 199, ..Default::default() };
        let found = permanova(&d, &labels, &params, &Monitor::silent()).unwrap();
        p.push(found.p_value);
        r2 += found.r2 / n_studies as f64;
    }
    p.sort_by(f64::total_cmp);
    (0.5 * (p[9] + p[10]), r2)
}

#[test]
fn data_sets_look_like_modalities_until_scores_are_normalised_by_their_ceilings() {
    let (p, r2) = confounded_studies(ScoreKind::R2);
    assert!(p <= 0.005 + 1e-12 && r2 > 0.2, "raw: p = {p}, R² = {r2}");
    // Without any difference E[R²] = 2/44 = 0.045.
    let (p, r2) = confounded_studies(ScoreKind::Ceil);
    assert!(p > 0.2 && (r2 - 0.045).abs() < 0.015, "normalised: p = {p}, R² = {r2}");
}
