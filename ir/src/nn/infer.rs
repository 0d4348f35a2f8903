//! Shape rules of the nn stage.

use super::{Op, TensorType};
use crate::entity::Const;
use crate::tensor::{ConstPool, Tensor, element_count};

/// Result shape of `op`, or why the operands do not fit.
pub fn infer(op: &Op, operands: &[TensorType], consts: &ConstPool) -> Result<TensorType, String> {
    let shape = |index: usize| operands[index].shape.as_slice();
    let result = match op {
        Op::Conv2d { weight, bias, strides, pads, dilations, groups, .. } => {
            let [n, c, h, w] = *shape(0) else { return Err(rank("conv2d", 4, shape(0))) };
            let weight = constant(consts, *weight)?.shape();
            let [m, c_per_group, kh, kw] = *weight else { return Err(rank("conv2d weight", 4, weight)) };
            if *groups == 0 || c_per_group.checked_mul(*groups) != Some(c) || m % groups != 0 {
                return Err(format!(
                    "weight {weight:?} with {groups} groups does not fit {c} input channels"
                ));
            }
            vector_of(consts, *bias, m, "bias")?;
            let h = window(h, kh, strides[0], pads[0].saturating_add(pads[2]), dilations[0])?;
            let w = window(w, kw, strides[1], pads[1].saturating_add(pads[3]), dilations[1])?;
            vec![n, m, h, w]
        }
        Op::ConvTranspose2d { weight, bias, strides, pads, dilations, groups, output_padding, .. } => {
            let [n, c, h, w] = *shape(0) else { return Err(rank("conv_transpose2d", 4, shape(0))) };
            let weight = constant(consts, *weight)?.shape();
            let [m, height, width] =
                conv_transpose([c, h, w], weight, *strides, *pads, *dilations, *groups, *output_padding)?;
            vector_of(consts, *bias, m, "bias")?;
            vec![n, m, height, width]
        }
        Op::AxisMatrices { axes, weights, .. } => {
            let weights: Result<Vec<&[usize]>, String> =
                weights.iter().map(|id| Ok(constant(consts, *id)?.shape())).collect();
            axis_matrices(shape(0), axes, &weights?)?
        }
        Op::Dense { weight, bias, .. } => {
            let [n, k] = *shape(0) else { return Err(rank("dense", 2, shape(0))) };
            let weight = constant(consts, *weight)?.shape();
            let [m, wk] = *weight else { return Err(rank("dense weight", 2, weight)) };
            if wk != k {
                return Err(format!("weight {weight:?} does not fit {k} inputs"));
            }
            vector_of(consts, *bias, m, "bias")?;
            vec![n, m]
        }
        Op::BatchNorm { scale, bias, mean, variance, .. } => {
            let channels = *shape(0).get(1).ok_or("batch_norm needs a channel dimension")?;
            for (id, what) in [(scale, "scale"), (bias, "bias"), (mean, "mean"), (variance, "variance")] {
                vector_of(consts, Some(*id), channels, what)?;
            }
            shape(0).to_vec()
        }
        Op::Constant { value } => constant(consts, *value)?.shape().to_vec(),
        Op::MatMul { .. } => matmul(shape(0), shape(1))?,
        Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Div { .. } => broadcast(shape(0), shape(1))?,
        Op::Activation { function, .. } => {
            function.check()?;
            shape(0).to_vec()
        }
        Op::Poly { .. } => shape(0).to_vec(),
        Op::Softmax { axis, .. } | Op::LogSoftmax { axis, .. } => {
            check_axis(*axis, shape(0))?;
            shape(0).to_vec()
        }
        Op::ArgMax { axis, keep_dims, .. } => {
            check_axis(*axis, shape(0))?;
            if shape(0)[*axis] == 0 {
                return Err(format!("there is no largest of no elements in {:?}", shape(0)));
            }
            reduced(shape(0), &[*axis], *keep_dims)
        }
        Op::MaxPool { kernel, strides, pads, dilations, .. } => {
            pool(shape(0), kernel, strides, pads, dilations)?
        }
        Op::AveragePool { kernel, strides, pads, .. } => pool(shape(0), kernel, strides, pads, &[1, 1])?,
        Op::ReduceMean { axes, keep_dims, .. } => {
            axes.iter().try_for_each(|&axis| check_axis(axis, shape(0)))?;
            reduced(shape(0), axes, *keep_dims)
        }
        Op::Pad { before, after, .. } => {
            if before.len() != shape(0).len() || after.len() != shape(0).len() {
                return Err(format!("pads {before:?}, {after:?} do not fit rank {}", shape(0).len()));
            }
            let sum = |(&d, (&b, &a)): (&usize, (&usize, &usize))| d.checked_add(b)?.checked_add(a);
            let result: Option<Vec<usize>> = shape(0).iter().zip(before.iter().zip(after)).map(sum).collect();
            result.ok_or("the padding is too large")?
        }
        Op::Reshape { shape: new, .. } => {
            if element_count(new) != element_count(shape(0)) {
                return Err(format!("{:?} has not as many elements as {new:?}", shape(0)));
            }
            new.clone()
        }
        Op::Transpose { permutation, .. } => {
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..shape(0).len()) {
                return Err(format!("{permutation:?} is no permutation of {} dimensions", shape(0).len()));
            }
            permutation.iter().map(|&from| shape(0)[from]).collect()
        }
        Op::Concat { axis, .. } => {
            let first = operands.first().ok_or("concat needs an operand")?;
            check_axis(*axis, &first.shape)?;
            let mut result = first.shape.clone();
            for other in &operands[1..] {
                let same = other.shape.len() == result.len()
                    && (0..result.len()).all(|i| i == *axis || other.shape[i] == result[i]);
                if !same {
                    return Err(format!(
                        "cannot concat {:?} and {:?} along {axis}",
                        first.shape, other.shape
                    ));
                }
                result[*axis] = result[*axis]
                    .checked_add(other.shape[*axis])
                    .ok_or("the result has too many elements")?;
            }
            result
        }
        Op::Slice { starts, ends, steps, .. } => {
            let rank = shape(0).len();
            if starts.len() != rank || ends.len() != rank || steps.len() != rank || steps.contains(&0) {
                return Err(format!("slice {starts:?}..{ends:?} by {steps:?} does not fit rank {rank}"));
            }
            if (0..rank).any(|i| ends[i] > shape(0)[i]) {
                return Err(format!("slice up to {ends:?} leaves {:?}", shape(0)));
            }
            (0..rank).map(|i| ends[i].saturating_sub(starts[i]).div_ceil(steps[i])).collect()
        }
    };
    element_count(&result).ok_or("the result has too many elements")?;
    Ok(TensorType { shape: result })
}

fn constant(consts: &ConstPool, id: Const) -> Result<&Tensor, String> {
    consts.get(id).ok_or_else(|| format!("constant {id} is not defined"))
}

fn vector_of(consts: &ConstPool, id: Option<Const>, length: usize, what: &str) -> Result<(), String> {
    let Some(id) = id else { return Ok(()) };
    let shape = constant(consts, id)?.shape();
    if shape == [length] { Ok(()) } else { Err(format!("{what} has shape {shape:?}, expected [{length}]")) }
}

fn rank(what: &str, expected: usize, shape: &[usize]) -> String {
    format!("{what} needs {expected} dimensions, found {shape:?}")
}

fn check_axis(axis: usize, shape: &[usize]) -> Result<(), String> {
    if axis < shape.len() { Ok(()) } else { Err(format!("there is no dimension {axis} in {shape:?}")) }
}

/// Number of positions of a window of `kernel` taps along `length` elements with `pads` in all.
pub fn window(
    length: usize,
    kernel: usize,
    stride: usize,
    pads: usize,
    dilation: usize,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err("kernel, stride and dilation must be at least 1".into());
    }
    let reach =
        (kernel - 1).checked_mul(dilation).and_then(|r| r.checked_add(1)).ok_or("the window is too large")?;
    let padded = length.checked_add(pads).ok_or("the padding is too large")?;
    let free = padded.checked_sub(reach);
    free.map(|free| free / stride + 1)
        .ok_or_else(|| format!("a window of {reach} does not fit {length} elements with {pads} pads"))
}

fn pool(
    shape: &[usize],
    kernel: &[usize; 2],
    strides: &[usize; 2],
    pads: &[usize; 4],
    dilations: &[usize; 2],
) -> Result<Vec<usize>, String> {
    let [n, c, h, w] = *shape else { return Err(rank("a pool", 4, shape)) };
    let h = window(h, kernel[0], strides[0], pads[0].saturating_add(pads[2]), dilations[0])?;
    let w = window(w, kernel[1], strides[1], pads[1].saturating_add(pads[3]), dilations[1])?;
    Ok(vec![n, c, h, w])
}

/// `shape` without `axes`, or with length 1 there.
fn reduced(shape: &[usize], axes: &[usize], keep_dims: bool) -> Vec<usize> {
    let kept = shape.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
        false => Some(d),
        true => keep_dims.then_some(1),
    });
    kept.collect()
}

/// Shape `[M, H, W]` of the transpose of a convolution: of `[C, H, W]` with a weight `[C, M /
/// groups, KH, KW]`.
pub fn conv_transpose(
    [c, h, w]: [usize; 3],
    weight: &[usize],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
    groups: usize,
    output_padding: [usize; 2],
) -> Result<[usize; 3], String> {
    let [weight_c, m_per_group, kh, kw] = *weight else {
        return Err(rank("conv_transpose2d weight", 4, weight));
    };
    if groups == 0 || weight_c != c || !c.is_multiple_of(groups) {
        return Err(format!("weight {weight:?} with {groups} groups does not fit {c} input channels"));
    }
    let m = m_per_group.checked_mul(groups).ok_or("the result has too many channels")?;
    let along = |axis: usize, length: usize, kernel: usize| {
        let (stride, dilation) = (strides[axis], dilations[axis]);
        if length == 0 || kernel == 0 || stride == 0 || dilation == 0 {
            return Err("length, kernel, stride and dilation must be at least 1".to_string());
        }
        let last = (length - 1).checked_mul(stride).zip((kernel - 1).checked_mul(dilation));
        let whole = last.and_then(|(start, reach)| start.checked_add(reach)?.checked_add(1));
        let whole = whole.and_then(|whole| whole.checked_add(output_padding[axis]));
        let whole = whole.ok_or("the result is too large")?;
        let cut = pads[axis].saturating_add(pads[axis + 2]);
        let left = whole.checked_sub(cut).filter(|&left| left > 0);
        left.ok_or_else(|| format!("pads {pads:?} cut away all {whole} elements"))
    };
    Ok([m, along(0, h, kh)?, along(1, w, kw)?])
}

/// Shape of `shape` with a matrix `[M, K]` along each of `axes`.
pub fn axis_matrices(shape: &[usize], axes: &[usize], weights: &[&[usize]]) -> Result<Vec<usize>, String> {
    if axes.len() != weights.len() {
        return Err(format!("{} matrices do not fit the dimensions {axes:?}", weights.len()));
    }
    let mut result = shape.to_vec();
    for (index, (&axis, &weight)) in axes.iter().zip(weights).enumerate() {
        check_axis(axis, shape)?;
        if axes[..index].contains(&axis) {
            return Err(format!("the dimensions {axes:?} repeat one"));
        }
        match *weight {
            [m, k] if k == shape[axis] => result[axis] = m,
            _ => return Err(format!("weight {weight:?} does not fit dimension {axis} of {shape:?}")),
        }
    }
    Ok(result)
}

/// Shape of an element-wise op on `a` and `b`, by numpy's rules.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dimension = |shape: &[usize], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(position) => shape[position],
        None => 1,
    };
    (0..rank)
        .map(|i| match (dimension(a, i), dimension(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let misfit = || format!("matrix product of {a:?} and {b:?}");
    if a.is_empty() || b.is_empty() {
        return Err(misfit());
    }
    let a2 = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
    let b2 = if b.len() == 1 { vec![b[0], 1] } else { b.to_vec() };
    let (lead_a, [rows, inner_a]) = a2.split_last_chunk().ok_or_else(misfit)?;
    let (lead_b, [inner_b, columns]) = b2.split_last_chunk().ok_or_else(misfit)?;
    if inner_a != inner_b {
        return Err(misfit());
    }
    let mut result = broadcast(lead_a, lead_b)?;
    if a.len() > 1 {
        result.push(*rows);
    }
    if b.len() > 1 {
        result.push(*columns);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&[2, 3, 4], &[3, 1]).unwrap(), [2, 3, 4]);
        assert_eq!(broadcast(&[], &[3, 1]).unwrap(), [3, 1]);
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn matrix_products_follow_numpy() {
        assert_eq!(matmul(&[5, 2, 3], &[3, 4]).unwrap(), [5, 2, 4]);
        assert_eq!(matmul(&[3], &[3, 4]).unwrap(), [4]);
        assert_eq!(matmul(&[3], &[3]).unwrap(), [0usize; 0]);
        assert!(matmul(&[2, 3], &[2, 3]).is_err());
    }

    #[test]
    fn windows_count_positions() {
        assert_eq!(window(32, 3, 2, 2, 1), Ok(16));
        assert_eq!(window(28, 5, 1, 4, 1), Ok(28));
        assert_eq!(window(7, 3, 1, 0, 3), Ok(1));
        assert!(window(2, 3, 1, 0, 1).is_err());
        assert!(window(2, usize::MAX, 1, 0, usize::MAX).is_err());
        assert!(window(2, 3, 1, usize::MAX, 1).is_err());
    }
}
