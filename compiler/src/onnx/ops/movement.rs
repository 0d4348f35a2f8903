//! Operators that move all elements: Transpose, Concat, Pad.

use fhec_ir::nn::Op;

use super::super::error::ImportError;
use super::super::literal::{Literal, Operand, integer_count};
use super::super::node::{Node, constant};
use super::select::take;

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn transpose(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let permutation = match node.int_list("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => {
            if node.axes(&perm, rank)?.len() != rank {
                return Err(node.invalid(format!("perm {perm:?} does not fit {rank} dimensions")));
            }
            let axes: Result<Vec<usize>, _> = perm.iter().map(|&axis| node.axis(axis, rank, false)).collect();
            axes?
        }
    };
    Ok(vec![node.transpose(&x, permutation)?])
}

pub(super) fn concat(node: &mut Node<'_>) -> Outputs {
    let operands = node.all_inputs()?;
    let first = operands.first().ok_or_else(|| node.invalid("Concat needs an operand"))?;
    let axis = node.int("axis")?.ok_or_else(|| node.invalid("the axis is missing"))?;
    let axis = node.axis(axis, node.shape_of(first).len(), false)?;
    if let Some(lists) = integer_lists(&operands) {
        let values = lists.concat();
        integer_count(&[values.len()]).map_err(|reason| node.invalid(reason))?;
        return Ok(vec![constant(Literal::ints(values))]);
    }
    let operands: Vec<&Operand> = operands.iter().collect();
    Ok(vec![node.emit(&operands, |_, v| Op::Concat { xs: v.to_vec(), axis })?])
}

/// The operands if all are vectors of integers, as in shape arithmetic.
fn integer_lists(operands: &[Operand]) -> Option<Vec<&[i64]>> {
    fn list(operand: &Operand) -> Option<&[i64]> {
        match operand {
            Operand::Constant(literal) if literal.shape.len() == 1 => literal.as_ints(),
            _ => None,
        }
    }
    operands.iter().map(list).collect()
}

/// What stands in the pads.
enum Fill {
    Value(f64),
    /// The elements behind the border, mirrored at its last element.
    Reflect,
    /// The last element.
    Edge,
    /// The elements at the other end.
    Wrap,
}

impl Fill {
    /// Which of `length` elements stands at `position`, which may be outside.
    fn source(&self, position: i64, length: i64) -> i64 {
        match self {
            Fill::Value(_) | Fill::Edge => position.clamp(0, length - 1),
            Fill::Wrap => position.rem_euclid(length),
            Fill::Reflect if length == 1 => 0,
            Fill::Reflect => {
                let place = position.rem_euclid(2 * (length - 1));
                place.min(2 * (length - 1) - place)
            }
        }
    }
}

/// Padding; negative pads cut.
pub(super) fn pad(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let mode = node.text_or("mode", "constant")?;
    let (pads, value, axes) = match node.opset() < 11 {
        true => (node.int_list("pads")?, node.float_or("value", 0.0)?, None),
        false => {
            let value = node.optional_number(2, "padding value")?.unwrap_or(0.0);
            (node.optional_ints(1, "pads")?, value, node.optional_ints(3, "axes")?)
        }
    };
    let fill = match mode.as_str() {
        "constant" if value.is_finite() => Fill::Value(value),
        "constant" => {
            return Err(node.unsupported(format!("padding with {value}"), "pad with a finite value"));
        }
        "reflect" => Fill::Reflect,
        "edge" => Fill::Edge,
        "wrap" => Fill::Wrap,
        other => return Err(node.invalid(format!("there is no padding mode `{other}`"))),
    };
    let axes = match axes {
        None => (0..shape.len()).collect(),
        Some(axes) => {
            node.axes(&axes, shape.len())?;
            let places: Result<Vec<usize>, _> =
                axes.iter().map(|&axis| node.axis(axis, shape.len(), false)).collect();
            places?
        }
    };
    let pads = pads.ok_or_else(|| node.invalid("the pads are missing"))?;
    const LARGEST: i64 = 1 << 20;
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| !(-LARGEST..LARGEST).contains(pad)) {
        return Err(node.invalid(format!("pads {pads:?} do not fit {} dimensions", axes.len())));
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let mut result = x;
    for (index, &axis) in axes.iter().enumerate() {
        let (low, high) = (pads[index], pads[index + axes.len()]);
        let length = shape[axis] as i64;
        if length + low.min(0) + high.min(0) < 0 {
            return Err(node.invalid(format!("pads {pads:?} cut away more than there is of {shape:?}")));
        }
        let (from, to) = match fill {
            // Constant pads come in one op after everything is cut.
            Fill::Value(_) => {
                (before[axis], after[axis]) = (low.max(0) as usize, high.max(0) as usize);
                (-low.min(0), length + high.min(0))
            }
            _ => (-low, length + high),
        };
        if (from < 0 || to > length) && length == 0 {
            return Err(node.invalid("there is nothing to pad with"));
        }
        let places: Vec<usize> = (from..to).map(|position| fill.source(position, length) as usize).collect();
        result = take(node, &result, axis, &places)?;
    }
    let Fill::Value(value) = fill else { return Ok(vec![result]) };
    if before.iter().chain(&after).all(|&pad| pad == 0) {
        return Ok(vec![result]);
    }
    Ok(vec![node.emit(&[&result], |_, v| Op::Pad { x: v[0], before, after, value })?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_repeat_the_operand_as_numpy_does() {
        let around =
            |fill: Fill, length: i64| (-4..length + 4).map(|p| fill.source(p, length)).collect::<Vec<_>>();
        assert_eq!(around(Fill::Reflect, 3), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(around(Fill::Edge, 3), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(around(Fill::Wrap, 3), [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(around(Fill::Reflect, 1), [0; 9]);
    }
}
