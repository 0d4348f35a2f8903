//! Element-wise arithmetic with broadcasting, on floats and on the integers of shape arithmetic.

use std::rc::Rc;

use fhec_ir::entity::Value;
use fhec_ir::nn::{Activation, Op};
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand};
use super::super::node::{Node, constant, scalar};

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn add(node: &mut Node<'_>) -> Outputs {
    binary(node, i64::checked_add, |x, y| Op::Add { x, y })
}

pub(super) fn sub(node: &mut Node<'_>) -> Outputs {
    binary(node, i64::checked_sub, |x, y| Op::Sub { x, y })
}

pub(super) fn mul(node: &mut Node<'_>) -> Outputs {
    binary(node, i64::checked_mul, |x, y| Op::Mul { x, y })
}

/// Integers divide towards zero. By a variable: times its reciprocal.
pub(super) fn div(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let y = aligned(node, &x)?;
    Ok(vec![quotient(node, &x, &y)?])
}

pub(super) fn quotient(node: &mut Node<'_>, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
    match y {
        Operand::Constant(_) => combine(node, x, y, i64::checked_div, |x, y| Op::Div { x, y }),
        Operand::Variable(_) => {
            let reciprocal = node.activation(y, Activation::power(-1.0))?;
            match x {
                Operand::Constant(one) if is_one(one) => Ok(reciprocal),
                _ => node.mul(x, &reciprocal),
            }
        }
    }
}

fn is_one(literal: &Literal) -> bool {
    literal.shape.is_empty() && matches!(&literal.elements, Elements::Float(data) if data[..] == [1.0])
}

pub(super) fn reciprocal(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    Ok(vec![node.activation(&x, Activation::power(-1.0))?])
}

fn binary(
    node: &mut Node<'_>,
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(Value, Value) -> Op,
) -> Outputs {
    let x = node.input(0)?;
    let y = aligned(node, &x)?;
    Ok(vec![combine(node, &x, &y, integers, floats)?])
}

fn combine(
    node: &mut Node<'_>,
    x: &Operand,
    y: &Operand,
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(Value, Value) -> Op,
) -> Result<Operand, ImportError> {
    if let (Some(a), Some(b)) = (as_integers(x), as_integers(y)) {
        return a.combine(b, integers).map(constant).map_err(|reason| node.invalid(reason));
    }
    let [x, y] = [x, y].map(|operand| match operand {
        // Integers of a model that was quantised are numbers like others.
        Operand::Constant(literal) if literal.as_ints().is_some() => constant(literal.to_floats()),
        other => other.clone(),
    });
    node.emit(&[&x, &y], |_, v| floats(v[0], v[1]))
}

fn as_integers(operand: &Operand) -> Option<&Rc<Literal>> {
    match operand {
        Operand::Constant(literal) if literal.as_ints().is_some() => Some(literal),
        _ => None,
    }
}

/// The second operand; before opset 7 its dimensions could be aligned with those of the first from
/// `axis` on.
fn aligned(node: &mut Node<'_>, x: &Operand) -> Result<Operand, ImportError> {
    let y = node.input(1)?;
    if node.opset() >= 7 {
        return Ok(y);
    }
    let broadcast = node.flag("broadcast", false)?;
    let axis = node.int("axis")?;
    let (Some(axis), true) = (axis, broadcast) else { return Ok(y) };
    let (rank, mut shape) = (node.shape_of(x).len(), node.shape_of(&y));
    let end = node.axis(axis, rank, true)? + shape.len();
    if end > rank {
        return Err(
            node.invalid(format!("{shape:?} does not fit into {rank} dimensions from axis {axis} on"))
        );
    }
    shape.resize(shape.len() + rank - end, 1);
    node.reshape(&y, shape)
}

/// The sum of any number of operands.
pub(super) fn sum(node: &mut Node<'_>) -> Outputs {
    let total = folded(node, |node, x, y| combine(node, x, y, i64::checked_add, |x, y| Op::Add { x, y }))?;
    Ok(vec![total])
}

/// The mean of any number of operands.
pub(super) fn mean(node: &mut Node<'_>) -> Outputs {
    let count = node.all_inputs()?.len() as f64;
    let total = folded(node, |node, x, y| node.add(x, y))?;
    Ok(vec![node.scaled(&total, 1.0 / count)?])
}

pub(super) fn max(node: &mut Node<'_>) -> Outputs {
    Ok(vec![folded(node, |node, x, y| extreme(node, x, y, 1.0))?])
}

pub(super) fn min(node: &mut Node<'_>) -> Outputs {
    Ok(vec![folded(node, |node, x, y| extreme(node, x, y, -1.0))?])
}

/// All operands combined two by two.
fn folded(
    node: &mut Node<'_>,
    f: impl Fn(&mut Node<'_>, &Operand, &Operand) -> Result<Operand, ImportError>,
) -> Result<Operand, ImportError> {
    let mut operands = node.all_inputs()?.into_iter();
    let mut result = operands.next().ok_or_else(|| node.invalid("it needs an operand"))?;
    for operand in operands {
        result = f(node, &result, &operand)?;
    }
    Ok(result)
}

/// The larger operand, or with `sign` -1 the smaller: `y + relu(x - y)`, a clip where one of them
/// is one number.
fn extreme(node: &mut Node<'_>, x: &Operand, y: &Operand, sign: f64) -> Result<Operand, ImportError> {
    if let (Some(a), Some(b)) = (as_integers(x), as_integers(y)) {
        let larger: fn(i64, i64) -> Option<i64> =
            if sign > 0.0 { |a, b| Some(a.max(b)) } else { |a, b| Some(a.min(b)) };
        return a.combine(b, larger).map(constant).map_err(|reason| node.invalid(reason));
    }
    let bounded = |node: &mut Node<'_>, x: &Operand, bound: &Operand| {
        let Operand::Constant(literal) = bound else { return Ok(None) };
        let level = literal.to_floats().as_tensor().map(|tensor| tensor.data().to_vec());
        match level.as_deref() {
            Some(&[level]) if literal.shape.len() <= node.shape_of(x).len() && !level.is_nan() => {
                let level = f64::from(level);
                let function = match sign > 0.0 {
                    true if level == 0.0 => Activation::RELU,
                    true => Activation::clip(level, f64::INFINITY),
                    false => Activation::clip(f64::NEG_INFINITY, level),
                };
                node.activation(x, function).map(Some)
            }
            _ => Ok(None),
        }
    };
    for (x, y) in [(x, y), (y, x)] {
        if let (Operand::Variable(_), Some(result)) = (x, bounded(node, x, y)?) {
            return Ok(result);
        }
    }
    let (first, second) = if sign > 0.0 { (x, y) } else { (y, x) };
    let difference = node.sub(first, second)?;
    let excess = node.activation(&difference, Activation::RELU)?;
    if sign > 0.0 { node.add(y, &excess) } else { node.sub(y, &excess) }
}

pub(super) fn neg(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let minus_one = match as_integers(&x) {
        Some(_) => constant(Literal { shape: Vec::new(), ..Literal::ints(vec![-1]) }),
        None => scalar(-1.0),
    };
    Ok(vec![combine(node, &x, &minus_one, i64::checked_mul, |x, y| Op::Mul { x, y })?])
}

/// Larger exponents are rather functions to be approximated.
const MAX_PRODUCTS: f64 = 8.0;

/// Small whole exponents are products, others functions of what is positive; a constant to a
/// variable power is an exponential.
pub(super) fn pow(node: &mut Node<'_>) -> Outputs {
    let (x, y) = (node.input(0)?, node.input(1)?);
    if let (Some(a), Some(b)) = (as_integers(&x), as_integers(&y)) {
        let power = |a: i64, b: i64| a.checked_pow(u32::try_from(b).ok()?);
        return a.combine(b, power).map(|p| vec![constant(p)]).map_err(|reason| node.invalid(reason));
    }
    if let (Operand::Constant(base), Operand::Variable(_)) = (&x, &y) {
        let base = node.finite(&constant(base.to_floats()))?;
        if base.data().iter().all(|&b| b > 0.0) {
            let logarithm = Tensor::from_fn(base.shape(), |i| base.data()[i].ln());
            let exponent = node.mul(&y, &constant(Literal::float(&logarithm)))?;
            return Ok(vec![node.activation(&exponent, Activation::EXP)?]);
        }
    }
    let exponents = node.literal(1, "exponent")?.to_floats().as_tensor();
    let exponents = exponents.ok_or_else(|| node.invalid("the exponent must be numbers"))?;
    let exponent = match exponents.data() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => f64::from(*first),
        _ => return Err(node.unsupported("exponents that differ", "use one exponent")),
    };
    Ok(vec![power(node, &x, exponent)?])
}

/// `x^exponent`.
pub(super) fn power(node: &mut Node<'_>, x: &Operand, exponent: f64) -> Result<Operand, ImportError> {
    let x = &match x {
        Operand::Constant(literal) if exponent.fract() != 0.0 || exponent < 0.0 => {
            constant(literal.to_floats())
        }
        _ => x.clone(),
    };
    let whole = exponent.fract() == 0.0 && exponent.abs() <= MAX_PRODUCTS;
    if !whole {
        return node.activation(x, Activation::power(exponent));
    }
    if exponent < 0.0 {
        let positive = power(node, x, -exponent)?;
        return node.activation(&positive, Activation::power(-1.0));
    }
    if exponent == 0.0 {
        let nothing = node.scaled(x, 0.0)?;
        return node.add(&nothing, &scalar(1.0));
    }
    // By squares, so that the products are as few levels deep as can be.
    let (mut square, mut result, mut left) = (x.clone(), None, exponent as u32);
    loop {
        if left % 2 == 1 {
            result = Some(match result {
                None => square.clone(),
                Some(other) => product(node, &other, &square)?,
            });
        }
        left /= 2;
        match result {
            Some(result) if left == 0 => return Ok(result),
            _ => square = product(node, &square, &square)?,
        }
    }
}

fn product(node: &mut Node<'_>, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
    combine(node, x, y, i64::checked_mul, |x, y| Op::Mul { x, y })
}

pub(super) fn sqrt(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    Ok(vec![node.activation(&x, Activation::power(0.5))?])
}
