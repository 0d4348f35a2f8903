//! Ops that treat every element alike.

use crate::nn::Activation;
use crate::polynomial::Polynomial;
use crate::tensor::Tensor;

/// `function` of each element: rectifiers, which networks are full of, in single precision, others
/// in double precision, rounded once. What is no number stays none.
pub(super) fn activation(x: &[f32], function: &Activation) -> Vec<f32> {
    match function.rectifier() {
        Some(0.0) => x.iter().map(|&x| if x < 0.0 { 0.0 } else { x }).collect(),
        Some(negative) => {
            let negative = negative as f32;
            x.iter().map(|&x| if x < 0.0 { negative * x } else { x }).collect()
        }
        None => x.iter().map(|&x| function.value(f64::from(x)) as f32).collect(),
    }
}

/// `f(x, y)` with numpy broadcasting to `shape`.
pub(super) fn broadcast(x: &Tensor, y: &Tensor, shape: &[usize], f: fn(f32, f32) -> f32) -> Vec<f32> {
    let (a, b) = (x.data(), y.data());
    if x.shape() == y.shape() {
        return a.iter().zip(b).map(|(&x, &y)| f(x, y)).collect();
    }
    let (lead, line) = match shape.split_last() {
        Some((&line, lead)) => (lead, line),
        None => return vec![f(a[0], b[0])],
    };
    let (lead_x, line_x) = split_line(x.shape());
    let (lead_y, line_y) = split_line(y.shape());
    let mut out = Vec::with_capacity(shape.iter().product());
    for (at_x, at_y) in broadcast_offsets(lead_x, lead_y, lead) {
        let a = &a[at_x * line_x..][..line_x];
        let b = &b[at_y * line_y..][..line_y];
        match (line_x == line, line_y == line) {
            (true, true) => out.extend(a.iter().zip(b).map(|(&x, &y)| f(x, y))),
            (true, false) => out.extend(a.iter().map(|&x| f(x, b[0]))),
            (false, true) => out.extend(b.iter().map(|&y| f(a[0], y))),
            (false, false) => unreachable!("one operand has the length of the result"),
        }
    }
    out
}

fn split_line(shape: &[usize]) -> (&[usize], usize) {
    match shape.split_last() {
        Some((&line, lead)) => (lead, line),
        None => (&[], 1),
    }
}

/// For each index of `shape` in row-major order, the flat indices of the elements of `a` and `b`
/// that broadcast to it.
pub(super) fn broadcast_offsets(
    a: &[usize],
    b: &[usize],
    shape: &[usize],
) -> impl Iterator<Item = (usize, usize)> {
    let strides = [broadcast_strides(a, shape), broadcast_strides(b, shape)];
    let shape = shape.to_vec();
    let count = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut at = [0, 0];
    (0..count).map(move |_| {
        let here = (at[0], at[1]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at[0] += strides[0][axis];
            at[1] += strides[1][axis];
            if index[axis] < shape[axis] {
                break;
            }
            at[0] -= strides[0][axis] * shape[axis];
            at[1] -= strides[1][axis] * shape[axis];
            index[axis] = 0;
        }
        here
    })
}

/// Row-major strides of `shape` seen as `target`: 0 where a single element is repeated.
fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; target.len()];
    let mut stride = 1;
    for (to, &length) in strides.iter_mut().rev().zip(shape.iter().rev()) {
        *to = if length == 1 { 0 } else { stride };
        stride *= length;
    }
    strides
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` over dimension 1.
pub(super) fn batch_norm(
    x: &Tensor,
    scale: &[f32],
    bias: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f64,
) -> Vec<f32> {
    let plane: usize = x.shape()[2..].iter().product();
    let mut out = x.data().to_vec();
    if out.is_empty() {
        return out;
    }
    for (index, plane) in out.chunks_mut(plane).enumerate() {
        let channel = index % scale.len();
        let factor = f64::from(scale[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
        let offset = f64::from(bias[channel]) - f64::from(mean[channel]) * factor;
        plane.iter_mut().for_each(|x| *x = f64::from(*x).mul_add(factor, offset) as f32);
    }
    out
}

/// The polynomial of each element, in `f64`.
pub(super) fn polynomial(x: &[f32], polynomial: &Polynomial) -> Vec<f32> {
    const BLOCK: usize = 1024;
    let mut out = Vec::with_capacity(x.len());
    let mut wide = [0.0; BLOCK];
    for block in x.chunks(BLOCK) {
        let wide = &mut wide[..block.len()];
        wide.iter_mut().zip(block).for_each(|(wide, &x)| *wide = f64::from(x));
        polynomial.eval_slots(wide);
        out.extend(wide.iter().map(|&wide| wide as f32));
    }
    out
}
