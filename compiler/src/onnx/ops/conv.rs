//! Conv.

use fhec_ir::nn::Op;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;
use super::window::{Window, as_image, from_image};

pub(super) fn conv(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let mut weight = node.weight(1, "kernel")?;
    let bias = node.optional_weight(2, "bias")?;
    let shape = node.shape_of(&x);
    if weight.shape().len() != shape.len() || shape.len() < 3 {
        return Err(node.invalid(format!("a kernel of shape {:?} does not fit {shape:?}", weight.shape())));
    }
    let kernel = weight.shape()[2..].to_vec();
    if let Some(declared) = node.int_list("kernel_shape")?
        && !declared.iter().copied().eq(kernel.iter().map(|&k| k as i64))
    {
        return Err(node.invalid(format!("kernel_shape is {declared:?}, the kernel's shape {kernel:?}")));
    }
    let Window { strides, pads, dilations, .. } = Window::read(node, &shape, &kernel)?;
    let group = node.int_or("group", 1)?;
    let [groups] = node.sizes(&[group], "group")?;
    if let [m, c, l] = *weight.shape() {
        weight = weight.reshaped(vec![m, c, 1, l]).expect("the same number of elements");
    }
    let image = as_image(node, &x)?;
    let result = node.emit(&[&image], |func, v| Op::Conv2d {
        x: v[0],
        weight: func.add_const(weight),
        bias: bias.map(|bias| func.add_const(bias)),
        strides,
        pads,
        dilations,
        groups,
    })?;
    Ok(vec![from_image(node, result, shape.len())?])
}
