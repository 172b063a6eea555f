//! What can be read out of responses: classifiers, trajectories over time, temporal generalisation.
