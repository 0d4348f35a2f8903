//! `dense`, `axis_matrices` and `matmul`.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::elementwise::broadcast_offsets;
use crate::tensor::Tensor;

/// `x weight^T + bias`.
pub(super) fn dense(x: &Tensor, weight: &Tensor, bias: Option<&[f32]>) -> Vec<f32> {
    let (&[n, k], &[m, _]) = (x.shape(), weight.shape()) else { unreachable!("dense has rank 2") };
    let mut out = vec![0.0; n * m];
    if let (Some(bias), true) = (bias, m > 0) {
        out.chunks_mut(m).for_each(|row| row.copy_from_slice(bias));
    }
    let mut target = ArrayViewMut2::from_shape((n, m), &mut out).expect("n rows of m");
    let x = ArrayView2::from_shape((n, k), x.data()).expect("n rows of k");
    let weight = ArrayView2::from_shape((m, k), weight.data()).expect("m rows of k");
    general_mat_mul(1.0, &x, &weight.t(), 1.0, &mut target);
    out
}

/// `weight` `[M, K]` times `x` along `axis`, which has K elements. Such matrices are mostly zeros,
/// which are passed over.
pub(super) fn along(x: &Tensor, weight: &Tensor, axis: usize) -> Tensor {
    let &[m, k] = weight.shape() else { unreachable!("a matrix has rank 2") };
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut shape = x.shape().to_vec();
    shape[axis] = m;
    let mut out = vec![0.0; shape.iter().product()];
    if !out.is_empty() && k > 0 {
        let entries = weight.data().iter().enumerate().filter(|(_, w)| **w != 0.0);
        let entries: Vec<(usize, usize, f32)> = entries.map(|(i, &w)| (i / k, i % k, w)).collect();
        for (out, x) in out.chunks_mut(m * inner).zip(x.data().chunks(k * inner)) {
            for &(row, column, weight) in &entries {
                let x = &x[column * inner..][..inner];
                out[row * inner..][..inner].iter_mut().zip(x).for_each(|(out, x)| *out += weight * x);
            }
        }
    }
    Tensor::new(shape, out).expect("one element per index")
}

/// Matrix product over the last two dimensions, numpy's rules for the others; a vector on the left
/// is a row, on the right a column.
pub(super) fn matmul(x: &Tensor, y: &Tensor, shape: &[usize]) -> Vec<f32> {
    let (lead_x, rows, inner) = match *x.shape() {
        [ref lead @ .., rows, inner] => (lead, rows, inner),
        [inner] => (&[][..], 1, inner),
        [] => unreachable!("matmul has no scalar operands"),
    };
    let (lead_y, columns) = match *y.shape() {
        [ref lead @ .., _, columns] => (lead, columns),
        _ => (&[][..], 1),
    };
    let mut out = vec![0.0; shape.iter().product()];
    if out.is_empty() || inner == 0 {
        return out;
    }
    let dropped = usize::from(x.shape().len() == 1) + usize::from(y.shape().len() == 1);
    let lead = &shape[..shape.len() + dropped - 2];
    let offsets = broadcast_offsets(lead_x, lead_y, lead);
    for (out, (at_x, at_y)) in out.chunks_mut(rows * columns).zip(offsets) {
        let x = &x.data()[at_x * rows * inner..][..rows * inner];
        let y = &y.data()[at_y * inner * columns..][..inner * columns];
        let x = ArrayView2::from_shape((rows, inner), x).expect("rows times inner");
        let y = ArrayView2::from_shape((inner, columns), y).expect("inner times columns");
        let mut out = ArrayViewMut2::from_shape((rows, columns), out).expect("rows times columns");
        general_mat_mul(1.0, &x, &y, 0.0, &mut out);
    }
    out
}
