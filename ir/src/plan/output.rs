//! How close an output of the program comes to that of the plain network.

use serde::{Deserialize, Serialize};

/// An output on sample images that no activation was fitted to: with approximated activations,
/// and as the program answers with the noise of encryption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputRow {
    /// Name of the output.
    pub name: String,
    /// Whether it is a list of classes.
    pub classes: bool,
    /// Images that were looked at.
    pub judged_images: usize,
    /// Energy of the plain network's output over that of the difference, in decibels, of all images
    /// together; of a list of classes what differs between the classes, and of the median image.
    /// `None` where there is no difference or the output is 0.
    pub signal_to_error_db: Option<f64>,
    /// The largest difference of an element.
    pub largest_error: f64,
    /// The same ratio of the program itself, run on slots with modelled noise, where a compile did.
    #[serde(default)]
    pub simulated_db: Option<f64>,
    /// Images that it was run on.
    #[serde(default)]
    pub simulated_images: usize,
}

impl OutputRow {
    /// Ratios are not told beyond this, in decibels.
    pub const MOST_DB: f64 = 999.0;
    /// From this on errors cannot be seen in a picture: what a compile aims at.
    pub const GOOD_DB: f64 = 30.0;
    /// Below this a plan warns: errors of a tenth of the output.
    pub const POOR_DB: f64 = 20.0;

    /// The worse of both ratios.
    pub fn worst_db(&self) -> Option<f64> {
        self.signal_to_error_db.into_iter().chain(self.simulated_db).reduce(f64::min)
    }

    /// Whether the error is larger than the output.
    pub fn is_lost(&self) -> bool {
        self.worst_db().is_some_and(|decibels| decibels < 0.0)
    }

    /// Whether the error is more than a tenth of the output.
    pub fn is_poor(&self) -> bool {
        self.worst_db().is_some_and(|decibels| decibels < Self::POOR_DB)
    }

    /// The worse ratio in words, e.g. `31.4 dB`.
    pub fn in_words(&self) -> String {
        match self.worst_db() {
            Some(decibels) => format!("{decibels:.1} dB"),
            None => "no error that can be compared".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tell_what_is_poor_from_what_is_lost() {
        let row = |decibels| OutputRow { signal_to_error_db: decibels, ..OutputRow::default() };
        let told = |row: OutputRow| (row.is_poor(), row.is_lost());
        assert_eq!(told(row(Some(40.0))), (false, false));
        assert_eq!(told(row(Some(19.9))), (true, false));
        assert_eq!(told(row(Some(-0.1))), (true, true));
        assert_eq!(told(row(None)), (false, false));
        let simulated = |decibels| OutputRow { simulated_db: Some(decibels), ..row(Some(40.0)) };
        assert_eq!(told(simulated(-1.0)), (true, true));
        assert_eq!((simulated(50.0).worst_db(), told(simulated(50.0))), (Some(40.0), (false, false)));
        assert_eq!((row(Some(7.25)).in_words(), row(None).judged_images), ("7.2 dB".to_string(), 0));
    }
}
