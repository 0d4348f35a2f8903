//! CIFAR-10 binary records: one label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, rows
//! of 32.

use super::{Dataset, ImageShape, Problem, Samples};

/// Bytes of a record.
pub(super) const RECORD: usize = 1 + 3 * 32 * 32;
/// Shape of every image.
pub(super) const SHAPE: ImageShape = [3, 32, 32];
const CLASSES: u8 = 10;

pub(super) fn read(bytes: Vec<u8>, expected: ImageShape) -> Result<Dataset, Problem> {
    if expected != SHAPE {
        let holds = "3 × 32 × 32";
        return Err(Problem::Format { format: "a file of CIFAR-10 records", holds, expected });
    }
    if !bytes.len().is_multiple_of(RECORD) {
        return Err(Problem::Records { bytes: bytes.len(), record: RECORD });
    }
    let labels: Vec<u8> = bytes.chunks_exact(RECORD).map(|record| record[0]).collect();
    // The format has no magic: a label out of range is what tells another file of the same length.
    if let Some(index) = labels.iter().position(|&label| label >= CLASSES) {
        return Err(Problem::Label { index, label: labels[index], classes: CLASSES });
    }
    let pixels = bytes.chunks_exact(RECORD).flat_map(|record| &record[1..]).copied().collect();
    Dataset::new(SHAPE, Samples::Pixels(pixels), Some(labels))
}
