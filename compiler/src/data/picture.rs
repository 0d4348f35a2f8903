//! One PNG or JPEG, as one image of bytes: gray for a network with one channel, red, green and blue
//! for one with three.
//!
//! Colour becomes gray by the luma weights of ITU-R BT.601, as Pillow does and hence the data
//! loaders networks are trained with. Transparency is dropped, 16-bit samples are rounded to 8.

use std::io::Cursor;

use fhec_ir::program::luma;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{Dataset, ImageShape, PictureFit, Problem, Samples};

/// Bytes that a decoder may allocate.
const MAX_DECODED: u64 = 256 << 20;

pub(super) fn read(bytes: &[u8], expected: ImageShape, fit: PictureFit) -> Result<Dataset, Problem> {
    Dataset::new(expected, Samples::Pixels(pixels(bytes, expected, fit)?), None)
}

/// The pixels of one picture, `[c][y][x]`.
pub(super) fn pixels(bytes: &[u8], expected: ImageShape, fit: PictureFit) -> Result<Vec<u8>, Problem> {
    let [channels, height, width] = expected;
    if channels != 1 && channels != 3 {
        return Err(Problem::Format { format: "a picture", holds: "1 or 3 channels", expected });
    }
    let damaged = |e: image::ImageError| Problem::Picture { reason: e.to_string() };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    // The size is compared before any pixel is decoded, so a small file cannot ask for a huge
    // picture.
    let (found_width, found_height) = decoder.dimensions();
    let found = [found_width as usize, found_height as usize];
    let scaled = fit.scaled(found);
    let cut = fit.crop.map_or(scaled, |side| [side as usize; 2]);
    if cut != [width, height] || cut[0] > scaled[0] || cut[1] > scaled[1] {
        return Err(Problem::PictureSize { found, fitted: cut, scaled, expected: [width, height] });
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    if scaled != found {
        // A triangle as wide as an output pixel: what Pillow and torchvision call bilinear.
        let [width, height] = scaled.map(|side| side as u32);
        picture = picture.resize_exact(width, height, FilterType::Triangle);
    }
    if cut != scaled {
        let [left, top] = [0, 1].map(|axis| PictureFit::middle(scaled[axis], cut[axis]) as u32);
        picture = picture.crop_imm(left, top, width as u32, height as u32);
    }
    Ok(match (channels, picture.color().has_color()) {
        (1, false) => picture.into_luma8().into_raw(),
        (1, true) => picture.into_rgb8().pixels().map(|p| luma(p.0)).collect(),
        _ => planes(&picture.into_rgb8().into_raw()),
    })
}

/// Interleaved red, green, blue to one plane after another.
fn planes(rgb: &[u8]) -> Vec<u8> {
    (0..3).flat_map(|c| rgb.iter().skip(c).step_by(3)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_separate_the_channels() {
        assert_eq!(planes(&[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
    }
}
