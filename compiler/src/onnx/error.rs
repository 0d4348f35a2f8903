//! Why a model cannot be imported.

use std::fmt;

use fhec_roles::files::FileError;
use thiserror::Error;

/// Which node of the model an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Its name, or that of its first output if it has none.
    pub name: String,
    /// Its operator, with the domain in front unless that is the standard one.
    pub op: String,
    /// Version of the operator set the model asks for.
    pub opset: i64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node `{}` ({}, opset {})", self.name, self.op, self.opset)
    }
}

/// An ONNX file that is damaged, wrong, or beyond what fhec supports. Every message says what to do
/// about it.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {reason}")]
    NotOnnx {
        /// What they are or what is wrong with them.
        reason: String,
    },
    /// An ONNX model that stops in the middle.
    #[error(
        "the ONNX model is truncated: after {length} bytes it ends inside a field that begins at byte {at}; \
         copy or download it again"
    )]
    Truncated {
        /// Bytes present.
        length: usize,
        /// Start of the field that is cut off.
        at: usize,
    },
    /// An operator set outside the supported range.
    #[error("the model uses opset {found}, supported are {oldest} to {newest}; export it with one of those")]
    Opset {
        /// What the model says.
        found: i64,
        /// Oldest supported.
        oldest: i64,
        /// Newest supported.
        newest: i64,
    },
    /// A model whose graph does not hold together.
    #[error("the model's graph is inconsistent: {reason}")]
    Graph {
        /// The broken rule, with names.
        reason: String,
    },
    /// Nodes that feed themselves.
    #[error(
        "the model's graph has a cycle through {node}; a network must be acyclic, unroll loops before export"
    )]
    Cycle {
        /// One node of the cycle.
        node: NodeId,
    },
    /// A value that nothing defines.
    #[error(
        "{user} needs the tensor `{tensor}`, which is neither an input, nor a weight, nor any node's output; \
         export the model again"
    )]
    MissingTensor {
        /// Who needs it.
        user: String,
        /// Its name.
        tensor: String,
    },
    /// An input of the model that cannot be one of the network.
    #[error("input `{name}` of the model: {reason}")]
    Input {
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A tensor that the network is to end at, and cannot.
    #[error("the network cannot end at `{name}`: {reason}")]
    End {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A stored tensor that cannot be read.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "tensor `{tensor}` has the value {value} at element {position}; such a network cannot be evaluated, \
         check the training run or the export"
    )]
    NotFinite {
        /// Its name.
        tensor: String,
        /// Row-major position.
        position: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// An operator that fhec does not know.
    #[error("{node}: the operator {} is not supported; {hint}. Supported are: {}", node.op, supported.join(", "))]
    UnsupportedOp {
        /// The node.
        node: NodeId,
        /// The nearest supported form.
        hint: String,
        /// All supported operators.
        supported: Vec<&'static str>,
    },
    /// A known operator in a form that fhec does not support.
    #[error("{node}: {what} is not supported; {instead}")]
    Unsupported {
        /// The node.
        node: NodeId,
        /// The form found.
        what: String,
        /// The nearest supported form.
        instead: String,
    },
    /// A node that breaks the rules of its operator, shapes included.
    #[error("{node}: {reason}")]
    Invalid {
        /// The node.
        node: NodeId,
        /// The broken rule.
        reason: String,
    },
    /// A model that would need more memory or time to import than any network does.
    #[error(
        "{node}: {reason}, which is beyond what is imported; where the file fixes a batch, --input-shape gives another"
    )]
    TooLarge {
        /// The node.
        node: NodeId,
        /// What grows too large.
        reason: String,
    },
}

impl ImportError {
    /// With one more thing that can be done about it, where it is about a node that is beyond what
    /// is supported.
    pub(super) fn with_remedy(mut self, remedy: &str) -> Self {
        if let ImportError::UnsupportedOp { hint: other, .. }
        | ImportError::Unsupported { instead: other, .. } = &mut self
        {
            *other = format!("{other}; {remedy}");
        }
        self
    }
}
