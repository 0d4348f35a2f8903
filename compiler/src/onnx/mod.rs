//! ONNX import: a `.onnx` file becomes a function of the nn stage.
//!
//! ```no_run
//! let model = fhec_compiler::onnx::import("resnet20.onnx")?;
//! println!("{}", fhec_ir::text::print_func(&model.func));
//! # Ok::<(), fhec_compiler::onnx::ImportError>(())
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `wire` | is this a serialized model at all? bounds on hostile input |
//! | `tensor` | stored tensors, external data |
//! | `graph` | which nodes are needed, in which order |
//! | `ends` | where the network ends, if not at the model's outputs |
//! | `node` | inputs and attributes of one node |
//! | `ops` | the table of operators and their translations, one file per family |
//! | `emit` | ops of the nn stage; constants are folded by the interpreter |
//! | `literal` | constants and the shape arithmetic of exporters |
//! | `composed` | several nodes that are one activation |
//! | `patterns` | what is tidied when all nodes are translated |
//!
//! Opsets [`OLDEST_OPSET`] to [`NEWEST_OPSET`]. A dynamic batch dimension becomes 1. Input is not
//! trusted: every failure is an [`ImportError`], nothing is allocated from a declared size alone,
//! and work is bounded.

use std::collections::BTreeMap;
use std::path::Path;

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_roles::files;
use onnx_protobuf::ModelProto;
use protobuf::Message;

mod composed;
mod emit;
mod ends;
mod error;
mod graph;
mod literal;
mod node;
mod ops;
mod patterns;
mod tensor;
mod wire;

pub use error::{ImportError, NodeId};
pub use graph::{NEWEST_OPSET, OLDEST_OPSET};
pub use ops::supported_operators;

/// An imported network.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network; values carry the names of the model's tensors.
    pub func: Func<Nn>,
    /// Names of the inputs, in order.
    pub inputs: Vec<String>,
    /// Least and largest number of each input, where the model says that it takes integers.
    pub input_limits: Vec<Option<[i64; 2]>>,
    /// Names of the outputs, in order.
    pub outputs: Vec<String>,
    /// Version of the operator set.
    pub opset: i64,
    /// What wrote the model, as it says itself.
    pub producer: String,
    /// How the network differs from what the file says to the letter, in sentences; mostly nothing.
    pub notes: Vec<String>,
}

/// Largest model file read: protocol buffers go up to 2 GiB.
const MAX_MODEL_BYTES: u64 = 2 << 30;

/// Choices of [`import_with`].
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Shapes of inputs, by name, for dimensions that the model leaves open or to fix another
    /// batch. The empty name stands for the only input.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
    /// Tensors that the network ends at, in place of the model's outputs; empty for these. Nodes
    /// and inputs that only others need are left out.
    pub end_at: Vec<String>,
    /// Refuse quantised networks, whose values are compiled without their rounding to steps.
    pub keep_rounding: bool,
}

/// Reads the model at `path`; external data are looked for beside it.
pub fn import(path: impl AsRef<Path>) -> Result<Imported, ImportError> {
    import_with(path, &ImportOptions::default())
}

/// [`import`] with options.
pub fn import_with(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Imported, ImportError> {
    let path = path.as_ref();
    let bytes = files::read(path, MAX_MODEL_BYTES)?;
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("."),
    };
    import_bytes(&bytes, Some(directory), options)
}

/// Reads a model from memory; external data, if it has any, from `directory`.
pub fn import_bytes(
    bytes: &[u8],
    directory: Option<&Path>,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let model = decode(bytes)?;
    let reader = tensor::TensorReader { directory: directory.map(Into::into) };
    graph::import(&model, &reader, options, bytes.len())
}

fn decode(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    let not_onnx = |reason: String| ImportError::NotOnnx { reason };
    if let Some(known) = known_as(bytes) {
        return Err(not_onnx(known.to_string()));
    }
    wire::check(bytes).map_err(|error| match error {
        // Every exporter writes `ir_version`, the first field, first.
        wire::WireError::Truncated { at } if bytes[0] == 0x08 && at > 0 => {
            ImportError::Truncated { length: bytes.len(), at }
        }
        wire::WireError::Truncated { at } => {
            not_onnx(format!("it ends inside a field that begins at byte {at}"))
        }
        wire::WireError::Malformed { at, what } => not_onnx(format!("{what} (at byte {at})")),
    })?;
    let model = ModelProto::parse_from_bytes(bytes).map_err(|error| not_onnx(error.to_string()))?;
    if model.graph.is_none() {
        let reason =
            if model.ir_version > 0 { "it holds no graph; it may be truncated" } else { "it holds no graph" };
        return Err(not_onnx(reason.to_string()));
    }
    Ok(model)
}

/// What files that are given by mistake are.
fn known_as(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 6] = [
        (b"", "the file is empty"),
        (b"version https://git-lfs", "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"),
        (
            b"PK\x03\x04",
            "it is a zip archive, perhaps a PyTorch checkpoint; export it with torch.onnx.export",
        ),
        (b"\x89HDF", "it is an HDF5 file, perhaps a Keras model; convert it with tf2onnx"),
        (b"\x89PNG", "it is a PNG image"),
        (
            b"\x80\x02",
            "it is a Python pickle, perhaps a PyTorch checkpoint; export it with torch.onnx.export",
        ),
    ];
    let found =
        known.iter().find(|(magic, _)| bytes == *magic || !magic.is_empty() && bytes.starts_with(magic));
    found.map(|(_, what)| *what)
}
