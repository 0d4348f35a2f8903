//! Make one input of several.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | one input `[1, numbers]`, the inputs of before row by row, one after the other, where there were several |
//! | Leaves   | functions with one input, or none |
//! | Method   | each input is a slice of the new one in its old shape: a permutation of slots |
//! | Tests    | below, by running the function before and after |

use fhec_ir::func::{Func, Rewriter};
use fhec_ir::nn::{Nn, Op};

use crate::error::PassError;
use crate::report::{Passed, Report};

/// Returns the function of one input, called by the names of all with `+` between them.
///
/// # Errors
/// [`PassError::Malformed`], if `func` was not verified.
pub fn join_inputs(func: &Func<Nn>) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new("join-inputs");
    if func.inputs().len() < 2 {
        return Ok(Passed::new(func.clone(), report));
    }
    let length = |&input| func.ty(input).shape.iter().product::<usize>();
    let total: usize = func.inputs().iter().map(length).sum();
    let names = func.inputs().iter().map(|&input| func.value_name(input).unwrap_or("input"));
    let name = names.collect::<Vec<_>>().join("+");
    let mut rewriter = Rewriter::new(func);
    let mut ty = func.ty(func.inputs()[0]).clone();
    ty.shape = vec![1, total];
    let x = rewriter.func.add_input(ty, Some(&name));
    let broken = |message: String| PassError::Malformed { pass: "join-inputs", message };
    let mut start = 0;
    for input in func.inputs() {
        let end = start + length(input);
        let (starts, ends) = (vec![0, start], vec![1, end]);
        let part = rewriter.func.push(Op::Slice { x, starts, ends, steps: vec![1, 1] }).map_err(broken)?;
        let shape = func.ty(*input).shape.clone();
        let shaped = Op::Reshape { x: part, shape };
        let part = rewriter.func.push_named(shaped, func.value_name(*input)).map_err(broken)?;
        rewriter.replace(*input, part);
        start = end;
    }
    for data in func.ops() {
        rewriter.copy(func, data).map_err(broken)?;
    }
    report.note(format!(
        "the {} inputs are one of {total} numbers, {name}: those of each, row by row, one after the other",
        func.inputs().len()
    ));
    Ok(Passed::new(rewriter.finish(func), report))
}

#[cfg(test)]
mod tests {
    use fhec_ir::interp::nn;
    use fhec_ir::tensor::Tensor;
    use fhec_ir::text::{ConstSource, parse_func};

    use super::*;

    #[test]
    fn outputs_are_those_of_the_inputs_apart() {
        let text = "func nn two {
            const @0 : f32[2, 1, 3, 3] = random(1) const @1 : f32[2] = random(2)
            const @2 : f32[3, 35] = random(3) const @3 : f32[3] = random(4)
            input %0 : f32[1, 1, 4, 4] \"image\"
            input %1 : f32[1, 3] \"age\"
            %2 = conv2d(%0) {weight=@0, bias=@1, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
            %3 = reshape(%2) {shape=[1, 32]}
            %4 = concat(%3, %1) {axis=1}
            %5 = dense(%4) {weight=@2, bias=@3}
            return %5
        }";
        let func: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
        let Passed { func: joined, report, .. } = join_inputs(&func).unwrap();
        assert_eq!(joined.ty(joined.inputs()[0]).shape, [1, 19]);
        assert_eq!(joined.value_name(joined.inputs()[0]), Some("image+age"));
        assert!(report.in_words().contains("one of 19 numbers"));
        let image = Tensor::from_fn(vec![1, 1, 4, 4], |i| i as f32 * 0.1 - 0.7);
        let age = Tensor::from_fn(vec![1, 3], |i| 2.0 - i as f32);
        let both = [image.data(), age.data()].concat();
        let expected = nn::run(&func, &[image, age]).unwrap();
        assert_eq!(nn::run(&joined, &[Tensor::new(vec![1, 19], both).unwrap()]).unwrap(), expected);
        assert_eq!(join_inputs(&joined).unwrap().func, joined);
    }
}
