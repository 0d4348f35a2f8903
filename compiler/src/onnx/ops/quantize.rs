//! Quantised operators, read as what they mean for real numbers.
//!
//! A code `q` stands for the number `scale (q - zero)`. Codes of the network's values are kept as
//! they are but for one thing: they are not rounded, which removes an error of half a step. They
//! are saturated at the ends of their type: where no code lies below zero, quantisers have left out
//! a Relu, and saturation is that Relu. Ends that no calibration image reaches go when the network
//! is compiled.

use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::nn::{Activation, Nn, Op, signs};
use fhec_ir::tensor::Tensor;
use onnx_protobuf::tensor_proto::DataType;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand};
use super::super::node::{Node, constant, scalar};
use super::super::tensor::integer_limits;
use super::{conv, linear, pool, softmax};

type Outputs = Result<Vec<Operand>, ImportError>;

/// What the import says about a model with quantised values.
const NOTE: &str = "the model is quantised; it is compiled as the network of real numbers that it stands for, so values \
                    are saturated, but not rounded to steps";

/// How codes stand for numbers.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Code {
    /// One number, or one per element of a dimension, of a shape that broadcasts.
    scale: Tensor,
    /// As the scale.
    zero: Tensor,
    /// Least and largest code.
    limits: [f32; 2],
}

impl Code {
    /// Of the inputs `scale` and `scale + 1` of a node, for values of `shape`; several numbers
    /// belong to the dimension `axis`.
    fn read(node: &mut Node<'_>, scale: usize, shape: &[usize], axis: usize) -> Result<Self, ImportError> {
        let numbers = |node: &mut Node<'_>, operand: &Operand| {
            let Operand::Constant(literal) = operand else {
                return Err(node.unsupported(
                    "a scale that depends on the network's input",
                    "use static quantisation, or export the float network",
                ));
            };
            let count = literal.len();
            let along: Vec<usize> = match count {
                1 => Vec::new(),
                _ => (axis..shape.len()).map(|other| if other == axis { count } else { 1 }).collect(),
            };
            let fits = count == 1 || shape.get(axis) == Some(&count);
            let misfit = || {
                node.unsupported(
                    format!("a scale of shape {:?} for values of shape {shape:?}", literal.shape),
                    "use one scale per tensor or per channel",
                )
            };
            let numbers = literal.to_floats().reshaped(along).filter(|_| fits).ok_or_else(misfit)?;
            node.finite(&constant(numbers))
        };
        let step = node.input(scale)?;
        let step = numbers(node, &step)?;
        if step.data().iter().any(|&s| s <= 0.0) {
            return Err(node.invalid("a scale is not positive"));
        }
        let zero = match node.optional(scale + 1) {
            Some(zero) => numbers(node, &zero)?,
            None => Tensor::scalar(0.0),
        };
        let limits = limits(node.stored_type(scale + 1).unwrap_or(DataType::UINT8));
        Ok(Code { scale: step, zero, limits })
    }

    /// The numbers that codes stand for.
    fn decoded(&self, node: &mut Node<'_>, codes: &Operand) -> Result<Operand, ImportError> {
        if let Some((real, code)) = node.emitter.decoded(codes)
            && (&code.scale, &code.zero) == (&self.scale, &self.zero)
        {
            return Ok(real.clone());
        }
        let distance = self.centred(node, codes)?;
        node.mul(&distance, &operand(&self.scale))
    }

    /// The codes less the code of zero.
    fn centred(&self, node: &mut Node<'_>, codes: &Operand) -> Result<Operand, ImportError> {
        let codes = floats(codes);
        match self.zero.data().iter().all(|&zero| zero == 0.0) {
            true => Ok(codes),
            false => node.sub(&codes, &operand(&self.zero)),
        }
    }

    /// The codes of numbers.
    fn encoded(self, node: &mut Node<'_>, real: Operand) -> Result<Operand, ImportError> {
        if let Operand::Constant(literal) = &real {
            return self.rounded(node, literal);
        }
        leave_out_rounding(node)?;
        let real = self.saturated(node, real)?;
        let steps = node.emit(&[&real, &operand(&self.scale)], |_, v| Op::Div { x: v[0], y: v[1] })?;
        let codes = node.add(&steps, &operand(&self.zero))?;
        node.emitter.set_decoded(&codes, real, self);
        Ok(codes)
    }

    /// `real` within what codes can say. Scales per channel are those of weights, which are not
    /// saturated.
    fn saturated(&self, node: &mut Node<'_>, real: Operand) -> Result<Operand, ImportError> {
        let (&[scale], &[zero]) = (self.scale.data(), self.zero.data()) else { return Ok(real) };
        let [low, high] = self.limits.map(|limit| f64::from(limit - zero) * f64::from(scale));
        let not_negative =
            matches!(&real, Operand::Variable(x) if signs::not_negative(&node.emitter.func)[x.index()]);
        let low = if not_negative && low <= 0.0 { f64::NEG_INFINITY } else { low };
        // Probabilities end at 1, codes for them often one step before. As they are not rounded to
        // steps, that one is left out, too: a softmax at the end stays the last op.
        if low == f64::NEG_INFINITY
            && high + f64::from(scale) >= 1.0
            && matches!(&real, Operand::Variable(x) if is_probability(&node.emitter.func, *x))
        {
            return Ok(real);
        }
        node.activation(&real, Activation::clip(low, high))
    }

    /// Constants are rounded and saturated as the operator says.
    fn rounded(&self, node: &mut Node<'_>, literal: &Literal) -> Result<Operand, ImportError> {
        let real = constant(literal.to_floats());
        let steps = node.emit(&[&real, &operand(&self.scale)], |_, v| Op::Div { x: v[0], y: v[1] })?;
        let steps = node.finite(&steps)?;
        let nearest = Tensor::from_fn(steps.shape(), |i| steps.data()[i].round_ties_even());
        let codes = node.add(&operand(&nearest), &operand(&self.zero))?;
        let codes = node.finite(&codes)?;
        let [low, high] = self.limits;
        let codes: Vec<i64> = codes.data().iter().map(|code| code.clamp(low, high) as i64).collect();
        Ok(constant(Literal {
            name: String::new(),
            shape: steps.shape().to_vec(),
            elements: Elements::Int(codes),
        }))
    }
}

/// Whether the numbers are between 0 and 1 by how they are made.
fn is_probability(func: &Func<Nn>, mut value: Value) -> bool {
    loop {
        match func.ops().iter().rev().find(|data| data.result == value).map(|data| &data.op) {
            Some(Op::Reshape { x, .. } | Op::Transpose { x, .. }) => value = *x,
            op => return matches!(op, Some(Op::Softmax { .. })),
        }
    }
}

/// Least and largest code of a type; codes of 8 bits without a sign are what others are.
fn limits(ty: DataType) -> [f32; 2] {
    integer_limits(ty).unwrap_or([0, 255]).map(|limit| limit as f32)
}

fn operand(tensor: &Tensor) -> Operand {
    constant(Literal::float(tensor))
}

fn floats(x: &Operand) -> Operand {
    match x {
        Operand::Constant(literal) => constant(literal.to_floats()),
        other => other.clone(),
    }
}

fn axis_of(node: &mut Node<'_>, rank: usize) -> Result<usize, ImportError> {
    if node.int_or("block_size", 0)? != 0 {
        return Err(node.unsupported("a scale per block", "use one scale per tensor or per channel"));
    }
    // Of no meaning where there is one scale.
    let axis = node.int_or("axis", 1)?;
    Ok(node.axis(axis, rank, false).unwrap_or(0))
}

pub(super) fn quantize_linear(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["saturate", "precision"]);
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let axis = axis_of(node, shape.len())?;
    let mut code = Code::read(node, 1, &shape, axis)?;
    if let (None, Some(ty)) = (node.optional(2), node.int("output_dtype")?.filter(|&ty| ty != 0)) {
        let known = [DataType::INT8, DataType::UINT8, DataType::INT16, DataType::UINT16];
        let ty = known.into_iter().find(|&known| known as i64 == ty);
        code.limits = limits(ty.ok_or_else(|| node.unsupported("this type of codes", "use 8 or 16 bits"))?);
    }
    Ok(vec![code.encoded(node, x)?])
}

pub(super) fn dequantize_linear(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["output_dtype"]);
    let codes = node.input(0)?;
    let shape = node.shape_of(&codes);
    let axis = axis_of(node, shape.len())?;
    let code = Code::read(node, 1, &shape, axis)?;
    Ok(vec![code.decoded(node, &codes)?])
}

/// Says that values are not rounded here, where that may be.
fn leave_out_rounding(node: &mut Node<'_>) -> Result<(), ImportError> {
    if node.emitter.keep_rounding {
        return Err(node.unsupported(
            "rounding of the network's values",
            "it is a staircase, which no polynomial is near to; without --keep-rounding the model is compiled as the network of real \
             numbers that it stands for, which differs by half a step per layer",
        ));
    }
    node.note(NOTE);
    Ok(())
}

/// The scale that would be measured on each input is 1: codes are the numbers.
pub(super) fn dynamic_quantize_linear(node: &mut Node<'_>) -> Outputs {
    leave_out_rounding(node)?;
    let x = node.input(0)?;
    let zero = constant(Literal { shape: Vec::new(), ..Literal::ints(vec![0]) });
    Ok(vec![x, scalar(1.0), zero])
}

/// The operand with its code at input `index`, `index + 1`, ... as numbers.
fn decoded(node: &mut Node<'_>, index: usize, axis: usize) -> Result<Operand, ImportError> {
    let codes = node.input(index)?;
    let shape = node.shape_of(&codes);
    Code::read(node, index + 1, &shape, axis)?.decoded(node, &codes)
}

/// `real` with the code at inputs `scale` and `scale + 1`, as the only output.
fn result(node: &mut Node<'_>, real: Operand, scale: usize) -> Outputs {
    let shape = node.shape_of(&real);
    Ok(vec![Code::read(node, scale, &shape, 1)?.encoded(node, real)?])
}

/// A constant as finite floats.
fn weight(node: &mut Node<'_>, operand: &Operand, what: &str) -> Result<Tensor, ImportError> {
    match operand {
        Operand::Constant(_) => node.finite(operand),
        Operand::Variable(_) => Err(node.unsupported(
            format!("a {what} that depends on the network's input"),
            format!("make the {what} an initializer or a constant"),
        )),
    }
}

pub(super) fn qlinear_conv(node: &mut Node<'_>) -> Outputs {
    let x = decoded(node, 0, 1)?;
    let kernel = decoded(node, 3, 0)?;
    let kernel = weight(node, &kernel, "kernel")?;
    let bias = match node.optional(8) {
        None => None,
        Some(bias) => {
            // In steps of the product of both scales.
            let (scale, scales) = (node.weight(1, "scale")?, node.weight(4, "scale")?);
            let step = node.mul(&operand(&scale), &operand(&scales))?;
            let bias = node.mul(&floats(&bias), &step)?;
            let bias = weight(node, &bias, "bias")?;
            Some(bias.reshaped([bias.data().len()]).expect("the same number of elements"))
        }
    };
    let real = conv::convolution(node, &x, kernel, bias)?;
    result(node, real, 6)
}

pub(super) fn qlinear_matmul(node: &mut Node<'_>) -> Outputs {
    let x = decoded(node, 0, 0)?;
    let y = decoded(node, 3, 1)?;
    let real = linear::product(node, &x, &y)?;
    result(node, real, 6)
}

/// The operand at input `index` less its code of zero, which is at input `zero`.
fn centred(node: &mut Node<'_>, index: usize, zero: usize, axis: usize) -> Result<Operand, ImportError> {
    let codes = node.input(index)?;
    let Some(zeros) = node.optional(zero) else { return Ok(floats(&codes)) };
    let Operand::Constant(zeros) = zeros else {
        return Err(node.unsupported("a code of zero that depends on the input", "use static quantisation"));
    };
    let rank = node.shape_of(&codes).len();
    let along = match zeros.len() {
        1 => Vec::new(),
        count => (axis..rank).map(|other| if other == axis { count } else { 1 }).collect(),
    };
    let misfit = || node.invalid("the codes of zero do not fit");
    let zero = node.finite(&constant(zeros.to_floats().reshaped(along).ok_or_else(misfit)?))?;
    if let Some((real, code)) = node.emitter.decoded(&codes)
        && code.zero == zero
    {
        let (real, scale) = (real.clone(), operand(&code.scale));
        return node.emit(&[&real, &scale], |_, v| Op::Div { x: v[0], y: v[1] });
    }
    Code { scale: Tensor::scalar(1.0), zero, limits: [0.0, 0.0] }.centred(node, &codes)
}

pub(super) fn conv_integer(node: &mut Node<'_>) -> Outputs {
    let x = centred(node, 0, 2, 1)?;
    let kernel = centred(node, 1, 3, 0)?;
    let kernel = weight(node, &kernel, "kernel")?;
    Ok(vec![conv::convolution(node, &x, kernel, None)?])
}

pub(super) fn matmul_integer(node: &mut Node<'_>) -> Outputs {
    let x = centred(node, 0, 2, 0)?;
    let y = centred(node, 1, 3, 1)?;
    Ok(vec![linear::product(node, &x, &y)?])
}

pub(super) fn qlinear_add(node: &mut Node<'_>) -> Outputs {
    let (x, y) = (decoded(node, 0, 0)?, decoded(node, 3, 0)?);
    let real = node.add(&x, &y)?;
    result(node, real, 6)
}

pub(super) fn qlinear_mul(node: &mut Node<'_>) -> Outputs {
    let (x, y) = (decoded(node, 0, 0)?, decoded(node, 3, 0)?);
    let real = node.mul(&x, &y)?;
    result(node, real, 6)
}

pub(super) fn qlinear_average_pool(node: &mut Node<'_>) -> Outputs {
    channels_first(node)?;
    let x = decoded(node, 0, 0)?;
    let real = pool::averaged(node, &x)?;
    result(node, real, 3)
}

pub(super) fn qlinear_global_average_pool(node: &mut Node<'_>) -> Outputs {
    channels_first(node)?;
    let x = decoded(node, 0, 0)?;
    let real = pool::averaged_over_all(node, &x)?;
    result(node, real, 3)
}

fn channels_first(node: &mut Node<'_>) -> Result<(), ImportError> {
    match node.flag("channels_last", false)? {
        false => Ok(()),
        true => Err(node.unsupported("channels_last=1", "export with channels first")),
    }
}

pub(super) fn qlinear_sigmoid(node: &mut Node<'_>) -> Outputs {
    let x = decoded(node, 0, 0)?;
    let real = node.activation(&x, Activation::SIGMOID)?;
    result(node, real, 3)
}

pub(super) fn qlinear_leaky_relu(node: &mut Node<'_>) -> Outputs {
    let x = decoded(node, 0, 0)?;
    let alpha = node.float_or("alpha", 0.01f32.into())?;
    let real = node.activation(&x, Activation::leaky_relu(alpha))?;
    result(node, real, 3)
}

pub(super) fn qlinear_softmax(node: &mut Node<'_>) -> Outputs {
    let x = decoded(node, 0, 0)?;
    let flattening = node.int_or("opset", 13)? < 13;
    let real = softmax::along_axis(node, &x, flattening, |x, axis| Op::Softmax { x, axis })?;
    result(node, real, 3)
}

/// The code of the result comes first, then operands with theirs.
pub(super) fn qlinear_concat(node: &mut Node<'_>) -> Outputs {
    let inputs = node.all_inputs()?.len();
    let count = match inputs.checked_sub(2) {
        Some(triples) if triples > 0 && triples.is_multiple_of(3) => triples / 3,
        _ => {
            let reason = format!("{inputs} inputs are not a scale, a zero point and triples of them");
            return Err(node.invalid(reason));
        }
    };
    let operands: Result<Vec<Operand>, ImportError> =
        (0..count).map(|index| decoded(node, 2 + 3 * index, 0)).collect();
    let operands = operands?;
    let rank = operands.first().map_or(0, |first| node.shape_of(first).len());
    let axis = node.axis_or(0, rank, false)?;
    let operands: Vec<&Operand> = operands.iter().collect();
    let real = node.emit(&operands, |_, v| Op::Concat { xs: v.to_vec(), axis })?;
    result(node, real, 0)
}
