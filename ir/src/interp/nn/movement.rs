//! Ops that move elements without changing them.

use crate::tensor::Tensor;

/// Flat indices of the elements `offset + sum_i index_i strides_i`, for all indices of `shape` in
/// row-major order.
fn strided(shape: &[usize], strides: &[usize], offset: usize, mut visit: impl FnMut(usize)) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    loop {
        visit(at);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

/// Row-major strides.
fn strides_of(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// `x` at offset `before` in a tensor of `value`s.
pub(super) fn pad(x: &Tensor, before: &[usize], value: f32, shape: &[usize]) -> Vec<f32> {
    let mut out = vec![value; shape.iter().product()];
    let strides = strides_of(shape);
    let offset = before.iter().zip(&strides).map(|(b, s)| b * s).sum();
    let mut source = x.data().iter();
    strided(x.shape(), &strides, offset, |at| out[at] = *source.next().expect("one element per index"));
    out
}

/// Dimension `i` of the result is dimension `permutation[i]` of `x`.
pub(super) fn transpose(x: &Tensor, permutation: &[usize], shape: &[usize]) -> Vec<f32> {
    let strides = strides_of(x.shape());
    let strides: Vec<usize> = permutation.iter().map(|&from| strides[from]).collect();
    let mut out = Vec::with_capacity(x.data().len());
    strided(shape, &strides, 0, |at| out.push(x.data()[at]));
    out
}

/// The operands one after another along `axis`.
pub(super) fn concat(xs: &[&Tensor], axis: usize, shape: &[usize]) -> Vec<f32> {
    let outer: usize = shape[..axis].iter().product();
    let mut out = Vec::with_capacity(shape.iter().product());
    for block in 0..outer {
        for x in xs {
            let length: usize = x.shape()[axis..].iter().product();
            out.extend_from_slice(&x.data()[block * length..][..length]);
        }
    }
    out
}

/// Every `steps`-th element from `starts`.
pub(super) fn slice(x: &Tensor, starts: &[usize], steps: &[usize], shape: &[usize]) -> Vec<f32> {
    let strides = strides_of(x.shape());
    let offset = starts.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
    let strides: Vec<usize> = strides.iter().zip(steps).map(|(stride, step)| stride * step).collect();
    let mut out = Vec::with_capacity(shape.iter().product());
    strided(shape, &strides, offset, |at| out.push(x.data()[at]));
    out
}
