//! Operands outside the range of what is done to them.
//!
//! Polynomials are made for `[-1, 1]`, and bootstraps refresh messages in it; a larger operand
//! gives a wrong result that nothing can detect under encryption. A run on slots sees it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fhec_ir::interp::Bundle;

/// Slots of one op's operand that were outside `[-1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overflow {
    /// Index of the op.
    pub op: usize,
    /// The largest absolute value; [`f64::MAX`] stands for what is beyond all numbers.
    pub largest: f64,
    /// How many slots.
    pub slots: usize,
}

/// The overflows of a run, by op.
#[derive(Debug, Default)]
pub(super) struct Overflows {
    by_op: Mutex<BTreeMap<usize, Overflow>>,
}

impl Overflows {
    /// Records what of `x`, the operand of op `op`, is outside. Inside, the cost is one comparison
    /// per slot.
    pub(super) fn check(&self, op: usize, x: &Bundle) {
        let outside = |x: f64| x.abs() > 1.0 || x.is_nan();
        let slots: usize = x.iter().map(|vector| vector.iter().filter(|x| outside(**x)).count()).sum();
        if slots == 0 {
            return;
        }
        let mut by_op = self.by_op.lock().unwrap_or_else(PoisonError::into_inner);
        let found = by_op.entry(op).or_insert(Overflow { op, largest: 0.0, slots: 0 });
        found.slots += slots;
        // What is no number, or beyond all of them, is the largest.
        let larger = |largest: f64, x: f64| if x <= largest { largest } else { x.min(f64::MAX) };
        found.largest = x.iter().flatten().map(|x| x.abs()).fold(found.largest, larger);
    }

    pub(super) fn list(&self) -> Vec<Overflow> {
        self.by_op.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_the_largest() {
        let overflows = Overflows::default();
        overflows.check(3, &vec![vec![0.5, -1.0]]);
        assert_eq!(overflows.list(), []);
        overflows.check(3, &vec![vec![0.5, -2.0], vec![1.5, 0.0]]);
        assert_eq!(overflows.list(), [Overflow { op: 3, largest: 2.0, slots: 2 }]);
        for beyond in [f64::NAN, f64::NEG_INFINITY] {
            overflows.check(3, &vec![vec![beyond]]);
            assert_eq!(overflows.list()[0].largest, f64::MAX);
        }
        overflows.check(3, &vec![vec![4.0]]);
        assert_eq!(overflows.list(), [Overflow { op: 3, largest: f64::MAX, slots: 5 }]);
    }
}
