//! Responses of units to stimuli that move in several directions, over time.
//!
//! Values are ordered units × stimuli × directions × time, time fastest. A response that is not there is NaN, and may
//! be one of two things only: a whole map (a unit that was not shown a stimulus), or the end of the time axis of a
//! stimulus that is shorter than others. Every other NaN is an error, so that none is carried along unseen. Stimuli,
//! units and directions are known by name and angle, never by place.

use std::collections::HashMap;

use super::{Error, Result};

/// A validated response tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseTensor {
    values: Vec<f64>,
    units: Vec<String>,
    stimuli: Vec<String>,
    directions_deg: Vec<f64>,
    n_times: usize,
    bin_s: f64,
    valid: Vec<bool>,
    lengths: Vec<usize>,
}

impl ResponseTensor {
    /// Check and keep responses.
    ///
    /// `directions_deg` go round in equal steps, a full circle (motion) or half of one (orientations). `bin_s` is the
    /// width of a time bin in seconds.
    ///
    /// Errors: an axis without entries, names that are not unique, directions that do not close the circle, a bin
    /// width that is no positive number, NaN other than whole maps and ends of stimuli, infinities, a unit or
    /// stimulus without any map.
    pub fn new(
        values: Vec<f64>,
        units: Vec<String>,
        stimuli: Vec<String>,
        directions_deg: Vec<f64>,
        bin_s: f64,
    ) -> Result<Self> {
        let cells = units.len() * stimuli.len() * directions_deg.len();
        if cells == 0 || values.is_empty() || !values.len().is_multiple_of(cells) {
            return Err(Error::Shape {
                what: "responses".into(),
                expected: format!(
                    "{} units × {} stimuli × {} directions × time, none of them empty",
                    units.len(),
                    stimuli.len(),
                    directions_deg.len()
                ),
                found: format!("{} values", values.len()),
                hint: "give one name per unit and stimulus, and one angle per direction".into(),
            });
        }
        unique("units", &units)?;
        unique("stimuli", &stimuli)?;
        period_of(&directions_deg)?;
        if !(bin_s > 0.0 && bin_s.is_finite()) {
            return Err(Error::Invalid {
                what: "bin_s".into(),
                expected: "a positive number of seconds".into(),
                found: bin_s.to_string(),
                hint: "frames at 30 Hz are bins of 1/30 s".into(),
            });
        }
        let n_times = values.len() / cells;
        let mut tensor = ResponseTensor {
            values,
            units,
            stimuli,
            directions_deg,
            n_times,
            bin_s,
            valid: vec![],
            lengths: vec![],
        };
        tensor.find_gaps()?;
        Ok(tensor)
    }

    /// Which maps are there, and how long stimuli are; any other gap is an error.
    fn find_gaps(&mut self) -> Result<()> {
        let [n_units, n_stimuli, n_directions, n_times] = self.shape();
        let map = n_directions * n_times;
        if let Some(at) = self.values.iter().position(|value| value.is_infinite()) {
            return Err(self.wrong_at(at, "infinite", "mend the recording"));
        }
        self.valid = self.values.chunks_exact(map).map(|map| map.iter().any(|x| !x.is_nan())).collect();
        self.lengths = (0..n_stimuli)
            .map(|s| {
                let last = |n: usize| {
                    let line = &self.values[(n * n_stimuli + s) * map..][..map];
                    (0..map).filter(|&i| !line[i].is_nan()).map(|i| i % n_times + 1).max().unwrap_or(0)
                };
                (0..n_units).map(last).max().unwrap_or(0)
            })
            .collect();
        for (at, value) in self.values.iter().enumerate() {
            let (cell, t) = (at / map, at % n_times);
            if value.is_nan() && self.valid[cell] && t < self.lengths[cell % n_stimuli] {
                return Err(self.wrong_at(
                    at,
                    "NaN",
                    "only whole maps (unit and stimulus) and the ends of shorter stimuli may be NaN",
                ));
            }
        }
        let unit = (0..n_units).find(|n| !self.valid[n * n_stimuli..(n + 1) * n_stimuli].contains(&true));
        let stimulus = (0..n_stimuli).find(|&s| self.lengths[s] == 0);
        let empty = match (unit, stimulus) {
            (Some(n), _) => format!("unit `{}`", self.units[n]),
            (None, Some(s)) => format!("stimulus `{}`", self.stimuli[s]),
            (None, None) => return Ok(()),
        };
        Err(Error::TooFew {
            what: empty,
            needed: "1 map".into(),
            found: "none: all of it is NaN".into(),
            hint: "leave it out".into(),
        })
    }

    fn wrong_at(&self, at: usize, what: &str, hint: &str) -> Error {
        let [_, n_stimuli, n_directions, n_times] = self.shape();
        let (n, s) = (at / (n_stimuli * n_directions * n_times), at / (n_directions * n_times) % n_stimuli);
        let (d, t) = (at / n_times % n_directions, at % n_times);
        Error::Invalid {
            what: format!(
                "response of unit `{}` to stimulus `{}` at {}°, bin {t}",
                self.units[n], self.stimuli[s], self.directions_deg[d]
            ),
            expected: "a number".into(),
            found: what.into(),
            hint: hint.into(),
        }
    }

    /// Units, stimuli, directions, time bins.
    pub fn shape(&self) -> [usize; 4] {
        [self.units.len(), self.stimuli.len(), self.directions_deg.len(), self.n_times]
    }

    /// All values in C order; NaN where there is no response.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Directions × time of one unit and stimulus.
    pub fn map(&self, unit: usize, stimulus: usize) -> &[f64] {
        let [_, n_stimuli, n_directions, n_times] = self.shape();
        let length = n_directions * n_times;
        &self.values[(unit * n_stimuli + stimulus) * length..][..length]
    }

    /// Names of units.
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// Names of stimuli.
    pub fn stimuli(&self) -> &[String] {
        &self.stimuli
    }

    /// Angles of directions.
    pub fn directions_deg(&self) -> &[f64] {
        &self.directions_deg
    }

    /// The angle after which directions repeat: 360, or 180 for orientations.
    pub fn period_deg(&self) -> f64 {
        period_of(&self.directions_deg).unwrap_or(360.0)
    }

    /// Width of a time bin.
    pub fn bin_s(&self) -> f64 {
        self.bin_s
    }

    /// Whether each unit was shown each stimulus (units × stimuli, row after row).
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// Time bins of each stimulus.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Units all of whose responses are 0.
    pub fn silent_units(&self) -> Vec<usize> {
        let length = self.values.len() / self.units.len();
        let silent = |values: &[f64]| values.iter().all(|x| x.is_nan() || *x == 0.0);
        self.values.chunks_exact(length).enumerate().filter(|(_, x)| silent(x)).map(|(n, _)| n).collect()
    }

    /// Stimuli to which no unit responds.
    pub fn silent_stimuli(&self) -> Vec<usize> {
        let silent =
            |s: usize| (0..self.units.len()).all(|n| self.map(n, s).iter().all(|x| x.is_nan() || *x == 0.0));
        (0..self.stimuli.len()).filter(|&s| silent(s)).collect()
    }

    /// Where stimuli of these names are.
    ///
    /// Errors: a name that there is not.
    pub fn find_stimuli(&self, names: &[String]) -> Result<Vec<usize>> {
        names
            .iter()
            .map(|name| {
                self.stimuli.iter().position(|known| known == name).ok_or_else(|| Error::Invalid {
                    what: "stimulus".into(),
                    expected: format!("one of {}", self.stimuli.join(", ")),
                    found: name.clone(),
                    hint: "stimuli are known by name".into(),
                })
            })
            .collect()
    }
}

fn unique(what: &str, names: &[String]) -> Result<()> {
    let mut seen = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name, at) {
            return Err(Error::Invalid {
                what: what.into(),
                expected: "a name of its own for each".into(),
                found: format!("`{name}` at {first} and {at}"),
                hint: "number repeated names, or average over instances first".into(),
            });
        }
    }
    Ok(())
}

/// 360 or 180, whichever equal steps close.
fn period_of(directions_deg: &[f64]) -> Result<f64> {
    let n = directions_deg.len();
    if n == 1 && directions_deg[0].is_finite() {
        return Ok(360.0);
    }
    for period in [360.0, 180.0] {
        let step = period / n as f64;
        let off = |i: usize| (directions_deg[(i + 1) % n] - directions_deg[i] - step) / period;
        if (0..n).all(|i| (off(i) - off(i).round()).abs() < 1e-6) {
            return Ok(period);
        }
    }
    Err(Error::Invalid {
        what: "directions".into(),
        expected: "equal steps that close a circle of 360° (motion) or 180° (orientation), ascending".into(),
        found: format!("{directions_deg:?}"),
        hint: "order directions by angle; rotations of maps go by whole steps".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stem: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{stem}{i}")).collect()
    }

    fn made(values: Vec<f64>) -> Result<ResponseTensor> {
        ResponseTensor::new(values, names("u", 2), names("s", 2), vec![0.0, 90.0, 180.0, 270.0], 0.01)
    }

    #[test]
    fn gaps_are_whole_maps_or_ends() {
        let mut values: Vec<f64> = (0..2 * 2 * 4 * 3).map(f64::from).collect();
        // Stimulus 1 has two bins; unit 1 was not shown stimulus 0.
        for n in 0..2 {
            for d in 0..4 {
                values[((n * 2 + 1) * 4 + d) * 3 + 2] = f64::NAN;
            }
        }
        values[24..36].fill(f64::NAN);
        let tensor = made(values.clone()).unwrap();
        assert_eq!((tensor.valid(), tensor.lengths()), (&[true, true, false, true][..], &[3, 2][..]));
        assert_eq!(tensor.map(0, 1)[..2], [12.0, 13.0]);
        values[5] = f64::NAN;
        let message = made(values.clone()).unwrap_err().to_string();
        assert!(message.contains("unit `u0` to stimulus `s0` at 90°, bin 2"), "{message}");
        values[5] = f64::INFINITY;
        assert!(made(values).unwrap_err().to_string().contains("infinite"));
        let mut values = vec![1.0; 48];
        values[24..].fill(f64::NAN);
        assert!(made(values).unwrap_err().to_string().contains("unit `u1`"));
    }

    #[test]
    fn names_and_angles_are_checked() {
        let tensor = |stimuli: Vec<String>, directions: Vec<f64>| {
            ResponseTensor::new(vec![1.0; 2 * 2 * 4], names("u", 2), stimuli, directions, 0.1)
        };
        let four = vec![0.0, 90.0, 180.0, 270.0];
        assert!(
            tensor(vec!["a".into(), "a".into()], four.clone())
                .unwrap_err()
                .to_string()
                .contains("`a` at 0 and 1")
        );
        assert_eq!(tensor(names("s", 2), four.clone()).unwrap().period_deg(), 360.0);
        assert_eq!(tensor(names("s", 2), vec![0.0, 45.0, 90.0, 135.0]).unwrap().period_deg(), 180.0);
        assert_eq!(tensor(names("s", 2), vec![-90.0, 0.0, 90.0, 180.0]).unwrap().period_deg(), 360.0);
        assert!(
            tensor(names("s", 2), vec![0.0, 90.0, 270.0, 180.0])
                .unwrap_err()
                .to_string()
                .contains("equal steps")
        );
        let found = tensor(names("s", 2), four).unwrap();
        assert_eq!(found.find_stimuli(&["s1".into(), "s0".into()]).unwrap(), [1, 0]);
        assert!(found.find_stimuli(&["x".into()]).unwrap_err().to_string().contains("s0, s1"));
        assert!(found.silent_units().is_empty() && found.silent_stimuli().is_empty());
    }

    #[test]
    fn silence_is_named() {
        let mut values = vec![0.0; 48];
        values[13] = 1.0;
        let tensor = made(values).unwrap();
        assert_eq!((tensor.silent_units(), tensor.silent_stimuli()), (vec![1], vec![0]));
    }
}
