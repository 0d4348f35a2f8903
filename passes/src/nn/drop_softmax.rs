//! Drop a softmax, its logarithm or a search for the largest class at the very end of a network.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | no output is the result of a `softmax`, `log_softmax` or `arg_max` of one list of classes, under whatever shape; each output's largest element is where it was, or is the class that it named; `meta output_endings` says what is left to the client |
//! | Leaves   | those that run over one of several lists: which of all elements is the largest depends on them |
//! | Method   | softmax and its logarithm are increasing along their axis; the client can apply them after decryption |
//! | Tests    | `tests/filetests/nn/drop_softmax/` |

use fhec_ir::{
    entity::Value,
    fact::OUTPUT_ENDINGS,
    func::{Func, Rewriter, StageOp},
    nn::{Nn, Op},
    program::Ending,
};

use crate::{
    analysis::def_use::live,
    report::{Passed, Report},
};

/// Returns the function whose outputs are what the softmaxes took. A result that something else
/// uses too stays, and so does a softmax of a softmax.
pub fn drop_softmax(func: &Func<Nn>) -> Passed<Nn> {
    let mut report = Report::new("drop-softmax");
    let mut result = func.clone();
    let outputs = func.outputs().iter().map(|&output| without(&mut result, output, true, &mut report));
    let (outputs, endings): (Vec<Value>, Vec<Ending>) = outputs.unzip();
    result.set_outputs(outputs);
    if endings.iter().any(|ending| *ending != Ending::Nothing) {
        result.set_fact(OUTPUT_ENDINGS, &Some(endings));
    }
    Passed::new(result, report)
}

/// The function whose outputs are the lists of classes that a search for the largest was made in:
/// whoever decrypts them knows the class, and how sure of it the network is. Nothing is left of
/// what only the searches used.
pub fn without_arg_max(func: &Func<Nn>) -> Func<Nn> {
    let mut result = func.clone();
    let mut report = Report::new("drop-arg-max");
    let outputs = func.outputs().iter().map(|&output| without(&mut result, output, false, &mut report).0);
    let outputs = outputs.collect();
    result.set_outputs(outputs);
    let live = live(&result);
    let mut rewriter = Rewriter::same_stage(&result);
    for data in result.ops().iter().filter(|data| live[data.result.index()]) {
        rewriter.copy(&result, data).expect("an op of a function has a type");
    }
    rewriter.finish(&result)
}

/// What is left of the output `value` of `func`, which may get a reshape more, and what is left to
/// the client. Without `softmax` only searches for the largest class are dropped.
fn without(func: &mut Func<Nn>, output: Value, softmax: bool, report: &mut Report) -> (Value, Ending) {
    let (mut value, mut shape) = (output, None);
    loop {
        let definition = func.definitions()[value.index()].map(|index| func.ops()[index].op.clone());
        let (op, x, ending) = match definition {
            // What is reshaped is a softmax, perhaps; the shape is that of the output then.
            Some(Op::Reshape { x, .. }) => {
                shape.get_or_insert_with(|| func.ty(value).shape.clone());
                value = x;
                continue;
            }
            Some(op @ Op::Softmax { x, axis }) if softmax && is_one_list(&func.ty(x).shape, axis) => {
                (op, x, Ending::Softmax)
            }
            Some(op @ Op::LogSoftmax { x, axis }) if softmax && is_one_list(&func.ty(x).shape, axis) => {
                (op, x, Ending::LogSoftmax)
            }
            Some(op @ Op::ArgMax { x, axis, .. }) if is_one_list(&func.ty(x).shape, axis) => {
                (op, x, Ending::Nothing)
            }
            _ => return (output, Ending::Nothing),
        };
        report.count(op.mnemonic(), 1);
        let name = func.value_name(output).map_or(output.to_string(), str::to_string);
        if let Op::ArgMax { .. } = op {
            report.note(format!(
                "the search for the largest class that makes output {name} is left to the client"
            ));
            // Of the shape of one class nothing is left.
            return without(func, x, softmax, report);
        }
        report.note(format!(
            "the softmax that makes output {name} is left to the client: it does not change which class is largest"
        ));
        let value = match shape {
            Some(shape) if func.ty(x).shape != shape => {
                func.push(Op::Reshape { x, shape }).expect("a softmax leaves the number of elements")
            }
            _ => x,
        };
        return (value, ending);
    }
}

/// Whether all elements of a tensor lie along `axis`.
fn is_one_list(shape: &[usize], axis: usize) -> bool {
    shape.iter().enumerate().all(|(other, &length)| other == axis || length == 1)
}
