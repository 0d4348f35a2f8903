//! Put polynomials in place of activations.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a range for every value and the factors made from them ([`super::scaling`]) |
//! | Ensures  | no activation, no `softmax`; every polynomial's domain is \[-f, f\], f the factor of its operand; ReLU is off by at most 2^-alpha f |
//! | Leaves   | `max_pool`, which [`check_lowerable`](crate::lower_nn::check_lowerable) refuses; weights and values unscaled ([`super::normalize_ranges`] comes next) |
//! | Fails    | [`PassError::Approximation`], [`PassError::Option`]; [`PassError::Range`] where a function is not defined on the range of its operand |
//! | Method   | ReLU(x) = x (1 + s(x / f)) / 2 with s a composition of odd minimax polynomials for sign (2020/834, 2105.10879), or x / 2 + g(x) with g even; softmax as [`super::softmax`] says; smooth functions by minimax polynomials |
//! | Tests    | `tests/filetests/nn/approximate/`, `passes/tests/nn_pipeline.rs` |
//!
//! What an activation is made of says its row of the table ([`fhec_ir::nn::activation`]). Leaky
//! ReLU is the same as ReLU with another last polynomial. Clip is a sum of ReLUs: low + ReLU(x -
//! low) - ReLU(x - high), less what the range of x makes idle. An ELU is a ReLU and a minimax
//! polynomial, as far as it has a corner.

mod domain;
mod softmax;

use std::collections::BTreeMap;

use fhec_ir::{
    entity::Value,
    func::{Func, Rewriter, StageOp},
    nn::activation::{Activation, Clamp, Form},
    nn::{Nn, Op},
    polynomial::Polynomial,
    tensor::Tensor,
};

use super::{
    calibrate::{Range, Ranges},
    fit_activations::{Fit, Fits},
    scaling::{Scaling, activation_bound, is_activation},
    softmax::{Scheme, SoftmaxNames},
};
use crate::{
    approximation::{
        ApproximationError,
        composite::{self, Composite},
        composition_search::cheapest_relu,
        even_minimax::{self, EvenRelu},
        smooth::{SmoothFit, SmoothPart, fit, fit_to_error},
    },
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "approximate";

/// How ReLU and what is made of it are approximated.
#[derive(Clone, Debug, PartialEq)]
pub enum ReluMethod {
    /// The cheapest composition for sign whose ReLU is off by at most 2^-alpha on [-1, 1].
    Alpha(f64),
    /// The composition of these odd degrees.
    Degrees(Vec<usize>),
    /// A single polynomial x / 2 + g(x), g even of this degree.
    Even(usize),
    /// These polynomials, by the activation's result; for others the even one of the given degree.
    Fitted {
        /// Made by [`fit_activations`](super::fit_activations::fit_activations).
        fits: Fits,
        /// Degree for ReLUs that have no fit.
        otherwise: usize,
    },
    /// The shallower of a composition and a single polynomial, for an error of at most 2^-alpha on
    /// [-1, 1]; the composition if they are equally deep.
    Shallowest(f64),
}

/// How smooth activations are approximated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SmoothMethod {
    /// The least degree that is off by at most this times the largest result.
    Error(f64),
    /// This degree.
    Degree(usize),
}

/// Options of [`approximate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// For lines with corners: `relu`, `leaky_relu`, `clip`, `hard_swish`, ...
    pub relu: ReluMethod,
    /// For smooth functions, and smooth parts.
    pub smooth: SmoothMethod,
    /// How far encryption may move a value that is at most 1: intervals between stages of a
    /// composition are widened by this.
    pub noise: f64,
    /// The largest depth of a composition for sign.
    pub max_depth: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            relu: ReluMethod::Alpha(13.0),
            smooth: SmoothMethod::Error(2f64.powi(-12)),
            noise: 2f64.powi(-14),
            max_depth: 20,
        }
    }
}

/// Returns the rewritten function with the factors of its values, and what was put where.
pub fn approximate(
    func: &Func<Nn>,
    ranges: &Ranges,
    scaling: &Scaling,
    options: &Options,
) -> Result<(Passed<Nn>, Scaling), PassError> {
    check(options)?;
    let mut pass = Pass {
        old: func,
        ranges,
        scaling,
        options,
        rewriter: Rewriter::same_stage(func),
        factors: func.inputs().iter().map(|&input| scaling.factor(input)).collect(),
        relu: None,
        smooth: BTreeMap::new(),
        softmax: None,
        report: Report::new(PASS),
    };
    for data in func.ops() {
        if is_activation(&data.op) {
            let x = data.op.operands()[0];
            let new = pass.activation(&data.op, x, data.result)?;
            pass.rewriter.replace(data.result, new);
            if let Some(name) = func.value_name(data.result) {
                pass.rewriter.func.set_value_name(new, Some(name.to_string()));
            }
            pass.report.count(data.op.mnemonic(), 1);
        } else {
            pass.rewriter.copy(func, data).map_err(malformed)?;
            pass.factors.push(scaling.factor(data.result));
        }
    }
    let Pass { rewriter, factors, softmax, report, .. } = pass;
    let mut result = rewriter.finish(func);
    if let Some(names) = softmax {
        names.set_in(&mut result);
    }
    Ok((Passed::new(result, report), Scaling::new(factors)))
}

fn malformed(message: String) -> PassError {
    PassError::Malformed { pass: PASS, message }
}

fn check(options: &Options) -> Result<(), PassError> {
    let refuse = |option, reason: String| Err(PassError::Option { option, reason });
    match &options.relu {
        ReluMethod::Alpha(alpha) | ReluMethod::Shallowest(alpha) if !(1.0..=30.0).contains(alpha) => {
            return refuse("relu-alpha", format!("{alpha} is not between 1 and 30"));
        }
        ReluMethod::Degrees(degrees)
            if degrees.is_empty() || degrees.iter().any(|d| d.is_multiple_of(2) || *d > 127) =>
        {
            return refuse("relu-degrees", format!("{degrees:?} are not odd degrees up to 127"));
        }
        ReluMethod::Even(degree) | ReluMethod::Fitted { otherwise: degree, .. }
            if *degree < 2 || !degree.is_multiple_of(2) || *degree > 510 =>
        {
            return refuse("relu-even-degree", format!("{degree} is not an even degree from 2 to 510"));
        }
        _ => {}
    }
    match options.smooth {
        SmoothMethod::Error(error) if !(error > 0.0 && error < 1.0) => {
            return refuse("smooth-error", format!("{error} is not between 0 and 1"));
        }
        SmoothMethod::Degree(degree) if !(1..=511).contains(&degree) => {
            return refuse("smooth-degree", format!("{degree} is not between 1 and 511"));
        }
        _ => {}
    }
    if !(0.0..0.1).contains(&options.noise) {
        return refuse("noise", format!("{} is not between 0 and 0.1", options.noise));
    }
    Ok(())
}

/// ReLU on [-1, 1], built once: every domain is a scaling of this one.
enum Relu {
    Composite(Composite),
    Single(Polynomial),
}

struct Pass<'a> {
    old: &'a Func<Nn>,
    ranges: &'a Ranges,
    scaling: &'a Scaling,
    options: &'a Options,
    rewriter: Rewriter<Nn>,
    /// Of the values of the new function, in order.
    factors: Vec<f64>,
    relu: Option<Relu>,
    /// Fits by function, bits of the domain's end, and bits of the error asked for.
    smooth: BTreeMap<(String, u64, u64), Polynomial>,
    /// Of the last softmax.
    softmax: Option<SoftmaxNames>,
    report: Report,
}

impl Pass<'_> {
    fn push(&mut self, op: Op, factor: f64) -> Result<Value, PassError> {
        let value = self.rewriter.func.push(op).map_err(malformed)?;
        self.factors.push(factor);
        debug_assert_eq!(self.factors.len(), self.rewriter.func.value_count());
        Ok(value)
    }

    fn scalar(&mut self, value: f64) -> Result<Value, PassError> {
        let value = self.rewriter.func.add_const(Tensor::scalar(value as f32));
        self.push(Op::Constant { value }, 1.0)
    }

    fn failed(&self, result: Value) -> impl Fn(ApproximationError) -> PassError + use<> {
        let value = self.old.value_name(result).map_or(result.to_string(), str::to_string);
        move |source| PassError::Approximation { value: value.clone(), source }
    }

    /// The activation of the old value `x`, as a new value.
    fn activation(&mut self, op: &Op, x: Value, result: Value) -> Result<Value, PassError> {
        let mut domain = self.scaling.factor(x);
        let target = self.scaling.factor(result);
        let fit = match &self.options.relu {
            ReluMethod::Fitted { fits, .. } => fits.get(&result),
            _ => None,
        };
        let needed = activation_bound(op, x, self.ranges, fit.is_some());
        let mut operand = self.rewriter.get(x);
        if needed > domain * (1.0 + 1e-9) {
            // The operand's factor is fixed, by an input for example: a product brings it into the
            // domain.
            let one = self.scalar(1.0)?;
            domain = needed;
            operand = self.push(Op::Mul { x: operand, y: one }, domain)?;
            self.report.note(format!(
                "{} is scaled by a product of its own, at the cost of a level: its factor is fixed",
                self.old.value_name(x).map_or(x.to_string(), str::to_string)
            ));
        }
        if let Some(fit) = fit {
            return self.fitted(operand, domain, target, fit, result);
        }
        match op {
            Op::Activation { function, .. } => {
                if let Some(value) = self.around_middle(function, operand, x, target, result)? {
                    return Ok(value);
                }
                self.function(function, operand, domain, target, self.ranges.widened(x), result)
            }
            Op::Softmax { .. } => {
                // Logits at the end have no range that everybody's pictures keep.
                let is_inside = !self.old.outputs().contains(&result) && self.ranges.measured(x);
                let classes = self.old.ty(result).shape.iter().product();
                let scheme = match is_inside {
                    true => Scheme::of_range(self.ranges.widened(x), classes),
                    false => Scheme::PUBLISHED,
                };
                self.softmax(operand, domain, target, scheme, result)
            }
            other => Err(malformed(format!("{} is no activation", other.mnemonic()))),
        }
    }

    /// `function` of `x`, whose values lie in `range`.
    fn function(
        &mut self,
        function: &Activation,
        x: Value,
        domain: f64,
        target: f64,
        range: Range,
        result: Value,
    ) -> Result<Value, PassError> {
        match function.form() {
            Form::Rectifier { negative } => self.rectifier(x, domain, target, [negative, 1.0], result),
            Form::Clamp(clamp) => self.clamp(x, domain, target, clamp, range, result),
            Form::Gate(clamp) => {
                // As for rectifiers: the factor of the product is the target.
                let gate = self.clamp(x, domain, target / domain, clamp, range, result)?;
                self.push(Op::Mul { x, y: gate }, target)
            }
            Form::Smooth(form) => {
                let smooth = self.smooth(x, domain, target, function, result)?;
                if form.rectifier == 0.0 {
                    return Ok(smooth);
                }
                let corner = self.rectifier(x, domain, target, [0.0, form.rectifier], result)?;
                self.push(Op::Add { x: smooth, y: corner }, target)
            }
        }
    }

    /// `negative x` on the left of 0, `positive x` on the right: x times their mean, and half of
    /// what they differ by times sign(x).
    fn rectifier(
        &mut self,
        x: Value,
        domain: f64,
        target: f64,
        [negative, positive]: [f64; 2],
        result: Value,
    ) -> Result<Value, PassError> {
        let failed = self.failed(result);
        if self.relu.is_none() {
            let relu = self.build_relu().map_err(&failed)?;
            self.relu = Some(relu);
        }
        let stages = match self.relu.as_ref() {
            Some(Relu::Composite(composite)) => {
                composite.affine((positive + negative) / 2.0, (positive - negative) / 2.0).map_err(&failed)?
            }
            Some(Relu::Single(polynomial)) => {
                // negative x + (positive - negative) ReLU(x), and domain ReLU(x / domain) =
                // ReLU(x).
                let mut coefficients: Vec<f64> =
                    polynomial.coefficients().iter().map(|c| c * domain * (positive - negative)).collect();
                coefficients[1] += negative * domain;
                let polynomial = over(coefficients, domain).map_err(&failed)?;
                return self.push(Op::Poly { x, polynomial }, target);
            }
            None => unreachable!("it was just built"),
        };
        let last = stages.len() - 1;
        let mut value = x;
        for (index, stage) in stages.into_iter().enumerate() {
            let polynomial = if index == 0 {
                over(stage.coefficients().to_vec(), domain).map_err(&failed)?
            } else {
                stage
            };
            // The product at the end has factor `target` if the last polynomial has target /
            // domain.
            let factor = if index == last { target / domain } else { 1.0 };
            value = self.push(Op::Poly { x: value, polynomial }, factor)?;
        }
        self.push(Op::Mul { x, y: value }, target)
    }

    /// A polynomial made for these operands, and a shift per channel.
    fn fitted(
        &mut self,
        x: Value,
        domain: f64,
        target: f64,
        fit: &Fit,
        result: Value,
    ) -> Result<Value, PassError> {
        let [low, high] = fit.polynomial.domain();
        if (high / domain - 1.0).abs() > 1e-9 || low != -high {
            let reason =
                format!("its polynomial is made for [{low}, {high}], its operand stays within {domain}");
            let value = self.old.value_name(result).map_or(result.to_string(), str::to_string);
            return Err(PassError::Range { value, reason });
        }
        let polynomial = over(fit.polynomial.coefficients().to_vec(), domain).map_err(self.failed(result))?;
        let y = self.push(Op::Poly { x, polynomial }, target)?;
        if fit.shift.iter().all(|shift| *shift == 0.0) {
            return Ok(y);
        }
        // One number per channel, for all positions: an addition of constants, which takes no
        // level.
        let mut shape = vec![1; self.old.ty(result).shape.len() - 1];
        shape[0] = fit.shift.len();
        let shift = Tensor::from_fn(shape, |channel| fit.shift[channel]);
        let value = self.rewriter.func.add_const(shift);
        let shift = self.push(Op::Constant { value }, 1.0)?;
        self.push(Op::Add { x: y, y: shift }, target)
    }

    fn build_relu(&mut self) -> Result<Relu, ApproximationError> {
        let Options { noise, max_depth, .. } = *self.options;
        let (degrees, composite) = match &self.options.relu {
            ReluMethod::Alpha(alpha) => cheapest_relu(*alpha, noise, max_depth)?,
            ReluMethod::Degrees(degrees) => (degrees.clone(), composite::relu(degrees, noise)?),
            ReluMethod::Even(degree) | ReluMethod::Fitted { otherwise: degree, .. } => {
                return Ok(self.single(even_minimax::relu(*degree)?));
            }
            ReluMethod::Shallowest(alpha) => {
                let composite = cheapest_relu(*alpha, noise, max_depth);
                // The product with the operand is a level too.
                let depth = composite.as_ref().map_or(max_depth as u32, |(_, c)| c.depth()) + 1;
                if let Some(relu) = even_minimax::shallowest_relu((-alpha).exp2(), depth - 1)? {
                    return Ok(self.single(relu));
                }
                composite?
            }
        };
        self.report.note(format!(
            "ReLU uses a composition of degrees {degrees:?} for sign; error at most 2^{:.2} of the domain's end",
            composite.relu_error.log2()
        ));
        Ok(Relu::Composite(composite))
    }

    fn single(&mut self, relu: EvenRelu) -> Relu {
        self.report.note(format!(
            "ReLU is x/2 plus an even polynomial of degree {}; error at most 2^{:.2} of the domain's end",
            relu.polynomial.degree(),
            relu.error.log2()
        ));
        Relu::Single(relu.polynomial)
    }

    /// A line between two constants, as far as x in `range` reaches them.
    fn clamp(
        &mut self,
        x: Value,
        domain: f64,
        target: f64,
        Clamp { low, high, scale, offset }: Clamp,
        range: Range,
        result: Value,
    ) -> Result<Value, PassError> {
        let below = range.min < low;
        let above = range.max > high;
        if low >= high {
            // One value everywhere; written as a product so that it stays a tensor of this shape.
            let (zero, level) = (self.scalar(0.0)?, self.scalar(scale * high + offset)?);
            let nothing = self.push(Op::Mul { x, y: zero }, target)?;
            return self.push(Op::Add { x: nothing, y: level }, target);
        }
        // What lies above the bound, times the slope: scale ReLU(x - bound).
        let beyond = |pass: &mut Self, bound: f64| -> Result<Value, PassError> {
            if bound == 0.0 {
                return pass.rectifier(x, domain, target, [0.0, scale], result);
            }
            let level = pass.scalar(bound)?;
            let shifted = pass.push(Op::Sub { x, y: level }, domain)?;
            pass.rectifier(shifted, domain, target, [0.0, scale], result)
        };
        let mut value = if below {
            let raised = beyond(self, low)?;
            self.raised(raised, scale * low + offset, target)?
        } else if above {
            let product = (domain != target || scale != 1.0).then(|| self.scalar(scale)).transpose()?;
            let scaled = match product {
                // The sum below needs the target's factor.
                Some(scale) => self.push(Op::Mul { x, y: scale }, target)?,
                None => x,
            };
            self.raised(scaled, offset, target)?
        } else {
            // No bound is ever reached; the polynomial that the line is, which carries the change
            // of factor.
            let line = vec![offset, scale * domain];
            let polynomial = over(line, domain).map_err(self.failed(result))?;
            return self.push(Op::Poly { x, polynomial }, target);
        };
        if above {
            let excess = beyond(self, high)?;
            value = self.push(Op::Sub { x: value, y: excess }, target)?;
        }
        Ok(value)
    }

    /// `x + level`, stored with the factor `target`, as `x` is.
    fn raised(&mut self, x: Value, level: f64, target: f64) -> Result<Value, PassError> {
        if level == 0.0 {
            return Ok(x);
        }
        let level = self.scalar(level)?;
        self.push(Op::Add { x, y: level }, target)
    }

    /// The smooth part of `function`.
    fn smooth(
        &mut self,
        x: Value,
        domain: f64,
        target: f64,
        function: &Activation,
        result: Value,
    ) -> Result<Value, PassError> {
        let key = (function.to_string(), domain.to_bits(), target.to_bits());
        if !self.smooth.contains_key(&key) {
            let failed = self.failed(result);
            let Some(part) = SmoothPart::of(function) else {
                return Err(malformed(format!("{function} has no smooth part")));
            };
            let ends = [-domain, domain];
            let fitted = match self.options.smooth {
                SmoothMethod::Error(error) => fit_as_near_as_possible(&part, ends, error * target),
                SmoothMethod::Degree(degree) => fit(&part, ends, degree),
            };
            let fitted = fitted.map_err(failed)?;
            self.report.note(format!(
                "{function} on [-{domain:.4}, {domain:.4}] has degree {} and error {:.2e}",
                fitted.polynomial.degree(),
                fitted.error
            ));
            self.smooth.insert(key.clone(), fitted.polynomial);
        }
        let polynomial = self.smooth[&key].clone();
        self.push(Op::Poly { x, polynomial }, target)
    }
}

/// What an error is multiplied with where no degree reaches it, one after the other: functions with
/// a corner or a steep end are near to no polynomial.
const COARSER: [f64; 4] = [1.0, 4.0, 16.0, 64.0];

/// The best polynomial of the least degree for `error`, or else for the next of [`COARSER`].
fn fit_as_near_as_possible(
    part: &SmoothPart,
    ends: [f64; 2],
    error: f64,
) -> Result<SmoothFit, ApproximationError> {
    let mut last = None;
    for coarser in COARSER {
        match fit_to_error(part, ends, coarser * error) {
            Err(unreachable @ ApproximationError::ErrorUnreachable { reached, .. }) => {
                // One step is enough where it is known how near the best comes.
                if reached > COARSER[COARSER.len() - 1] * error {
                    return Err(unreachable);
                }
                last = Some(unreachable);
            }
            other => return other,
        }
    }
    Err(last.expect("something was tried"))
}

/// Coefficients on [-end, end].
fn over(coefficients: Vec<f64>, end: f64) -> Result<Polynomial, ApproximationError> {
    crate::approximation::chebyshev::polynomial(coefficients, [-end, end])
}
