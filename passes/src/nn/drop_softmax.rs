//! Drop a softmax, its logarithm or a search for the largest class at the very end of a network,
//! and what makes codes of its numbers.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | no output is the result of a `softmax` or `log_softmax`, or of an `arg_max`, under whatever shape and order of dimensions, with whatever becomes of every number alike; `meta output_endings` says what is left to the client: done to an output, it gives what the output was, or lists of classes whose largest are the classes that it named |
//! | Leaves   | an `arg_max` of several lists whose classes a transpose moves afterwards; a softmax whose lists a reshape afterwards takes apart, or whose largest number is not the largest afterwards |
//! | Method   | the client applies them after decryption, list by list; what moved the elements of the softmax moves those of its operand |
//! | Tests    | `tests/filetests/nn/drop_softmax/` |

use fhec_ir::{
    entity::Value,
    fact::OUTPUT_ENDINGS,
    func::{Func, Rewriter, StageOp},
    nn::{Nn, Op},
    program::{Affine, Dimension, Ending, Lists},
};

use crate::{
    analysis::{def_use::live, number_maps::number_map},
    report::{Passed, Report},
};

/// Returns the function whose outputs are what the softmaxes took. A result that something else
/// uses too stays, and so does a softmax of a softmax.
pub fn drop_softmax(func: &Func<Nn>) -> Passed<Nn> {
    let mut report = Report::new("drop-softmax");
    let mut result = func.clone();
    let outputs = func.outputs().iter().map(|&output| without(&mut result, output, true, &mut report));
    let (outputs, mut endings): (Vec<Value>, Vec<Ending>) = outputs.unzip();
    // What was dropped before stays dropped.
    let before = func.fact(OUTPUT_ENDINGS).ok().flatten().unwrap_or_default();
    for (ending, before) in endings.iter_mut().zip(before) {
        if *ending == Ending::Nothing {
            *ending = before;
        }
    }
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
    let outputs = func.outputs().iter().map(|&output| without(&mut result, output, false, &mut report));
    let (outputs, endings): (Vec<Value>, Vec<Ending>) = outputs.unzip();
    result.set_outputs(outputs);
    if endings.iter().any(|ending| *ending != Ending::Nothing) {
        result.set_fact(OUTPUT_ENDINGS, &Some(endings));
    }
    let live = live(&result);
    let mut rewriter = Rewriter::same_stage(&result);
    for data in result.ops().iter().filter(|data| live[data.result.index()]) {
        rewriter.copy(&result, data).expect("an op of a function has a type");
    }
    rewriter.finish(&result)
}

/// What moves the elements of a tensor, between the last step of a network and its output.
enum Moved {
    Reshaped(Vec<usize>),
    Transposed(Vec<usize>),
}

impl Moved {
    /// Where the dimension `axis` of a tensor of `shape` is afterwards, if it is still one.
    fn follow(&self, axis: usize, shape: &[usize]) -> Option<usize> {
        match self {
            Moved::Reshaped(to) => Dimension::of(shape, axis).axis_in(to),
            Moved::Transposed(permutation) => permutation.iter().position(|&from| from == axis),
        }
    }

    fn apply(&self, func: &mut Func<Nn>, x: Value) -> Value {
        let op = match self {
            Moved::Reshaped(shape) if func.ty(x).shape == *shape => return x,
            Moved::Reshaped(shape) => Op::Reshape { x, shape: shape.clone() },
            Moved::Transposed(permutation) => Op::Transpose { x, permutation: permutation.clone() },
        };
        func.push(op).expect("the last step leaves the shape of what it is applied to")
    }
}

/// What is left of the output `value` of `func`, which may get reshapes and transposes more, and
/// what is left to the client. Without `softmax` only searches for the largest class are dropped.
fn without(func: &mut Func<Nn>, output: Value, softmax: bool, report: &mut Report) -> (Value, Ending) {
    let (mut value, mut moved, mut then) = (output, Vec::new(), Affine::IDENTITY);
    let op = loop {
        let definition = func.definitions()[value.index()].map(|index| func.ops()[index].op.clone());
        match definition {
            // What is moved is a softmax, perhaps.
            Some(Op::Reshape { x, .. }) => {
                moved.push(Moved::Reshaped(func.ty(value).shape.clone()));
                value = x;
            }
            Some(Op::Transpose { x, permutation }) => {
                moved.push(Moved::Transposed(permutation));
                value = x;
            }
            Some(op) => match number_map(func, value) {
                Some((x, map)) => {
                    moved.push(Moved::Reshaped(func.ty(value).shape.clone()));
                    (value, then) = (x, then.after(map));
                }
                None => break op,
            },
            None => return (output, Ending::Nothing),
        }
    };
    moved.reverse();
    let name = func.value_name(output).map_or(output.to_string(), str::to_string);
    let (x, ending) = match op {
        Op::ArgMax { x, axis, .. } => {
            let lists = Lists::along(&func.ty(x).shape, axis);
            let is_transposed = moved.iter().any(|step| matches!(step, Moved::Transposed(_)));
            if then != Affine::IDENTITY || lists != Lists::One && is_transposed {
                return (output, Ending::Nothing);
            }
            report.count(op.mnemonic(), 1);
            report.note(match lists {
                Lists::One => {
                    format!("the search for the largest class that makes output {name} is left to the client")
                }
                Lists::Along(Dimension { length, .. }) => format!(
                    "the search for the largest class that makes output {name} is left to the client: the answer has \
                     the numbers of all {length} classes of each place"
                ),
            });
            // Of the shape of the classes nothing is left.
            return match without(func, x, softmax, report) {
                (value, Ending::Nothing) if lists != Lists::One => (value, Ending::ArgMax(lists)),
                below => below,
            };
        }
        Op::Softmax { x, axis } if softmax && then.keeps_order() => {
            (x, lists_after(func, x, axis, &moved).map(|lists| Ending::Softmax(lists, then)))
        }
        Op::LogSoftmax { x, axis } if softmax && then.keeps_order() => {
            (x, lists_after(func, x, axis, &moved).map(|lists| Ending::LogSoftmax(lists, then)))
        }
        _ => return (output, Ending::Nothing),
    };
    let Some(ending) = ending else { return (output, Ending::Nothing) };
    report.count(op.mnemonic(), 1);
    let codes = if then == Affine::IDENTITY { "" } else { ", with what becomes of its numbers" };
    report.note(match ending.lists() {
        Lists::One => format!(
            "the softmax that makes output {name} is left to the client{codes}: it does not change which class is \
             largest"
        ),
        Lists::Along(Dimension { length, .. }) => format!(
            "the softmax that makes output {name} is left to the client{codes}, for each of its lists of {length} \
             classes"
        ),
    });
    let value = moved.iter().fold(x, |x, moved| moved.apply(func, x));
    (value, ending)
}

/// The lists of a softmax of `x` along `axis` in what becomes of its result: `None` where they are
/// along no dimension any more.
fn lists_after(func: &Func<Nn>, x: Value, mut axis: usize, moved: &[Moved]) -> Option<Lists> {
    let mut shape = func.ty(x).shape.clone();
    if Lists::along(&shape, axis) == Lists::One {
        return Some(Lists::One);
    }
    for step in moved {
        axis = step.follow(axis, &shape)?;
        shape = match step {
            Moved::Reshaped(to) => to.clone(),
            Moved::Transposed(permutation) => permutation.iter().map(|&from| shape[from]).collect(),
        };
    }
    Some(Lists::along(&shape, axis))
}
