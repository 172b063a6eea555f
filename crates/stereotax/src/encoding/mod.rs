//! Predict brain responses from features: ridge and its relatives, with honest cross-validation.
