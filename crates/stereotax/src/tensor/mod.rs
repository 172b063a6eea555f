//! Factor responses of units × stimuli × directions × time into few non-negative components.
