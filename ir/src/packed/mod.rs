//! Stage 2, `packed`: bundles of slot vectors and few, big ops. No scheme words here.

use crate::attr::{AsAttr, Attr, AttrError};
use crate::func::{Func, Stage, StageType};
use crate::linear_map::{LinearMap, PlainTensor};
use crate::op_table::op_table;
use crate::polynomial::Polynomial;

/// The packed stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed;

/// A bundle of vectors of slots, holding one tensor in some layout; prints as `vec<2, 16384>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorType {
    /// Number of vectors; every op acts on each of them.
    pub vectors: usize,
    /// Slots per vector, a power of two.
    pub slots: usize,
}

impl StageType for VectorType {
    fn print(&self) -> String {
        format!("vec<{}, {}>", self.vectors, self.slots)
    }

    fn parse(text: &str) -> Result<Self, AttrError> {
        let error = || AttrError(format!("expected vec<vectors, slots>, found `{text}`"));
        let list = text.strip_prefix("vec<").and_then(|rest| rest.strip_suffix('>')).ok_or_else(error)?;
        let attr: Attr = crate::text::parse_attr(&format!("[{list}]"))?;
        let [vectors, slots] = AsAttr::from_attr(Some(&attr))?;
        Ok(VectorType { vectors, slots })
    }
}

op_table! {
    /// An op on bundles of slot vectors.
    enum Op {
    /// A sparse matrix from the operand's slots to the result's; the result may be a bundle of
    /// another size.
    LinearMap "linear_map" (x) {
        /// Weights and layouts.
        map: LinearMap,
    }
    /// A polynomial of every slot.
    Polynomial "polynomial" (x) {
        /// Coefficients and domain.
        polynomial: Polynomial,
    }
    /// `x + y`.
    Add "add" (x, y) {}
    /// `x - y`.
    Sub "sub" (x, y) {}
    /// `x * y`, slot by slot.
    Mul "mul" (x, y) {}
    /// `x + plain`.
    AddPlain "add_plain" (x) {
        /// What is added.
        plain: PlainTensor,
    }
    /// `x * plain`, slot by slot.
    MulPlain "mul_plain" (x) {
        /// The factor.
        plain: PlainTensor,
    }
    /// `factor * x`.
    MulScalar "mul_scalar" (x) {
        /// The factor.
        factor: f64,
    }
    /// `x + offset` in every slot.
    AddScalar "add_scalar" (x) {
        /// The offset.
        offset: f64,
    }
    /// Slot `i` of the result is slot `i + steps` of the operand, cyclically.
    Rotate "rotate" (x) {
        /// Slots to the left; negative is to the right.
        steps: i64,
    }
    /// Complex conjugation of every slot; the identity on real ones.
    Conjugate "conjugate" (x) {}
    }
}

impl Stage for Packed {
    type Op = Op;
    type Type = VectorType;
    const NAME: &'static str = "packed";

    fn infer(op: &Op, operands: &[VectorType], func: &Func<Self>) -> Result<VectorType, String> {
        let x = operands[0];
        match op {
            Op::LinearMap { map, .. } => {
                map.validate(&func.consts)?;
                fits(x, map.input.vectors(), map.input.slots)?;
                Ok(VectorType { vectors: map.output.vectors(), slots: x.slots })
            }
            Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } if x != operands[1] => {
                Err(format!("operands differ: {} and {}", x.print(), operands[1].print()))
            }
            Op::AddPlain { plain, .. } | Op::MulPlain { plain, .. } => {
                plain.validate(&func.consts)?;
                fits(x, plain.layout.vectors(), plain.layout.slots)?;
                Ok(x)
            }
            Op::MulScalar { factor: number, .. } | Op::AddScalar { offset: number, .. }
                if !number.is_finite() =>
            {
                Err(format!("{number} is not finite"))
            }
            _ => Ok(x),
        }
    }
}

fn fits(x: VectorType, vectors: usize, slots: usize) -> Result<(), String> {
    if (x.vectors, x.slots) == (vectors, slots) {
        return Ok(());
    }
    Err(format!("the layout needs {vectors} vectors of {slots} slots, the operand is {}", x.print()))
}
