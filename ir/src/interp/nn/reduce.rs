//! Ops that look at all elements along dimensions: means, `softmax`, `log_softmax`, `arg_max`.

use super::elementwise::broadcast_offsets;
use crate::tensor::Tensor;

/// Mean over `axes`; of nothing it is NaN.
pub(super) fn mean(x: &Tensor, axes: &[usize]) -> Vec<f32> {
    let shape = x.shape();
    let kept: Vec<usize> =
        shape.iter().enumerate().map(|(axis, &d)| if axes.contains(&axis) { 1 } else { d }).collect();
    let mut sums = vec![0.0f64; kept.iter().product()];
    for ((_, target), &x) in broadcast_offsets(shape, &kept, shape).zip(x.data()) {
        sums[target] += f64::from(x);
    }
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    sums.iter().map(|sum| (sum / count as f64) as f32).collect()
}

/// `exp(x - max) / sum exp(x - max)` along `axis`.
pub(super) fn softmax(x: &Tensor, axis: usize) -> Vec<f32> {
    lines(x, axis, |line| {
        let max = largest(line);
        line.iter_mut().for_each(|x| *x = (*x - max).exp());
        let sum: f64 = line.iter().sum();
        line.iter_mut().for_each(|x| *x /= sum);
    })
}

/// `x - max - ln sum exp(x - max)` along `axis`.
pub(super) fn log_softmax(x: &Tensor, axis: usize) -> Vec<f32> {
    lines(x, axis, |line| {
        let max = largest(line);
        let sum: f64 = line.iter().map(|x| (x - max).exp()).sum();
        line.iter_mut().for_each(|x| *x -= max + sum.ln());
    })
}

fn largest(line: &[f64]) -> f64 {
    line.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// `x` with every line of elements along `axis` changed by `f`.
fn lines(x: &Tensor, axis: usize, f: impl Fn(&mut [f64])) -> Vec<f32> {
    let length = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut out = x.data().to_vec();
    if out.is_empty() {
        return out;
    }
    let mut line = vec![0.0f64; length];
    for block in out.chunks_mut(length * inner) {
        for column in 0..inner {
            line.iter_mut()
                .zip(block[column..].iter().step_by(inner))
                .for_each(|(to, &x)| *to = f64::from(x));
            f(&mut line);
            block[column..].iter_mut().step_by(inner).zip(&line).for_each(|(to, &x)| *to = x as f32);
        }
    }
    out
}

/// The position of the first largest element along `axis`.
pub(super) fn arg_max(x: &Tensor, axis: usize) -> Vec<f32> {
    let length = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut out = Vec::with_capacity(x.data().len() / length.max(1));
    for block in x.data().chunks((length * inner).max(1)) {
        for column in 0..inner {
            let at = |position: usize| block[position * inner + column];
            let first = (1..length).fold(0, |best, other| if at(other) > at(best) { other } else { best });
            out.push(first as f32);
        }
    }
    out
}
