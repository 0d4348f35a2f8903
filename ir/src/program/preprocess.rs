//! What turns pixels into network input.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::permutation::Permutation;

/// Where an image's channels are among the dimensions of a network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputLayout {
    /// `[1, channels, height, width]`
    #[default]
    Nchw,
    /// `[1, height, width, channels]`
    Nhwc,
}

impl InputLayout {
    /// What a network of which nothing is known takes: channels last where the last dimension is as
    /// long as the channels of a picture are (1, 3 or 4) and the second is not, or where there are
    /// `channels` numbers to normalise with, of the last dimension and not of the second.
    pub fn guess(shape: [usize; 4], channels: usize) -> Self {
        let [_, second, third, last] = shape;
        let of_a_picture = |length: usize| [1, 3, 4].contains(&length);
        let by_numbers = channels > 1 && last == channels && second != channels;
        let by_shape = of_a_picture(last) && !of_a_picture(second) && third > 1;
        match by_numbers || (by_shape && (channels <= 1 || second != channels)) {
            true => InputLayout::Nhwc,
            false => InputLayout::Nchw,
        }
    }

    /// Channels, height and width of the images that an input of `shape` takes.
    pub fn image(self, [_, second, third, last]: [usize; 4]) -> [usize; 3] {
        match self {
            InputLayout::Nchw => [second, third, last],
            InputLayout::Nhwc => [last, second, third],
        }
    }

    /// Channels, height and width of what an input of any shape takes, one at a time: of pictures
    /// as [`image`](Self::image) says; of series `[1, channels, length]` the height is 1; of
    /// features `[1, features]` or `[features]` each is a channel. `None` for batches, for no
    /// numbers at all, and for more dimensions.
    pub fn shape(self, input: &[usize]) -> Option<[usize; 3]> {
        let shape = match *input {
            [features] | [1, features] => [features, 1, 1],
            [1, channels, length] => [channels, 1, length],
            [1, second, third, last] => self.image([1, second, third, last]),
            _ => return None,
        };
        (!shape.contains(&0)).then_some(shape)
    }

    /// An image `[c][y][x]`, of a shape of channels, height and width, as the network takes it.
    ///
    /// # Panics
    /// If `image` is not one of `shape`.
    pub fn arrange(self, [channels, height, width]: [usize; 3], image: Vec<f32>) -> Vec<f32> {
        match self {
            InputLayout::Nchw => image,
            InputLayout::Nhwc => {
                let shape = vec![channels, height * width];
                Permutation { shape, axes: vec![1, 0] }.apply(&image)
            }
        }
    }
}

/// `x = (p / scale - mean[c]) / std[c]` for pixel `p` of channel `c`, in single precision and in
/// this order, as training code computes it.
///
/// Written as TOML beside a model (`net.onnx`, `net.toml`), every key but these an error:
///
/// ```toml
/// scale = 255.0                # 255 if left out
/// mean = [0.1307]              # 0 if left out; one number, or one per channel
/// std = [0.3081]               # 1 if left out; one number, or one per channel
/// classes = ["zero", "one"]    # names of the outputs, if they have names
/// input_layout = "nhwc"        # or "nchw"; guessed from the network's input if left out
/// resize = 256                 # pictures are scaled until their shorter side has so many pixels
/// crop = 224                   # and this square is cut from their middle
/// ```
///
/// Every value is finite and no divisor zero, however it was made: by [`Preprocess::new`] or by
/// deserialisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Preprocess {
    scale: f32,
    mean: Vec<f32>,
    std: Vec<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_layout: Option<InputLayout>,
    #[serde(flatten)]
    picture_fit: PictureFit,
}

/// How pictures of other sizes become those that a network takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PictureFit {
    /// Pixels of the shorter side that a picture is scaled to, with its proportions kept; it stays
    /// as it is where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// Pixels of the sides of the square that is then cut from its middle; all of it where there is
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<u32>,
}

/// The file's keys before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    #[serde(default = "of_bytes")]
    scale: f32,
    #[serde(default)]
    mean: Vec<f32>,
    #[serde(default)]
    std: Vec<f32>,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    input_layout: Option<InputLayout>,
    #[serde(default)]
    resize: Option<u32>,
    #[serde(default)]
    crop: Option<u32>,
}

fn of_bytes() -> f32 {
    255.0
}

impl TryFrom<Unchecked> for Preprocess {
    type Error = PreprocessError;

    fn try_from(raw: Unchecked) -> Result<Preprocess, PreprocessError> {
        let Unchecked { scale, mean, std, classes, input_layout, resize, crop } = raw;
        let fit = PictureFit { resize, crop };
        let normalisation = Preprocess::new(scale, mean, std)?;
        Preprocess { classes, input_layout, ..normalisation }.with_picture_fit(fit)
    }
}

/// A normalisation that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PreprocessError {
    /// A number that is not finite, or a zero to divide by.
    #[error("{key} holds {value}: {rule}")]
    Value {
        /// `scale`, `mean` or `std`.
        key: &'static str,
        /// The number.
        value: f32,
        /// What it must be.
        rule: &'static str,
    },
    /// A number of pixels that no picture has.
    #[error("{key} is {pixels}: a number of pixels from 1 to {}", PictureFit::LARGEST)]
    Pixels {
        /// `resize` or `crop`.
        key: &'static str,
        /// The number.
        pixels: u32,
    },
    /// Lists of different lengths, or another number of channels than the network's.
    #[error("{key} has {found} numbers, but {expected} channels need {expected}, or 1 for all of them")]
    Channels {
        /// `mean` or `std`.
        key: &'static str,
        /// Its length.
        found: usize,
        /// Channels of the network's input.
        expected: usize,
    },
}

impl Default for Preprocess {
    /// Pixels to the range 0 to 1 and nothing else.
    fn default() -> Preprocess {
        Preprocess {
            scale: of_bytes(),
            mean: vec![0.0],
            std: vec![1.0],
            classes: Vec::new(),
            input_layout: None,
            picture_fit: PictureFit::default(),
        }
    }
}

impl PictureFit {
    /// The longest side that a picture is scaled or cut to.
    pub const LARGEST: u32 = 1 << 14;
}

impl Preprocess {
    /// From command-line lists. An empty `mean` is 0, an empty `std` is 1, one number serves all
    /// channels.
    ///
    /// *Errors*: [`PreprocessError::Value`] for numbers that are not finite and divisors not above
    /// 0; [`PreprocessError::Channels`] for two lists that cannot belong to one input.
    pub fn new(scale: f32, mean: Vec<f32>, std: Vec<f32>) -> Result<Preprocess, PreprocessError> {
        let or_one = |list: Vec<f32>, value| if list.is_empty() { vec![value] } else { list };
        let (mean, std) = (or_one(mean, 0.0), or_one(std, 1.0));
        let check = |key, values: &[f32], sound: fn(f32) -> bool, rule| match values
            .iter()
            .find(|&&value| !sound(value))
        {
            Some(&value) => Err(PreprocessError::Value { key, value, rule }),
            None => Ok(()),
        };
        let divisor = |value: f32| value.is_finite() && value > 0.0;
        check("scale", &[scale], divisor, "pixels are divided by it, so it must be above 0 and finite")?;
        check("std", &std, divisor, "channels are divided by it, so it must be above 0 and finite")?;
        check("mean", &mean, f32::is_finite, "it must be finite")?;
        if mean.len() > 1 && std.len() > 1 && mean.len() != std.len() {
            return Err(PreprocessError::Channels { key: "std", found: std.len(), expected: mean.len() });
        }
        Ok(Preprocess { scale, mean, std, ..Preprocess::default() })
    }

    /// What pixels are divided by first.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What is subtracted next: one number, or one per channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// What is divided by last: one number, or one per channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Names of the network's outputs, in order; empty if they have none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Where the network has the channels of its input: first, unless it was said or guessed.
    pub fn input_layout(&self) -> InputLayout {
        self.input_layout.unwrap_or_default()
    }

    /// For a network whose channels are where `layout` says.
    #[must_use]
    pub fn with_input_layout(self, layout: InputLayout) -> Self {
        Preprocess { input_layout: Some(layout), ..self }
    }

    /// How pictures of other sizes are made to fit.
    pub fn picture_fit(&self) -> PictureFit {
        self.picture_fit
    }

    /// For pictures of other sizes, which are made to fit.
    ///
    /// *Errors*: [`PreprocessError::Pixels`] for 0 and for more than [`PictureFit::LARGEST`].
    pub fn with_picture_fit(self, fit: PictureFit) -> Result<Self, PreprocessError> {
        for (key, pixels) in [("resize", fit.resize), ("crop", fit.crop)] {
            if let Some(pixels) = pixels.filter(|pixels| !(1..=PictureFit::LARGEST).contains(pixels)) {
                return Err(PreprocessError::Pixels { key, pixels });
            }
        }
        Ok(Preprocess { picture_fit: fit, ..self })
    }

    /// For a network whose input has `shape`: where nothing says its layout, it is guessed from
    /// that, and from how many channels there are numbers for.
    #[must_use]
    pub fn for_input(self, shape: &[usize]) -> Self {
        let (None, &[n, second, third, last]) = (self.input_layout, shape) else { return self };
        let channels = self.mean.len().max(self.std.len());
        match InputLayout::guess([n, second, third, last], channels) {
            InputLayout::Nchw => self,
            InputLayout::Nhwc => self.with_input_layout(InputLayout::Nhwc),
        }
    }

    /// The pixel of channel `c` that `value` is nearest to, of those from 0 to 255; the inverse of
    /// [`apply`](Self::apply).
    pub fn pixel(&self, c: usize, value: f64) -> u8 {
        let at = |list: &[f32]| f64::from(list[if list.len() == 1 { 0 } else { c % list.len() }]);
        let pixel = (value * at(&self.std) + at(&self.mean)) * f64::from(self.scale);
        pixel.round().clamp(0.0, 255.0) as u8
    }

    /// Whether this can normalise images of so many channels.
    pub fn check_channels(&self, channels: usize) -> Result<(), PreprocessError> {
        for (key, list) in [("mean", &self.mean), ("std", &self.std)] {
            if list.len() != 1 && list.len() != channels {
                return Err(PreprocessError::Channels { key, found: list.len(), expected: channels });
            }
        }
        Ok(())
    }

    /// Normalises `pixels`, `[c][y][x]`, of an image of `shape`: channels, height, width; in place.
    ///
    /// *Errors*: [`PreprocessError::Channels`]. *Panics*: if `pixels` is not one image of `shape`.
    pub fn apply(&self, shape: [usize; 3], pixels: &mut [f32]) -> Result<(), PreprocessError> {
        let [channels, height, width] = shape;
        self.check_channels(channels)?;
        assert_eq!(pixels.len(), channels * height * width, "not one image of shape {shape:?}");
        let at = |list: &[f32], c: usize| list[if list.len() == 1 { 0 } else { c }];
        for c in 0..channels {
            let (mean, std) = (at(&self.mean, c), at(&self.std, c));
            for x in &mut pixels[c * height * width..(c + 1) * height * width] {
                *x = (*x / self.scale - mean) / std;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_normalised_by_its_own_numbers() {
        let p = Preprocess::new(255.0, vec![0.5, 0.25], vec![0.5, 2.0]).unwrap();
        let mut x = [0.0, 255.0, 0.0, 255.0];
        p.apply([2, 1, 2], &mut x).unwrap();
        assert_eq!(x, [-1.0, 1.0, -0.125, 0.375]);
        let one = Preprocess::new(1.0, vec![1.0], vec![]).unwrap();
        let mut x = [1.0, 2.0, 3.0];
        one.apply([3, 1, 1], &mut x).unwrap();
        assert_eq!(x, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn channels_are_last_where_the_shape_or_the_numbers_say_so() {
        use InputLayout::{Nchw, Nhwc};
        let cases = [
            ([1, 28, 28, 1], 1, Nhwc),
            ([1, 224, 224, 3], 3, Nhwc),
            ([1, 3, 224, 224], 3, Nchw),
            ([1, 1, 28, 28], 1, Nchw),
            // A picture of three rows, and one of three columns.
            ([1, 3, 32, 3], 3, Nchw),
            ([1, 32, 3, 3], 3, Nhwc),
            // Signals and features.
            ([1, 64, 1, 1], 1, Nchw),
            ([1, 16, 9, 9], 1, Nchw),
            // Only the numbers tell.
            ([1, 9, 9, 12], 12, Nhwc),
            ([1, 12, 9, 3], 12, Nchw),
        ];
        for (shape, channels, expected) in cases {
            let preprocess = Preprocess::new(1.0, vec![0.5; channels], vec![]).unwrap();
            assert_eq!(preprocess.clone().for_input(&shape).input_layout(), expected, "{shape:?}");
            let said = preprocess.with_input_layout(Nchw).for_input(&shape);
            assert_eq!(said.input_layout(), Nchw);
        }
        assert_eq!(Nhwc.image([1, 4, 5, 3]), [3, 4, 5]);
        assert_eq!(Nhwc.arrange([2, 1, 3], vec![1., 2., 3., 4., 5., 6.]), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(Nchw.arrange([2, 1, 1], vec![1., 2.]), [1., 2.]);
    }

    #[test]
    fn another_number_of_channels_is_an_error() {
        let p = Preprocess::new(255.0, vec![0.5; 3], vec![]).unwrap();
        let error = p.apply([1, 1, 1], &mut [0.0]).unwrap_err();
        assert!(matches!(error, PreprocessError::Channels { key: "mean", found: 3, expected: 1 }));
        let error = Preprocess::new(255.0, vec![0.5; 3], vec![1.0; 2]).unwrap_err();
        assert!(matches!(error, PreprocessError::Channels { key: "std", found: 2, expected: 3 }));
    }

    #[test]
    fn numbers_that_cannot_divide_are_errors() {
        for (scale, mean, std) in [
            (0.0, 0.0, 1.0),
            (f32::NAN, 0.0, 1.0),
            (-255.0, 0.0, 1.0),
            (255.0, f32::INFINITY, 1.0),
            (255.0, 0.0, 0.0),
            (255.0, 0.0, f32::NAN),
        ] {
            let error = Preprocess::new(scale, vec![mean], vec![std]).unwrap_err();
            assert!(matches!(error, PreprocessError::Value { .. }), "{error}");
        }
    }

    #[test]
    fn numbers_of_a_file_are_checked_when_they_are_read() {
        let good = Preprocess::new(255.0, vec![0.1, 0.2, 0.3], vec![]).unwrap();
        let text = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), good);
        assert!(serde_json::from_str::<Preprocess>(&text.replace("255.0", "0.0")).is_err());
    }
}
