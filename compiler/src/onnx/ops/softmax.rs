//! Softmax and its logarithm.

use fhec_ir::entity::Value;
use fhec_ir::nn::Op;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn softmax(node: &mut Node<'_>) -> Outputs {
    let (x, flattening) = (node.input(0)?, node.opset() < FLATTENING);
    Ok(vec![along_axis(node, &x, flattening, |x, axis| Op::Softmax { x, axis })?])
}

pub(super) fn log_softmax(node: &mut Node<'_>) -> Outputs {
    let (x, flattening) = (node.input(0)?, node.opset() < FLATTENING);
    Ok(vec![along_axis(node, &x, flattening, |x, axis| Op::LogSoftmax { x, axis })?])
}

/// Until then the sum runs over all dimensions from `axis` on, since then over `axis` alone.
const FLATTENING: i64 = 13;

/// `op` along the attribute `axis`.
pub(super) fn along_axis(
    node: &mut Node<'_>,
    x: &Operand,
    flattening: bool,
    op: fn(Value, usize) -> Op,
) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    let axis = node.axis_or(if flattening { 1 } else { -1 }, shape.len(), flattening)?;
    if !flattening || shape.len() == axis + 1 {
        return node.emit(&[x], |_, v| op(v[0], axis));
    }
    let flat = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    let matrix = node.reshape(x, flat)?;
    let result = node.emit(&[&matrix], |_, v| op(v[0], 1))?;
    node.reshape(&result, shape)
}
