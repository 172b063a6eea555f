use super::*;
use crate::stats::rng::Stream;

fn names(stem: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{stem}{i}")).collect()
}

const DIRECTIONS: [f64; 4] = [0.0, 90.0, 180.0, 270.0];

/// Units between two kinds of responses (early to stimulus a, late to stimulus b), turned to any direction. The place
/// between the kinds is what an encoding manifold has to find.
fn planted(n_units: usize, seed: u64) -> (ResponseTensor, Vec<f64>) {
    let mut stream = Stream::new(seed, "physiology tests", 0);
    let (n_stimuli, n_times) = (3, 10);
    let (mut values, mut places) = (vec![], vec![]);
    for n in 0..n_units {
        let place = 0.1 + 0.8 * n as f64 / (n_units - 1) as f64;
        let preferred = stream.below(4);
        for s in 0..n_stimuli {
            for d in 0..4 {
                let tuned = if d == preferred { 1.0 } else { 0.2 };
                for t in 0..n_times {
                    let early = (-((t as f64 - 2.0) / 1.5).powi(2)).exp();
                    let late = (-((t as f64 - 6.0) / 2.0).powi(2)).exp();
                    let drive = [early, late, 0.5 * (early + late)][s];
                    let weight = [1.0 - place, place, 0.4][s];
                    values.push(tuned * weight * drive + 0.01 * stream.uniform() + 0.001);
                }
            }
        }
        places.push(place);
    }
    let tensor =
        ResponseTensor::new(values, names("u", n_units), names("s", n_stimuli), DIRECTIONS.to_vec(), 0.05);
    (tensor.unwrap(), places)
}

fn quick() -> PhysiologyParams {
    PhysiologyParams {
        smoothing_bins: 0.0,
        rank: Some(3),
        n_starts: 2,
        max_iterations: 60,
        tubularity: Some(TubularityParams { n_draws: 4, ..Default::default() }),
        n_folds: 2,
        n_repeats: 2,
        n_permutations: 9,
        n_dynamical: 3,
        ..Default::default()
    }
}

fn population(name: &str, role: Role, responses: ResponseTensor) -> Population {
    Population::of_means(name, role, responses)
}

fn texts<'a>(table: &'a NamedTable, column: &str) -> &'a [Option<String>] {
    match &table.columns.iter().find(|(name, _)| name == column).unwrap().1 {
        Column::Text(values) => values,
        Column::Number(_) => panic!("{column} is a number"),
    }
}

fn numbers<'a>(table: &'a NamedTable, column: &str) -> &'a [f64] {
    match &table.columns.iter().find(|(name, _)| name == column).unwrap().1 {
        Column::Number(values) => values,
        Column::Text(_) => panic!("{column} is text"),
    }
}

#[test]
fn the_planted_order_comes_back_and_tables_are_whole() {
    let (area, places) = planted(40, 1);
    let (module, _) = planted(30, 2);
    let all = [population("core", Role::Module, module), population("V1", Role::Area, area)];
    let found = physiology(&all, &quick(), &Monitor::silent()).unwrap();
    let encoding = found.populations[1].encoding.as_ref().unwrap();
    assert_eq!(encoding.n_parts, 1, "{:?}", found.populations[1].notes);
    let first: Vec<f64> = (0..40).map(|n| encoding.coordinates[(n, 0)]).collect();
    let r = crate::stats::summary::pearson(&first, &places).abs();
    assert!(r > 0.9, "{r}");
    let tables = found.tables();
    let of = |name: &str| tables.iter().find(|t| t.name == name).unwrap();
    for table in &tables {
        let lengths: Vec<usize> = table
            .columns
            .iter()
            .map(|(_, column)| match column {
                Column::Text(values) => values.len(),
                Column::Number(values) => values.len(),
            })
            .collect();
        assert!(lengths.windows(2).all(|w| w[0] == w[1]), "{} {lengths:?}", table.name);
    }
    assert_eq!(texts(of("units"), "unit").len(), 70);
    assert_eq!(numbers(of("paths"), "time_s").len(), 2 * 3 * 4 * 10);
    assert_eq!(numbers(of("windows"), "accuracy").len(), 20);
    assert_eq!(texts(of("tubularity_differences"), "score").len(), 5);
    // Both were drawn at the size of the smaller.
    assert!(numbers(of("tubularity"), "n_units").iter().all(|&n| n == 30.0));
    let measures = texts(of("alignment"), "measure");
    assert_eq!(measures.len(), 3 + 2 + 1);
    let at = measures.iter().position(|m| m.as_deref() == Some("linear_predictivity")).unwrap();
    assert!(numbers(of("alignment"), "value")[at] > 0.0);
    // One direction pair of a module and an area: the same planted responses are alike.
    let rsa = measures.iter().position(|m| m.as_deref() == Some("rsa_spearman")).unwrap();
    assert!(numbers(of("alignment"), "p_value")[rsa] <= 0.1);
}

#[test]
fn threads_change_nothing() {
    let (area, _) = planted(24, 3);
    let all = [population("V1", Role::Area, area)];
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| format!("{:?}", physiology(&all, &quick(), &Monitor::silent()).unwrap().tables()))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_a_population_does_not_allow_is_said_by_name() {
    let (tensor, _) = planted(20, 4);
    let map = 4 * 10;
    let mut values = tensor.values().to_vec();
    values[..3 * map].fill(0.0); // unit 0 is silent
    let (first, second) = values.split_at_mut(6 * map);
    second[..3 * map].copy_from_slice(&first[3 * map..6 * map]); // unit 2 responds as unit 1
    let odd = ResponseTensor::new(values.clone(), names("u", 20), names("s", 3), DIRECTIONS.to_vec(), 0.05)
        .unwrap();
    let one: Vec<f64> = values.chunks_exact(map).flat_map(|m| m[..10].to_vec()).collect();
    let one = ResponseTensor::new(one, names("u", 20), names("s", 3), vec![0.0], 0.05).unwrap();
    values[5 * 3 * map..][..map].fill(f64::NAN); // unit 5 was not shown s0
    let gaps = ResponseTensor::new(values, names("u", 20), names("s", 3), DIRECTIONS.to_vec(), 0.05).unwrap();
    let all = [
        population("odd", Role::Module, odd),
        population("one", Role::Module, one),
        population("gaps", Role::Area, gaps),
    ];
    let settings = PhysiologyParams { ranks: vec![2, 3, 400], rank: None, ..quick() };
    let found = physiology(&all, &settings, &Monitor::silent()).unwrap();
    let said = |at: usize| found.populations[at].notes.join("\n");
    assert!(said(0).contains("1 silent units take no part: `u0`"), "{}", said(0));
    assert!(said(0).contains("respond as another does") && said(0).contains("`u2`"), "{}", said(0));
    assert!(said(0).contains("ranks above"), "{}", said(0));
    assert!(said(1).contains("one direction only"), "{}", said(1));
    assert!(said(2).contains("not every unit was shown every stimulus"), "{}", said(2));
    let between = found.notes.join("\n");
    assert!(
        between.contains("tubularity of `one` is left out") && between.contains("two curves"),
        "{between}"
    );
    assert!(between.contains("the comparison of `odd` and `one` is left out"), "{between}");
    // The merged unit stands where the other stands.
    let encoding = found.populations[0].encoding.as_ref().unwrap();
    assert_eq!(encoding.coordinates[(0, 0)].to_bits(), encoding.coordinates[(1, 0)].to_bits());
    let units = &found.tables()[1];
    assert_eq!(texts(units, "unit")[0].as_deref(), Some("u1"));
}

#[test]
fn wrong_settings_are_errors() {
    let (tensor, _) = planted(12, 5);
    let one = [population("a", Role::Area, tensor.clone())];
    let told = |all: &[Population], params: &PhysiologyParams| {
        physiology(all, params, &Monitor::silent()).unwrap_err().to_string()
    };
    assert!(told(&[], &quick()).contains("1 module or area"));
    let twice = [one[0].clone(), population("a", Role::Module, tensor.clone())];
    assert!(told(&twice, &quick()).contains("`a` twice"));
    assert!(told(&one, &PhysiologyParams { ranks: vec![], ..quick() }).contains("ranks"));
    let unknown = PhysiologyParams { measures: vec!["nothing".into()], ..quick() };
    assert!(told(&one, &unknown).contains("`nothing`"));
    let silent =
        ResponseTensor::new(vec![0.0; 12 * 120], names("u", 12), names("s", 3), DIRECTIONS.to_vec(), 0.05);
    let silent = [population("a", Role::Area, silent.unwrap())];
    assert!(told(&silent, &quick()).contains("silent units only"));
}
