//! Answers as files: arrays for programs, pictures for people.
//!
//! | ending | holds |
//! |---|---|
//! | `.npy` | the first output of all inputs, `[inputs, ...]`, in double precision |
//! | `.npz` | all outputs, by their names, `output_1` where the second has none of its own |
//! | `.png` | the first output of one input, if it is a picture or has a list of classes per pixel |

use std::io::Cursor;
use std::path::Path;

use fhec_ir::program::{Dimension, InputLayout, Preprocess};
use fhec_roles::files::{self, Access, FileError};
use image::{ExtendedColorType, ImageFormat};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzWriter, WriteNpyExt};
use thiserror::Error;

/// The numbers of one output, for one input after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its shape, for one input.
    pub shape: Vec<usize>,
    /// The dimension along which numbers are those of the classes of one pixel, if that is known.
    pub classes: Option<Dimension>,
    /// As many numbers as the shape has, for each input.
    pub values: Vec<f64>,
}

impl Output {
    fn inputs(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>().max(1)
    }

    /// `[inputs, ...]`: a batch of one in the shape gives way to the inputs.
    fn array(&self) -> Result<ArrayD<f64>, SaveError> {
        let each = self.shape.strip_prefix(&[1]).filter(|rest| !rest.is_empty()).unwrap_or(&self.shape);
        let shape = [&[self.inputs()], each].concat();
        let unfit = |error: ndarray::ShapeError| SaveError::Array { reason: error.to_string() };
        ArrayD::from_shape_vec(IxDyn(&shape), self.values.clone()).map_err(unfit)
    }
}

/// Why answers cannot be saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The file's ending says no format.
    #[error("{path}: answers are saved as .npy, .npz or .png")]
    Format {
        /// The file.
        path: String,
    },
    /// A picture of what is none.
    #[error(
        "the output has shape {shape:?}; a PNG holds one picture [1, channels, height, width] of one input: save .npy instead"
    )]
    NoPicture {
        /// Shape of the output.
        shape: Vec<usize>,
    },
    /// The array cannot be written.
    #[error("the array cannot be written: {reason}")]
    Array {
        /// Why.
        reason: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Checks that answers can be saved as `path`, whatever they are.
///
/// # Errors
/// [`SaveError::Format`].
pub fn check_path(path: &Path) -> Result<(), SaveError> {
    Format::of(path).map(|_| ())
}

/// Writes `outputs`, the first of which counts, as the ending of `path` says. Pixels are made from
/// numbers by undoing `preprocess`; where the channels are classes, and where there are more than a
/// picture has, each pixel is its channel of the largest number, as grey.
///
/// # Errors
/// [`SaveError`]; nothing is written then.
pub fn save(path: &Path, outputs: &[Output], preprocess: &Preprocess) -> Result<(), SaveError> {
    let format = Format::of(path)?;
    let first = outputs.first().ok_or(SaveError::NoPicture { shape: Vec::new() })?;
    let failed = |error: &dyn std::fmt::Display| SaveError::Array { reason: error.to_string() };
    let mut bytes = Cursor::new(Vec::new());
    match format {
        Format::Npy => first.array()?.write_npy(&mut bytes).map_err(|error| failed(&error))?,
        Format::Npz => {
            let mut archive = NpzWriter::new(&mut bytes);
            for (index, output) in outputs.iter().enumerate() {
                let taken = outputs[..index].iter().any(|other| other.name == output.name);
                let unusable = output.name.is_empty() || taken;
                let name = if unusable { format!("output_{index}") } else { output.name.clone() };
                archive.add_array(name, &output.array()?).map_err(|error| failed(&error))?;
            }
            archive.finish().map_err(|error| failed(&error))?;
        }
        Format::Png => {
            let Picture { pixels, width, height, colour } = picture(first, preprocess)?;
            let written =
                image::write_buffer_with_format(&mut bytes, &pixels, width, height, colour, ImageFormat::Png);
            written.map_err(|error| failed(&error))?;
        }
    }
    files::write_atomically(path, Access::Ordinary, |out| out.write_all(bytes.get_ref()))?;
    Ok(())
}

enum Format {
    Npy,
    Npz,
    Png,
}

impl Format {
    fn of(path: &Path) -> Result<Format, SaveError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => Ok(Format::Npy),
            Some("npz") => Ok(Format::Npz),
            Some("png") => Ok(Format::Png),
            _ => Err(SaveError::Format { path: path.display().to_string() }),
        }
    }
}

/// Bytes of a PNG, channels together.
struct Picture {
    pixels: Vec<u8>,
    width: u32,
    height: u32,
    colour: ExtendedColorType,
}

fn picture(output: &Output, preprocess: &Preprocess) -> Result<Picture, SaveError> {
    let none = || SaveError::NoPicture { shape: output.shape.clone() };
    let &[1, second, third, last] = &output.shape[..] else { return Err(none()) };
    let layout = match output.classes.and_then(|classes| classes.axis_in(&output.shape)) {
        Some(1) => InputLayout::Nchw,
        Some(3) => InputLayout::Nhwc,
        Some(_) => return Err(none()),
        // Outputs have their channels where inputs have them.
        None => preprocess.input_layout(),
    };
    let [channels, height, width] = layout.image([1, second, third, last]);
    if output.inputs() != 1 || channels == 0 {
        return Err(none());
    }
    let at = |c: usize, pixel: usize| match layout {
        InputLayout::Nchw => output.values[c * height * width + pixel],
        InputLayout::Nhwc => output.values[pixel * channels + c],
    };
    let is_picture = output.classes.is_none() && matches!(channels, 1 | 3);
    let colour = if is_picture && channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let pixels = (0..height * width).flat_map(|pixel| -> Vec<u8> {
        if is_picture {
            return (0..channels).map(|c| preprocess.pixel(c, at(c, pixel))).collect();
        }
        let largest = |best: usize, c: usize| if at(c, pixel) > at(best, pixel) { c } else { best };
        vec![(1..channels).fold(0, largest).min(255) as u8]
    });
    let [width_, height_] = [width, height].map(u32::try_from);
    let (width, height) = (width_.map_err(|_| none())?, height_.map_err(|_| none())?);
    Ok(Picture { pixels: pixels.collect(), width, height, colour })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4};
    use ndarray_npy::{NpzReader, read_npy};

    use super::*;

    fn output(name: &str, shape: &[usize], values: Vec<f64>) -> Output {
        Output { name: name.into(), shape: shape.into(), classes: None, values }
    }

    #[test]
    fn arrays_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (npy, npz) = (folder.path().join("a.npy"), folder.path().join("a.npz"));
        let outputs = [
            output("classes", &[1, 2], vec![1.0, 2.0, 3.0, 4.5]),
            output("boxes/0", &[1, 1, 1, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ];
        save(&npy, &outputs, &Preprocess::default()).unwrap();
        let read: Array2<f64> = read_npy(&npy).unwrap();
        assert_eq!(read, ndarray::array![[1.0, 2.0], [3.0, 4.5]]);
        save(&npz, &outputs, &Preprocess::default()).unwrap();
        let mut archive = NpzReader::new(std::fs::File::open(&npz).unwrap()).unwrap();
        let boxes: Array4<f64> = archive.by_name("boxes/0").unwrap();
        assert_eq!(boxes.shape(), [2, 1, 1, 3]);
        assert!(matches!(check_path(Path::new("a.txt")), Err(SaveError::Format { .. })));
    }

    #[test]
    fn pixels_are_what_they_were_before_normalisation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let preprocess = Preprocess::new(255.0, vec![0.5, 0.25, 0.0], vec![0.5, 0.5, 1.0]).unwrap();
        let pixels = [10u8, 200, 0, 255, 77, 128];
        let normalised: Vec<f64> = (0..6)
            .map(|i| {
                let (mean, std) = [(0.5, 0.5), (0.25, 0.5), (0.0, 1.0)][i / 2];
                (f64::from(pixels[i]) / 255.0 - mean) / std
            })
            .collect();
        save(&path, &[output("y", &[1, 3, 1, 2], normalised.clone())], &preprocess).unwrap();
        let picture = image::open(&path).unwrap().into_rgb8().into_raw();
        assert_eq!(picture, [10, 0, 77, 200, 255, 128]);
        // What is beyond black and white is black and white.
        let beyond = output("y", &[1, 1, 1, 2], vec![-3.0, 9.0]);
        save(&path, &[beyond], &Preprocess::default()).unwrap();
        assert_eq!(image::open(&path).unwrap().into_luma8().into_raw(), [0, 255]);
        // Four classes of two pixels.
        let classes = output("y", &[1, 4, 1, 2], vec![0.0, 1.0, 5.0, 1.0, 0.0, 2.0, 0.0, 9.0]);
        save(&path, &[classes], &Preprocess::default()).unwrap();
        assert_eq!(image::open(&path).unwrap().into_luma8().into_raw(), [1, 3]);
        // Three classes of two pixels are no colours, wherever they are.
        let numbers = vec![0.0, 1.0, 5.0, 1.0, 0.0, 2.0];
        let (first, last) = (vec![1, 3, 1, 2], vec![1, 1, 2, 3]);
        for (shape, axis, expected) in [(first, 1, [1, 2]), (last, 3, [2, 2])] {
            let classes = Some(Dimension::of(&shape, axis));
            let output = Output { classes, ..output("y", &shape, numbers.clone()) };
            save(&path, &[output], &Preprocess::default()).unwrap();
            let picture = image::open(&path).unwrap();
            assert_eq!(
                (picture.color(), picture.into_luma8().into_raw()),
                (image::ColorType::L8, expected.to_vec())
            );
        }
        for (shape, values) in [(vec![1, 6], normalised), (vec![1, 1, 1, 2], vec![0.0; 4])] {
            let error = save(&path, &[output("y", &shape, values)], &Preprocess::default()).unwrap_err();
            assert!(matches!(error, SaveError::NoPicture { .. }), "{error}");
        }
    }
}
