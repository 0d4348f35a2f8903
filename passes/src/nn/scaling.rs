//! Which factor every value is stored with.
//!
//! A value v with factor f is stored as v / f. Factors make stored magnitudes at most 1 and give
//! every activation the domain [-1, 1]. They cost nothing where an op has constants of its own to
//! absorb them (weights, biases, coefficients); elsewhere they are bound:
//!
//! - sums, pools, reshapes, concatenations keep the factor, so operands and result form a class;
//! - a product has the product of its operands' factors;
//! - the client divides inputs by their factors before it encrypts. Outputs share one factor, which
//!   the client multiplies back.
//!
//! The factor of a class is the largest bound of its members, as far as those are measured or a
//! polynomial reads them, and what is to be expected of them otherwise.

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    nn::activation::{Clamp, Form},
    nn::{Nn, Op},
};

use super::calibrate::Ranges;
use super::softmax::OPERAND_BOUND;

/// A factor for every value of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    factors: Vec<f64>,
}

impl Scaling {
    /// The given factors, one per value.
    pub fn new(factors: Vec<f64>) -> Scaling {
        Scaling { factors }
    }

    /// What `value` is divided by when it is stored; positive and finite.
    pub fn factor(&self, value: Value) -> f64 {
        self.factors[value.index()]
    }
}

/// Whether an op becomes a polynomial, with a domain that its operand must have.
pub fn is_activation(op: &Op) -> bool {
    matches!(op, Op::Activation { .. } | Op::Softmax { .. })
}

/// The magnitude that the operand of an activation may reach, what the activation subtracts from it
/// included. Where one polynomial takes its place it is `fitted`, and subtracts nothing.
pub fn activation_bound(op: &Op, x: Value, ranges: &Ranges, fitted: bool) -> f64 {
    if fitted {
        return ranges.bound(x);
    }
    let range = ranges.widened(x);
    let beyond = |shift: f64| {
        if shift.is_finite() { (range.min - shift).abs().max((range.max - shift).abs()) } else { 0.0 }
    };
    match op {
        Op::Activation { function, .. } => match function.form() {
            Form::Clamp(Clamp { low, high, .. }) | Form::Gate(Clamp { low, high, .. }) => {
                ranges.bound(x).max(beyond(low)).max(beyond(high))
            }
            Form::Rectifier { .. } | Form::Smooth(_) => ranges.bound(x),
        },
        Op::Softmax { .. } => ranges.bound(x).max(OPERAND_BOUND),
        _ => ranges.bound(x),
    }
}

/// The least factor that the result of an activation should have where its operand has the factor
/// `domain`: rectifiers are stored as the operand times a polynomial of the size of the ratio, so
/// with this one that is at most 1, too.
fn least_factor(form: &Form, domain: f64) -> f64 {
    match form {
        Form::Rectifier { .. } => domain,
        Form::Clamp(clamp) => clamp.scale.abs() * domain,
        Form::Gate(clamp) => domain * (clamp.scale.abs() * domain).max(1.0),
        Form::Smooth(smooth) => smooth.rectifier.abs() * domain,
    }
}

/// Factors for all values of `func`. The activations with the results `fitted` become one
/// polynomial each.
pub fn scaling(func: &Func<Nn>, ranges: &Ranges, fitted: &[Value]) -> Scaling {
    let mut classes = Classes { parent: (0..func.value_count()).collect() };
    let constants: Vec<bool> = constants(func);
    for pair in func.outputs().windows(2) {
        classes.union(pair[0], pair[1]);
    }
    for data in func.ops() {
        match &data.op {
            Op::Add { x, y } | Op::Sub { x, y } => {
                // A constant operand is divided by whatever the other's factor is.
                [x, y]
                    .into_iter()
                    .filter(|v| !constants[v.index()])
                    .for_each(|v| classes.union(*v, data.result));
            }
            Op::MaxPool { x, .. }
            | Op::AveragePool { x, .. }
            | Op::ReduceMean { x, .. }
            | Op::Pad { x, .. }
            | Op::Reshape { x, .. }
            | Op::Transpose { x, .. }
            | Op::Slice { x, .. } => classes.union(*x, data.result),
            Op::Concat { xs, .. } => xs.iter().for_each(|x| classes.union(*x, data.result)),
            _ => {}
        }
    }
    // The largest bound of each class. A range that was not measured may be far too wide, and where
    // an activation reads the class, width is precision lost: then only what was measured and what
    // is read counts.
    let mut factors = vec![0.0f64; func.value_count()];
    let mut expected = vec![0.0f64; func.value_count()];
    let mut pinned = vec![false; func.value_count()];
    // Classes that a polynomial reads: their factor is its domain.
    let mut domain = vec![false; func.value_count()];
    for index in 0..func.value_count() {
        let (class, value) = (classes.find(index), Value::new(index));
        // What an input may be is known even where it was not measured.
        if ranges.measured(value) || func.inputs().contains(&value) {
            factors[class] = factors[class].max(ranges.bound(value));
        }
        expected[class] = expected[class].max(ranges.expected(value));
    }
    let mut pin = |classes: &mut Classes, value: Value| pinned[classes.find(value.index())] = true;
    for data in func.ops() {
        match &data.op {
            Op::Div { x, y } if !constants[y.index()] => {
                [*x, *y, data.result].into_iter().for_each(|v| pin(&mut classes, v));
            }
            op if is_activation(op) || matches!(op, Op::Poly { .. }) => {
                let x = op.operands()[0];
                let class = classes.find(x.index());
                let bound = activation_bound(op, x, ranges, fitted.contains(&data.result));
                factors[class] = factors[class].max(bound);
                domain[class] = true;
            }
            _ => {}
        }
    }
    for class in 0..func.value_count() {
        if factors[class] == 0.0 {
            factors[class] = expected[class];
        }
        if pinned[class] || factors[class] == 0.0 {
            factors[class] = 1.0;
        }
    }
    // Factors of rectifiers are raised where nothing else depends on them.
    for data in func.ops() {
        if let Op::Activation { x, function } = &data.op {
            // A clip is known to stay within its bounds where it is no sum of rectifiers.
            let clip = matches!(function.form(), Form::Clamp(_)) && fitted.contains(&data.result);
            let [x, out] = [*x, data.result].map(|v| classes.find(v.index()));
            if !pinned[out] && !domain[out] && !clip {
                factors[out] = factors[out].max(least_factor(&function.form(), factors[x]));
            }
        }
    }
    // A product brings its own factor; it is taken over where nothing else depends on the class.
    let mut settled = pinned;
    for data in func.ops() {
        let (Op::Mul { x, y } | Op::MatMul { x, y }) = &data.op else { continue };
        if constants[x.index()] || constants[y.index()] {
            continue;
        }
        let [x, y, out] = [*x, *y, data.result].map(|v| classes.find(v.index()));
        settled[x] = true;
        settled[y] = true;
        let product = factors[x] * factors[y];
        // An activation on a domain twice as wide loses a bit, less than the level that scaling
        // would take.
        if !settled[out] && product >= factors[out] && (!domain[out] || product <= 2.0 * factors[out]) {
            factors[out] = product;
        }
        settled[out] = true;
    }
    Scaling { factors: (0..func.value_count()).map(|index| factors[classes.find(index)]).collect() }
}

/// Which values are constants.
pub fn constants(func: &Func<Nn>) -> Vec<bool> {
    let mut constants = vec![false; func.value_count()];
    for data in func.ops() {
        constants[data.result.index()] = matches!(data.op, Op::Constant { .. });
    }
    constants
}

struct Classes {
    parent: Vec<usize>,
}

impl Classes {
    fn find(&mut self, mut index: usize) -> usize {
        while self.parent[index] != index {
            self.parent[index] = self.parent[self.parent[index]];
            index = self.parent[index];
        }
        index
    }

    fn union(&mut self, a: Value, b: Value) {
        let (a, b) = (self.find(a.index()), self.find(b.index()));
        // The lowest value stands for the class, whatever the order of unions.
        self.parent[a.max(b)] = a.min(b);
    }
}
