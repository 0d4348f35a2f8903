//! From the pixels of a picture to the input of a network.

use fhec_ir::program::{Interface, luma};

use crate::WebError;

/// The input that the program takes for `pixels`: row by row, each pixel one byte (gray), three
/// (red, green, blue) or four (the last one, opacity, is dropped).
pub(crate) fn input(
    interface: &Interface,
    pixels: &[u8],
    width: usize,
    height: usize,
) -> Result<Vec<f32>, WebError> {
    let shape = interface.image_shape().ok_or(WebError::NoPictures)?;
    let [channels, rows, columns] = shape;
    if channels != 1 && channels != 3 {
        return Err(WebError::Channels { channels });
    }
    if [columns, rows] != [width, height] {
        let (expected, found) = (format!("{columns} x {rows}"), format!("{width} x {height}"));
        return Err(WebError::PictureSize { expected, found });
    }
    let mut planes = planes(channels, pixels, width, height)?;
    interface.preprocess.apply(shape, &mut planes)?;
    Ok(interface.preprocess.input_layout().arrange(shape, planes))
}

/// The channels one after the other.
fn planes(channels: usize, pixels: &[u8], width: usize, height: usize) -> Result<Vec<f32>, WebError> {
    let wrong = || WebError::PixelBytes { width, height, bytes: pixels.len() };
    let count = width.checked_mul(height).filter(|&count| count > 0).ok_or_else(wrong)?;
    let each = pixels.len() / count;
    if !matches!(each, 1 | 3 | 4) || pixels.len() != each * count {
        return Err(wrong());
    }
    let plane = |c: usize| {
        let of_pixel = move |pixel: &[u8]| match (each, channels) {
            (1, _) => pixel[0],
            (_, 1) => luma([pixel[0], pixel[1], pixel[2]]),
            _ => pixel[c],
        };
        pixels.chunks_exact(each).map(move |pixel| f32::from(of_pixel(pixel)))
    };
    Ok((0..channels).flat_map(plane).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_become_planes_of_as_many_channels_as_the_network_has() {
        assert_eq!(planes(1, &[1, 2], 2, 1).unwrap(), [1., 2.]);
        assert_eq!(planes(3, &[1, 2], 2, 1).unwrap(), [1., 2., 1., 2., 1., 2.]);
        assert_eq!(planes(3, &[1, 2, 3, 4, 5, 6], 1, 2).unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(planes(3, &[1, 2, 3, 255, 4, 5, 6, 0], 2, 1).unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(planes(1, &[255, 0, 0, 255, 0, 255, 0, 9], 2, 1).unwrap(), [76., 150.]);
    }

    #[test]
    fn bytes_that_are_no_pixels_are_errors() {
        for (bytes, width, height) in
            [(0, 0, 0), (0, 1, 1), (2, 1, 1), (5, 2, 2), (9, 2, 2), (4, usize::MAX, 2)]
        {
            let error = planes(3, &vec![0; bytes], width, height).unwrap_err();
            assert!(matches!(error, WebError::PixelBytes { .. }), "{bytes}: {error}");
        }
    }
}
