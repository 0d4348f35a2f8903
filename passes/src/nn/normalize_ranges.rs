//! Store every value divided by its factor.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a factor for every value ([`super::scaling`]) |
//! | Ensures  | each value is the old one divided by its factor, so magnitudes are at most 1 as far as ranges hold (what a ReLU multiplies its operand with may exceed that, by the ratio of its factors, where its result joins a sum); every `poly` has the domain [-1, 1]; `meta output_factor` is what outputs are multiplied with |
//! | Leaves   | shapes and names of inputs; `meta input_factors` is what they are divided by |
//! | Method   | factors go into weights, biases, coefficients and constant operands; only where an op has none, a product with a constant is inserted |
//! | Tests    | `tests/filetests/nn/normalize_ranges/`, `passes/tests/nn_random.rs` |

use fhec_ir::{
    attr::AttrError,
    entity::{Const, Value},
    fact::{INPUT_FACTORS, OUTPUT_FACTOR},
    func::{Func, Rewriter, StageOp},
    nn::{Nn, Op},
    polynomial::Polynomial,
    tensor::Tensor,
};

use super::scaling::{Scaling, constants};
use crate::{
    approximation::chebyshev::{interpolant, polynomial},
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "normalize-ranges";

/// Returns the function on stored values; the report counts products that had to be inserted.
pub fn normalize_ranges(func: &Func<Nn>, scaling: &Scaling) -> Result<Passed<Nn>, PassError> {
    for index in 0..func.value_count() {
        let (value, factor) = (Value::new(index), scaling.factor(Value::new(index)));
        if !(factor > 0.0 && factor.is_finite()) {
            let value = func.value_name(value).map_or(value.to_string(), str::to_string);
            return Err(PassError::Range { value, reason: format!("its factor is {factor}") });
        }
    }
    let mut pass = Pass {
        old: func,
        scaling,
        constants: constants(func),
        emitted: vec![false; func.value_count()],
        rewriter: Rewriter::same_stage(func),
        report: Report::new(PASS),
    };
    // Constants are added again, scaled.
    pass.rewriter.func.consts = Default::default();
    for data in func.ops().iter().filter(|data| !matches!(data.op, Op::Constant { .. })) {
        let value = pass.op(&data.op, data.result)?;
        if let Some(name) = func.value_name(data.result) {
            pass.rewriter.func.set_value_name(value, Some(name.to_string()));
        }
        pass.rewriter.replace(data.result, value);
    }
    let factor = func.outputs().first().map_or(1.0, |&output| scaling.factor(output));
    for &output in func.outputs() {
        let stored = pass.stored(output)?;
        let value = pass.rescale(stored, scaling.factor(output), factor)?;
        pass.rewriter.replace(output, value);
    }
    let Pass { rewriter, report, .. } = pass;
    let mut result = rewriter.finish(func);
    result.set_fact(OUTPUT_FACTOR, &factor);
    let factors: Vec<f64> = func.inputs().iter().map(|&input| scaling.factor(input)).collect();
    result.set_fact(INPUT_FACTORS, &Some(factors));
    Ok(Passed::new(result, report))
}

/// Inputs of a network as the function on stored values takes them.
///
/// # Errors
/// If the function has other inputs, or says no factors.
pub fn stored_inputs(func: &Func<Nn>, inputs: &[Tensor]) -> Result<Vec<Tensor>, AttrError> {
    let factors = func.fact(INPUT_FACTORS)?;
    let factors = factors.filter(|factors| factors.len() == inputs.len());
    let factors = factors.ok_or_else(|| AttrError("there is no factor per input".into()))?;
    let stored = |(x, factor): (&Tensor, f64)| {
        Tensor::from_fn(x.shape().to_vec(), |i| (f64::from(x.data()[i]) / factor) as f32)
    };
    Ok(inputs.iter().zip(factors).map(stored).collect())
}

struct Pass<'a> {
    old: &'a Func<Nn>,
    scaling: &'a Scaling,
    /// Which old values are constants.
    constants: Vec<bool>,
    /// Which of them are values of the new function too, for uses that do not scale them.
    emitted: Vec<bool>,
    rewriter: Rewriter<Nn>,
    report: Report,
}

impl Pass<'_> {
    fn push(&mut self, op: Op) -> Result<Value, PassError> {
        self.rewriter.func.push(op).map_err(|message| PassError::Malformed { pass: PASS, message })
    }

    /// Adds an old constant with `f` applied to its elements (index, value).
    fn scaled(&mut self, id: Const, f: impl Fn(f64) -> f64) -> Result<Const, PassError> {
        let tensor = &self.old.consts[id];
        let data = tensor.data();
        let scaled = Tensor::from_fn(tensor.shape().to_vec(), |i| f(f64::from(data[i])) as f32);
        match scaled.data().iter().find(|v| !v.is_finite()) {
            Some(value) => Err(PassError::NonFiniteConstant { pass: PASS, value: f64::from(*value) }),
            None => Ok(self.rewriter.func.add_const(scaled)),
        }
    }

    /// A stored value with one factor as a stored value with another: a product, unless they are
    /// equal.
    fn rescale(&mut self, x: Value, from: f64, to: f64) -> Result<Value, PassError> {
        if from == to {
            return Ok(x);
        }
        self.report.count("scaling products inserted", 1);
        let value = self.rewriter.func.add_const(Tensor::scalar((from / to) as f32));
        let y = self.push(Op::Constant { value })?;
        self.push(Op::Mul { x, y })
    }

    /// The old constant value `c` times `factor`, where it is used.
    fn constant(&mut self, c: Value, factor: f64) -> Result<Value, PassError> {
        let definition = self.old.ops().iter().find(|data| data.result == c);
        let Some(Op::Constant { value }) = definition.map(|data| &data.op) else {
            unreachable!("{c} is known to be a constant");
        };
        let value = self.scaled(*value, |v| v * factor)?;
        self.push(Op::Constant { value })
    }

    /// The new value of an old one. Constants come into being when something asks for them.
    fn stored(&mut self, old: Value) -> Result<Value, PassError> {
        if self.constants[old.index()] && !std::mem::replace(&mut self.emitted[old.index()], true) {
            let value = self.constant(old, 1.0 / self.scaling.factor(old))?;
            self.rewriter.replace(old, value);
        }
        Ok(self.rewriter.get(old))
    }

    /// The stored result of an old op.
    fn op(&mut self, op: &Op, result: Value) -> Result<Value, PassError> {
        let scaling = self.scaling;
        let factor = |value: Value| scaling.factor(value);
        let out = factor(result);
        match op {
            Op::Conv2d { x, weight, bias, strides, pads, dilations, groups } => {
                let gain = factor(*x) / out;
                let (x, strides, pads) = (self.stored(*x)?, *strides, *pads);
                let weight = self.scaled(*weight, |w| w * gain)?;
                let bias = bias.map(|id| self.scaled(id, |b| b / out)).transpose()?;
                self.push(Op::Conv2d {
                    x,
                    weight,
                    bias,
                    strides,
                    pads,
                    dilations: *dilations,
                    groups: *groups,
                })
            }
            Op::ConvTranspose2d { x, weight, bias, strides, pads, dilations, groups, output_padding } => {
                let gain = factor(*x) / out;
                let x = self.stored(*x)?;
                let weight = self.scaled(*weight, |w| w * gain)?;
                let bias = bias.map(|id| self.scaled(id, |b| b / out)).transpose()?;
                self.push(Op::ConvTranspose2d {
                    x,
                    weight,
                    bias,
                    strides: *strides,
                    pads: *pads,
                    dilations: *dilations,
                    groups: *groups,
                    output_padding: *output_padding,
                })
            }
            Op::AxisMatrices { x, axes, weights } => {
                let gain = factor(*x) / out;
                let x = self.stored(*x)?;
                // The first matrix takes all of the gain.
                let one = |(index, id): (usize, &Const)| {
                    self.scaled(*id, |w| if index == 0 { w * gain } else { w })
                };
                let weights: Result<Vec<Const>, PassError> = weights.iter().enumerate().map(one).collect();
                self.push(Op::AxisMatrices { x, axes: axes.clone(), weights: weights? })
            }
            Op::Dense { x, weight, bias } => {
                let gain = factor(*x) / out;
                let x = self.stored(*x)?;
                let weight = self.scaled(*weight, |w| w * gain)?;
                let bias = bias.map(|id| self.scaled(id, |b| b / out)).transpose()?;
                self.push(Op::Dense { x, weight, bias })
            }
            Op::BatchNorm { x, scale, bias, mean, variance, epsilon } => {
                let f = factor(*x);
                let x = self.stored(*x)?;
                let scale = self.scaled(*scale, |v| v / out)?;
                let bias = self.scaled(*bias, |v| v / out)?;
                let mean = self.scaled(*mean, |v| v / f)?;
                let variance = self.scaled(*variance, |v| v / (f * f))?;
                self.push(Op::BatchNorm { x, scale, bias, mean, variance, epsilon: epsilon / (f * f) })
            }
            Op::Constant { .. } => unreachable!("constants are added where they are used"),
            Op::Add { x, y } => {
                let (x, y) = self.addends(*x, *y, out)?;
                self.push(Op::Add { x, y })
            }
            Op::Sub { x, y } => {
                let (x, y) = self.addends(*x, *y, out)?;
                self.push(Op::Sub { x, y })
            }
            Op::Mul { x, y } => {
                let (fx, fy) = (factor(*x), factor(*y));
                match (self.constants[x.index()], self.constants[y.index()]) {
                    (false, true) => {
                        let (x, y) = (self.stored(*x)?, self.constant(*y, fx / out)?);
                        self.push(Op::Mul { x, y })
                    }
                    (true, false) => {
                        let (x, y) = (self.constant(*x, fy / out)?, self.stored(*y)?);
                        self.push(Op::Mul { x, y })
                    }
                    _ => {
                        let (x, y) = (self.stored(*x)?, self.stored(*y)?);
                        let product = self.push(Op::Mul { x, y })?;
                        self.rescale_product(product, fx * fy, out)
                    }
                }
            }
            Op::MatMul { x, y } if self.constants[y.index()] && !self.constants[x.index()] => {
                let (gain, y) = (factor(*x) / out, *y);
                let (x, y) = (self.stored(*x)?, self.constant(y, gain)?);
                self.push(Op::MatMul { x, y })
            }
            Op::MatMul { x, y } => {
                let (fx, fy) = (factor(*x), factor(*y));
                let (x, y) = (self.stored(*x)?, self.stored(*y)?);
                let product = self.push(Op::MatMul { x, y })?;
                self.rescale_product(product, fx * fy, out)
            }
            Op::Div { x, y } if self.constants[y.index()] && !self.constants[x.index()] => {
                let (fx, y) = (factor(*x), *y);
                let (x, y) = (self.stored(*x)?, self.constant(y, out / fx)?);
                self.push(Op::Div { x, y })
            }
            Op::Poly { x, polynomial } => {
                let polynomial = stored(polynomial, factor(*x), out)
                    .map_err(|message| PassError::Malformed { pass: PASS, message })?;
                let x = self.stored(*x)?;
                self.push(Op::Poly { x, polynomial })
            }
            Op::Pad { x, before, after, value } => {
                let (f, before, after, value) = (factor(*x), before.clone(), after.clone(), *value);
                let x = self.stored(*x)?;
                let padded = self.push(Op::Pad { x, before, after, value: value / f })?;
                self.rescale(padded, f, out)
            }
            Op::Activation { x, function } => {
                let f = factor(*x);
                // The same function of stored values, or else of what they stand for.
                let (x, function, from) = match function.rescaled(f) {
                    Some(function) => (self.stored(*x)?, function, f),
                    None => {
                        let stored = self.stored(*x)?;
                        (self.rescale(stored, f, 1.0)?, *function, 1.0)
                    }
                };
                let value = self.push(Op::Activation { x, function })?;
                self.rescale(value, from, out)
            }
            // f(c x) = c f(x) for c > 0.
            Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::ReduceMean { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. } => {
                let f = factor(op.operands()[0]);
                let value = self.with_operands(op, &[f])?;
                self.rescale(value, f, out)
            }
            Op::Concat { xs, .. } => self.with_operands(op, &vec![out; xs.len()]),
            // No factor passes through: stored values are brought back to what they stand for, and
            // the result too.
            Op::Div { .. } | Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::ArgMax { .. } => {
                let value = self.with_operands(op, &vec![1.0; op.operands().len()])?;
                self.rescale(value, 1.0, out)
            }
        }
    }

    /// Operands of a sum, both with the result's factor.
    fn addends(&mut self, x: Value, y: Value, out: f64) -> Result<(Value, Value), PassError> {
        let mut one = |value: Value| {
            if self.constants[value.index()] {
                return self.constant(value, 1.0 / out);
            }
            let stored = self.stored(value)?;
            self.rescale(stored, self.scaling.factor(value), out)
        };
        Ok((one(x)?, one(y)?))
    }

    /// The op with its operands brought to the given factors.
    fn with_operands(&mut self, op: &Op, factors: &[f64]) -> Result<Value, PassError> {
        let mut op = op.clone();
        for (operand, to) in op.operands_mut().into_iter().zip(factors) {
            let stored = self.stored(*operand)?;
            *operand = self.rescale(stored, self.scaling.factor(*operand), *to)?;
        }
        self.push(op)
    }

    /// [`rescale`](Self::rescale) of a product, whose factor is computed and so may differ by
    /// rounding.
    fn rescale_product(&mut self, x: Value, from: f64, to: f64) -> Result<Value, PassError> {
        if (from / to - 1.0).abs() <= 1e-12 { Ok(x) } else { self.rescale(x, from, to) }
    }
}

/// The polynomial t -> p(f t) / out on [-1, 1].
fn stored(p: &Polynomial, f: f64, out: f64) -> Result<Polynomial, String> {
    let result = if p.domain() == [-f, f] {
        polynomial(p.coefficients().iter().map(|c| c / out).collect(), [-1.0, 1.0])
    } else {
        // Made for another domain: exact but for rounding, whatever the domains are.
        interpolant(|t| p.eval(f * t) / out, [-1.0, 1.0], p.degree())
    };
    result.map_err(|e| e.to_string())
}
