//! Leave out bounds of clips that no sample reaches.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | ranges of all values, measured on samples |
//! | Ensures  | the same function of the samples; every bound of a `clip` that is left is reached by one of them |
//! | Leaves   | clips whose operand was not measured; networks that are not quantised are not given to it |
//! | Method   | a bound is compared with the range of the operand, without margin |
//! | Tests    | below |
//!
//! Quantised networks saturate after every layer, at the ends of the ranges that their quantiser
//! saw. Each bound would be a ReLU.

use fhec_ir::{
    fact::QUANTISED,
    func::{Func, Rewriter},
    nn::{
        Activation, Nn, Op,
        activation::{Clamp, Form},
    },
};

use super::calibrate::Ranges;
use crate::{
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "drop-idle-clips";

/// Whether clips of `func` are saturation, which samples of a network may be asked about. A clip
/// that the network was trained with stays: other inputs may reach its bounds.
pub fn saturates(func: &Func<Nn>) -> bool {
    func.fact(QUANTISED).ok().flatten() == Some(true)
}

/// The bounds of a clip.
fn bounds(op: &Op) -> Option<[f64; 2]> {
    let Op::Activation { function, .. } = op else { return None };
    match function.form() {
        Form::Clamp(Clamp { low, high, scale: 1.0, offset: 0.0 }) => Some([low, high]),
        _ => None,
    }
}

/// Returns the rewritten function; the report counts bounds that are gone.
pub fn drop_idle_clips(func: &Func<Nn>, ranges: &Ranges) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new(PASS);
    let mut rewriter = Rewriter::same_stage(func);
    let malformed = |message| PassError::Malformed { pass: PASS, message };
    for data in func.ops() {
        let (Op::Activation { x, .. }, Some([low, high])) = (&data.op, bounds(&data.op)) else {
            rewriter.copy(func, data).map_err(malformed)?;
            continue;
        };
        let range = ranges.range(*x);
        let idle = [range.min >= low, range.max <= high].map(|idle| idle && ranges.measured(*x));
        let gone = |idle: bool, bound: f64| usize::from(idle && bound.is_finite());
        report.count("bounds", gone(idle[0], low) + gone(idle[1], high));
        let operand = rewriter.get(*x);
        let function = match idle {
            [true, true] => {
                rewriter.replace(data.result, operand);
                continue;
            }
            [false, true] if low == 0.0 => Activation::RELU,
            [false, true] => Activation::clip(low, f64::INFINITY),
            [true, false] => Activation::clip(f64::NEG_INFINITY, high),
            [false, false] => Activation::clip(low, high),
        };
        let value =
            rewriter.func.push_named(Op::Activation { x: operand, function }, func.value_name(data.result));
        rewriter.replace(data.result, value.map_err(malformed)?);
    }
    Ok(Passed::new(rewriter.finish(func), report))
}

#[cfg(test)]
mod tests {
    use fhec_ir::tensor::Tensor;
    use fhec_ir::text::{ConstSource, parse_func, print_func};
    use fhec_ir::verify::verify;

    use super::*;
    use crate::nn::calibrate::{self, Range, Source, calibrate};

    #[test]
    fn bounds_that_samples_reach_stay() {
        let text = "func nn f { input %0 : f32[1, 3] \"x\" %1 = clip(%0) {low=-1.0, high=4.0} \"a\" \
                    %2 = clip(%1) {low=0.0, high=3.0} \"b\" %3 = clip(%2) {low=-1.0, high=2.0} \"c\" return %3 }";
        let func: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
        let image = vec![vec![Tensor::new([1, 3], vec![-0.5, 1.0, 2.5]).unwrap()]];
        let (ranges, _) = calibrate(&func, &Source::Images(&image), &calibrate::Options::default()).unwrap();
        let Passed { func: found, report, .. } = drop_idle_clips(&func, &ranges).unwrap();
        verify(&found).unwrap();
        let expected = "func nn f {
  input %0 : f32[1, 3] \"x\"
  %1 = relu(%0) : f32[1, 3] \"b\"
  %2 = clip(%1) {low=-inf, high=2.0} : f32[1, 3] \"c\"
  return %2
}
";
        assert_eq!(print_func(&found), expected);
        assert_eq!(report.counts.get("bounds"), Some(&4));
        // What was not measured says nothing about other inputs.
        let intervals = Source::Intervals(Range::new(-0.5, 0.5));
        let (ranges, _) = calibrate(&func, &intervals, &calibrate::Options::default()).unwrap();
        assert_eq!(drop_idle_clips(&func, &ranges).unwrap().func, func);
    }
}
