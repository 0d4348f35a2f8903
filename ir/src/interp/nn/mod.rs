//! Interpreter of the nn stage: `f32`, semantics of ONNX, any batch.
//!
//! | module | ops |
//! |---|---|
//! | `conv` | `conv2d`, `conv_transpose2d` |
//! | `linear` | `dense`, `axis_matrices`, `matmul` |
//! | `elementwise` | arithmetic with broadcasting, activations, `poly`, `batch_norm` |
//! | `pool` | `max_pool`, `average_pool` |
//! | `reduce` | `reduce_mean`, `softmax`, `log_softmax`, `arg_max` |
//! | `movement` | `pad`, `transpose`, `concat`, `slice` |
//!
//! Matrix products are `f32`; sums of pools, means and softmax, and all transcendental functions,
//! are computed in `f64` and rounded once. The order of additions inside a matrix product follows
//! the machine's vector width, so results are reproducible on one machine and agree to rounding
//! between machines.

mod conv;
mod elementwise;
mod linear;
mod movement;
mod pool;
mod reduce;

use super::InterpError;
use crate::entity::{Const, Value};
use crate::func::{Func, OpData, Stage, StageOp};
use crate::nn::{Nn, Op};
use crate::polynomial::Polynomial;
use crate::tensor::{Tensor, element_count};

/// Values with more elements than this (4 GiB) are refused.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// Runs `func` on `inputs`.
///
/// *Shape*: as declared, or with the first dimension `k` times as long in all inputs: then the
/// function is run `k` times, on successive parts, and the outputs are concatenated along their
/// first dimension.
pub fn run(func: &Func<Nn>, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
    run_observed(func, inputs, &mut |_, _| ())
}

/// [`run`], showing every value (inputs too) to `observe` as soon as it is computed.
pub fn run_observed(
    func: &Func<Nn>,
    inputs: &[Tensor],
    observe: &mut dyn FnMut(Value, &Tensor),
) -> Result<Vec<Tensor>, InterpError> {
    check_ops(func)?;
    let parts = batch_factor(func, inputs)?;
    if parts == 1 {
        return Ok(run_once(func, inputs, observe));
    }
    let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); func.outputs().len()];
    for part in 0..parts {
        let slice = |(tensor, &value): (&Tensor, &Value)| {
            let shape = &func.ty(value).shape;
            let count = tensor.data().len() / parts;
            tensor_of(shape, tensor.data()[part * count..(part + 1) * count].to_vec())
        };
        let part_inputs: Vec<Tensor> = inputs.iter().zip(func.inputs()).map(slice).collect();
        for (all, output) in outputs.iter_mut().zip(run_once(func, &part_inputs, observe)) {
            all.extend_from_slice(output.data());
        }
    }
    let batched = outputs.into_iter().zip(func.outputs()).map(|(data, &output)| {
        let mut shape = func.ty(output).shape.clone();
        match shape.first_mut() {
            Some(first) => *first *= parts,
            None => shape.push(parts),
        }
        tensor_of(&shape, data)
    });
    Ok(batched.collect())
}

/// The result of one op of `func` on its operands, for callers that walk a function themselves.
///
/// `scratch` is reused from call to call; it starts empty.
///
/// # Panics
/// If [`check_ops`] would refuse `func`, or the operands have other shapes than it declares.
pub fn eval_op(func: &Func<Nn>, data: &OpData<Nn>, operands: &[&Tensor], scratch: &mut Vec<f32>) -> Tensor {
    eval(func, &data.op, operands, &func.ty(data.result).shape, scratch)
}

/// `polynomial` of every element, as the op `poly` has it.
pub fn eval_polynomial(x: &Tensor, polynomial: &Polynomial) -> Tensor {
    tensor_of(x.shape(), elementwise::polynomial(x.data(), polynomial))
}

/// Checks what the kernels below rely on: operands defined before use, declared result shapes true,
/// sizes sane.
pub fn check_ops(func: &Func<Nn>) -> Result<(), InterpError> {
    let mut defined = vec![false; func.value_count()];
    let too_large = |shape: &[usize]| element_count(shape).is_none_or(|count| count > MAX_ELEMENTS);
    for &input in func.inputs() {
        defined[input.index()] = true;
        if too_large(&func.ty(input).shape) {
            return Err(InterpError::TooLarge { shape: func.ty(input).shape.clone() });
        }
    }
    for (index, data) in func.ops().iter().enumerate() {
        let invalid = |message: String| {
            InterpError::Malformed(format!("op {index} ({}): {message}", data.op.mnemonic()))
        };
        let operands = data.op.operands();
        if let Some(operand) = operands.iter().find(|v| !defined.get(v.index()).copied().unwrap_or(false)) {
            return Err(invalid(format!("operand {operand} is not defined")));
        }
        let types: Vec<_> = operands.iter().map(|&operand| func.ty(operand).clone()).collect();
        let ty = Nn::infer(&data.op, &types, func).map_err(invalid)?;
        if ty != *func.ty(data.result) {
            let declared = &func.ty(data.result).shape;
            return Err(invalid(format!("the result is declared {declared:?} but is {:?}", ty.shape)));
        }
        if too_large(&ty.shape) {
            return Err(InterpError::TooLarge { shape: ty.shape });
        }
        defined[data.result.index()] = true;
    }
    let undefined = |output: &&Value| !defined.get(output.index()).copied().unwrap_or(false);
    match func.outputs().iter().find(undefined) {
        Some(output) => Err(InterpError::Malformed(format!("output {output} is not defined"))),
        None => Ok(()),
    }
}

/// How many times the first dimension of every input is as long as declared.
fn batch_factor(func: &Func<Nn>, inputs: &[Tensor]) -> Result<usize, InterpError> {
    if inputs.len() != func.inputs().len() {
        return Err(InterpError::InputCount { expected: func.inputs().len(), found: inputs.len() });
    }
    let mut factor = None;
    for (tensor, &input) in inputs.iter().zip(func.inputs()) {
        let expected = &func.ty(input).shape;
        let found = tensor.shape();
        let mismatch =
            || InterpError::InputShape { input, expected: expected.clone(), found: found.to_vec() };
        let here = match (expected.split_first(), found.split_first()) {
            _ if expected == found => 1,
            (Some((&declared, rest)), Some((&given, given_rest)))
                if rest == given_rest && given > 0 && declared > 0 && given % declared == 0 =>
            {
                given / declared
            }
            _ => return Err(mismatch()),
        };
        if *factor.get_or_insert(here) != here {
            return Err(mismatch());
        }
    }
    Ok(factor.unwrap_or(1))
}

/// One evaluation; every value is dropped after its last use.
fn run_once(func: &Func<Nn>, inputs: &[Tensor], observe: &mut dyn FnMut(Value, &Tensor)) -> Vec<Tensor> {
    let last_uses = func.last_uses();
    let mut values: Vec<Option<Tensor>> = vec![None; func.value_count()];
    for (tensor, &value) in inputs.iter().zip(func.inputs()) {
        observe(value, tensor);
        values[value.index()] = Some(tensor.clone());
    }
    let mut scratch = Vec::new();
    for (index, data) in func.ops().iter().enumerate() {
        let operands: Vec<&Tensor> = data.op.operands().iter().map(|v| known(&values, *v)).collect();
        let result = eval(func, &data.op, &operands, &func.ty(data.result).shape, &mut scratch);
        observe(data.result, &result);
        for operand in data.op.operands() {
            if last_uses[operand.index()] == Some(index) {
                values[operand.index()] = None;
            }
        }
        if last_uses[data.result.index()].is_some() {
            values[data.result.index()] = Some(result);
        }
    }
    func.outputs().iter().map(|output| known(&values, *output).clone()).collect()
}

fn known(values: &[Option<Tensor>], value: Value) -> &Tensor {
    values[value.index()].as_ref().expect("operands precede their uses")
}

/// A tensor whose data was made for its shape.
fn tensor_of(shape: &[usize], data: Vec<f32>) -> Tensor {
    Tensor::new(shape, data).expect("kernels fill their result")
}

fn eval(func: &Func<Nn>, op: &Op, xs: &[&Tensor], shape: &[usize], scratch: &mut Vec<f32>) -> Tensor {
    let consts = &func.consts;
    let binary = |f: fn(f32, f32) -> f32| tensor_of(shape, elementwise::broadcast(xs[0], xs[1], shape, f));
    match op {
        Op::Conv2d { weight, bias, strides, pads, dilations, groups, .. } => {
            let window = conv::Window { strides: *strides, pads: *pads, dilations: *dilations };
            let bias = bias.map(|id| consts[id].data());
            tensor_of(shape, conv::conv2d(xs[0], &consts[*weight], bias, &window, *groups, shape, scratch))
        }
        Op::ConvTranspose2d { weight, bias, strides, pads, dilations, groups, .. } => {
            let window = conv::Window { strides: *strides, pads: *pads, dilations: *dilations };
            let bias = bias.map(|id| consts[id].data());
            tensor_of(shape, conv::conv_transpose2d(xs[0], &consts[*weight], bias, &window, *groups, shape))
        }
        Op::AxisMatrices { axes, weights, .. } => {
            let along = |x: Tensor, (&axis, &id): (&usize, &Const)| linear::along(&x, &consts[id], axis);
            axes.iter().zip(weights).fold(xs[0].clone(), along)
        }
        Op::Dense { weight, bias, .. } => {
            tensor_of(shape, linear::dense(xs[0], &consts[*weight], bias.map(|id| consts[id].data())))
        }
        Op::BatchNorm { scale, bias, mean, variance, epsilon, .. } => {
            let [scale, bias, mean, variance] = [scale, bias, mean, variance].map(|id| consts[*id].data());
            tensor_of(shape, elementwise::batch_norm(xs[0], scale, bias, mean, variance, *epsilon))
        }
        Op::Constant { value } => consts[*value].clone(),
        Op::MatMul { .. } => tensor_of(shape, linear::matmul(xs[0], xs[1], shape)),
        Op::Add { .. } => binary(|x, y| x + y),
        Op::Sub { .. } => binary(|x, y| x - y),
        Op::Mul { .. } => binary(|x, y| x * y),
        Op::Div { .. } => binary(|x, y| x / y),
        Op::Activation { function, .. } => tensor_of(shape, elementwise::activation(xs[0].data(), function)),
        Op::Softmax { axis, .. } => tensor_of(shape, reduce::softmax(xs[0], *axis)),
        Op::LogSoftmax { axis, .. } => tensor_of(shape, reduce::log_softmax(xs[0], *axis)),
        Op::ArgMax { axis, .. } => tensor_of(shape, reduce::arg_max(xs[0], *axis)),
        Op::Poly { polynomial, .. } => tensor_of(shape, elementwise::polynomial(xs[0].data(), polynomial)),
        Op::MaxPool { kernel, strides, pads, dilations, .. } => {
            let window = conv::Window { strides: *strides, pads: *pads, dilations: *dilations };
            tensor_of(shape, pool::max_pool(xs[0], kernel, &window, shape))
        }
        Op::AveragePool { kernel, strides, pads, count_include_pad, .. } => {
            let window = conv::Window { strides: *strides, pads: *pads, dilations: [1, 1] };
            tensor_of(shape, pool::average_pool(xs[0], kernel, &window, *count_include_pad, shape))
        }
        Op::ReduceMean { axes, .. } => tensor_of(shape, reduce::mean(xs[0], axes)),
        Op::Pad { before, value, .. } => tensor_of(shape, movement::pad(xs[0], before, *value as f32, shape)),
        Op::Reshape { .. } => xs[0].reshaped(shape).expect("reshape keeps the number of elements"),
        Op::Transpose { permutation, .. } => tensor_of(shape, movement::transpose(xs[0], permutation, shape)),
        Op::Concat { axis, .. } => tensor_of(shape, movement::concat(xs, *axis, shape)),
        Op::Slice { starts, steps, .. } => tensor_of(shape, movement::slice(xs[0], starts, steps, shape)),
    }
}

#[cfg(test)]
mod tests;
