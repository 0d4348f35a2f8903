//! Scale channels so that each fills the range of its activation.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function; the largest magnitude of every channel of what rectifiers read ([`channel_magnitudes`]) |
//! | Ensures  | the same function up to rounding of weights; no op more |
//! | Leaves   | channels that reach an op which does not keep a factor per channel: inputs, outputs, dense layers on flattened planes, other activations |
//! | Method   | for c > 0, ReLU(c x) = c ReLU(x), so a channel may be divided by a number where a convolution writes it and multiplied where the next one reads it (cross-layer equalisation: Nagel et al., ICCV 2019, arXiv 1906.04721). Values joined by additions share their numbers |
//! | Tests    | below |
//!
//! A polynomial is made for one interval, and where channels differ in size the small ones use the middle of it only, where a
//! polynomial for ReLU is worst.

use fhec_ir::{
    entity::{Const, Value},
    func::{Func, Rewriter, StageOp},
    interp,
    nn::{Nn, Op},
    tensor::Tensor,
};
use rayon::prelude::*;

use crate::{error::PassError, report::Report};

const PASS: &str = "equalize-channels";

/// The largest magnitude per channel (dimension 1), by value; empty where none is known.
pub type ChannelMagnitudes = Vec<Vec<f64>>;

/// Measures the operands of rectifiers on images.
pub fn channel_magnitudes(func: &Func<Nn>, images: &[Vec<Tensor>]) -> Result<ChannelMagnitudes, PassError> {
    let mut wanted = vec![false; func.value_count()];
    for data in func.ops() {
        if let Op::Relu { x } | Op::LeakyRelu { x, .. } = data.op {
            wanted[x.index()] = func.ty(x).shape.len() >= 2;
        }
    }
    let one = |image: &Vec<Tensor>| {
        let mut magnitudes = vec![Vec::new(); func.value_count()];
        interp::nn::run_observed(func, image, &mut |value, tensor| {
            if !wanted[value.index()] {
                return;
            }
            let channels = tensor.shape()[1];
            let plane: usize = tensor.shape()[2..].iter().product();
            let mut largest = vec![0.0f64; channels];
            for (i, v) in tensor.data().iter().enumerate() {
                let at = &mut largest[i / plane % channels];
                *at = at.max(f64::from(v.abs()));
            }
            magnitudes[value.index()] = largest;
        })?;
        Ok(magnitudes)
    };
    let all: Result<Vec<ChannelMagnitudes>, PassError> = images.par_iter().map(one).collect();
    let larger = |mut a: ChannelMagnitudes, b: ChannelMagnitudes| {
        for (a, b) in a.iter_mut().zip(b) {
            if a.is_empty() {
                *a = b;
            } else {
                a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
            }
        }
        a
    };
    Ok(all?.into_iter().reduce(larger).unwrap_or_else(|| vec![Vec::new(); func.value_count()]))
}

/// What every channel of every value is divided by; empty where it is 1.
pub type ChannelFactors = Vec<Vec<f64>>;

/// Chooses factors. A channel's factor is its magnitude over that of the largest channel, at least `least`, to the power `strength`;
/// where several rectifiers read the class, the largest of theirs.
pub fn channel_factors(
    func: &Func<Nn>,
    magnitudes: &ChannelMagnitudes,
    least: f64,
    strength: f64,
) -> ChannelFactors {
    let mut classes = Classes::of(func);
    let mut factors: ChannelFactors = vec![Vec::new(); func.value_count()];
    for (index, magnitudes) in magnitudes.iter().enumerate() {
        let class = classes.find(index);
        let top = magnitudes.iter().fold(0.0f64, |top, m| top.max(*m));
        if classes.pinned[class] || top == 0.0 {
            continue;
        }
        let of = |m: &f64| (m / top).max(least).powf(strength);
        if factors[class].is_empty() {
            factors[class] = magnitudes.iter().map(of).collect();
        } else {
            factors[class].iter_mut().zip(magnitudes).for_each(|(f, m)| *f = f.max(of(m)));
        }
    }
    (0..func.value_count()).map(|index| factors[classes.find(index)].clone()).collect()
}

/// Values that share their channels' factors.
struct Classes {
    parent: Vec<usize>,
    /// By class: no factor but 1.
    pinned: Vec<bool>,
}

impl Classes {
    fn of(func: &Func<Nn>) -> Classes {
        let count = func.value_count();
        let mut classes = Classes { parent: (0..count).collect(), pinned: vec![false; count] };
        func.inputs().iter().chain(func.outputs()).for_each(|value| classes.pin(*value));
        let constants = super::scaling::constants(func);
        let channels = |value: Value| func.ty(value).shape.get(1).copied();
        for data in func.ops() {
            match &data.op {
                // Weights are between the two.
                Op::Conv2d { .. } | Op::Dense { .. } => {}
                Op::Add { x, y } | Op::Sub { x, y }
                    if !constants[x.index()]
                        && !constants[y.index()]
                        && func.ty(*x).shape == func.ty(*y).shape =>
                {
                    classes.union(*x, data.result);
                    classes.union(*y, data.result);
                }
                Op::Relu { x }
                | Op::LeakyRelu { x, .. }
                | Op::MaxPool { x, .. }
                | Op::AveragePool { x, .. } => {
                    classes.union(*x, data.result);
                }
                Op::ReduceMean { x, axes, .. } if !axes.contains(&0) && !axes.contains(&1) => {
                    classes.union(*x, data.result);
                }
                Op::Pad { x, before, after, value } if *value == 0.0 && before[1] == 0 && after[1] == 0 => {
                    classes.union(*x, data.result);
                }
                // The same channels, in the same place.
                Op::Reshape { x, .. }
                    if channels(*x) == channels(data.result)
                        && func.ty(*x).shape[0] == func.ty(data.result).shape[0] =>
                {
                    classes.union(*x, data.result);
                }
                op => op.operands().into_iter().chain([data.result]).for_each(|value| classes.pin(value)),
            }
        }
        classes
    }

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
        self.pinned[a.min(b)] |= self.pinned[a.max(b)];
    }

    fn pin(&mut self, value: Value) {
        let class = self.find(value.index());
        self.pinned[class] = true;
    }
}

/// Divides every channel by its factor.
pub fn equalize_channels(func: &Func<Nn>, factors: &ChannelFactors) -> Result<(Func<Nn>, Report), PassError> {
    let malformed = |message| PassError::Malformed { pass: PASS, message };
    let mut report = Report::new(PASS);
    let mut rewriter = Rewriter::same_stage(func);
    let factor = |value: Value, channel: usize| factors[value.index()].get(channel).copied().unwrap_or(1.0);
    let plain = |value: Value| factors[value.index()].is_empty();
    for data in func.ops() {
        let (x, out) = match &data.op {
            Op::Conv2d { x, .. } | Op::Dense { x, .. } if !(plain(*x) && plain(data.result)) => {
                (*x, data.result)
            }
            _ => {
                rewriter.copy(func, data).map_err(malformed)?;
                continue;
            }
        };
        report.count("weights scaled", 1);
        let mut op = data.op.clone();
        if let Op::Conv2d { weight, bias, groups, .. } = &mut op {
            *weight =
                scaled_weight(&mut rewriter.func, *weight, *groups, &|i| factor(x, i), &|o| factor(out, o))?;
            *bias = scaled_bias(&mut rewriter.func, *bias, &|o| factor(out, o))?;
        } else if let Op::Dense { weight, bias, .. } = &mut op {
            *weight = scaled_weight(&mut rewriter.func, *weight, 1, &|i| factor(x, i), &|o| factor(out, o))?;
            *bias = scaled_bias(&mut rewriter.func, *bias, &|o| factor(out, o))?;
        }
        for operand in op.operands_mut() {
            *operand = rewriter.get(*operand);
        }
        let value = rewriter.func.push_named(op, func.value_name(data.result)).map_err(malformed)?;
        rewriter.replace(data.result, value);
    }
    Ok((rewriter.finish(func), report))
}

/// w\[o\]\[i\] times the input's factor over the output's.
fn scaled_weight(
    func: &mut Func<Nn>,
    weight: Const,
    groups: usize,
    input: &dyn Fn(usize) -> f64,
    output: &dyn Fn(usize) -> f64,
) -> Result<Const, PassError> {
    let tensor = func.consts[weight].clone();
    let [outputs, inputs] = [tensor.shape()[0], tensor.shape()[1]];
    let taps: usize = tensor.shape()[2..].iter().product();
    let at = |index: usize| {
        let (o, i) = (index / (taps * inputs), index / taps % inputs);
        let i = o / (outputs / groups).max(1) * inputs + i;
        f64::from(tensor.data()[index]) * input(i) / output(o)
    };
    add(func, tensor.shape(), &at)
}

fn scaled_bias(
    func: &mut Func<Nn>,
    bias: Option<Const>,
    output: &dyn Fn(usize) -> f64,
) -> Result<Option<Const>, PassError> {
    let Some(bias) = bias else { return Ok(None) };
    let tensor = func.consts[bias].clone();
    add(func, tensor.shape(), &|o| f64::from(tensor.data()[o]) / output(o)).map(Some)
}

fn add(func: &mut Func<Nn>, shape: &[usize], at: &dyn Fn(usize) -> f64) -> Result<Const, PassError> {
    let tensor = Tensor::from_fn(shape, |i| at(i) as f32);
    match tensor.data().iter().find(|v| !v.is_finite()) {
        Some(value) => Err(PassError::NonFiniteConstant { pass: PASS, value: f64::from(*value) }),
        None => Ok(func.add_const(tensor)),
    }
}
