//! One PNG or JPEG, as one image of bytes: gray for a network with one channel, red, green and blue
//! for one with three.
//!
//! Colour becomes gray by the luma weights of ITU-R BT.601, as Pillow does and hence the data
//! loaders networks are trained with. Transparency is dropped, 16-bit samples are rounded to 8.

use std::io::Cursor;

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
    let scaled = scaled(found, fit);
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
        let [left, top] = [0, 1].map(|axis| middle(scaled[axis], cut[axis]) as u32);
        picture = picture.crop_imm(left, top, width as u32, height as u32);
    }
    Ok(match (channels, picture.color().has_color()) {
        (1, false) => picture.into_luma8().into_raw(),
        (1, true) => picture.into_rgb8().pixels().map(|p| luma(p.0)).collect(),
        _ => planes(&picture.into_rgb8().into_raw()),
    })
}

/// Width and height once the shorter side is as long as asked, the longer one rounded down as
/// torchvision does.
fn scaled([width, height]: [usize; 2], fit: PictureFit) -> [usize; 2] {
    let Some(short) = fit.resize.map(|pixels| pixels as usize) else { return [width, height] };
    if width <= height {
        [short, (short * height / width.max(1)).min(PictureFit::LARGEST as usize)]
    } else {
        [(short * width / height.max(1)).min(PictureFit::LARGEST as usize), short]
    }
}

/// Where the middle `cut` of `length` pixels begin: half of what is left, an odd half rounded to
/// even, as torchvision does.
fn middle(length: usize, cut: usize) -> usize {
    let left = length - cut;
    let half = left / 2;
    half + usize::from(left % 2 == 1 && half % 2 == 1)
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
    fn sizes_are_those_of_torchvision() {
        let fit = |resize| PictureFit { resize: Some(resize), crop: None };
        // int(256 * 500 / 375), int(256 * 640 / 427)
        assert_eq!(scaled([500, 375], fit(256)), [341, 256]);
        assert_eq!(scaled([427, 640], fit(256)), [256, 383]);
        assert_eq!(scaled([10, 20], PictureFit::default()), [10, 20]);
        // round((341 - 224) / 2) = round(58.5) = 58, round(59.5) = 60
        assert_eq!([middle(341, 224), middle(343, 224), middle(256, 224)], [58, 60, 16]);
    }

    #[test]
    fn planes_separate_the_channels() {
        assert_eq!(planes(&[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
    }
}
