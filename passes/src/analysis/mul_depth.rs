//! How many levels each value of a packed function needs: the longest way to an output, in
//! rescalings.

use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::packed::{Op, Packed};

/// Levels that an op uses up.
pub fn levels_used(op: &Op) -> u32 {
    match op {
        Op::LinearMap { .. } | Op::Mul { .. } | Op::MulPlain { .. } | Op::MulScalar { .. } => 1,
        Op::Polynomial { polynomial, .. } => polynomial.depth(),
        Op::Add { .. }
        | Op::Sub { .. }
        | Op::AddPlain { .. }
        | Op::AddScalar { .. }
        | Op::Rotate { .. }
        | Op::Conjugate { .. } => 0,
    }
}

/// Per value the levels between it and the outputs, the lowest level it can be computed at; `None`
/// for values that no output depends on.
pub fn levels_needed(func: &Func<Packed>) -> Vec<Option<u32>> {
    levels_needed_by(func, |data| levels_used(&data.op))
}

fn levels_needed_by(func: &Func<Packed>, used: impl Fn(&OpData<Packed>) -> u32) -> Vec<Option<u32>> {
    let mut needed = vec![None; func.value_count()];
    for output in func.outputs() {
        needed[output.index()] = Some(0);
    }
    for data in func.ops().iter().rev() {
        let Some(result) = needed[data.result.index()] else { continue };
        for operand in data.op.operands() {
            let here = result + used(data);
            let slot: &mut Option<u32> = &mut needed[operand.index()];
            *slot = Some(slot.unwrap_or(0).max(here));
        }
    }
    needed
}

/// Multiplicative depth of the whole function.
pub fn mul_depth(func: &Func<Packed>) -> u32 {
    mul_depth_by(func, |data| levels_used(&data.op))
}

/// [`mul_depth`] where ops use up as many levels as `used` says.
pub fn mul_depth_by(func: &Func<Packed>, used: impl Fn(&OpData<Packed>) -> u32) -> u32 {
    levels_needed_by(func, used).into_iter().flatten().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::text::{ConstSource, parse_func};

    #[test]
    fn the_longest_way_counts() {
        let text = "func packed depth {
            input %0 : vec<1, 16> input %1 : vec<1, 16>
            %2 = polynomial(%0) {polynomial={domain=[-1.0, 1.0], chebyshev=[0.0, 0.0, 0.0, 0.0, 1.0]}}
            %3 = mul_scalar(%1) {factor=2.0}
            %4 = add(%2, %3)
            %5 = mul(%4, %1)
            %6 = rotate(%0) {steps=1}
            return %5 }";
        let func = parse_func(text, &ConstSource::default()).unwrap();
        assert_eq!(levels_needed(&func), [Some(4), Some(2), Some(1), Some(1), Some(1), Some(0), None]);
        assert_eq!(mul_depth(&func), 4);
    }
}
