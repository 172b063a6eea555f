//! What can be read out of responses: classifiers, trajectories over time, temporal generalisation.

mod classifier;
mod correlation;
mod decode;
mod discriminant;
mod generalise;
mod logistic;
mod neighbours;
mod pseudo;
mod trajectories;
mod transfer;
mod windows;

pub use classifier::{Classifier, FeatureScaling, FittedClassifier, fit_classifier};
pub use decode::{DecodeParams, Decoding, Prediction, Score, decode};
pub use discriminant::Shrinkage;
pub use generalise::{Movie, TemporalGeneralisation, temporal_generalisation};
pub use logistic::LogisticParams;
pub use pseudo::pseudo_trials;
pub use trajectories::{PrincipalStates, principal_states};
pub use transfer::{Common, Transfer, transfer_decoding};
pub use windows::{WindowAccuracy, Windows, window_accuracy};
