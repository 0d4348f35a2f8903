//! Element-wise arithmetic with broadcasting, on floats and on the integers of shape arithmetic.

use std::rc::Rc;

use fhec_ir::entity::Value;
use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand};
use super::super::node::{Node, constant};

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

/// Integers divide towards zero.
pub(super) fn div(node: &mut Node<'_>) -> Outputs {
    binary(node, i64::checked_div, |x, y| Op::Div { x, y })
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
    node.emit(&[x, y], |_, v| floats(v[0], v[1]))
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
    let mut operands = node.all_inputs()?.into_iter();
    let mut total = operands.next().ok_or_else(|| node.invalid("a sum needs an operand"))?;
    for operand in operands {
        total = combine(node, &total, &operand, i64::checked_add, |x, y| Op::Add { x, y })?;
    }
    Ok(vec![total])
}

pub(super) fn neg(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let minus_one = match as_integers(&x) {
        Some(_) => constant(Literal { shape: Vec::new(), ..Literal::ints(vec![-1]) }),
        None => constant(Literal::float(&Tensor::scalar(-1.0))),
    };
    Ok(vec![combine(node, &x, &minus_one, i64::checked_mul, |x, y| Op::Mul { x, y })?])
}

/// `x^1` and `x^2`.
pub(super) fn pow(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let exponent = node.optional_number(1, "exponent")?;
    match exponent {
        Some(1.0) => Ok(vec![x]),
        Some(2.0) => Ok(vec![combine(node, &x, &x, i64::checked_mul, |x, y| Op::Mul { x, y })?]),
        _ => Err(node.unsupported("this exponent", "square with Pow(x, 2), build other powers with Mul")),
    }
}

/// The square root of constants.
pub(super) fn sqrt(node: &mut Node<'_>) -> Outputs {
    let x = node.weight(0, "operand of Sqrt")?;
    let roots: Vec<f32> = x.data().iter().map(|x| x.sqrt()).collect();
    let elements = Elements::Float(roots.into());
    Ok(vec![constant(Literal { name: String::new(), shape: x.shape().to_vec(), elements })])
}
