//! The only code that composes families: whole analyses from reductions to group statistics.

pub mod adaptive;
mod bootstrap;
pub mod ceilings;
pub mod depth;
mod design;
pub mod encoding;
mod evaluate;
pub mod group;
pub mod mixed_rsa;
pub mod model;
pub mod physiology;
mod represent;
mod representation;
pub mod single;
mod states;
pub mod subjects;
mod trajectories;
mod views;

pub use bootstrap::bootstrap_correlations;
pub use depth::{DepthParams, DepthResult, Trajectory};
pub use design::{Clock, Pieces, SampleDesign, clean_responses, group_mean};
pub use evaluate::{
    Cell, Draws, EvaluateParams, InnerRule, NullModel, Split, held_out_order, predict, score_cell,
};
pub use model::{CellRequest, ModelData, Native, evaluate_model};
pub use represent::{Features, projected_layer, single_layer, weighted_sums};
pub use representation::Representation;
pub use trajectories::{TrajectoryFit, fit_trajectories};
pub use views::Resampled;
