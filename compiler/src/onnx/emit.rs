//! Where the nodes' translations go: a growing function, and the interpreter for whatever is
//! constant.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::entity::{Const, Value};
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::{Nn, Op, TensorType};
use fhec_ir::tensor::{Tensor, element_count};

use super::error::ImportError;
use super::literal::{Literal, Operand};
use super::ops::Code;

/// Most elements of one value of the network; a full-size ImageNet network stays below 2^22.
const MAX_VALUE: usize = 1 << 26;

/// Most elements of all values of the network together.
const MAX_TOTAL: usize = 1 << 31;

/// Constants may be computed with this many elements in all, beyond a multiple of those stored.
const MAX_FOLDED: usize = 1 << 26;

/// Multiplications that may be spent on constants.
const MAX_WORK: u64 = 1 << 33;

/// Why an op cannot be emitted.
#[derive(Debug)]
pub(super) enum EmitError {
    /// The op does not fit its operands.
    Misfit(String),
    /// The result is too large.
    TooLarge(String),
    /// A weight is NaN or infinite.
    NotFinite { tensor: String, position: usize, value: f32 },
}

/// A comparison of the network's values.
pub(super) struct Decision {
    /// Whether it holds of two numbers.
    pub holds: fn(f64, f64) -> bool,
    /// What to say where it is no part of an activation.
    pub error: ImportError,
}

pub(super) struct Emitter {
    pub func: Func<Nn>,
    constants: BTreeMap<Const, Value>,
    /// What codes of a quantised model stand for.
    decoded: BTreeMap<Value, (Operand, Code)>,
    /// Values that are 1 where a comparison of the network's values holds, and 0 elsewhere; their
    /// ops are differences, which stand for them until they are a part of an activation.
    pub decisions: BTreeMap<Value, Decision>,
    /// Least and largest number of inputs that are integers.
    pub limits: BTreeMap<Value, [i64; 2]>,
    /// What the import has to say.
    pub notes: BTreeSet<String>,
    /// Whether values that are not rounded are an error.
    pub keep_rounding: bool,
    /// The batch that the file fixes, and the one that was asked for.
    pub batch: Option<[usize; 2]>,
    total: usize,
    folded: usize,
    work: u64,
}

impl Emitter {
    /// An emitter into an empty function; `stored` bytes of model set what constants may grow to.
    pub fn new(name: &str, stored: usize) -> Self {
        Emitter {
            func: Func::new(name),
            constants: BTreeMap::new(),
            decoded: BTreeMap::new(),
            decisions: BTreeMap::new(),
            limits: BTreeMap::new(),
            notes: BTreeSet::new(),
            keep_rounding: false,
            batch: None,
            total: MAX_TOTAL,
            folded: MAX_FOLDED.saturating_add(stored.saturating_mul(2)),
            work: MAX_WORK,
        }
    }

    /// Takes note of `bytes` more of stored weights.
    pub fn add_stored(&mut self, bytes: usize) {
        self.folded = self.folded.saturating_add(bytes.saturating_mul(2));
    }

    /// Shape of what `operand` stands for.
    pub fn shape<'a>(&'a self, operand: &'a Operand) -> &'a [usize] {
        match operand {
            Operand::Variable(value) => &self.func.ty(*value).shape,
            Operand::Constant(literal) => &literal.shape,
        }
    }

    /// The op that `build` makes on `operands`; computed at once if they are all constant.
    ///
    /// `build` may be called with another function than [`Emitter::func`]: constants belong into
    /// the one it gets.
    pub fn emit(
        &mut self,
        operands: &[&Operand],
        build: impl FnOnce(&mut Func<Nn>, &[Value]) -> Op,
    ) -> Result<Operand, EmitError> {
        let constants: Option<Vec<&Literal>> = operands.iter().map(|operand| constant(operand)).collect();
        if let Some(literals) = constants {
            return self.fold(&literals, build).map(|literal| Operand::Constant(literal.into()));
        }
        let values: Result<Vec<Value>, EmitError> =
            operands.iter().map(|operand| self.materialize(operand)).collect();
        let op = build(&mut self.func, &values?);
        let value = self.func.push(op).map_err(EmitError::Misfit)?;
        self.take_value(value)?;
        Ok(Operand::Variable(value))
    }

    /// Adds an input of the network.
    pub fn input(&mut self, name: &str, shape: Vec<usize>) -> Result<Operand, EmitError> {
        let value = self.func.add_input(TensorType::new(shape), Some(name));
        self.take_value(value)?;
        Ok(Operand::Variable(value))
    }

    /// `operand` as a value of the function.
    pub fn materialize(&mut self, operand: &Operand) -> Result<Value, EmitError> {
        let literal = match operand {
            Operand::Variable(value) => return Ok(*value),
            Operand::Constant(literal) => literal,
        };
        let tensor = weight(literal)?;
        let id = self.func.add_const(tensor);
        if let Some(&value) = self.constants.get(&id) {
            return Ok(value);
        }
        let name = (!literal.name.is_empty()).then_some(literal.name.as_str());
        let value = self.func.push_named(Op::Constant { value: id }, name).map_err(EmitError::Misfit)?;
        self.constants.insert(id, value);
        self.take_value(value)?;
        Ok(value)
    }

    /// Least and largest number of a value whose elements are integers, as far as that can be told:
    /// an input of integers or positions of largest elements, in whatever order and shape.
    pub fn integers(&self, mut value: Value) -> Option<[i64; 2]> {
        let definitions = self.func.definitions();
        loop {
            if self.decisions.contains_key(&value) {
                return Some([0, 1]);
            }
            let Some(index) = definitions[value.index()] else { return self.limits.get(&value).copied() };
            value = match self.func.ops()[index].op {
                Op::Reshape { x, .. } | Op::Transpose { x, .. } | Op::Slice { x, .. } => x,
                Op::ArgMax { x, axis, .. } => {
                    let last = self.func.ty(x).shape[axis].saturating_sub(1);
                    return Some([0, i64::try_from(last).ok()?]);
                }
                _ => return None,
            };
        }
    }

    /// The number that the codes stand for, and how, if they are made from it.
    pub fn decoded(&self, codes: &Operand) -> Option<&(Operand, Code)> {
        match codes {
            Operand::Variable(value) => self.decoded.get(value),
            Operand::Constant(_) => None,
        }
    }

    /// Whether there are codes of the network's values.
    pub fn has_codes(&self) -> bool {
        !self.decoded.is_empty()
    }

    /// Remembers that `codes` stand for `real`.
    pub fn set_decoded(&mut self, codes: &Operand, real: Operand, code: Code) {
        if let Operand::Variable(value) = codes {
            self.decoded.insert(*value, (real, code));
        }
    }

    fn take_value(&mut self, value: Value) -> Result<(), EmitError> {
        let shape = &self.func.ty(value).shape;
        let count = element_count(shape).filter(|&count| count <= MAX_VALUE);
        let left = count.and_then(|count| self.total.checked_sub(count.max(1)));
        self.total = left.ok_or_else(|| EmitError::TooLarge(format!("a value of shape {shape:?}")))?;
        Ok(())
    }

    fn fold(
        &mut self,
        literals: &[&Literal],
        build: impl FnOnce(&mut Func<Nn>, &[Value]) -> Op,
    ) -> Result<Literal, EmitError> {
        let tensors: Result<Vec<Tensor>, EmitError> =
            literals.iter().map(|literal| weight(literal)).collect();
        let tensors = tensors?;
        let mut func = Func::new("constant");
        let add = |tensor: &Tensor| func.add_input(TensorType::new(tensor.shape()), None);
        let values: Vec<Value> = tensors.iter().map(add).collect();
        let op = build(&mut func, &values);
        let value = func.push(op).map_err(EmitError::Misfit)?;
        func.set_outputs(vec![value]);
        let shape = &func.ty(value).shape;
        let too_large = || EmitError::TooLarge(format!("a constant of shape {shape:?}"));
        let count = element_count(shape).ok_or_else(too_large)?;
        self.take_folded(count).map_err(|_| too_large())?;
        let work = (count as u64).saturating_mul(work_per_element(&func, &func.ops()[0].op));
        self.work = self.work.checked_sub(work).ok_or_else(too_large)?;
        let result = interp::nn::run(&func, &tensors);
        let result = result.map_err(|e| EmitError::Misfit(e.to_string()))?;
        Ok(Literal::float(&result[0]))
    }

    /// Takes note of a constant of `count` elements that is about to be computed.
    pub fn take_folded(&mut self, count: usize) -> Result<(), EmitError> {
        let left = self.folded.checked_sub(count.max(1));
        self.folded = left.ok_or_else(|| EmitError::TooLarge(format!("a constant of {count} elements")))?;
        Ok(())
    }
}

fn constant(operand: &Operand) -> Option<&Literal> {
    match operand {
        Operand::Constant(literal) => Some(literal),
        Operand::Variable(_) => None,
    }
}

/// The literal as finite floats.
pub(super) fn weight(literal: &Literal) -> Result<Tensor, EmitError> {
    if let Some((position, value)) = literal.first_not_finite() {
        return Err(EmitError::NotFinite { tensor: literal.name.clone(), position, value });
    }
    let mixed = || EmitError::Misfit(format!("`{}` holds integers where floats belong", literal.name));
    literal.as_tensor().ok_or_else(mixed)
}

/// Multiplications or comparisons per element of the result of `op`.
fn work_per_element(func: &Func<Nn>, op: &Op) -> u64 {
    let inputs = || func.inputs().iter().map(|&v| element_count(&func.ty(v).shape).unwrap_or(usize::MAX));
    let per_element = match op {
        Op::Conv2d { weight, .. } | Op::Dense { weight, .. } => {
            func.consts[*weight].shape()[1..].iter().product()
        }
        Op::ConvTranspose2d { weight, .. } => func.consts[*weight].data().len(),
        Op::AxisMatrices { weights, .. } => {
            weights.iter().map(|id| func.consts[*id].shape()[1]).fold(1, usize::saturating_mul)
        }
        Op::MatMul { x, .. } => func.ty(*x).shape.last().copied().unwrap_or(1),
        Op::MaxPool { kernel, .. } | Op::AveragePool { kernel, .. } => kernel[0].saturating_mul(kernel[1]),
        // Reductions: everything may go into one element.
        Op::ReduceMean { .. } => inputs().sum(),
        _ => 1,
    };
    per_element.max(1) as u64
}
