//! Compiled programs from files, and their plain networks.

use std::path::Path;

use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::program::{Interface, Preprocess, Program};
use fhec_ir::tensor::Tensor;
use fhec_roles::files::{self, Access, FileError};
pub use fhec_roles::verdict::{argmax, rounded, tied_with_argmax};

use crate::data::{Dataset, ImageShape};
use crate::error::{NetworkError, OpenError, RehearsalError};

/// Largest program file read: 1 GiB, far above any compiled CNN.
const MAX_PROGRAM_BYTES: u64 = 1 << 30;

/// Reads a program file, of a program that keeps at least `least_security` bits.
pub fn open(path: &Path, least_security: u32) -> Result<Program, OpenError> {
    let bytes = files::read(path, MAX_PROGRAM_BYTES)?;
    let program = Program::from_bytes(&bytes, least_security);
    program.map_err(|source| OpenError::Program { path: path.to_owned(), source })
}

/// Reads the interface of a program file, a client's or any other: nothing else of it is looked at.
pub fn open_interface(path: &Path, least_security: u32) -> Result<Interface, OpenError> {
    let bytes = files::read(path, MAX_PROGRAM_BYTES)?;
    let interface = Interface::from_bytes(&bytes, least_security);
    interface.map_err(|source| OpenError::Program { path: path.to_owned(), source })
}

/// Writes a program file and returns its size in bytes.
pub fn write(program: &Program, path: &Path) -> Result<u64, FileError> {
    let bytes = program.to_bytes();
    files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))
}

/// Writes the file of a client, the interface alone, and returns its size in bytes.
pub fn write_interface(interface: &Interface, path: &Path) -> Result<u64, FileError> {
    let bytes = interface.to_bytes();
    files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))
}

/// Shape of the images that a program takes: channels, height, width.
///
/// # Errors
/// If it takes no images.
pub fn image_shape(interface: &Interface) -> Result<ImageShape, OpenError> {
    let no_image = || OpenError::NoImage { shape: interface.input.shape.clone() };
    interface.image_shape().ok_or_else(no_image)
}

/// Opens images of the program's shape, pictures made to fit as its preprocessing says.
pub fn open_images(interface: &Interface, path: &Path) -> Result<Dataset, OpenError> {
    Ok(Dataset::open_for(path, image_shape(interface)?, &interface.preprocess)?)
}

/// The numbers of the plain network's first output: exact activations, single precision.
pub fn reference_logits(program: &Program, input: &[f32]) -> Result<Vec<f64>, RehearsalError> {
    Ok(reference_outputs(program, input)?.into_iter().next().unwrap_or_default())
}

/// The numbers of all outputs of the plain network, likewise.
pub fn reference_outputs(program: &Program, input: &[f32]) -> Result<Vec<Vec<f64>>, RehearsalError> {
    let image = Tensor::new(program.interface.input.shape.clone(), input)?;
    let outputs = interp::nn::run(program.reference()?, &[image])?;
    Ok(outputs.iter().map(|output| output.data().iter().map(|&x| f64::from(x)).collect()).collect())
}

/// Checks that `network` can be run on images normalised by `preprocess`: one image goes in, of as
/// many channels as there are means and deviations, and something comes out. Returns the shape of
/// the image: channels, height, width.
pub fn check_network(network: &Func<Nn>, preprocess: &Preprocess) -> Result<ImageShape, NetworkError> {
    let &[input] = network.inputs() else {
        return Err(NetworkError::Inputs { inputs: network.inputs().len() });
    };
    let input = &network.ty(input).shape;
    let shape = preprocess.input_layout().shape(input);
    let shape = shape.ok_or_else(|| NetworkError::Shape { shape: input.clone() })?;
    preprocess.check_channels(shape[0])?;
    if network.outputs().is_empty() { Err(NetworkError::NoOutput) } else { Ok(shape) }
}
