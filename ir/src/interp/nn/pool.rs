//! `max_pool` and `average_pool`.

use super::conv::Window;
use crate::tensor::Tensor;

/// Maximum over the elements under each window; `-inf` where a window holds pads only. NaN wins.
pub(super) fn max_pool(x: &Tensor, kernel: &[usize; 2], window: &Window, shape: &[usize]) -> Vec<f32> {
    let mut out = vec![f32::NEG_INFINITY; shape.iter().product()];
    visit(x, kernel, window, shape, &mut out, |best, x| {
        if x > *best || x.is_nan() {
            *best = x;
        }
    });
    out
}

/// Mean over the elements under each window; pads are zeros and count only if told so.
pub(super) fn average_pool(
    x: &Tensor,
    kernel: &[usize; 2],
    window: &Window,
    count_include_pad: bool,
    shape: &[usize],
) -> Vec<f32> {
    let (&[.., h, w], &[.., oh, ow]) = (x.shape(), shape) else { unreachable!("pools have rank 4") };
    let mut sums = vec![0.0f64; shape.iter().product()];
    visit(x, kernel, window, shape, &mut sums, |sum, x| *sum += f64::from(x));
    // The divisor is the number of rows times the number of columns of a window that count.
    let counts = |axis: usize, length: usize, outputs: usize| -> Vec<usize> {
        let mut counts = vec![0; outputs];
        for tap in 0..kernel[axis] {
            let (start, end, _) = window.valid(axis, tap, length, outputs);
            counts[start..end].iter_mut().for_each(|count| *count += 1);
        }
        if count_include_pad { vec![kernel[axis]; outputs] } else { counts }
    };
    let (rows, columns) = (counts(0, h, oh), counts(1, w, ow));
    let divisor = |index: usize| (rows[index / ow % oh] * columns[index % ow]) as f64;
    // A window over pads only has the sum 0 and the mean 0.
    sums.iter().enumerate().map(|(index, &sum)| (sum / divisor(index).max(1.0)) as f32).collect()
}

/// Shows every output position all elements under its window, in order of taps.
fn visit<T>(
    x: &Tensor,
    kernel: &[usize; 2],
    window: &Window,
    shape: &[usize],
    out: &mut [T],
    mut f: impl FnMut(&mut T, f32),
) {
    let (&[_, _, h, w], &[_, _, oh, ow]) = (x.shape(), shape) else { unreachable!("pools have rank 4") };
    if x.data().is_empty() || out.is_empty() {
        return;
    }
    for (plane, out) in x.data().chunks(h * w).zip(out.chunks_mut(oh * ow)) {
        for ky in 0..kernel[0] {
            let (y_start, y_end, y_first) = window.valid(0, ky, h, oh);
            for kx in 0..kernel[1] {
                let (x_start, x_end, x_first) = window.valid(1, kx, w, ow);
                if x_start == x_end {
                    continue;
                }
                for oy in y_start..y_end {
                    let line = &mut out[oy * ow + x_start..oy * ow + x_end];
                    let source = &plane[(y_first + (oy - y_start) * window.strides[0]) * w..][x_first..w];
                    let source = source.iter().step_by(window.strides[1]);
                    line.iter_mut().zip(source).for_each(|(to, &from)| f(to, from));
                }
            }
        }
    }
}
