//! Stage 1, `nn`: tensors and the ops of a network after import.
//!
//! Tensors are row-major `f32` with static shapes that include the batch dimension (1 after
//! import).

pub mod activation;
pub mod expression;
pub mod infer;
pub mod ops;
pub mod origin;
pub mod signs;

use crate::attr::{Attr, AttrError};
use crate::func::{Func, Stage, StageType};

pub use activation::Activation;
pub use ops::Op;

/// The nn stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nn;

impl Stage for Nn {
    type Op = Op;
    type Type = TensorType;
    const NAME: &'static str = "nn";

    fn infer(op: &Op, operands: &[TensorType], func: &Func<Self>) -> Result<TensorType, String> {
        infer::infer(op, operands, &func.consts)
    }
}

/// Shape of an `f32` tensor, outermost dimension first; prints as `f32[1, 3, 32, 32]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Dimensions.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// The type of tensors of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>) -> Self {
        TensorType { shape: shape.into() }
    }
}

impl StageType for TensorType {
    fn print(&self) -> String {
        format!("f32{:?}", self.shape)
    }

    fn parse(text: &str) -> Result<Self, AttrError> {
        let list =
            text.strip_prefix("f32").ok_or_else(|| AttrError(format!("expected f32[..], found `{text}`")))?;
        let attr: Attr = crate::text::parse_attr(list)?;
        Ok(TensorType { shape: crate::attr::AsAttr::from_attr(Some(&attr))? })
    }
}
