//! Drop a softmax at the very end of a network.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | no output is the result of a `softmax`; each output's largest element is where it was |
//! | Leaves   | other softmaxes |
//! | Method   | softmax is increasing along its axis; the client can apply it after decryption |
//! | Tests    | `tests/filetests/nn/drop_softmax/` |

use fhec_ir::{
    entity::Value,
    func::Func,
    nn::{Nn, Op},
};

use crate::report::{Passed, Report};

/// Returns the function whose outputs are what the softmaxes took. A result that something else
/// uses too stays.
pub fn drop_softmax(func: &Func<Nn>) -> Passed<Nn> {
    let mut report = Report::new("drop-softmax");
    let definitions = func.definitions();
    let name = |value: Value| func.value_name(value).map_or(value.to_string(), str::to_string);
    let mut outputs = func.outputs().to_vec();
    for output in &mut outputs {
        while let Some(Op::Softmax { x, .. }) = definitions[output.index()].map(|i| &func.ops()[i].op) {
            report.count("softmax", 1);
            report.note(format!(
                "the softmax that makes output {} is left to the client: it does not change which class is largest",
                name(*output)
            ));
            *output = *x;
        }
    }
    let mut result = func.clone();
    result.set_outputs(outputs);
    Passed::new(result, report)
}
