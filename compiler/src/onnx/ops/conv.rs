//! Conv and ConvTranspose.

use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;
use super::window::{Window, as_image, from_image};

pub(super) fn conv(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let weight = node.weight(1, "kernel")?;
    let bias = node.optional_weight(2, "bias")?;
    Ok(vec![convolution(node, &x, weight, bias)?])
}

/// The length of a kernel along each dimension of an image of `shape`.
fn kernel_of(node: &mut Node<'_>, weight: &Tensor, shape: &[usize]) -> Result<Vec<usize>, ImportError> {
    if weight.shape().len() != shape.len() || shape.len() < 3 {
        return Err(node.invalid(format!("a kernel of shape {:?} does not fit {shape:?}", weight.shape())));
    }
    let kernel = weight.shape()[2..].to_vec();
    if let Some(declared) = node.int_list("kernel_shape")?
        && !declared.iter().copied().eq(kernel.iter().map(|&k| k as i64))
    {
        return Err(node.invalid(format!("kernel_shape is {declared:?}, the kernel's shape {kernel:?}")));
    }
    Ok(kernel)
}

/// The kernel of a convolution over one dimension with height 1.
fn as_kernel(weight: Tensor) -> Tensor {
    match *weight.shape() {
        [m, c, l] => weight.reshaped(vec![m, c, 1, l]).expect("the same number of elements"),
        _ => weight,
    }
}

fn groups(node: &mut Node<'_>) -> Result<usize, ImportError> {
    let group = node.int_or("group", 1)?;
    node.sizes(&[group], "group").map(|[groups]| groups)
}

/// The convolution that the attributes of the node describe.
pub(super) fn convolution(
    node: &mut Node<'_>,
    x: &Operand,
    weight: Tensor,
    bias: Option<Tensor>,
) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    let kernel = kernel_of(node, &weight, &shape)?;
    let Window { strides, pads, dilations, .. } = Window::read(node, &shape, &kernel)?;
    let groups = groups(node)?;
    let weight = as_kernel(weight);
    let image = as_image(node, x)?;
    let result = node.emit(&[&image], |func, v| Op::Conv2d {
        x: v[0],
        weight: func.add_const(weight),
        bias: bias.map(|bias| func.add_const(bias)),
        strides,
        pads,
        dilations,
        groups,
    })?;
    from_image(node, result, shape.len())
}

/// The transpose of a convolution, which grows images.
pub(super) fn conv_transpose(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let weight = node.weight(1, "kernel")?;
    let bias = node.optional_weight(2, "bias")?;
    let shape = node.shape_of(&x);
    let kernel = kernel_of(node, &weight, &shape)?;
    let auto_pad = node.text_or("auto_pad", "NOTSET")?;
    let Window { strides, mut pads, dilations, .. } = Window::read_growing(node, &shape, &kernel)?;
    let spatial = shape.len() - 2;
    let last = |values: Option<Vec<i64>>, node: &Node<'_>, what: &str| match values {
        None => Ok(None),
        Some(values) if spatial == 1 => node.sizes::<1>(&values, what).map(|[w]| Some([0, w])),
        Some(values) => node.sizes::<2>(&values[values.len().saturating_sub(2)..], what).map(Some),
    };
    let output_padding = node.int_list("output_padding")?;
    let mut output_padding = last(output_padding, node, "output_padding")?.unwrap_or([0, 0]);
    let output_shape = node.int_list("output_shape")?;
    let output_shape = last(output_shape, node, "output_shape")?;
    // Pads follow from the size of the result where that is given, or is to be the operand's times
    // the stride.
    let same = auto_pad.starts_with("SAME");
    for axis in 2 - spatial..2 {
        let (length, stride) = (shape[axis + shape.len() - 2], strides[axis]);
        let wanted = match output_shape {
            Some(output) => output[axis],
            None if same => length * stride,
            None => continue,
        };
        let reach = (kernel[axis + spatial - 2] - 1) * dilations[axis] + 1;
        let whole = length.saturating_sub(1) * stride + reach + output_padding[axis];
        let total = whole.saturating_sub(wanted);
        output_padding[axis] += wanted.saturating_sub(whole);
        let less = total / 2;
        let before = if auto_pad == "SAME_UPPER" { less } else { total - less };
        (pads[axis], pads[axis + 2]) = (before, total - before);
    }
    let groups = groups(node)?;
    let weight = as_kernel(weight);
    let image = as_image(node, &x)?;
    let result = node.emit(&[&image], |func, v| Op::ConvTranspose2d {
        x: v[0],
        weight: func.add_const(weight),
        bias: bias.map(|bias| func.add_const(bias)),
        strides,
        pads,
        dilations,
        groups,
        output_padding,
    })?;
    Ok(vec![from_image(node, result, shape.len())?])
}
