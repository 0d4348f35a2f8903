//! Operators that move elements: Transpose, Concat, Pad, Slice, Gather.

use fhec_ir::nn::Op;
use fhec_ir::tensor::element_count;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand, integer_count};
use super::super::node::{Node, constant};

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn transpose(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let permutation = match node.int_list("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => {
            let axes: Result<Vec<usize>, _> = perm.iter().map(|&axis| node.axis(axis, rank, false)).collect();
            axes?
        }
    };
    if permutation.len() != rank {
        return Err(node.invalid(format!("perm {permutation:?} does not fit {rank} dimensions")));
    }
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
    let list = |operand| match operand {
        &Operand::Constant(ref literal) if literal.shape.len() == 1 => literal.as_ints(),
        _ => None,
    };
    operands.iter().map(list).collect()
}

/// Padding with a constant; negative pads cut.
pub(super) fn pad(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let mode = node.text_or("mode", "constant")?;
    if mode != "constant" {
        return Err(node.unsupported(format!("padding in mode `{mode}`"), "use mode `constant`"));
    }
    let (pads, value, axes) = match node.opset() < 11 {
        true => (node.int_list("pads")?, node.float_or("value", 0.0)?, None),
        false => {
            let value = node.optional_number(2, "padding value")?.unwrap_or(0.0);
            (node.optional_ints(1, "pads")?, value, node.optional_ints(3, "axes")?)
        }
    };
    if !value.is_finite() {
        return Err(node.unsupported(format!("padding with {value}"), "pad with a finite value"));
    }
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
    const LARGEST: i64 = 1 << 31;
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| !(-LARGEST..LARGEST).contains(pad)) {
        return Err(node.invalid(format!("pads {pads:?} do not fit {} dimensions", axes.len())));
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let (mut starts, mut ends) = (vec![0; shape.len()], shape.clone());
    for (index, &axis) in axes.iter().enumerate() {
        let (low, high) = (pads[index], pads[index + axes.len()]);
        (before[axis], after[axis]) = (low.max(0) as usize, high.max(0) as usize);
        starts[axis] = low.min(0).unsigned_abs() as usize;
        let cut = shape[axis].checked_sub(high.min(0).unsigned_abs() as usize);
        ends[axis] = cut
            .filter(|&end| end >= starts[axis])
            .ok_or_else(|| node.invalid(format!("pads {pads:?} cut away more than there is of {shape:?}")))?;
    }
    let cut = match ends == shape && starts.iter().all(|&start| start == 0) {
        true => x,
        false => {
            let steps = vec![1; shape.len()];
            node.emit(&[&x], |_, v| Op::Slice { x: v[0], starts, ends, steps })?
        }
    };
    if before.iter().chain(&after).all(|&pad| pad == 0) {
        return Ok(vec![cut]);
    }
    Ok(vec![node.emit(&[&cut], |_, v| Op::Pad { x: v[0], before, after, value })?])
}

/// A range along one dimension: `count` elements from `start` in steps of `step`.
struct Range {
    start: usize,
    step: i64,
    count: usize,
}

impl Range {
    /// Numpy's `start:end:step` on `length` elements.
    fn numpy(start: i64, end: i64, step: i64, length: usize) -> Self {
        let length = length as i64;
        let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let place = |position: i64| {
            let counted = if position < 0 { position.saturating_add(length) } else { position };
            counted.clamp(lowest, highest)
        };
        let (start, end) = (place(start), place(end));
        let span = if step > 0 { end - start } else { start - end }.max(0).unsigned_abs();
        let count = span.div_ceil(step.unsigned_abs()) as usize;
        Range { start: if count == 0 { 0 } else { start as usize }, step, count }
    }

    fn positions(&self) -> Vec<usize> {
        let at = |index: usize| (self.start as i64 + index as i64 * self.step) as usize;
        (0..self.count).map(at).collect()
    }
}

pub(super) fn slice(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let (starts, ends, axes, steps) = match node.opset() < 10 {
        true => (node.int_list("starts")?, node.int_list("ends")?, node.int_list("axes")?, None),
        false => (
            node.optional_ints(1, "starts")?,
            node.optional_ints(2, "ends")?,
            node.optional_ints(3, "axes")?,
            node.optional_ints(4, "steps")?,
        ),
    };
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(node.invalid("starts or ends are missing"));
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(node.invalid("starts, ends, axes and steps do not belong together"));
    }
    node.axes(&axes, shape.len())?;
    let whole = |&length: &usize| Range { start: 0, step: 1, count: length };
    let mut ranges: Vec<Range> = shape.iter().map(whole).collect();
    for (index, &axis) in axes.iter().enumerate() {
        let axis = node.axis(axis, shape.len(), false)?;
        ranges[axis] = Range::numpy(starts[index], ends[index], steps[index], shape[axis]);
    }
    if let Operand::Constant(literal) = &x {
        let positions = ranges.iter().map(Range::positions).collect::<Vec<_>>();
        return Ok(vec![constant(pick(node, literal, &positions)?)]);
    }
    Ok(vec![slice_variable(node, &x, &ranges)?])
}

/// The part of a variable that the ranges select.
fn slice_variable(node: &mut Node<'_>, x: &Operand, ranges: &[Range]) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    if let Some(range) = ranges.iter().find(|range| range.step < 0 && range.count > 1) {
        let what = format!("a slice with step {}", range.step);
        return Err(node.unsupported(what, "reverse the weights that follow instead"));
    }
    if ranges.iter().zip(&shape).all(|(range, &length)| range.count == length) {
        return Ok(x.clone());
    }
    let starts: Vec<usize> = ranges.iter().map(|range| range.start).collect();
    // The step of a single element does not matter.
    let steps: Vec<usize> =
        ranges.iter().map(|range| if range.count > 1 { range.step as usize } else { 1 }).collect();
    let end =
        |range: &Range, step: usize| range.start + range.count.saturating_sub(1) * step + range.count.min(1);
    let ends: Vec<usize> = ranges.iter().zip(&steps).map(|(range, &step)| end(range, step)).collect();
    node.emit(&[x], |_, v| Op::Slice { x: v[0], starts, ends, steps })
}

/// The elements of `literal` at the cross product of positions along each dimension.
fn pick(node: &mut Node<'_>, literal: &Literal, positions: &[Vec<usize>]) -> Result<Literal, ImportError> {
    let shape: Vec<usize> = positions.iter().map(Vec::len).collect();
    let count = element_count(&shape).ok_or_else(|| node.invalid("the result has too many elements"))?;
    node.reserve(count)?;
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * literal.shape[axis];
    }
    let indices = (0..count).map(|mut flat| {
        let mut at = 0;
        for axis in (0..shape.len()).rev() {
            at += positions[axis][flat % shape[axis]] * strides[axis];
            flat /= shape[axis];
        }
        at
    });
    Ok(literal.select(shape.clone(), indices))
}

/// `data` at constant `indices` along `axis`.
pub(super) fn gather(node: &mut Node<'_>) -> Outputs {
    let data = node.input(0)?;
    let shape = node.shape_of(&data);
    let axis = node.int_or("axis", 0)?;
    let axis = node.axis(axis, shape.len(), false)?;
    let indices = node.literal(1, "index")?;
    let Elements::Int(values) = &indices.elements else {
        return Err(node.invalid("indices must be integers"));
    };
    let places: Result<Vec<usize>, _> =
        values.iter().map(|&index| node.axis(index, shape[axis], false)).collect();
    let places =
        places.map_err(|_| node.invalid(format!("an index is outside of {} elements", shape[axis])))?;
    let mut result = shape.clone();
    result.splice(axis..=axis, indices.shape.iter().copied());
    let picked = match &data {
        Operand::Constant(literal) => {
            let whole = |&length: &usize| (0..length).collect();
            let mut positions: Vec<Vec<usize>> = shape.iter().map(whole).collect();
            positions[axis] = places;
            constant(pick(node, literal, &positions)?)
        }
        Operand::Variable(_) => {
            let whole = |&length: &usize| Range { start: 0, step: 1, count: length };
            let mut ranges: Vec<Range> = shape.iter().map(whole).collect();
            let step = if let [a, b, ..] = *places { b as i64 - a as i64 } else { 1 };
            let regular = places.windows(2).all(|pair| pair[1] as i64 - pair[0] as i64 == step);
            if !regular || step <= 0 {
                return Err(node.unsupported(
                    "gathering elements of the network's values in this order",
                    "gather in increasing order with one step, or permute the weights instead",
                ));
            }
            let start = places.first().copied().unwrap_or(0);
            ranges[axis] = Range { start, step, count: places.len() };
            slice_variable(node, &data, &ranges)?
        }
    };
    Ok(vec![node.reshape(&picked, result)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_numpy() {
        let positions = |start, end, step| Range::numpy(start, end, step, 5).positions();
        assert_eq!(positions(1, 4, 1), [1, 2, 3]);
        assert_eq!(positions(-3, i64::MAX, 1), [2, 3, 4]);
        assert_eq!(positions(i64::MIN, -1, 2), [0, 2]);
        assert_eq!(positions(4, 0, -2), [4, 2]);
        assert_eq!(positions(-1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(positions(3, 3, 1), [0usize; 0]);
        assert_eq!(positions(7, 9, 1), [0usize; 0]);
        assert_eq!(positions(0, 5, i64::MAX), [0]);
        assert_eq!(positions(4, -6, i64::MIN), [4]);
        assert_eq!(Range::numpy(0, -1, -1, 0).positions(), [0usize; 0]);
    }
}
