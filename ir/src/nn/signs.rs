//! Which values are never negative, as far as the ops that make them tell.

use super::{Nn, Op};
use crate::func::{Func, StageOp};

/// By value: whether it is at least zero whatever the inputs are.
pub fn not_negative(func: &Func<Nn>) -> Vec<bool> {
    let mut not_negative = vec![false; func.value_count()];
    for data in func.ops() {
        not_negative[data.result.index()] = match &data.op {
            Op::Activation { function, .. } => function.is_nonnegative(),
            Op::Softmax { .. } => true,
            Op::Constant { value } => func.consts[*value].data().iter().all(|&v| v >= 0.0),
            Op::Mul { x, y } if x == y => true,
            Op::Pad { x, value, .. } => *value >= 0.0 && not_negative[x.index()],
            Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::ReduceMean { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Concat { .. }
            | Op::Add { .. }
            | Op::Mul { .. } => data.op.operands().iter().all(|operand| not_negative[operand.index()]),
            _ => false,
        };
    }
    not_negative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ConstSource, parse_func};

    #[test]
    fn concatenated_and_added_relus_are_not_negative() {
        let text = "func nn f { input %0 : f32[1, 2, 4, 4] %1 = relu(%0) %2 = slice(%1) {starts=[0, 0, 0, 0], \
                    ends=[1, 1, 4, 4], steps=[1, 1, 1, 1]} %3 = concat(%1, %2) {axis=1} %4 = add(%1, %0) \
                    %5 = mul(%0, %0) %6 = mul(%1, %0) return %3, %4, %5, %6 }";
        let func: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
        let found = not_negative(&func);
        let outputs: Vec<bool> = func.outputs().iter().map(|v| found[v.index()]).collect();
        assert_eq!(outputs, [true, false, true, false]);
    }
}
