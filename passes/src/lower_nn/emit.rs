//! Steps with layouts to packed ops.

use fhec_ir::entity::{Const, Value};
use fhec_ir::fact::{
    INPUT_LAYOUTS, INPUT_PERMUTATIONS, ONNX_NODES, OUTPUT_LAYOUTS, OUTPUT_PERMUTATIONS, QUANTISED,
};
use fhec_ir::func::Func;
use fhec_ir::linear_map::{LinearKind, LinearMap, PlainTensor};
use fhec_ir::nn::Nn;
use fhec_ir::packed::{Op, Packed, VectorType};
use fhec_ir::permutation::Permutation;
use fhec_ir::slot_mask::SlotMask;
use fhec_ir::tensor::Tensor;

use super::LowerError;
use super::choose_layout::Layouts;
use super::masks::masked;
use super::program::{Step, TensorProgram};

/// The packed function of `program`. Name and meta are those of `network`.
pub(super) fn emit(
    network: &Func<Nn>,
    program: &TensorProgram,
    layouts: &Layouts,
    slots: usize,
) -> Result<Func<Packed>, LowerError> {
    let mut func = Func::<Packed>::new(network.name.clone());
    func.copy_facts(network);
    // Nodes are for messages about networks, clips are gone.
    func.remove_fact(ONNX_NODES);
    func.remove_fact(QUANTISED);
    let of = |tensors: &[usize]| tensors.iter().map(|&t| layouts.layouts[t].clone()).collect::<Vec<_>>();
    func.set_fact(INPUT_LAYOUTS, &of(&program.inputs));
    func.set_fact(OUTPUT_LAYOUTS, &of(&program.outputs));
    let moved = |orders: &[Permutation]| {
        let any = orders.iter().any(|order| !order.is_identity());
        any.then(|| orders.iter().map(Permutation::normal).collect::<Vec<_>>())
    };
    func.set_fact(INPUT_PERMUTATIONS, &moved(&program.input_orders));
    func.set_fact(OUTPUT_PERMUTATIONS, &moved(&program.output_orders));
    let masked = masked(program, layouts);
    let mut values: Vec<Option<Value>> = vec![None; program.tensors.len()];
    for &input in &program.inputs {
        let vectors = layouts.layouts[input].vectors();
        let name = program.tensors[input].name.as_deref();
        values[input] = Some(func.add_input(VectorType { vectors, slots }, name));
    }
    // The elements of a tensor are those of the value before the mask, which has its name, unless
    // it is an output.
    let named_mask = |tensor: usize| masked[tensor] && program.outputs.contains(&tensor);
    let with_mask = |func: &mut Func<Packed>, value: Value, tensor: usize, name: Option<&str>| {
        if !masked[tensor] {
            return Ok(value);
        }
        let plain = SlotMask::ones(&layouts.layouts[tensor], &mut func.consts);
        let plain = plain.ok_or_else(|| "a plane with a border has no mask".to_string())?;
        func.push_named(Op::MulPlain { x: value, plain }, name.filter(|_| named_mask(tensor)))
    };
    for (index, (step, result)) in program.steps.iter().enumerate() {
        let name = program.tensors[*result].name.as_deref();
        let own_name = name.filter(|_| !named_mask(*result));
        let error = |reason: String| LowerError {
            op: "emit".into(),
            value: name.map_or_else(|| format!("tensor {result}"), str::to_string),
            node: None,
            reason,
        };
        let operand = |tensor: usize| {
            values[tensor].ok_or_else(|| error(format!("tensor {tensor} is used before it is computed")))
        };
        let plain = |func: &mut Func<Packed>, values: Const| PlainTensor {
            values: func.add_const(program.consts[values].clone()),
            layout: layouts.layouts[*result].clone(),
        };
        let op = match step {
            Step::View { x } => {
                values[*result] = Some(operand(*x)?);
                continue;
            }
            Step::Linear { x, kind } => {
                let kind = own_weights(kind, |weight| func.add_const(program.consts[weight].clone()));
                let (input, output) = (layouts.layouts[*x].clone(), layouts.layouts[*result].clone());
                let fold = layouts.folds[index];
                let map = LinearMap { kind, input, output, fold, regular: layouts.regular[index] };
                let rotations = map.fold_rotations();
                let linear = Op::LinearMap { x: operand(*x)?, map };
                let mut value = func.push_named(linear, own_name.filter(|_| fold == 1)).map_err(error)?;
                for (step, by) in rotations.enumerate() {
                    let rotated = func.push(Op::Rotate { x: value, steps: by as i64 }).map_err(error)?;
                    let last = 2 << step == fold;
                    let add = Op::Add { x: value, y: rotated };
                    value = func.push_named(add, own_name.filter(|_| last)).map_err(error)?;
                }
                values[*result] = Some(with_mask(&mut func, value, *result, name).map_err(error)?);
                continue;
            }
            Step::Polynomial { x, polynomial } if layouts.bordered[*result] => {
                // What is zero beside the picture stays so: the constant goes to elements only.
                let at_zero = polynomial.eval(0.0);
                let polynomial = polynomial.raised(-at_zero);
                let raised = func.push(Op::Polynomial { x: operand(*x)?, polynomial }).map_err(error)?;
                let [channels, ..] = program.tensors[*result].shape;
                let values = func.add_const(Tensor::from_fn([channels], |_| at_zero as f32));
                let layout = layouts.layouts[*result].clone();
                Op::AddPlain { x: raised, plain: PlainTensor { values, layout } }
            }
            Step::Polynomial { x, polynomial } => {
                Op::Polynomial { x: operand(*x)?, polynomial: polynomial.clone() }
            }
            Step::Add { x, y } => Op::Add { x: operand(*x)?, y: operand(*y)? },
            Step::Sub { x, y } => Op::Sub { x: operand(*x)?, y: operand(*y)? },
            Step::Mul { x, y } => Op::Mul { x: operand(*x)?, y: operand(*y)? },
            Step::AddPlain { x, values } => {
                Op::AddPlain { x: operand(*x)?, plain: plain(&mut func, *values) }
            }
            Step::MulPlain { x, values } => {
                Op::MulPlain { x: operand(*x)?, plain: plain(&mut func, *values) }
            }
            Step::MulScalar { x, factor } => Op::MulScalar { x: operand(*x)?, factor: *factor },
        };
        let value = func.push_named(op, own_name).map_err(error)?;
        values[*result] = Some(with_mask(&mut func, value, *result, name).map_err(error)?);
    }
    let outputs = program.outputs.iter().map(|&output| {
        values[output].ok_or_else(|| LowerError {
            op: "return".into(),
            value: format!("tensor {output}"),
            node: None,
            reason: "the output is not computed".into(),
        })
    });
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    func.set_outputs(outputs);
    Ok(func)
}

/// The kind with its weights renamed.
fn own_weights(kind: &LinearKind, mut rename: impl FnMut(Const) -> Const) -> LinearKind {
    let mut kind = kind.clone();
    kind.weights_mut().into_iter().for_each(|weight| *weight = rename(*weight));
    kind
}
