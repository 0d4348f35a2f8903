//! One PNG or JPEG, as one image of bytes: gray for a network with one channel, red, green and blue
//! for one with three.
//!
//! Colour becomes gray by the luma weights of ITU-R BT.601, as Pillow does and hence the data
//! loaders networks are trained with. Transparency is dropped, 16-bit samples are rounded to 8.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{Dataset, ImageShape, Problem, Samples};

pub(super) fn read(bytes: &[u8], expected: ImageShape) -> Result<Dataset, Problem> {
    let [channels, height, width] = expected;
    if channels != 1 && channels != 3 {
        return Err(Problem::Format { format: "a picture", holds: "1 or 3 channels", expected });
    }
    let damaged = |e: image::ImageError| Problem::Picture { reason: e.to_string() };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(256 << 20);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    // The size is compared before any pixel is decoded, so a small file cannot ask for a huge
    // picture.
    let (found_width, found_height) = decoder.dimensions();
    let (found, expected_size) = ([found_width as usize, found_height as usize], [width, height]);
    if found != expected_size {
        return Err(Problem::PictureSize { found, expected: expected_size });
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let pixels = match (channels, picture.color().has_color()) {
        (1, false) => picture.into_luma8().into_raw(),
        (1, true) => picture.into_rgb8().pixels().map(|p| luma(p.0)).collect(),
        _ => planes(&picture.into_rgb8().into_raw()),
    };
    Dataset::new(expected, Samples::Pixels(pixels), None)
}

/// 0.299 R + 0.587 G + 0.114 B, rounded; the weights are 16-bit fixed point and sum to 2^16.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + (1 << 15);
    (sum >> 16) as u8
}

/// Interleaved red, green, blue to one plane after another.
fn planes(rgb: &[u8]) -> Vec<u8> {
    (0..3).flat_map(|c| rgb.iter().skip(c).step_by(3)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_exact_at_the_ends_and_weighs_green_most() {
        assert_eq!([luma([0; 3]), luma([255; 3])], [0, 255]);
        assert_eq!([luma([255, 0, 0]), luma([0, 255, 0]), luma([0, 0, 255])], [76, 150, 29]);
    }

    #[test]
    fn planes_separate_the_channels() {
        assert_eq!(planes(&[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
    }
}
