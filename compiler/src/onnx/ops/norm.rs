//! Normalisations: those whose statistics are constants, and those that compute them, with a root
//! in the denominator.

use fhec_ir::nn::{Activation, Op};
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::{Node, scalar};
use super::activation::absolute;
use super::arithmetic::power;

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn batch_normalization(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["momentum"]);
    let inference = "export the network in inference mode (model.eval())";
    if node.opset() < 7 {
        // Before opset 7 the default is training; exporters of that time wrote the flag.
        if !node.flag("is_test", false)? {
            return Err(node.unsupported("batch normalisation in training mode", inference));
        }
        node.ignore(&["consumed_inputs"]);
    }
    if node.opset() < 9 && !node.flag("spatial", true)? {
        return Err(node.unsupported("batch normalisation per pixel (spatial=0)", "normalise per channel"));
    }
    if node.flag("training_mode", false)? {
        return Err(node.unsupported("batch normalisation in training mode", inference));
    }
    let epsilon = node.float_or("epsilon", 1e-5f32.into())?;
    let x = node.input(0)?;
    let [scale, bias, mean, variance] =
        [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")].map(|(i, what)| node.weight(i, what));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    if let Some(bad) = variance.data().iter().find(|&&v| f64::from(v) + epsilon <= 0.0) {
        return Err(node.invalid(format!("the variance {bad} plus epsilon {epsilon} is not positive")));
    }
    let result = node.emit(&[&x], |func, v| Op::BatchNorm {
        x: v[0],
        scale: func.add_const(scale),
        bias: func.add_const(bias),
        mean: func.add_const(mean),
        variance: func.add_const(variance),
        epsilon,
    })?;
    Ok(vec![result])
}

/// `x / (bias + alpha / size * sum of the squares of the channels around)^beta`.
pub(super) fn lrn(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let Some(&channels) = shape.get(1) else {
        return Err(node.invalid(format!("it needs channels, found {shape:?}")));
    };
    let (alpha, beta) = (node.float_or("alpha", 1e-4f32.into())?, node.float_or("beta", 0.75)?);
    let bias = node.float_or("bias", 1.0)?;
    let size = node.int_or("size", 0)?;
    let [size] = node.sizes(&[size], "size")?;
    if size == 0 || channels > MAX_CHANNELS {
        return Err(node.invalid(format!("a window of {size} of {channels} channels")));
    }
    let (before, after) = ((size - 1) / 2, size / 2);
    let around = Tensor::from_fn([channels, channels], |i| {
        let (row, column) = (i / channels, i % channels);
        let inside = column + before >= row && column <= row + after;
        if inside { (alpha / size as f64) as f32 } else { 0.0 }
    });
    let square = power(node, &x, 2.0)?;
    let sum = node.axis_matrices(&square, vec![(1, around)])?;
    let raised = node.add(&sum, &scalar(bias))?;
    let factor = power(node, &raised, -beta)?;
    Ok(vec![node.mul(&x, &factor)?])
}

/// The matrix of a sum over neighbouring channels is written out up to this many of them.
const MAX_CHANNELS: usize = 2048;

/// `x` less its mean over `axes`, divided by its deviation.
fn standardised(
    node: &mut Node<'_>,
    x: &Operand,
    axes: &[usize],
    centre: bool,
    epsilon: f64,
) -> Result<[Operand; 3], ImportError> {
    let mean_of = |node: &mut Node<'_>, x: &Operand| {
        let axes = axes.to_vec();
        node.emit(&[x], |_, v| Op::ReduceMean { x: v[0], axes, keep_dims: true })
    };
    let mean = mean_of(node, x)?;
    let centred = if centre { node.sub(x, &mean)? } else { x.clone() };
    let square = node.mul(&centred, &centred)?;
    let variance = mean_of(node, &square)?;
    let raised = node.add(&variance, &scalar(epsilon))?;
    let inverse = node.activation(&raised, Activation::power(-0.5))?;
    Ok([node.mul(&centred, &inverse)?, mean, inverse])
}

/// `x scale + bias`, of which the second may be left out, under `shape`.
fn scaled_and_shifted(
    node: &mut Node<'_>,
    x: &Operand,
    [scale, bias]: [Option<Operand>; 2],
    shape: &[usize],
) -> Result<Operand, ImportError> {
    let mut result = x.clone();
    if let Some(scale) = scale {
        let scale = node.reshape(&scale, shape.to_vec())?;
        result = node.mul(&result, &scale)?;
    }
    if let Some(bias) = bias {
        let bias = node.reshape(&bias, shape.to_vec())?;
        result = node.add(&result, &bias)?;
    }
    Ok(result)
}

/// Ones but for `channels` along dimension 1.
fn per_channel(rank: usize, channels: usize) -> Vec<usize> {
    (0..rank).map(|axis| if axis == 1 { channels } else { 1 }).collect()
}

pub(super) fn instance_normalization(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let epsilon = node.float_or("epsilon", 1e-5f32.into())?;
    let shape = node.shape_of(&x);
    if shape.len() < 3 {
        return Err(node.invalid(format!("it needs an image, found {shape:?}")));
    }
    let axes: Vec<usize> = (2..shape.len()).collect();
    let [normal, ..] = standardised(node, &x, &axes, true, epsilon)?;
    let parameters = [Some(node.input(1)?), Some(node.input(2)?)];
    Ok(vec![scaled_and_shifted(node, &normal, parameters, &per_channel(shape.len(), shape[1]))?])
}

pub(super) fn group_normalization(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["stash_type"]);
    let x = node.input(0)?;
    let epsilon = node.float_or("epsilon", 1e-5f32.into())?;
    let groups = node.int_or("num_groups", 0)?;
    let [groups] = node.sizes(&[groups], "num_groups")?;
    let shape = node.shape_of(&x);
    let (Some(&channels), false) = (shape.get(1), groups == 0) else {
        return Err(node.invalid(format!("{groups} groups of channels in {shape:?}")));
    };
    if channels % groups != 0 {
        return Err(node.invalid(format!("{channels} channels in {groups} groups")));
    }
    let inner = shape[2..].iter().product();
    let apart = node.reshape(&x, vec![shape[0], groups, channels / groups, inner])?;
    let [normal, ..] = standardised(node, &apart, &[2, 3], true, epsilon)?;
    let parameters = [Some(node.input(1)?), Some(node.input(2)?)];
    // Before opset 21 there is a scale per group.
    if node.opset() < 21 {
        let scaled = scaled_and_shifted(node, &normal, parameters, &[1, groups, 1, 1])?;
        return Ok(vec![node.reshape(&scaled, shape)?]);
    }
    let whole = node.reshape(&normal, shape.clone())?;
    Ok(vec![scaled_and_shifted(node, &whole, parameters, &per_channel(shape.len(), channels))?])
}

pub(super) fn layer_normalization(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let [normal, mean, inverse] = normalised_from(node, &x, true)?;
    let (scale, bias) = (node.optional(1), node.optional(2));
    let mut result = normal;
    if let Some(scale) = scale {
        result = node.mul(&result, &scale)?;
    }
    if let Some(bias) = bias {
        result = node.add(&result, &bias)?;
    }
    Ok(vec![result, mean, inverse])
}

pub(super) fn rms_normalization(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let [normal, ..] = normalised_from(node, &x, false)?;
    let scale = node.input(1)?;
    Ok(vec![node.mul(&normal, &scale)?])
}

/// Over all dimensions from the attribute `axis` on.
fn normalised_from(node: &mut Node<'_>, x: &Operand, centre: bool) -> Result<[Operand; 3], ImportError> {
    node.ignore(&["stash_type"]);
    let epsilon = node.float_or("epsilon", 1e-5f32.into())?;
    let rank = node.shape_of(x).len();
    let axis = node.axis_or(-1, rank, false)?;
    standardised(node, x, &(axis..rank).collect::<Vec<_>>(), centre, epsilon)
}

pub(super) fn mean_variance_normalization(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let axes = node.int_list("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = node.axes(&axes, rank)?;
    // That of the standard's own definition.
    const EPSILON: f64 = 1e-9;
    let [normal, ..] = standardised(node, &x, &axes, true, EPSILON)?;
    Ok(vec![normal])
}

/// `x` divided by its norm along a dimension.
pub(super) fn lp_normalization(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let axis = node.axis_or(-1, rank, false)?;
    let p = node.int_or("p", 2)?;
    let parts = match p {
        1 => absolute(node, &x)?,
        2 => power(node, &x, 2.0)?,
        _ => return Err(node.invalid(format!("p is {p}, expected 1 or 2"))),
    };
    let length = node.shape_of(&x)[axis] as f64;
    let mean = node.emit(&[&parts], |_, v| Op::ReduceMean { x: v[0], axes: vec![axis], keep_dims: true })?;
    let sum = node.scaled(&mean, length)?;
    let inverse = node.activation(&sum, Activation::power(-1.0 / p as f64))?;
    Ok(vec![node.mul(&x, &inverse)?])
}
