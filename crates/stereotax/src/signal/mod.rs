//! Time series and their clocks: haemodynamics, delays, drift, resampling.
