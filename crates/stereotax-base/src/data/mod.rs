//! The validated vocabulary that every other module speaks.

pub mod error;
pub mod folds;
pub mod labels;
pub mod progress;
pub mod rdm;
pub mod responses;
pub mod spikes;
pub mod tiles;

pub use error::{Error, Result};
pub use folds::{Fold, Folds, Runs};
pub use labels::Labels;
pub use progress::{Event, Monitor};
pub use rdm::Rdm;
pub use responses::ResponseTensor;
pub use tiles::{LayerArrays, LayerInfo, Precision, TileSource};
