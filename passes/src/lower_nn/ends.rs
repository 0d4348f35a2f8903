//! Transposes next to inputs and outputs, which cost nothing: whoever encrypts and decrypts puts
//! the numbers in order.
//!
//! Reshapes and transposes only move elements. Where all that is made of an input by them alone is
//! in one order, the input is stored in that order. An output is stored as what its last reshapes
//! and transposes read.

use std::collections::BTreeMap;

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::nn::{Nn, Op};
use fhec_ir::permutation::Permutation;

use crate::nn::move_transposes::order::then;

/// What is stored for the inputs and outputs of a network.
pub(super) struct Ends {
    /// By input: its value under the shape and in the order that its users read.
    pub inputs: Vec<Stored>,
    /// By output: what it is made of.
    pub outputs: Vec<Stored>,
    /// By value: the input that it has the elements of, in stored order or in one that nobody
    /// reads.
    pub same_as_input: BTreeMap<Value, Value>,
    /// By value: whether an op that moves elements is needed for something else than an output.
    pub needed: Vec<bool>,
}

/// What is stored for an input or an output.
pub(super) struct Stored {
    /// The value that is stored.
    pub value: Value,
    /// Its elements are those of the input or output in this order.
    pub order: Permutation,
}

impl Ends {
    pub fn of(func: &Func<Nn>) -> Self {
        let mut same_as_input = BTreeMap::new();
        let inputs: Vec<Stored> =
            func.inputs().iter().map(|&input| stored_input(func, input, &mut same_as_input)).collect();
        let outputs = func.outputs().iter().map(|&output| {
            let Stored { value, order } = stored_output(func, output);
            let input = func.inputs().iter().position(|&input| input == value);
            let reordered = input.and_then(|input| then(&order, &inputs[input].order));
            Stored { value, order: reordered.unwrap_or(order) }
        });
        let outputs: Vec<Stored> = outputs.collect();
        let mut needed = vec![false; func.value_count()];
        outputs.iter().for_each(|output| needed[output.value.index()] = true);
        for data in func.ops().iter().rev() {
            if needed[data.result.index()] || moved(&data.op).is_none() {
                data.op.operands().iter().for_each(|operand| needed[operand.index()] = true);
            }
        }
        Ends { inputs, outputs, same_as_input, needed }
    }

    /// Whether an op only moves elements, and nothing but an output asks for that.
    pub fn is_free(&self, op: &Op, result: Value) -> bool {
        moved(op).is_some() && !self.needed[result.index()]
    }
}

/// What an op reads that only moves elements.
fn moved(op: &Op) -> Option<Value> {
    match op {
        Op::Reshape { x, .. } | Op::Transpose { x, .. } => Some(*x),
        _ => None,
    }
}

/// What an op that moves the elements of a value of `shape` does to their order.
fn moves(op: &Op, shape: &[usize]) -> Permutation {
    match op {
        Op::Transpose { permutation, .. } => Permutation { shape: shape.to_vec(), axes: permutation.clone() },
        _ => Permutation::identity(shape),
    }
}

fn stored_input(func: &Func<Nn>, input: Value, same_as_input: &mut BTreeMap<Value, Value>) -> Stored {
    // What has the elements of the input, and in which order.
    let mut orders = BTreeMap::from([(input, Permutation::identity(func.ty(input).shape.clone()))]);
    let mut read: Vec<Value> = func.outputs().to_vec();
    for data in func.ops() {
        let order = moved(&data.op).and_then(|x| then(orders.get(&x)?, &moves(&data.op, &func.ty(x).shape)));
        match order {
            Some(order) => drop(orders.insert(data.result, order)),
            None => read.extend(data.op.operands()),
        }
    }
    read.retain(|value| orders.contains_key(value));
    let order = |value: &Value| orders[value].normal();
    let first = read.iter().copied().min().unwrap_or(input);
    if orders[&first].is_identity() || !read.iter().all(|value| order(value) == order(&first)) {
        return Stored { value: input, order: orders[&input].clone() };
    }
    same_as_input.extend(orders.keys().filter(|&&value| value != input).map(|&value| (value, input)));
    Stored { value: first, order: orders[&first].clone() }
}

fn stored_output(func: &Func<Nn>, output: Value) -> Stored {
    let definitions = func.definitions();
    // The order of the stored value's elements, from those of the output.
    let mut order = Permutation::identity(func.ty(output).shape.clone());
    let mut value = output;
    while let Some(index) = definitions[value.index()] {
        let op = &func.ops()[index].op;
        let Some(x) = moved(op) else { break };
        let Some(next) = then(&order, &moves(op, &func.ty(x).shape).inverse()) else { break };
        (value, order) = (x, next);
    }
    Stored { value, order }
}
