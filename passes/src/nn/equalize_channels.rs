//! Scale channels so that each fills the range of its activation.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function; a bound for every channel of what rectifiers read ([`channel_bounds`]) |
//! | Ensures  | the same function up to rounding of weights; no op more |
//! | Leaves   | channels that reach an op which does not keep a factor per channel: inputs, outputs, dense layers on flattened planes, other activations |
//! | Method   | for c > 0, ReLU(c x) = c ReLU(x), so a channel may be divided by a number where a convolution writes it and multiplied where the next one reads it (cross-layer equalisation: Nagel et al., ICCV 2019, arXiv 1906.04721). Values joined by additions share their numbers |
//! | Tests    | `tests/filetests/nn/equalize_channels/`, below, `passes/tests/fitted_activations.rs` |
//!
//! A polynomial is made for one interval, and where channels differ in size the small ones use the
//! middle of it only, where a polynomial for ReLU is worst.

use fhec_ir::{
    entity::{Const, Value},
    func::{Func, Rewriter, StageOp},
    interp,
    nn::{Nn, Op},
    tensor::Tensor,
};
use rayon::prelude::*;

use super::fit_activations::has_corner;
use crate::{
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "equalize-channels";

/// Bounds of a value, and of its channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// One per channel (dimension 1); empty where none is known.
    pub channels: Vec<f64>,
    /// Of the value as a whole. Less than the largest of its channels': of many estimates from few
    /// images the largest is too large.
    pub whole: f64,
}

/// Bounds by value.
pub type ChannelBounds = Vec<Bounds>;

/// What the magnitudes of a channel are taken to stay below, from the largest of each image.
///
/// Largest values of many follow a Gumbel distribution (Fisher and Tippett 1928), which two moments
/// determine. A factor on the largest of all would be too much for channels whose largest values
/// are all alike, and too little for those that have rare peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// The share of images, from 0 to 1, that leave the bound of any channel of the network.
    pub leaving: f64,
    /// The bound is at least this times the largest value seen.
    pub margin: f64,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { leaving: 5e-4, margin: 1.25 }
    }
}

/// Largest magnitudes per image: their number, sum, sum of squares, and the largest of them.
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    count: f64,
    sum: f64,
    squares: f64,
    largest: f64,
}

impl Peaks {
    fn add(&mut self, largest: f64) {
        self.count += 1.0;
        self.sum += largest;
        self.squares += largest * largest;
        self.largest = self.largest.max(largest);
    }

    /// What one image in `e^log_odds` exceeds, at least `margin` times the largest seen.
    fn bound(self, log_odds: f64, margin: f64) -> f64 {
        let mean = self.sum / self.count;
        let deviation = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        // A Gumbel distribution with location m and scale b has mean m + 0.5772 b and variance (pi
        // b)^2 / 6.
        let scale = deviation * 6f64.sqrt() / std::f64::consts::PI;
        let location = mean - 0.577_215_664_901_532_9 * scale;
        // Of so many values the deviation is known to this: a Gumbel distribution has kurtosis 5.4.
        let uncertain = (1.1 / self.count).sqrt();
        (location + log_odds * scale * (1.0 + uncertain)).max(margin * self.largest)
    }
}

/// Bounds of the operands of activations that are fitted ([`has_corner`]), from images.
pub fn channel_bounds(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    tail: Tail,
) -> Result<ChannelBounds, PassError> {
    let mut wanted = vec![false; func.value_count()];
    for data in func.ops() {
        if let Op::Activation { x, function } = data.op
            && has_corner(&function)
        {
            wanted[x.index()] = func.ty(x).shape.len() >= 2;
        }
    }
    let one = |(index, image): (usize, &Vec<Tensor>)| {
        let mut peaks = vec![Vec::new(); func.value_count()];
        let mut bad = None;
        interp::nn::run_observed(func, image, &mut |value, tensor| {
            if !wanted[value.index()] {
                return;
            }
            let channels = tensor.shape()[1];
            let plane: usize = tensor.shape()[2..].iter().product();
            let mut largest = vec![0.0f64; channels];
            for (index, numbers) in tensor.data().chunks(plane.max(1)).enumerate() {
                let found = numbers.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                let at = &mut largest[index % channels];
                *at = at.max(f64::from(found));
                if numbers.iter().any(|v| !v.is_finite()) {
                    bad.get_or_insert(value);
                }
            }
            peaks[value.index()] = largest;
        })?;
        match bad {
            Some(value) => {
                let value = func.value_name(value).map_or(value.to_string(), str::to_string);
                Err(PassError::NonFiniteActivation { value, image: index })
            }
            None => Ok(peaks),
        }
    };
    let all: Result<Vec<Vec<Vec<f64>>>, PassError> = images.par_iter().enumerate().map(one).collect();
    let mut peaks: Vec<Vec<Peaks>> = vec![Vec::new(); func.value_count()];
    let mut whole = vec![Peaks::default(); func.value_count()];
    for image in all? {
        for ((peaks, whole), largest) in peaks.iter_mut().zip(&mut whole).zip(image) {
            peaks.resize(largest.len(), Peaks::default());
            whole.add(largest.iter().copied().fold(0.0, f64::max));
            peaks.iter_mut().zip(largest).for_each(|(peak, largest)| peak.add(largest));
        }
    }
    let all: usize = peaks.iter().map(Vec::len).sum();
    let log_odds = (all.max(1) as f64 / tail.leaving).ln();
    let bounds = |(peaks, whole): (&Vec<Peaks>, &Peaks)| {
        // As likely to be exceeded as one of the channels' is.
        let together = log_odds - (peaks.len().max(1) as f64).ln();
        let channels: Vec<f64> = peaks.iter().map(|peak| peak.bound(log_odds, tail.margin)).collect();
        let largest = channels.iter().copied().fold(0.0, f64::max);
        let whole = if peaks.is_empty() { 0.0 } else { whole.bound(together, tail.margin).min(largest) };
        Bounds { channels, whole }
    };
    Ok(peaks.iter().zip(&whole).map(bounds).collect())
}

/// What every channel of every value is divided by; empty where it is 1.
pub type ChannelFactors = Vec<Vec<f32>>;

/// Chooses factors. A channel's factor is its bound over that of the largest channel, at least
/// `least`; where several rectifiers read the class, the largest of theirs.
pub fn channel_factors(func: &Func<Nn>, bounds: &ChannelBounds, least: f64) -> ChannelFactors {
    let mut classes = Classes::of(func);
    let mut factors: ChannelFactors = vec![Vec::new(); func.value_count()];
    for (index, Bounds { channels: bounds, .. }) in bounds.iter().enumerate() {
        let class = classes.find(index);
        let top = bounds.iter().fold(0.0f64, |top, m| top.max(*m));
        if classes.pinned[class] || top == 0.0 {
            continue;
        }
        let of = |m: &f64| (m / top).max(least) as f32;
        if factors[class].is_empty() {
            factors[class] = bounds.iter().map(of).collect();
        } else {
            factors[class].iter_mut().zip(bounds).for_each(|(f, m)| *f = f.max(of(m)));
        }
    }
    (0..func.value_count()).map(|index| factors[classes.find(index)].clone()).collect()
}

/// Spreads factors that are given for some values (others empty) to all that must share them.
///
/// # Errors
/// A value whose factors differ from those of another it must share them with, or that cannot have
/// any.
pub fn share_factors(func: &Func<Nn>, given: &ChannelFactors) -> Result<ChannelFactors, Value> {
    let mut classes = Classes::of(func);
    let mut factors: ChannelFactors = vec![Vec::new(); func.value_count()];
    for (index, given) in given.iter().enumerate().filter(|(_, given)| !given.is_empty()) {
        let class = classes.find(index);
        let other = &mut factors[class];
        if classes.pinned[class] || !(other.is_empty() || other == given) {
            return Err(Value::new(index));
        }
        other.clone_from(given);
    }
    Ok((0..func.value_count()).map(|index| factors[classes.find(index)].clone()).collect())
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
                Op::Activation { x, function } if function.rectifier().is_some() => {
                    classes.union(*x, data.result);
                }
                Op::MaxPool { x, .. } | Op::AveragePool { x, .. } => {
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

/// Bounds of whole values whose channels are divided by `factors`.
pub fn bounds_after(bounds: &ChannelBounds, factors: &ChannelFactors) -> Vec<Option<f64>> {
    let one = |(bounds, factors): (&Bounds, &Vec<f32>)| {
        if factors.is_empty() {
            return (!bounds.channels.is_empty()).then_some(bounds.whole);
        }
        bounds.channels.iter().zip(factors).map(|(bound, factor)| bound / f64::from(*factor)).reduce(f64::max)
    };
    bounds.iter().zip(factors).map(one).collect()
}

/// Divides every channel by its factor.
pub fn equalize_channels(func: &Func<Nn>, factors: &ChannelFactors) -> Result<Passed<Nn>, PassError> {
    let malformed = |message| PassError::Malformed { pass: PASS, message };
    let mut report = Report::new(PASS);
    let mut rewriter = Rewriter::same_stage(func);
    let factor =
        |value: Value, channel: usize| f64::from(factors[value.index()].get(channel).copied().unwrap_or(1.0));
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
    Ok(Passed::new(rewriter.finish(func), report))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_the_spread_of_peaks() {
        let peaks = |values: &[f64]| {
            let mut peaks = Peaks::default();
            values.iter().for_each(|v| peaks.add(*v));
            peaks
        };
        // All alike: the margin decides.
        assert_eq!(peaks(&[2.0; 100]).bound(14.0, 1.25), 2.5);
        // Quantiles of a Gumbel distribution with location 3 and scale 0.5.
        let values: Vec<f64> =
            (0..20_000).map(|i| 3.0 - 0.5 * (-((f64::from(i) + 0.5) / 20_000.0).ln()).ln()).collect();
        let bound = peaks(&values).bound(14.0, 1.0);
        assert!((bound - 10.05).abs() < 0.03, "{bound}");
        // The same moments are worth less where they are of few.
        let some = [1.0, 2.0, 3.0, 6.0];
        let reach = |values: &[f64]| peaks(values).bound(14.0, 0.0) - peaks(values).bound(0.0, 0.0);
        let ratio = reach(&some) / reach(&some.repeat(100));
        assert!((ratio - (1.0 + 0.275f64.sqrt()) / (1.0 + 0.00275f64.sqrt())).abs() < 1e-9, "{ratio}");
    }
}
