//! MNIST's IDX format: two zero bytes, the type of the elements, the number of dimensions, each
//! dimension as a big-endian `u32`, then the elements in row-major order. Only bytes (type 8) occur
//! in image sets.

use std::path::{Path, PathBuf};

use super::{Dataset, ImageShape, Problem, Samples, decompressed, read_file};

const UNSIGNED_BYTE: u8 = 8;

pub(super) fn read(mut bytes: Vec<u8>, path: &Path, expected: ImageShape) -> Result<Dataset, Problem> {
    let wanted = "images (unsigned bytes in 3 dimensions, or 4 with channels)";
    let (shape, header) = match bytes.as_slice() {
        [0, 0, UNSIGNED_BYTE, 3, ..] => {
            let [count, height, width] = dimensions::<3>(&bytes)?;
            ([count, 1, height, width], 16)
        }
        [0, 0, UNSIGNED_BYTE, 4, ..] => (dimensions::<4>(&bytes)?, 20),
        _ => return Err(header_error(&bytes, wanted)),
    };
    if shape[1..] != expected {
        return Err(Problem::Shape { found: shape[1..].to_vec(), expected });
    }
    bytes.drain(..header);
    let labels = match label_file(path) {
        None => None,
        Some(file) => Some(
            read_labels(&file, shape[0])
                .map_err(|problem| Problem::LabelFile { path: file, problem: Box::new(problem) })?,
        ),
    };
    Dataset::new(expected, Samples::Pixels(bytes), labels)
}

/// The dimensions, once exactly as many elements follow as they say.
fn dimensions<const D: usize>(bytes: &[u8]) -> Result<[usize; D], Problem> {
    let header = 4 + 4 * D;
    let Some(found) = bytes.len().checked_sub(header) else {
        return Err(Problem::Length { promised: header as u128, found: bytes.len() });
    };
    let mut shape = [0; D];
    for (dimension, field) in shape.iter_mut().zip(bytes[4..header].chunks_exact(4)) {
        *dimension = u32::from_be_bytes(field.try_into().expect("four bytes")) as usize;
    }
    // Four dimensions below 2^32 multiply to less than 2^128.
    let promised: u128 = shape.iter().map(|&d| d as u128).product();
    if promised != found as u128 {
        return Err(Problem::Length { promised, found });
    }
    Ok(shape)
}

fn header_error(bytes: &[u8], wanted: &'static str) -> Problem {
    Problem::IdxHeader { found: bytes[..bytes.len().min(4)].to_vec(), wanted }
}

/// The label file beside `images`, if there is one: `x-images-idx3-ubyte` has
/// `x-labels-idx1-ubyte`, each gzip'd or not.
fn label_file(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let labels = plain
        .contains("images")
        .then(|| plain.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1"))?;
    [labels.clone(), labels + ".gz"].into_iter().map(|n| images.with_file_name(n)).find(|p| p.is_file())
}

fn read_labels(path: &Path, images: usize) -> Result<Vec<u32>, Problem> {
    let bytes = decompressed(read_file(path)?)?;
    if !matches!(bytes.as_slice(), [0, 0, UNSIGNED_BYTE, 1, ..]) {
        return Err(header_error(&bytes, "labels (unsigned bytes in one dimension)"));
    }
    let [labels] = dimensions::<1>(&bytes)?;
    if labels != images {
        return Err(Problem::LabelCount { labels, images });
    }
    Ok(bytes[8..].iter().map(|&label| u32::from(label)).collect())
}
