//! nn to packed: every op of a network becomes a linear map, a polynomial, a sum or a product of
//! slot vectors.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → packed |
//! | Requires | activations replaced by `poly`; a network of one image |
//! | Ensures  | the same function of the image, or of each of several ([`fhec_ir::batch`]); `meta input_layout`, `meta output_layout`: one layout per input and output; `meta input_permutations`, `meta output_permutations`, where there are any: in which order each of them is laid out |
//! | Leaves   | constants that nothing names are gone; levels and scales unsaid |
//! | Fails    | [`LowerError`], naming op and tensor; [`check_lowerable`] says the same before activations are approximated |
//! | Method   | ops to steps on tensors ([`program`]), those of several images (`batch`), a layout per tensor ([`choose_layout`]), masks (`masks`), steps to ops (`emit`) |
//! | Tests    | `tests/filetests/lower_nn/`, `tests.rs` beside this file |
//!
//! | file | ops |
//! |---|---|
//! | `conv` | `conv2d`, `conv_transpose2d`, `pad`, `slice`, broadcasts: windows that move over the image |
//! | `dense` | `dense`, `matmul` with a constant, `axis_matrices`, `transpose` |
//! | `pool` | `average_pool`, `reduce_mean` |
//! | `activation` | `poly`; what must have been approximated before |
//! | `elementwise` | `add`, `sub`, `mul`, `div`, `batch_norm` |
//! | `shape` | `reshape`, `concat`, and shapes of one image |
//! | `ends` | `reshape` and `transpose` next to inputs and outputs |

mod activation;
mod batch;
pub mod choose_layout;
mod conv;
mod dense;
mod elementwise;
mod emit;
mod ends;
mod error;
mod masks;
mod pool;
pub mod program;
mod shape;

#[cfg(test)]
mod tests;

use fhec_ir::batch::Batch;
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::nn::origin::onnx_node;
use fhec_ir::nn::{Nn, Op};
use fhec_ir::packed::Packed;
use fhec_ir::tensor::Tensor;

pub use choose_layout::{LayoutOptions, Packing};
pub use error::{LowerError, lowerable};

use crate::nn::softmax::is_row;
use ends::Ends;
use program::{Step, TensorId, TensorProgram};

/// Lowers `func` into vectors of `options.slots` slots.
pub fn lower_nn(func: &Func<Nn>, options: &LayoutOptions) -> Result<Func<Packed>, LowerError> {
    let batch = Batch { images: options.images, in_copies: options.packing == Packing::Pixel };
    let mut program = to_steps(func)?;
    if !batch.in_copies {
        program = batch::batch_images(program, batch.images);
    }
    let layouts = choose_layout::choose_layout(&program, options).map_err(|error| with_node(func, error))?;
    let emitted = emit::emit(func, &program, &layouts, options.slots);
    let mut packed = emitted.map_err(|error| with_node(func, error))?;
    batch.set_in_program(&mut packed);
    Ok(packed)
}

/// An error about a tensor of which only the name is known, with the node that computes it.
fn with_node(func: &Func<Nn>, error: LowerError) -> LowerError {
    let mut values = func.ops().iter().map(|data| data.result);
    let value = values.find(|&value| func.value_name(value) == Some(error.value.as_str()));
    let node =
        value.and_then(|value| onnx_node(func, value)).map(|origin| Box::new((origin.node, origin.op)));
    LowerError { node, ..error }
}

/// Errs where [`lower_nn`] will once activations are polynomials, so that nobody waits for
/// calibration and fits first. Layouts are not chosen here: what fails is an op, or a shape.
pub fn check_lowerable(func: &Func<Nn>) -> Result<(), LowerError> {
    steps(func, Activations::Approximated).map(|_| ())
}

/// The network as steps on tensors.
pub fn to_steps(func: &Func<Nn>) -> Result<TensorProgram, LowerError> {
    steps(func, Activations::Refused)
}

fn steps(func: &Func<Nn>, activations: Activations) -> Result<TensorProgram, LowerError> {
    let (program, operands) = (TensorProgram::default(), vec![None; func.value_count()]);
    let mut lowering = Lowering { func, activations, program, operands };
    let ends = Ends::of(func);
    for (&input, stored) in func.inputs().iter().zip(&ends.inputs) {
        let shape = lowering.one_image(&func.ty(stored.value).shape);
        let shape = shape.map_err(|reason| lowering.error("input", input, reason))?;
        let tensor = lowering.program.tensor(shape, func.value_name(input));
        lowering.program.inputs.push(tensor);
        lowering.program.input_orders.push(stored.order.clone());
        lowering.operands[input.index()] = Some(Operand::Tensor(tensor));
    }
    for data in func.ops() {
        let operand = match ends.same_as_input.get(&data.result) {
            Some(input) => lowering.operands[input.index()].clone(),
            None if ends.is_free(&data.op, data.result) => None,
            None => {
                let operand = lowering.op(data);
                Some(operand.map_err(|reason| lowering.error(data.op.mnemonic(), data.result, reason))?)
            }
        };
        lowering.operands[data.result.index()] = operand;
    }
    for (&output, stored) in func.outputs().iter().zip(&ends.outputs) {
        let tensor = lowering.tensor(stored.value);
        let tensor = tensor.map_err(|reason| lowering.error("return", output, reason))?;
        lowering.program.outputs.push(tensor);
        lowering.program.output_orders.push(stored.order.clone());
    }
    Ok(lowering.program)
}

/// What a value of the network has become.
#[derive(Clone, Debug)]
enum Operand {
    Tensor(TensorId),
    Constant(Tensor),
}

/// What an activation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activations {
    /// It should have been approximated.
    Refused,
    /// It will be: a step on every element stands for its polynomial.
    Approximated,
}

/// State of [`to_steps`]. Methods that lower one kind of op live in that kind's file and return
/// `Err(reason)`.
struct Lowering<'a> {
    func: &'a Func<Nn>,
    activations: Activations,
    program: TensorProgram,
    operands: Vec<Option<Operand>>,
}

impl Lowering<'_> {
    fn op(&mut self, data: &OpData<Nn>) -> Result<Operand, String> {
        let name = self.func.value_name(data.result).map(str::to_string);
        let name = name.as_deref();
        let result = self.func.ty(data.result).shape.clone();
        let tensor = match &data.op {
            Op::Constant { value } => return Ok(Operand::Constant(self.func.consts[*value].clone())),
            Op::Conv2d { x, weight, bias, strides, pads, dilations, groups } => {
                let window = conv::Window { strides: *strides, pads: *pads, dilations: *dilations };
                self.conv2d(*x, *weight, *bias, window, *groups, name)?
            }
            Op::ConvTranspose2d { x, weight, bias, strides, pads, dilations, groups, output_padding } => {
                let window = conv::Window { strides: *strides, pads: *pads, dilations: *dilations };
                self.conv_transpose2d(*x, *weight, *bias, window, *groups, *output_padding, name)?
            }
            Op::AxisMatrices { x, axes, weights } => self.axis_matrices(*x, axes, weights, name)?,
            Op::Dense { x, weight, bias } => self.dense(*x, *weight, *bias, name)?,
            Op::MatMul { x, y } => self.matmul(*x, *y, &result, name)?,
            Op::BatchNorm { x, scale, bias, mean, variance, epsilon } => {
                self.batch_norm(*x, [*scale, *bias, *mean, *variance], *epsilon, name)?
            }
            Op::Add { x, y } => self.add(*x, *y, &result, name)?,
            Op::Sub { x, y } => self.sub(*x, *y, &result, name)?,
            Op::Mul { x, y } => self.mul(*x, *y, &result, name)?,
            Op::Div { x, y } => self.div(*x, *y, &result, name)?,
            Op::Poly { x, polynomial } => self.poly(*x, polynomial, name)?,
            Op::Activation { x, .. } => match self.activations {
                Activations::Refused => return Err(activation::not_a_polynomial(&data.op)),
                Activations::Approximated => {
                    let x = self.tensor(*x)?;
                    self.program.push_same(Step::MulScalar { x, factor: 1.0 }, name)
                }
            },
            Op::Softmax { x, axis: 1 }
                if self.activations == Activations::Approximated && is_row(&result) =>
            {
                let x = self.tensor(*x)?;
                self.program.push_same(Step::MulScalar { x, factor: 1.0 }, name)
            }
            Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::ArgMax { .. } | Op::MaxPool { .. } => {
                return Err(activation::not_a_polynomial(&data.op));
            }
            Op::AveragePool { x, kernel, strides, pads, count_include_pad } => {
                let window = conv::Window { strides: *strides, pads: *pads, dilations: [1, 1] };
                self.average_pool(*x, *kernel, window, *count_include_pad, name)?
            }
            Op::ReduceMean { x, axes, .. } => self.reduce_mean(*x, axes, name)?,
            Op::Pad { x, before, after, value } => self.pad(*x, before, after, *value, name)?,
            Op::Reshape { x, .. } => return self.reshape(*x, &result),
            Op::Transpose { x, permutation } => self.transpose(*x, permutation, name)?,
            Op::Concat { xs, axis } => self.concat(xs, *axis, &result, name)?,
            Op::Slice { x, starts, steps, .. } => self.slice(*x, starts, steps, &result, name)?,
        };
        Ok(Operand::Tensor(tensor))
    }

    fn error(&self, op: &str, value: Value, reason: String) -> LowerError {
        let name = self.func.value_name(value).map(str::to_string);
        let node = onnx_node(self.func, value).map(|origin| Box::new((origin.node, origin.op)));
        LowerError { op: op.to_string(), value: name.unwrap_or_else(|| value.to_string()), node, reason }
    }

    fn operand(&self, value: Value) -> Result<Operand, String> {
        self.operands[value.index()].clone().ok_or_else(|| format!("{value} is not defined"))
    }

    fn tensor(&self, value: Value) -> Result<TensorId, String> {
        match self.operand(value)? {
            Operand::Tensor(tensor) => Ok(tensor),
            Operand::Constant(_) => {
                Err("the operand is a constant: fold constants first (`simplify` does)".into())
            }
        }
    }

    fn shape(&self, tensor: TensorId) -> [usize; 3] {
        self.program.tensors[tensor].shape
    }

    /// The operand in the shape that the op sees.
    fn image(&mut self, value: Value) -> Result<TensorId, String> {
        let tensor = self.tensor(value)?;
        let shape = self.one_image(&self.func.ty(value).shape)?;
        Ok(self.view(tensor, shape))
    }

    /// `tensor` under another shape of the same size.
    fn view(&mut self, tensor: TensorId, shape: [usize; 3]) -> TensorId {
        if self.shape(tensor) == shape {
            return tensor;
        }
        self.program.push(Step::View { x: tensor }, shape, None)
    }
}
