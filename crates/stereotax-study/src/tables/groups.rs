//! The tables of the group statistics.

use std::collections::BTreeMap;

use stereotax::pipelines::group::GroupResult;
use stereotax_io::Table;

use super::table;

/// The tables of the group statistics, by the names of their files.
pub fn group_tables(group: &GroupResult) -> BTreeMap<String, Table> {
    let coordinates = table!(group.coordinates;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text embedding = |r| Some(r.embedding.clone()),
        text model = |r| Some(r.model.clone()),
        text modality = |r| Some(r.modality.clone()),
        text family = |r| Some(r.family.clone()),
        number x = |r| Some(r.x), number y = |r| Some(r.y),
        number sd_x = |r| Some(r.sd_x), number sd_y = |r| Some(r.sd_y), number cov_xy = |r| Some(r.cov_xy),
        number explained_x = |r| Some(r.explained_x), number explained_y = |r| Some(r.explained_y),
        text status = |r| Some(r.status.clone()),
    );
    let snci = table!(group.snci;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text modality = |r| Some(r.modality.clone()),
        text roi = |r| Some(r.roi.clone()),
        text kind = |r| Some(r.kind.clone()),
        number value = |r| Some(r.value), number lower = |r| Some(r.lower), number upper = |r| Some(r.upper),
        number mean = |r| Some(r.mean), number sd = |r| Some(r.sd),
        integer n_models = |r| Some(r.n_models as i64), integer n_families = |r| Some(r.n_families as i64),
        text status = |r| Some(r.status.clone()),
    );
    let influence = table!(group.influence;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text modality = |r| Some(r.modality.clone()),
        text model = |r| Some(r.model.clone()),
        text roi = |r| Some(r.roi.clone()),
        text kind = |r| Some(r.kind.clone()),
        number influence = |r| Some(r.influence),
        text status = |r| Some(r.status.clone()),
    );
    let convergence = table!(group.convergence;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text roi = |r| Some(r.roi.clone()),
        text network = |r| r.network.clone(),
        number convergence = |r| Some(r.convergence),
        number lower = |r| Some(r.lower), number upper = |r| Some(r.upper),
        integer n_modalities = |r| Some(r.n_modalities as i64),
        flag all_above = |r| r.all_above,
        number threshold = |r| Some(r.threshold),
        text status = |r| Some(r.status.clone()),
    );
    let tests = table!(group.tests;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text test = |r| Some(r.test.clone()),
        text contrast = |r| Some(r.contrast.clone()),
        text statistic_name = |r| Some(r.statistic_name.clone()),
        number statistic = |r| Some(r.statistic),
        number r2 = |r| Some(r.r2), number omega2 = |r| Some(r.omega2),
        number p = |r| Some(r.p), number p_adj = |r| Some(r.p_adj),
        text adjustment = |r| Some(r.adjustment.clone()),
        integer n_permutations = |r| Some(r.n_permutations as i64),
        flag exact = |r| Some(r.exact),
        integer n_objects = |r| Some(r.n_objects as i64),
        flag restricted = |r| Some(r.restricted),
        text status = |r| Some(r.status.clone()),
    );
    let controls = table!(group.controls;
        text space = |r| Some(r.space.clone()),
        text model = |r| Some(r.model.clone()),
        text modality = |r| Some(r.modality.clone()),
        text claim_representation = |r| Some(r.claim_representation.clone()),
        text control = |r| Some(r.control.clone()),
        number claim = |r| Some(r.claim), number value = |r| Some(r.value),
        number difference = |r| Some(r.difference),
        number lower = |r| Some(r.lower), number upper = |r| Some(r.upper), number p = |r| Some(r.p),
        integer n_rois = |r| Some(r.n_rois as i64),
        text status = |r| Some(r.status.clone()),
    );
    BTreeMap::from([
        ("coordinates".to_owned(), coordinates),
        ("snci".to_owned(), snci),
        ("influence".to_owned(), influence),
        ("convergence".to_owned(), convergence),
        ("tests".to_owned(), tests),
        ("controls".to_owned(), controls),
    ])
}
