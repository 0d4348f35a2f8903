//! Fit a polynomial to each activation with a corner, to the inputs that really occur.
//!
//! | | |
//! |---|---|
//! | Stage    | nn, analysis only |
//! | Requires | a function with exact activations, sample images, the factors of its values ([`super::scaling`]) |
//! | Ensures  | a [`Fit`] for every activation with a corner (ReLU, leaky ReLU, clip, hard sigmoid, hard swish, ELU); the same images give the same bits, whatever the number of threads |
//! | Leaves   | smooth activations, which count as exact here: [`approximate`](mod@super::approximate) makes them so to many bits |
//! | Fails    | [`PassError::Option`], [`PassError::Calibration`], [`PassError::Approximation`], [`PassError::LeavesDomain`] |
//! | Method   | every image that is fitted to is walked through the network twice at once, with exact and with approximated activations; a layer's polynomial is the least-squares map from what the *approximated* network feeds it to what the *exact* one outputs there, plus an even weight over the domain for tails; then a shift per channel makes means equal |
//! | Tests    | `tests/filetests/nn/fit_activations/`, `passes/tests/fitted_activations.rs` |
//!
//! Fitting in order lets a layer make good a part of what the layers before it did wrong. The shift
//! per channel is an addition of constants and takes no level. A factor per channel would have to
//! reach the next linear map past residual additions, which would take one.
//! [`equalize_channels`](mod@super::equalize_channels) does what a factor can do, before the fit.

use std::collections::BTreeMap;

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    nn::{
        Activation, Nn, Op,
        activation::{Clamp, Form},
    },
    polynomial::Polynomial,
    tensor::Tensor,
};
use rayon::prelude::*;

use super::{
    agreement::{Agreement, Outputs, compare},
    choose_degrees::degree_at,
    exact_values::ExactValues,
    live_values::LiveValues,
    sample_images::SampleImages,
    scaling::Scaling,
};
use crate::{
    approximation::{
        ApproximationError,
        chebyshev::polynomial,
        least_squares::{self, Samples, fit_function},
    },
    error::PassError,
};

/// Images that one thread counts together; results are added in the order of these parts.
const PART: usize = 16;

/// Bytes of exact values that are kept at most.
const KEPT_BYTES: usize = 1 << 28;

/// Options of [`fit_activations`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Weight of the whole domain against that of the samples.
    pub tails: f64,
    /// Which coefficients there are, of rectifiers; others have all.
    pub form: least_squares::Form,
    /// Make the mean of each channel right.
    pub shift: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { tails: 1e-3, form: least_squares::Form::EvenAndLinear, shift: true }
    }
}

/// What takes the place of one activation: `polynomial(x) + shift[channel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// On [-f, f], f the factor of the operand.
    pub polynomial: Polynomial,
    /// One number per channel, dimension 1 of the operand.
    pub shift: Vec<f32>,
}

/// Fits by the result of the activation.
pub type Fits = BTreeMap<Value, Fit>;

/// Whether a function has a corner, which no polynomial is near to over a whole interval.
pub fn has_corner(function: &Activation) -> bool {
    match function.form() {
        Form::Rectifier { .. } => true,
        Form::Clamp(Clamp { low, high, .. }) | Form::Gate(Clamp { low, high, .. }) => {
            low < high && (low.is_finite() || high.is_finite())
        }
        Form::Smooth(smooth) => smooth.rectifier != 0.0,
    }
}

/// The activations that are fitted, in order: results of those [with a corner](has_corner) on
/// tensors with channels.
pub fn fitted_activations(func: &Func<Nn>) -> Vec<Value> {
    let fits = |op: &Op| {
        matches!(op, Op::Activation { x, function }
            if has_corner(function) && func.ty(*x).shape.len() >= 2)
    };
    func.ops().iter().filter(|data| fits(&data.op)).map(|data| data.result).collect()
}

/// Fits all activations of `func`, one degree per activation in the order of
/// [`fitted_activations`].
pub fn fit_activations(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    scaling: &Scaling,
    degrees: &[usize],
    options: &Options,
) -> Result<Fits, PassError> {
    let mut walk = Walk::new(func, &SampleImages::to_fit(func, images)?, scaling, options)?;
    if degrees.len() != walk.activations.len() {
        let reason = format!("{} degrees for {} activations", degrees.len(), walk.activations.len());
        return Err(PassError::Option { option: "degrees", reason });
    }
    for &degree in degrees {
        walk.fit_next(degree)?;
    }
    Ok(walk.fits)
}

/// Images on their way through a network whose activations are fitted one after another.
///
/// A clone shares the values computed so far, so that several continuations can be tried.
#[derive(Clone)]
pub struct Walk<'a> {
    func: &'a Func<Nn>,
    scaling: &'a Scaling,
    options: &'a Options,
    activations: Vec<Value>,
    last_uses: Vec<Option<usize>>,
    /// The op that comes next.
    next: usize,
    /// Images that polynomials are fitted to, and images that only go along.
    fitted: Vec<State>,
    judged: Vec<State>,
    /// What the exact network answers on the latter.
    answers: Vec<Vec<f32>>,
    fits: Fits,
    /// Activations that are behind: fitted or left exact.
    behind: usize,
}

impl<'a> Walk<'a> {
    /// Starts with the images of `func` in `samples`.
    ///
    /// # Errors
    /// [`PassError::Option`] if there is none to fit to, or the weight of tails is no weight.
    pub fn new(
        func: &'a Func<Nn>,
        samples: &SampleImages,
        scaling: &'a Scaling,
        options: &'a Options,
    ) -> Result<Walk<'a>, PassError> {
        check(samples, options)?;
        let start = |images: &[Vec<Tensor>], exact: bool| {
            images.iter().map(|image| State::new(func, image, exact)).collect()
        };
        Ok(Walk {
            func,
            scaling,
            options,
            activations: fitted_activations(func),
            last_uses: func.last_uses(),
            next: 0,
            fitted: start(&samples.fitted, true),
            judged: start(&samples.judged, false),
            answers: samples.answers.clone(),
            fits: Fits::new(),
            behind: 0,
        })
    }

    /// As [`Walk::new`], and what the exact network has on the images that polynomials are fitted
    /// to is computed once for all continuations, where it is not too much to keep.
    ///
    /// # Errors
    /// As there.
    pub fn with_exact_values(
        func: &'a Func<Nn>,
        samples: &SampleImages,
        scaling: &'a Scaling,
        options: &'a Options,
    ) -> Result<Walk<'a>, PassError> {
        let mut walk = Walk::new(func, samples, scaling, options)?;
        let operand = |activation: &Value| match func.ops().iter().find(|data| data.result == *activation) {
            Some(data) => data.op.operands(),
            None => Vec::new(),
        };
        let mut wanted: Vec<Value> = walk.activations.iter().flat_map(operand).collect();
        wanted.extend(func.outputs().first());
        let elements = |value: &Value| func.ty(*value).shape.iter().product::<usize>();
        let each: usize = wanted.iter().map(elements).sum::<usize>() * size_of::<f32>();
        if each.saturating_mul(walk.fitted.len()) <= KEPT_BYTES {
            walk.fitted.par_iter_mut().zip(&samples.fitted).try_for_each(|(state, image)| {
                state.exact = Some(ExactValues::kept(func, image, &wanted)?);
                Ok::<_, PassError>(())
            })?;
        }
        Ok(walk)
    }

    /// Activations that are still ahead.
    pub fn left(&self) -> usize {
        self.activations.len() - self.behind
    }

    /// Images that polynomials are fitted to.
    pub fn fitted_images(&self) -> usize {
        self.fitted.len()
    }

    /// Goes on to the next activation.
    ///
    /// # Panics
    /// If none is [left](Walk::left).
    pub fn go_to_next(&mut self) {
        let result = self.activations[self.behind];
        while self.func.ops()[self.next].result != result {
            self.step(None);
        }
    }

    /// Goes on to the next activation and over it, and leaves it exact.
    ///
    /// # Panics
    /// If none is [left](Walk::left).
    pub fn skip_next(&mut self) {
        self.go_to_next();
        self.step(None);
        self.behind += 1;
    }

    /// The mean square that a polynomial of the largest degree at `depth` is off by, which is where
    /// the walk stands ([`Walk::go_to_next`]), its shifts left out.
    pub fn residual_of_next(&self, depth: u32) -> Result<f64, PassError> {
        let next = Next::new(self.func, self.next, self.scaling, self.options);
        let samples = next.samples(&self.fitted)?;
        let coefficients = next.fit(&samples, degree_at(depth, next.form()))?;
        Ok(samples.mean_square(&coefficients) * next.bound * next.bound)
    }

    /// Goes on to the next activation, fits a polynomial of `degree` (2 to 511), and steps over it.
    ///
    /// # Panics
    /// If none is [left](Walk::left).
    pub fn fit_next(&mut self, degree: usize) -> Result<(), PassError> {
        if !(2..=511).contains(&degree) {
            let reason = format!("{degree} is not between 2 and 511");
            return Err(PassError::Option { option: "degrees", reason });
        }
        self.go_to_next();
        let next = Next::new(self.func, self.next, self.scaling, self.options);
        let polynomial = next.polynomial(&self.fitted, degree)?;
        let wanted = if self.options.shift { next.exact_sums(&self.fitted) } else { Vec::new() };
        self.step(Some(&polynomial));
        let result = self.activations[self.behind];
        let mut shift = vec![0.0; self.func.ty(result).shape[1]];
        if self.options.shift {
            shift = self::shift(self.func, result, &self.fitted, &wanted);
            let states = self.fitted.par_iter_mut().chain(&mut self.judged);
            states.for_each(|state| state.shift(result, &shift));
        }
        self.fits.insert(result, Fit { polynomial, shift });
        self.behind += 1;
        Ok(())
    }

    /// As [`Walk::fit_next`], with the largest degree at `depth` (2 to 9).
    ///
    /// # Panics
    /// If none is [left](Walk::left).
    pub fn fit_next_at(&mut self, depth: u32) -> Result<(), PassError> {
        self.go_to_next();
        let form = Next::new(self.func, self.next, self.scaling, self.options).form();
        self.fit_next(degree_at(depth, form))
    }

    /// Goes on to the end, and says how well the judged images' first outputs agree.
    ///
    /// # Panics
    /// If an activation is [left](Walk::left).
    pub fn finish(mut self) -> (Fits, Agreement) {
        assert_eq!(self.left(), 0, "all activations are behind");
        self.go_to_end();
        let Some(&output) = self.func.outputs().first() else { return (self.fits, Agreement::default()) };
        let answer = |state: &State| state.approximated.of(output).data().to_vec();
        let found: Vec<Vec<f32>> = self.judged.iter().map(answer).collect();
        let agreement = compare(&self.answers, &found, Outputs::of(self.func));
        (self.fits, agreement)
    }

    /// Goes on to the end with the activations that are ahead exact, and says what first outputs of
    /// the images that polynomials are fitted to moved by: the mean of squares.
    pub fn squared_difference(mut self) -> f64 {
        self.go_to_end();
        let Some(&output) = self.func.outputs().first() else { return 0.0 };
        let (mut sum, mut count) = (0.0, 0usize);
        for state in &self.fitted {
            let (exact, found) = (state.exact().of(output).data(), state.approximated.of(output).data());
            sum += exact.iter().zip(found).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            count += exact.len();
        }
        sum / count.max(1) as f64
    }

    fn go_to_end(&mut self) {
        while self.next < self.func.ops().len() {
            self.step(None);
        }
    }

    fn step(&mut self, polynomial: Option<&Polynomial>) {
        let (func, index, last_uses) = (self.func, self.next, &self.last_uses);
        let operands = func.ops()[index].op.operands();
        let ended: Vec<Value> =
            operands.into_iter().filter(|value| last_uses[value.index()] == Some(index)).collect();
        let states = self.fitted.par_iter_mut().chain(&mut self.judged);
        states.for_each(|state| state.step(func, index, polynomial, &ended));
        self.next += 1;
    }
}

fn check(samples: &SampleImages, options: &Options) -> Result<(), PassError> {
    let refuse = |option, reason: String| Err(PassError::Option { option, reason });
    if !(options.tails > 0.0 && options.tails.is_finite()) {
        return refuse("tails", format!("{} is not positive", options.tails));
    }
    if samples.fitted.is_empty() {
        return refuse("calibration", "there is no image to fit to".into());
    }
    Ok(())
}

/// One image on its way through the network.
#[derive(Clone)]
struct State {
    /// With exact activations, where they are wanted.
    exact: Option<ExactValues>,
    /// With approximated activations.
    approximated: LiveValues,
    scratch: Vec<f32>,
}

impl State {
    fn new(func: &Func<Nn>, image: &[Tensor], exact: bool) -> State {
        let approximated = LiveValues::new(func, image);
        let exact = exact.then(|| ExactValues::Along(approximated.clone()));
        State { exact, approximated, scratch: Vec::new() }
    }

    /// Values of the exact network.
    fn exact(&self) -> &ExactValues {
        self.exact.as_ref().expect("images that are fitted to go through both networks")
    }

    /// Does op `index` in each network, in the approximated one with a polynomial if there is one,
    /// and forgets the values in `ended`.
    fn step(&mut self, func: &Func<Nn>, index: usize, polynomial: Option<&Polynomial>, ended: &[Value]) {
        if let Some(exact) = &mut self.exact {
            exact.step(func, index, ended, &mut self.scratch);
        }
        self.approximated.step(func, index, polynomial, ended, &mut self.scratch);
    }

    /// Adds a number to each channel of the approximated `value`.
    fn shift(&mut self, value: Value, shift: &[f32]) {
        let y = self.approximated.of(value);
        let mut shifted = y.data().to_vec();
        planes(y).zip(shifted.chunks_mut(plane(y))).for_each(|((channel, _), numbers)| {
            numbers.iter_mut().for_each(|number| *number += shift[channel]);
        });
        let shifted = Tensor::new(y.shape(), shifted).expect("the shape is the one of as many numbers");
        self.approximated.set(value, shifted);
    }
}

/// Elements per channel; dimension 1 counts channels.
fn plane(x: &Tensor) -> usize {
    x.shape()[2..].iter().product::<usize>().max(1)
}

/// Channels and their elements, image by image.
fn planes(x: &Tensor) -> impl Iterator<Item = (usize, &[f32])> {
    let channels = x.shape()[1].max(1);
    x.data().chunks(plane(x)).enumerate().map(move |(index, numbers)| (index % channels, numbers))
}

/// The activation that comes next, whose operand all states hold.
struct Next<'a> {
    func: &'a Func<Nn>,
    options: &'a Options,
    x: Value,
    result: Value,
    function: Activation,
    /// The polynomial's domain is \[-bound, bound\].
    bound: f64,
}

impl<'a> Next<'a> {
    /// The one at op `index`.
    fn new(func: &'a Func<Nn>, index: usize, scaling: &Scaling, options: &'a Options) -> Next<'a> {
        let data = &func.ops()[index];
        let Op::Activation { x, function } = data.op else { unreachable!("only activations are fitted") };
        Next { func, options, x, result: data.result, function, bound: scaling.factor(x) }
    }

    fn name(&self) -> String {
        self.func.value_name(self.result).map_or(self.result.to_string(), str::to_string)
    }

    fn failed(&self, source: ApproximationError) -> PassError {
        PassError::Approximation { value: self.name(), source }
    }

    /// Which coefficients its polynomial has.
    fn form(&self) -> least_squares::Form {
        match self.function.rectifier() {
            Some(_) => self.options.form,
            None => least_squares::Form::Full,
        }
    }

    /// What the approximated network feeds it, and what the exact one outputs there, over the
    /// bound.
    fn samples(&self, states: &[State]) -> Result<Samples, PassError> {
        let count = |part: &[State]| {
            let mut samples = Samples::default();
            for state in part {
                let (found, exact) = (state.approximated.of(self.x), state.exact().of(self.x));
                let values = self.exactly(exact.data());
                found.data().iter().zip(values).for_each(|(&found, value)| {
                    samples.add(f64::from(found) / self.bound, value / self.bound, 1.0);
                });
            }
            samples
        };
        let samples = in_parts(states, count, |all: &mut Samples, part| all.merge(&part));
        match samples.outside() {
            0 => Ok(samples),
            count => Err(PassError::LeavesDomain { value: self.name(), count }),
        }
    }

    /// The function of each of `x`.
    fn exactly(&self, x: &[f32]) -> Vec<f64> {
        let wide = x.iter().map(|&x| f64::from(x));
        match self.function.rectifier() {
            Some(negative) => wide.map(|x| if x < 0.0 { negative * x } else { x }).collect(),
            None => wide.map(|x| self.function.value(x)).collect(),
        }
    }

    /// By channel, the sum of what the exact network outputs there.
    fn exact_sums(&self, states: &[State]) -> Vec<f64> {
        sums_by_channel(states, self.func.ty(self.x).shape[1], |state, sums| {
            let x = state.exact().of(self.x);
            planes(x).for_each(|(channel, x)| sums[channel] += self.exactly(x).iter().sum::<f64>());
        })
    }

    /// The coefficients over \[-1, 1\].
    fn fit(&self, samples: &Samples, degree: usize) -> Result<Vec<f64>, PassError> {
        let exactly = |t: f64| self.function.value(t * self.bound) / self.bound;
        fit_function(samples, &exactly, self.options.tails, self.form(), degree)
            .map_err(|source| self.failed(source))
    }

    /// The fit of this degree.
    fn polynomial(&self, states: &[State], degree: usize) -> Result<Polynomial, PassError> {
        let coefficients = self.fit(&self.samples(states)?, degree)?;
        // Rounded so that a file of them gives the same program; 24 bits are more than encryption
        // keeps.
        let scaled = coefficients.iter().map(|c| f64::from(*c as f32) * self.bound).collect();
        polynomial(scaled, [-self.bound, self.bound]).map_err(|source| self.failed(source))
    }
}

/// What is to be added to each channel of the approximated `value` to make its mean right, `wanted`
/// being the sums of the exact one.
fn shift(func: &Func<Nn>, value: Value, states: &[State], wanted: &[f64]) -> Vec<f32> {
    let found = sums_by_channel(states, wanted.len(), |state, sums| {
        let y = state.approximated.of(value);
        planes(y).for_each(|(channel, y)| sums[channel] += y.iter().map(|&y| f64::from(y)).sum::<f64>());
    });
    let shape = &func.ty(value).shape;
    let elements = (states.len() * shape.iter().product::<usize>() / shape[1].max(1)) as f64;
    let mean = |(wanted, found): (&f64, f64)| ((wanted - found) / elements) as f32;
    wanted.iter().zip(found).map(mean).collect()
}

/// Sums of one number per channel over all states, to which `add` adds those of one.
fn sums_by_channel(
    states: &[State],
    channels: usize,
    add: impl Fn(&State, &mut [f64]) + Sync + Send,
) -> Vec<f64> {
    let count = |part: &[State]| {
        let mut sums = vec![0.0; channels];
        for state in part {
            add(state, &mut sums);
        }
        sums
    };
    in_parts(states, count, |all: &mut Vec<f64>, part| {
        all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    })
}

/// `count` of parts of fixed size, in parallel, joined in order.
fn in_parts<T: Send>(
    states: &[State],
    count: impl Fn(&[State]) -> T + Sync + Send,
    join: impl Fn(&mut T, T),
) -> T {
    let parts: Vec<T> = states.par_chunks(PART).map(count).collect();
    let mut parts = parts.into_iter();
    let mut all = parts.next().expect("there are images");
    parts.for_each(|part| join(&mut all, part));
    all
}
