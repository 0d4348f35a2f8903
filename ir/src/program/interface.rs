//! What a client needs of a program, and all that it needs: to make keys, to encrypt, to decrypt.
//! No weights, no ops, no names of layers.

use std::fmt;

use thiserror::Error;

use super::affine::Affine;
use super::ending::Ending;
use super::preprocess::{Preprocess, PreprocessError};
use crate::batch::{Batch, BatchError};
use crate::ckks::{CiphertextType, Ckks};
use crate::func::{Func, StageType};
use crate::interp::Bundle;
use crate::key_demand::KeyDemand;
use crate::layout::{Layout, LayoutError};
use crate::noise::NoiseModel;
use crate::params::Params;
use crate::permutation::Permutation;
use crate::security::{Certificate, SecurityError};
use crate::tensor::{element_count, is_class_list};
use crate::text::print_func;

/// Names a program by its content: BLAKE3 of the text of its schedule, in which large constants
/// stand as digests. Equal schedules have equal names wherever they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub [u8; 32]);

impl ProgramId {
    /// The name of the program with this schedule. Prints it, and reads all of its constants.
    pub fn of(schedule: &Func<Ckks>) -> Self {
        ProgramId::of_text(&print_func(schedule))
    }

    /// The name of the program whose schedule has this text.
    pub fn of_text(text: &str) -> Self {
        ProgramId(blake3::hash(text.as_bytes()).into())
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgramId({self})")
    }
}

/// An input or an output of a program: where a tensor is in ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name of the tensor; may be empty.
    pub name: String,
    /// Shape of the tensor of one image, outermost dimension first, the batch's dimension of 1
    /// included.
    pub shape: Vec<usize>,
    /// What its ciphertexts are.
    pub ty: CiphertextType,
    /// Where its elements are in their slots; of all images of a batch.
    pub layout: Layout,
    /// The order in which the elements of an image are laid out, if it is not that of the tensor.
    pub permutation: Option<Permutation>,
    /// What stored numbers are multiplied with to be those of the tensor.
    pub factor: f64,
    /// What slots hold that no element takes.
    pub spare: f64,
    /// What is left of the network to be done with the tensor's elements; nothing for inputs.
    pub ending: Ending,
    /// `log2` of the standard deviation of the error of a stored number, predicted; for inputs,
    /// that of the encryption.
    pub log2_error: f64,
}

/// What a client needs of a program, and all that it needs: no weights, no ops, no names of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// Name of the network.
    pub name: String,
    /// The program that it is of.
    pub program: ProgramId,
    /// Scheme parameters.
    pub params: Params,
    /// The image.
    pub input: Port,
    /// The answer: at least one tensor. The first is what reports of classes are about.
    pub outputs: Vec<Port>,
    /// Images of one run, and how they share ciphertexts.
    pub batch: Batch,
    /// The keys that a server needs.
    pub keys: KeyDemand,
    /// From pixels to the network's input, and the names of the classes.
    pub preprocess: Preprocess,
}

/// Why an interface cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum InterfaceError {
    #[error("the {port} of the program makes no sense: {reason}; compile the model again")]
    Port { port: &'static str, reason: String },
    #[error("the keys that the program asks for make no sense: {reason}; compile the model again")]
    Keys { reason: String },
    #[error("the program's batch makes no sense: {0}; compile the model again")]
    Batch(#[from] BatchError),
    #[error("the program's normalisation does not fit its input: {0}")]
    Preprocess(#[from] PreprocessError),
    #[error("an image of {expected} numbers was expected, found {found}")]
    ImageSize { expected: usize, found: usize },
    #[error("up to {images} images of {expected} numbers were expected, found {found} numbers")]
    BatchSize { images: usize, expected: usize, found: usize },
    #[error(
        "the input holds {found}, and the program was made for numbers up to {bound:.4} in magnitude; \
         normalise it as the inputs that the model was calibrated with, or calibrate with inputs like this one"
    )]
    Range { found: f32, bound: f64 },
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// Inputs as many times as large as the program was made for are refused: polynomials grow out of
/// all bounds beyond their domains.
const MOST_BEYOND: f64 = 2.0;

/// Bound on the slots of one port, 1 GiB as numbers: a layout of few elements may ask for many more
/// vectors.
const MAX_PORT_SLOTS: usize = 1 << 27;

impl Port {
    /// Whether the tensor of one image is a list of classes, by its shape.
    pub fn is_class_list(&self) -> bool {
        is_class_list(&self.shape)
    }

    /// What its numbers are, in a word for people: `logits`, `values`, `probabilities` or
    /// `log-probabilities`.
    pub fn numbers(&self) -> &'static str {
        match self.ending {
            Ending::Nothing if !self.is_class_list() => "values",
            Ending::Nothing | Ending::ArgMax(_) => "logits",
            ending if ending.then() != Affine::IDENTITY => "values",
            Ending::Softmax(..) => "probabilities",
            Ending::LogSoftmax(..) => "log-probabilities",
        }
    }

    fn check(&self, port: &'static str, params: &Params, batch: &Batch) -> Result<(), InterfaceError> {
        let Port { shape, ty, layout, factor, permutation, spare, ending, log2_error, .. } = self;
        let error = |reason: String| Err(InterfaceError::Port { port, reason });
        layout.validate().map_err(|LayoutError { reason, .. }| InterfaceError::Port {
            port,
            reason: format!("its layout is none: {reason}"),
        })?;
        if (layout.vectors(), layout.slots) != (ty.vectors, ty.slots) {
            return error(format!(
                "the layout takes {} vectors of {} slots, the bundle is {} of {}",
                layout.vectors(),
                layout.slots,
                ty.vectors,
                ty.slots
            ));
        }
        if ty.vectors.saturating_mul(ty.slots) > MAX_PORT_SLOTS {
            return error(format!("it takes more than {MAX_PORT_SLOTS} slots"));
        }
        if ty.level > params.top_level() || ty.scale.level > params.top_level() || ty.slots > params.slots() {
            return error(format!("{} is beyond the parameters", ty.print()));
        }
        if !(ty.size == 2 || ty.size == 3) {
            return error(format!("it has size {}", ty.size));
        }
        if !(factor.is_normal() && *factor > 0.0 && spare.is_finite()) || log2_error.is_nan() {
            return error(format!(
                "it has factor {factor}, {spare} where no element is, and an error of 2^{log2_error}"
            ));
        }
        let elements = batch.elements_per_image(layout)?;
        if element_count(shape) != Some(elements) {
            return error(format!(
                "the layout holds {elements} elements of an image, the network's tensor has shape {shape:?}"
            ));
        }
        if let Err(reason) = ending.check(elements) {
            return error(reason);
        }
        match permutation.as_ref().map_or(Ok(()), |permutation| permutation.check(elements)) {
            Ok(()) => Ok(()),
            Err(reason) => error(reason.to_string()),
        }
    }

    /// Elements of whole images in the order in which they are laid out.
    fn laid_out<T: Copy>(&self, elements: Vec<T>) -> Vec<T> {
        permuted(self.permutation.as_ref(), elements)
    }

    /// Elements of whole images in the order of the tensor, from that in which they are laid out.
    fn read_back<T: Copy>(&self, elements: Vec<T>) -> Vec<T> {
        permuted(self.permutation.as_ref().map(Permutation::inverse).as_ref(), elements)
    }
}

/// Image after image in another order.
fn permuted<T: Copy>(permutation: Option<&Permutation>, elements: Vec<T>) -> Vec<T> {
    let Some(permutation) = permutation else { return elements };
    let each = permutation.shape.iter().product::<usize>().max(1);
    elements.chunks_exact(each).flat_map(|image| permutation.apply(image)).collect()
}

impl Interface {
    /// Errs unless everything fits: ports the parameters and the batch, keys the ring, the
    /// normalisation the channels.
    pub fn check(&self) -> Result<(), InterfaceError> {
        let Interface { params, batch, keys, .. } = self;
        if batch.images == 0 {
            return Err(BatchError::Empty.into());
        }
        self.input.check("input", params, batch)?;
        self.outputs.iter().try_for_each(|output| output.check("output", params, batch))?;
        let slots = self.outputs.iter().map(|output| output.ty.vectors.saturating_mul(output.ty.slots));
        if self.outputs.is_empty() || slots.fold(0, usize::saturating_add) > MAX_PORT_SLOTS {
            let reason = format!("its {} outputs take none or too many slots", self.outputs.len());
            return Err(InterfaceError::Port { port: "answer", reason });
        }
        if let Some([channels, _, _]) = self.image_shape() {
            self.preprocess.check_channels(channels)?;
        }
        let error = |reason: String| Err(InterfaceError::Keys { reason });
        let top = params.top_level();
        if let Some(level) = keys.levels().find(|&level| level > top) {
            return error(format!("one is for level {level}, the highest is {top}"));
        }
        let most = params.slots();
        if let Some(steps) = keys.rotations.keys().find(|&&steps| steps == 0 || steps >= most) {
            return error(format!("one rotates by {steps}, there are {most} slots"));
        }
        if let Some(encapsulation) = &keys.encapsulation {
            let special = encapsulation.special;
            let within = encapsulation.rotations.last().is_some_and(|&steps| steps < most);
            if encapsulation.level > top || !(1..=params.p().len()).contains(&special) || !within {
                return error("those from the ephemeral secret are beyond the parameters".into());
            }
        }
        Ok(())
    }

    /// Channels, height and width of the images that the program takes, if it takes images.
    pub fn image_shape(&self) -> Option<[usize; 3]> {
        self.preprocess.input_layout().shape(&self.input.shape)
    }

    /// What the security table says of the program's secrets, computed from its parameters and
    /// keys.
    ///
    /// # Errors
    /// If the table says nothing of one, or if one keeps less than its lowest level.
    pub fn certificate(&self) -> Result<Certificate, SecurityError> {
        Certificate::of(&self.params, self.keys.encapsulation.as_ref())
    }

    /// The slots of the program's input that hold `image` (preprocessed, as the network takes it),
    /// or as many images of a batch as it has or fewer, one after the other.
    ///
    /// # Errors
    /// If the image has another size, or holds numbers far beyond those that the program was made
    /// for.
    pub fn pack(&self, image: &[f32]) -> Result<Bundle, InterfaceError> {
        let (expected, found) = (self.batch.elements_per_image(&self.input.layout)?, image.len());
        if found == 0 || !found.is_multiple_of(expected) || found > expected * self.batch.images {
            return Err(match self.batch.images {
                1 => InterfaceError::ImageSize { expected, found },
                images => InterfaceError::BatchSize { images, expected, found },
            });
        }
        let elements: Vec<f64> = image.iter().map(|&x| f64::from(x) / self.input.factor).collect();
        let beyond = |x: &&f32| (f64::from(**x) / self.input.factor).abs() > MOST_BEYOND || x.is_nan();
        if let Some(&found) = image.iter().find(beyond) {
            return Err(InterfaceError::Range { found, bound: self.input.factor });
        }
        Ok(self.batch.pack(&self.input.layout, &self.input.laid_out(elements))?)
    }

    /// The first output.
    ///
    /// # Panics
    /// If there is none; [`Interface::check`] sees to it that there is one.
    pub fn output(&self) -> &Port {
        self.outputs.first().expect("an interface has an output")
    }

    /// What the ciphertexts of an answer are, those of one output after those of another.
    pub fn answer_types(&self) -> Vec<CiphertextType> {
        self.outputs.iter().map(|output| output.ty).collect()
    }

    /// The numbers that the slots of `output` hold, image after image, as the network has them: its
    /// [`Ending`] is done.
    ///
    /// # Panics
    /// If vectors are missing or too short.
    pub fn unpack(&self, output: &Port, slots: &[Vec<f64>]) -> Result<Vec<f64>, InterfaceError> {
        let stored = output.read_back(self.batch.unpack(&output.layout, slots)?);
        let elements: Vec<f64> = stored.iter().map(|number| number * output.factor).collect();
        let each = self.batch.elements_per_image(&output.layout)?;
        Ok(elements.chunks_exact(each).flat_map(|image| output.ending.finish(image)).collect())
    }

    /// What class number `class` is called.
    pub fn class_name(&self, class: usize) -> String {
        self.preprocess.classes().get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The distance between two answers of the first output that can be told apart for certain: six
    /// standard deviations of the error that was predicted, rounded up to 1, 2 or 5 times a power
    /// of ten. The prediction is not believed where it promises less than the rounding of one
    /// ciphertext.
    pub fn certain_step(&self) -> f64 {
        let Port { ty, factor, ending, log2_error, .. } = self.output();
        let model = NoiseModel::new(&self.params, ty.slots);
        let rounding = model.division(2, self.params.scale(ty.scale).to_f64()).sqrt();
        let step = 6.0 * log2_error.exp2().max(rounding) * factor * ending.gain();
        // It may say anything, and rounding to infinity is no rounding.
        if step.is_finite() && step > 0.0 { round_number_above(step) } else { 1.0 }
    }
}

/// The least of 1, 2 and 5 times the powers of ten that is not below `number`, which is positive.
fn round_number_above(number: f64) -> f64 {
    let decade = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * decade);
    steps.into_iter().find(|&step| number <= step).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::round_number_above;

    #[test]
    fn steps_are_the_least_round_numbers_above() {
        for (number, step) in
            [(0.13, 0.2), (0.2, 0.2), (0.21, 0.5), (0.51, 1.0), (1.0, 1.0), (73.0, 100.0), (1.1e-5, 2e-5)]
        {
            let found = round_number_above(number);
            assert!((found / step - 1.0).abs() < 1e-12 && found >= number, "{number}: {found}");
        }
    }
}
