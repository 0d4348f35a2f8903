//! Drop a softmax, its logarithm or a search for the largest class at the very end of a network.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | no output is the result of a `softmax`, `log_softmax` or `arg_max` of one list of classes, under whatever shape; each output's largest element is where it was, or is the class that it named |
//! | Leaves   | those that run over one of several lists: which of all elements is the largest depends on them |
//! | Method   | softmax and its logarithm are increasing along their axis; the client can apply them after decryption |
//! | Tests    | `tests/filetests/nn/drop_softmax/` |

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    nn::{Nn, Op},
};

use crate::report::Report;

/// Returns the function whose outputs are what the softmaxes took. A result that something else
/// uses too stays.
pub fn drop_softmax(func: &Func<Nn>) -> (Func<Nn>, Report) {
    let mut report = Report::new("drop-softmax");
    let mut result = func.clone();
    let outputs = func.outputs().iter().map(|&output| without(&mut result, output, &mut report)).collect();
    result.set_outputs(outputs);
    (result, report)
}

/// What is left of the output `value` of `func`, which may get a reshape more.
fn without(func: &mut Func<Nn>, output: Value, report: &mut Report) -> Value {
    let (mut value, mut shape) = (output, None);
    loop {
        let definition = func.definitions()[value.index()].map(|index| func.ops()[index].op.clone());
        value = match definition {
            // What is reshaped is a softmax, perhaps; the shape is that of the output then.
            Some(Op::Reshape { x, .. }) => {
                shape.get_or_insert_with(|| func.ty(value).shape.clone());
                x
            }
            Some(
                ref op @ (Op::Softmax { x, axis } | Op::LogSoftmax { x, axis } | Op::ArgMax { x, axis, .. }),
            ) if is_one_list(&func.ty(x).shape, axis) => {
                if matches!(op, Op::ArgMax { .. }) {
                    // Of the shape of one class nothing is left.
                    shape = None;
                }
                report.count(op.mnemonic(), 1);
                let name = func.value_name(output).map_or(output.to_string(), str::to_string);
                let what = match op {
                    Op::ArgMax { .. } => "the search for the largest class",
                    _ => "the softmax",
                };
                report.note(format!(
                    "{what} that makes output {name} is left to the client: it does not change which class is largest"
                ));
                return finish(func, x, shape, report);
            }
            _ => return output,
        };
    }
}

/// `x`, of which more may be dropped, under `shape`.
fn finish(func: &mut Func<Nn>, x: Value, shape: Option<Vec<usize>>, report: &mut Report) -> Value {
    let x = without(func, x, report);
    match shape {
        Some(shape) if func.ty(x).shape != shape => {
            func.push(Op::Reshape { x, shape }).expect("a softmax leaves the number of elements")
        }
        _ => x,
    }
}

/// Whether all elements of a tensor lie along `axis`.
fn is_one_list(shape: &[usize], axis: usize) -> bool {
    shape.iter().enumerate().all(|(other, &length)| other == axis || length == 1)
}
