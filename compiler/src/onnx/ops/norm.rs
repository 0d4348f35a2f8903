//! BatchNormalization, ReduceMean, Softmax.

use fhec_ir::nn::Op;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;

pub(super) fn batch_normalization(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
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

pub(super) fn reduce_mean(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let (axes, of_nothing) = match node.opset() < 18 {
        true => (node.int_list("axes")?, false),
        false => (node.optional_ints(1, "axes")?, node.flag("noop_with_empty_axes", false)?),
    };
    let keep_dims = node.flag("keepdims", true)?;
    let axes = match axes.filter(|axes| !axes.is_empty()) {
        Some(axes) => node.axes(&axes, rank)?,
        None if of_nothing => return Ok(vec![x]),
        None => (0..rank).collect(),
    };
    Ok(vec![node.emit(&[&x], |_, v| Op::ReduceMean { x: v[0], axes, keep_dims })?])
}

pub(super) fn softmax(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    // Until opset 12 the sum runs over all dimensions from `axis` on, since then over `axis` alone.
    let flattening = node.opset() < 13;
    let axis = node.int_or("axis", if flattening { 1 } else { -1 })?;
    let axis = node.axis(axis, shape.len(), flattening)?;
    if !flattening || shape.len() == axis + 1 {
        return Ok(vec![node.emit(&[&x], |_, v| Op::Softmax { x: v[0], axis })?]);
    }
    let flat = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    let matrix = node.reshape(&x, flat)?;
    let result = node.emit(&[&matrix], |_, v| Op::Softmax { x: v[0], axis: 1 })?;
    Ok(vec![node.reshape(&result, shape)?])
}
