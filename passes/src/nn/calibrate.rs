//! Ranges of all values of a network.
//!
//! | | |
//! |---|---|
//! | Stage    | nn, analysis only |
//! | Requires | a verified function; finite constants |
//! | Ensures  | a range for every value that contains all it took on the samples, or all it can take |
//! | Fails    | [`PassError::Calibration`], [`PassError::NonFiniteActivation`], [`PassError::Option`] |
//! | Method   | the cleartext interpreter on sample images, in parallel; or interval arithmetic, which is sound and far too wide for deep networks; or a table of ranges by name, completed by interval arithmetic |
//! | Tests    | `tests/filetests/nn/calibrate/`, `passes/tests/nn_pipeline.rs` |
//!
//! A range from samples says nothing about other inputs: what the program is built for is the
//! largest magnitude times a margin, [`Ranges::bound`]. Beyond it polynomials grow fast.

use std::collections::BTreeMap;

use fhec_ir::{
    entity::{Const, Value},
    func::{Func, StageOp},
    interp,
    nn::{Nn, Op},
    tensor::Tensor,
};
use rayon::prelude::*;

use super::scaling::is_activation;
use crate::{error::PassError, report::Report};

const PASS: &str = "calibrate";

/// min <= x <= max for all elements of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least element.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Range {
    /// The range of the given numbers.
    pub fn new(min: f64, max: f64) -> Range {
        Range { min, max }
    }

    /// The largest absolute value.
    pub fn max_abs(self) -> f64 {
        self.min.abs().max(self.max.abs())
    }

    fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Range {
        // Of a monotone function.
        let (a, b) = (f(self.min), f(self.max));
        Range { min: a.min(b), max: a.max(b) }
    }

    fn of_products(self, other: Range) -> Range {
        let corners =
            [self.min * other.min, self.min * other.max, self.max * other.min, self.max * other.max];
        corners.into_iter().map(|v| Range::new(v, v)).reduce(Range::union).expect("there are four")
    }
}

/// Where ranges come from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// Inputs of the network, one list per image, of the shapes the function declares.
    Images(&'a [Vec<Tensor>]),
    /// Ranges of some values by name, for inputs in the given range.
    Table {
        /// Ranges by the name of the value, or its number as printed (`%7`) if it has none.
        ranges: &'a BTreeMap<String, Range>,
        /// Of all inputs.
        input: Range,
    },
    /// Interval arithmetic alone, for inputs in the given range.
    Intervals(Range),
}

/// Options of [`calibrate`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What measured magnitudes are multiplied with, at least 1.
    pub margin: f64,
    /// What operands of activations are taken to stay below, whatever was measured; by measured
    /// ranges and the margin if `None`.
    pub bound: Option<f64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { margin: 1.5, bound: None }
    }
}

/// A range per value.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    ranges: Vec<Range>,
    /// 1 where the range is sound.
    margins: Vec<f64>,
    /// Where the range was measured.
    measured: Vec<bool>,
    /// Largest magnitude to be expected where it was not.
    expected: Vec<f64>,
}

impl Ranges {
    /// The range of `value`, without margin.
    pub fn range(&self, value: Value) -> Range {
        self.ranges[value.index()]
    }

    /// What the magnitude of `value` may be taken to stay below.
    pub fn bound(&self, value: Value) -> f64 {
        self.ranges[value.index()].max_abs() * self.margins[value.index()]
    }

    /// Sets what the magnitude of `value` may be taken to stay below, if its range is not that of
    /// zero alone.
    pub fn set_bound(&mut self, value: Value, bound: f64) {
        let largest = self.ranges[value.index()].max_abs();
        if largest > 0.0 {
            self.margins[value.index()] = bound / largest;
        }
    }

    /// What the range of `value` is multiplied with.
    pub fn margin(&self, value: Value) -> f64 {
        self.margins[value.index()]
    }

    /// Whether the range was seen on samples, as opposed to computed from what is.
    pub fn measured(&self, value: Value) -> bool {
        self.measured[value.index()]
    }

    /// About how large `value` becomes: its bound if that was measured; otherwise an estimate that
    /// takes sums of many terms to be four standard deviations from their mean at most. For uses
    /// where no more than precision is lost if it is wrong.
    pub fn expected(&self, value: Value) -> f64 {
        let bound = self.bound(value);
        if self.measured(value) { bound } else { bound.min(self.expected[value.index()]) }
    }

    /// The range with the margin.
    pub fn widened(&self, value: Value) -> Range {
        let margin = self.margins[value.index()];
        let range = self.ranges[value.index()];
        Range { min: range.min * margin, max: range.max * margin }
    }
}

/// Finds the range of every value of `func`.
pub fn calibrate(
    func: &Func<Nn>,
    source: &Source<'_>,
    options: &Options,
) -> Result<(Ranges, Report), PassError> {
    if !(options.margin >= 1.0 && options.margin.is_finite()) {
        let reason = format!("{} is no margin; 1 or more is needed", options.margin);
        return Err(PassError::Option { option: "margin", reason });
    }
    let mut report = Report::new(PASS);
    let mut ranges = match source {
        Source::Images(images) => {
            report.count("images", images.len());
            let ranges = measure(func, images)?;
            let (margins, measured) = (vec![options.margin; ranges.len()], vec![true; ranges.len()]);
            let expected = ranges.iter().map(|range| range.max_abs()).collect();
            Ranges { ranges, margins, measured, expected }
        }
        Source::Table { ranges, input } => {
            let named = |value: Value| ranges.get(&name(func, value)).copied();
            let known: BTreeMap<Value, Range> =
                (0..func.value_count()).map(Value::new).filter_map(|v| Some((v, named(v)?))).collect();
            report.count("values from the table", known.len());
            let measured: Vec<bool> =
                (0..func.value_count()).map(|i| known.contains_key(&Value::new(i))).collect();
            let ranges = intervals(func, *input, &known, options.margin, Sum::Extreme)?;
            let margins = measured.iter().map(|m| if *m { options.margin } else { 1.0 }).collect();
            let expected = intervals(func, *input, &known, options.margin, Sum::Expected)?;
            Ranges { ranges, margins, measured, expected: expected.iter().map(|r| r.max_abs()).collect() }
        }
        Source::Intervals(input) => {
            let ranges = intervals(func, *input, &BTreeMap::new(), 1.0, Sum::Extreme)?;
            let (margins, measured) = (vec![1.0; ranges.len()], vec![false; ranges.len()]);
            let expected = intervals(func, *input, &BTreeMap::new(), 1.0, Sum::Expected)?;
            Ranges { ranges, margins, measured, expected: expected.iter().map(|r| r.max_abs()).collect() }
        }
    };
    if let Some(bound) = options.bound {
        fix_bounds(func, &mut ranges, bound, &mut report);
    }
    Ok((ranges, report))
}

/// Gives operands of activations this bound; what they are computed from is to get no wider factor
/// by its own.
fn fix_bounds(func: &Func<Nn>, ranges: &mut Ranges, bound: f64, report: &mut Report) {
    for value in (0..func.value_count()).map(Value::new) {
        if ranges.measured(value) && !func.outputs().contains(&value) {
            ranges.set_bound(value, ranges.bound(value).min(bound));
        }
    }
    for data in func.ops() {
        if !is_activation(&data.op) || matches!(data.op, Op::Softmax { .. }) {
            continue;
        }
        let x = data.op.operands()[0];
        let largest = ranges.range(x).max_abs();
        if largest > bound && ranges.measured(x) {
            report.note(format!("{} was seen to reach {largest:.1}, its bound is {bound}", name(func, x)));
        }
        ranges.set_bound(x, bound);
    }
}

fn name(func: &Func<Nn>, value: Value) -> String {
    func.value_name(value).map_or(value.to_string(), str::to_string)
}

/// Least and greatest elements over all images.
fn measure(func: &Func<Nn>, images: &[Vec<Tensor>]) -> Result<Vec<Range>, PassError> {
    if images.is_empty() {
        let reason = "there is no image to calibrate with".to_string();
        return Err(PassError::Option { option: "calibration", reason });
    }
    let one = |(index, image): (usize, &Vec<Tensor>)| {
        let mut ranges = vec![Range::new(0.0, 0.0); func.value_count()];
        let mut bad = None;
        interp::nn::run_observed(func, image, &mut |value, tensor| {
            let data = tensor.data();
            let Some(&first) = data.first() else { return };
            let (min, max) = data.iter().fold((first, first), |(min, max), &v| (v.min(min), v.max(max)));
            if data.iter().any(|v| !v.is_finite()) {
                bad.get_or_insert(value);
            }
            ranges[value.index()] = Range::new(f64::from(min), f64::from(max));
        })?;
        match bad {
            Some(value) => Err(PassError::NonFiniteActivation { value: name(func, value), image: index }),
            None => Ok(ranges),
        }
    };
    // The error of the first image, whichever thread is first.
    let all: Vec<Result<Vec<Range>, PassError>> = images.par_iter().enumerate().map(one).collect();
    let all: Result<Vec<Vec<Range>>, PassError> = all.into_iter().collect();
    let mut all = all?.into_iter();
    let first = all.next().unwrap_or_default();
    Ok(all.fold(first, |a, b| a.iter().zip(b).map(|(a, b)| a.union(b)).collect()))
}

/// What is taken for the range of a weighted sum of many elements.
#[derive(Clone, Copy, PartialEq)]
enum Sum {
    /// All terms at their worst at once.
    Extreme,
    /// Independent terms, each uniform in its range: four standard deviations around the mean.
    Expected,
}

/// Interval arithmetic, with what is `known` in place of what follows; known ranges enter with the
/// margin.
fn intervals(
    func: &Func<Nn>,
    input: Range,
    known: &BTreeMap<Value, Range>,
    margin: f64,
    sum: Sum,
) -> Result<Vec<Range>, PassError> {
    let mut ranges = vec![Range::new(0.0, 0.0); func.value_count()];
    // What later values are computed from.
    let mut wide = ranges.clone();
    let mut set = |wide: &mut Vec<Range>, value: Value, range: Range| {
        let usable = range.min.is_finite() && range.max.is_finite() && range.min <= range.max;
        if !usable {
            let reason = format!("interval arithmetic gives [{:e}, {:e}]", range.min, range.max);
            return Err(PassError::Range { value: name(func, value), reason });
        }
        let (plain, widened) = match known.get(&value) {
            Some(known) => (*known, known.map(|v| v * margin)),
            None => (range, range),
        };
        ranges[value.index()] = plain;
        wide[value.index()] = widened;
        Ok(())
    };
    for &value in func.inputs() {
        set(&mut wide, value, input)?;
    }
    for data in func.ops() {
        let range = op_range(func, &data.op, &|v| wide[v.index()], data.result, sum);
        set(&mut wide, data.result, range)?;
    }
    Ok(ranges)
}

/// A range that contains every result of `op` on operands in their ranges.
fn op_range(func: &Func<Nn>, op: &Op, at: &dyn Fn(Value) -> Range, result: Value, sum: Sum) -> Range {
    let data = |id| func.consts[id].data();
    match op {
        Op::Conv2d { x, weight, bias, pads, .. } => {
            let zero = Range::new(0.0, 0.0);
            let x = if *pads == [0; 4] { at(*x) } else { at(*x).union(zero) };
            rows(data(*weight), bias.map(data), func.consts[*weight].shape()[0], x, sum)
        }
        Op::ConvTranspose2d { x, weight, bias, groups, .. } => {
            // Not every tap falls on every element.
            let x = at(*x).union(Range::new(0.0, 0.0));
            let weights = by_output(&func.consts[*weight], *groups);
            rows(&weights, bias.map(data), func.ty(result).shape[1], x, sum)
        }
        Op::AxisMatrices { x, weights, .. } => {
            let along = |x: Range, id: &Const| rows(data(*id), None, func.consts[*id].shape()[0], x, sum);
            weights.iter().fold(at(*x), along)
        }
        Op::Dense { x, weight, bias } => {
            rows(data(*weight), bias.map(data), func.consts[*weight].shape()[0], at(*x), sum)
        }
        Op::BatchNorm { x, scale, bias, mean, variance, epsilon } => {
            let [scale, bias, mean, variance] = [scale, bias, mean, variance].map(|id| data(*id));
            let channel = |c: usize| {
                let deviation = (f64::from(variance[c]) + epsilon).sqrt();
                let normal = |x: f64| (x - f64::from(mean[c])) / deviation;
                at(*x).map(|x| normal(x) * f64::from(scale[c]) + f64::from(bias[c]))
            };
            (0..scale.len()).map(channel).reduce(Range::union).unwrap_or(Range::new(0.0, 0.0))
        }
        Op::Constant { value } => {
            let values = data(*value).iter().map(|v| Range::new(f64::from(*v), f64::from(*v)));
            values.reduce(Range::union).unwrap_or(Range::new(0.0, 0.0))
        }
        Op::MatMul { x, y } => {
            let inner = func.ty(*x).shape.last().copied().unwrap_or(1) as f64;
            at(*x).of_products(at(*y)).map(|v| v * inner)
        }
        Op::Add { x, y } => Range::new(at(*x).min + at(*y).min, at(*x).max + at(*y).max),
        Op::Sub { x, y } => Range::new(at(*x).min - at(*y).max, at(*x).max - at(*y).min),
        Op::Mul { x, y } if x == y => {
            let square = at(*x).max_abs().powi(2);
            let least = if at(*x).min <= 0.0 && at(*x).max >= 0.0 { 0.0 } else { f64::INFINITY };
            Range::new(least.min(at(*x).min.powi(2)).min(at(*x).max.powi(2)), square)
        }
        Op::Mul { x, y } => at(*x).of_products(at(*y)),
        Op::Div { x, y } => {
            if at(*y).min <= 0.0 && at(*y).max >= 0.0 {
                return Range::new(f64::NEG_INFINITY, f64::INFINITY);
            }
            at(*x).of_products(at(*y).map(|y| 1.0 / y))
        }
        Op::Activation { x, function } => {
            let [min, max] = function.image([at(*x).min, at(*x).max]);
            Range::new(min, max)
        }
        Op::Softmax { .. } => Range::new(0.0, 1.0),
        Op::LogSoftmax { x, axis } => {
            let (x, terms) = (at(*x), func.ty(result).shape[*axis].max(1) as f64);
            Range::new(x.min - x.max - terms.ln(), 0.0)
        }
        Op::ArgMax { x, axis, .. } => Range::new(0.0, func.ty(*x).shape[*axis].saturating_sub(1) as f64),
        Op::Poly { x, polynomial } => {
            // |T_k(t)| <= |2 t|^k where |t| >= 1, and <= 1 within.
            let [low, high] = polynomial.domain();
            let t = at(*x).map(|x| (2.0 * x - low - high) / (high - low)).max_abs();
            let growth = if t <= 1.0 { 1.0 } else { 2.0 * t };
            let size: f64 = polynomial
                .coefficients()
                .iter()
                .enumerate()
                .map(|(k, c)| c.abs() * growth.powi(k as i32))
                .sum();
            Range::new(-size, size)
        }
        Op::MaxPool { x, .. }
        | Op::Reshape { x, .. }
        | Op::Transpose { x, .. }
        | Op::ReduceMean { x, .. } => at(*x),
        Op::Slice { x, .. } => at(*x),
        Op::AveragePool { x, .. } => at(*x).union(Range::new(0.0, 0.0)),
        Op::Pad { x, value, .. } => at(*x).union(Range::new(*value, *value)),
        Op::Concat { xs, .. } => xs.iter().map(|x| at(*x)).reduce(Range::union).unwrap_or_else(|| at(result)),
    }
}

/// The weights `[C, M / groups, KH, KW]` of the transpose of a convolution, by the channel of the
/// result that they reach: no element of it takes more than all of them.
fn by_output(weight: &Tensor, groups: usize) -> Vec<f32> {
    let &[c, m_per_group, kh, kw] = weight.shape() else { unreachable!("a kernel has rank 4") };
    let (c_per_group, taps) = (c / groups, kh * kw);
    let reach = |output: usize| {
        let (group, o) = (output / m_per_group, output % m_per_group);
        let channels = group * c_per_group..(group + 1) * c_per_group;
        channels.flat_map(move |channel| &weight.data()[(channel * m_per_group + o) * taps..][..taps])
    };
    (0..groups * m_per_group).flat_map(reach).copied().collect()
}

/// Range of `weight x + bias` over the rows of a weight, every element of x being in its range.
fn rows(weight: &[f32], bias: Option<&[f32]>, outputs: usize, x: Range, sum: Sum) -> Range {
    let row = weight.len() / outputs.max(1);
    let (mean, half) = ((x.min + x.max) / 2.0, (x.max - x.min) / 2.0);
    let one = |output: usize| {
        let start = bias.map_or(0.0, |bias| f64::from(bias[output]));
        let weights = weight[output * row..(output + 1) * row].iter().map(|w| f64::from(*w));
        let centre = start + mean * weights.clone().sum::<f64>();
        let reach = match sum {
            Sum::Extreme => half * weights.map(f64::abs).sum::<f64>(),
            // The variance of a uniform variable in [-half, half] is half^2 / 3.
            Sum::Expected => 4.0 * half * (weights.map(|w| w * w).sum::<f64>() / 3.0).sqrt(),
        };
        Range::new(centre - reach, centre + reach)
    };
    (0..outputs).map(one).reduce(Range::union).unwrap_or(Range::new(0.0, 0.0))
}
