//! CIFAR binary records: labels, then 1,024 red, 1,024 green and 1,024 blue bytes, rows of 32.
//! CIFAR-10 has one label, CIFAR-100 two, the coarse one first.

use super::{Dataset, ImageShape, Problem, Samples};

/// Shape of every image.
pub(super) const SHAPE: ImageShape = [3, 32, 32];
const IMAGE: usize = 3 * 32 * 32;

/// A way to record images.
struct Form {
    /// Number of classes by each label, the one that counts last.
    classes: &'static [u8],
}

const FORMS: [Form; 2] = [Form { classes: &[10] }, Form { classes: &[20, 100] }];

impl Form {
    /// Bytes of a record.
    fn record(&self) -> usize {
        self.classes.len() + IMAGE
    }

    fn fits(&self, bytes: usize) -> bool {
        bytes > 0 && bytes.is_multiple_of(self.record())
    }
}

/// Whether so many bytes may be records.
pub(super) fn has_records(bytes: usize) -> bool {
    FORMS.iter().any(|form| form.fits(bytes))
}

pub(super) fn read(bytes: Vec<u8>, expected: ImageShape) -> Result<Dataset, Problem> {
    if expected != SHAPE {
        let holds = "3 × 32 × 32";
        return Err(Problem::Format { format: "a file of CIFAR records", holds, expected });
    }
    let fitting = FORMS.iter().filter(|form| form.fits(bytes.len()));
    // The formats have no magic: a label out of range is what tells another file of the same
    // length.
    let mut problem = Problem::Records { bytes: bytes.len() };
    for form in fitting {
        match labels(&bytes, form) {
            Ok(labels) => {
                let images = bytes.chunks_exact(form.record());
                let pixels = images.flat_map(|record| &record[form.classes.len()..]).copied().collect();
                return Dataset::new(SHAPE, Samples::Pixels(pixels), Some(labels));
            }
            Err(other) => problem = other,
        }
    }
    Err(problem)
}

/// The label that counts of each record, once all are of classes that there are.
fn labels(bytes: &[u8], form: &Form) -> Result<Vec<u32>, Problem> {
    let label = |(index, record): (usize, &[u8])| {
        let mut label = 0;
        for (&found, &classes) in record.iter().zip(form.classes) {
            if found >= classes {
                return Err(Problem::Label { index, label: found, classes });
            }
            label = u32::from(found);
        }
        Ok(label)
    };
    bytes.chunks_exact(form.record()).enumerate().map(label).collect()
}
