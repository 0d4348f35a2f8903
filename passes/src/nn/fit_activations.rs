//! Fit a polynomial to each ReLU, to the inputs that really occur.
//!
//! | | |
//! |---|---|
//! | Stage    | nn, analysis only |
//! | Requires | a function with exact activations, sample images, the factors of its values ([`super::scaling`]) |
//! | Ensures  | a [`Fit`] for every `relu` and `leaky_relu`; the same images give the same bits, whatever the number of threads |
//! | Leaves   | other activations, which count as exact here: [`approximate`](mod@super::approximate) makes them so to many bits |
//! | Fails    | [`PassError::Option`], [`PassError::Calibration`], [`PassError::Approximation`], [`PassError::LeavesDomain`] |
//! | Method   | every image is walked through the network twice at once, with exact and with approximated activations; a layer's polynomial is the least-squares map from what the *approximated* network feeds it to what the *exact* one outputs there, plus an even weight over the domain for tails; then a shift per channel makes means equal |
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
    interp::{self, InterpError},
    nn::{Nn, Op},
    polynomial::Polynomial,
    tensor::Tensor,
};
use rayon::prelude::*;

use super::{
    agreement::{Agreement, Outputs, compare},
    scaling::Scaling,
};
use crate::{
    approximation::{
        chebyshev::polynomial,
        least_squares::{Form, Samples, fit_rectifier},
    },
    error::PassError,
};

/// Images that one thread counts together; results are added in the order of these parts.
const PART: usize = 16;

/// Options of [`fit_activations`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Weight of the whole domain against that of the samples.
    pub tails: f64,
    /// Which coefficients there are.
    pub form: Form,
    /// Make the mean of each channel right.
    pub shift: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { tails: 1e-3, form: Form::EvenAndLinear, shift: true }
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

/// The activations that are fitted, in order: results of rectifiers (`relu`, `leaky_relu`) on
/// tensors with channels.
pub fn fitted_activations(func: &Func<Nn>) -> Vec<Value> {
    let fits = |op: &Op| {
        matches!(op, Op::Activation { x, function }
            if function.rectifier().is_some() && func.ty(*x).shape.len() >= 2)
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
    let mut walk = Walk::new(func, images, &[], scaling, options)?;
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
    fits: Fits,
}

impl<'a> Walk<'a> {
    /// Starts with `images` to fit to and images to be `judged` by, if any.
    pub fn new(
        func: &'a Func<Nn>,
        images: &[Vec<Tensor>],
        judged: &[Vec<Tensor>],
        scaling: &'a Scaling,
        options: &'a Options,
    ) -> Result<Walk<'a>, PassError> {
        check(func, images, judged, options)?;
        let start = |images: &[Vec<Tensor>]| images.iter().map(|image| State::new(func, image)).collect();
        Ok(Walk {
            func,
            scaling,
            options,
            activations: fitted_activations(func),
            last_uses: func.last_uses(),
            next: 0,
            fitted: start(images),
            judged: start(judged),
            fits: Fits::new(),
        })
    }

    /// Activations that have no fit yet.
    pub fn left(&self) -> usize {
        self.activations.len() - self.fits.len()
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
        let result = self.activations[self.fits.len()];
        while self.func.ops()[self.next].result != result {
            self.step(None);
        }
        let fit = fit_one(self.func, self.next, &self.fitted, self.scaling, degree, self.options)?;
        self.step(Some(&fit));
        self.fits.insert(result, fit);
        Ok(())
    }

    /// Goes on to the end, and says how well the judged images' first outputs agree.
    ///
    /// # Panics
    /// If an activation is [left](Walk::left).
    pub fn finish(mut self) -> (Fits, Agreement) {
        assert_eq!(self.left(), 0, "all activations have a fit");
        while self.next < self.func.ops().len() {
            self.step(None);
        }
        let Some(&output) = self.func.outputs().first() else { return (self.fits, Agreement::default()) };
        let outputs = |of: fn(&State) -> &[Option<Tensor>]| -> Vec<Vec<f32>> {
            self.judged.iter().map(|state| live(of(state), output).data().to_vec()).collect()
        };
        let (exact, approximated) = (outputs(|state| &state.exact), outputs(|state| &state.approximated));
        let agreement = compare(&exact, &approximated, Outputs::of(self.func));
        (self.fits, agreement)
    }

    fn step(&mut self, fit: Option<&Fit>) {
        let (func, index, last_uses) = (self.func, self.next, &self.last_uses);
        let operands = func.ops()[index].op.operands();
        let ended: Vec<Value> =
            operands.into_iter().filter(|value| last_uses[value.index()] == Some(index)).collect();
        let states = self.fitted.par_iter_mut().chain(&mut self.judged);
        states.for_each(|state| state.step(func, index, fit, &ended));
        self.next += 1;
    }
}

fn check(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    judged: &[Vec<Tensor>],
    options: &Options,
) -> Result<(), PassError> {
    let refuse = |option, reason: String| Err(PassError::Option { option, reason });
    if !(options.tails > 0.0 && options.tails.is_finite()) {
        return refuse("tails", format!("{} is not positive", options.tails));
    }
    if images.is_empty() {
        return refuse("calibration", "there is no image to fit to".into());
    }
    interp::nn::check_ops(func)?;
    for image in images.iter().chain(judged) {
        if image.len() != func.inputs().len() {
            let (expected, found) = (func.inputs().len(), image.len());
            return Err(InterpError::InputCount { expected, found }.into());
        }
        for (tensor, &input) in image.iter().zip(func.inputs()) {
            let (expected, found) = (func.ty(input).shape.clone(), tensor.shape().to_vec());
            if expected != found {
                return Err(InterpError::InputShape { input, expected, found }.into());
            }
        }
    }
    Ok(())
}

/// One image on its way through the network.
#[derive(Clone)]
struct State {
    /// Live values by index: with exact activations, and with approximated ones.
    exact: Vec<Option<Tensor>>,
    approximated: Vec<Option<Tensor>>,
    scratch: Vec<f32>,
}

impl State {
    fn new(func: &Func<Nn>, image: &[Tensor]) -> State {
        let mut exact = vec![None; func.value_count()];
        for (tensor, &input) in image.iter().zip(func.inputs()) {
            exact[input.index()] = Some(tensor.clone());
        }
        State { approximated: exact.clone(), exact, scratch: Vec::new() }
    }

    /// Does op `index` in both networks, and forgets the values in `ended`.
    fn step(&mut self, func: &Func<Nn>, index: usize, fit: Option<&Fit>, ended: &[Value]) {
        let data = &func.ops()[index];
        for (values, fit) in [(&mut self.exact, None), (&mut self.approximated, fit)] {
            let operands: Vec<&Tensor> = data.op.operands().iter().map(|v| live(values, *v)).collect();
            let result = match fit {
                Some(fit) => apply(fit, operands[0]),
                None => interp::nn::eval_op(func, data, &operands, &mut self.scratch),
            };
            values[data.result.index()] = Some(result);
            ended.iter().for_each(|value| values[value.index()] = None);
        }
    }
}

fn live(values: &[Option<Tensor>], value: Value) -> &Tensor {
    values[value.index()].as_ref().expect("operands precede their uses and are kept until then")
}

/// `polynomial(x) + shift`.
fn apply(fit: &Fit, x: &Tensor) -> Tensor {
    let y = interp::nn::eval_polynomial(x, &fit.polynomial);
    if fit.shift.iter().all(|shift| *shift == 0.0) {
        return y;
    }
    let plane: usize = y.shape()[2..].iter().product();
    let channels = fit.shift.len();
    let data = y.data();
    Tensor::from_fn(y.shape().to_vec(), |i| data[i] + fit.shift[i / plane % channels])
}

/// The fit of the activation at op `index`, whose operand all states hold.
fn fit_one(
    func: &Func<Nn>,
    index: usize,
    states: &[State],
    scaling: &Scaling,
    degree: usize,
    options: &Options,
) -> Result<Fit, PassError> {
    let data = &func.ops()[index];
    let rectifier = match data.op {
        Op::Activation { x, function } => function.rectifier().map(|negative| (x, negative)),
        _ => None,
    };
    let (x, slope) = rectifier.expect("only rectifiers are fitted");
    let bound = scaling.factor(x);
    let rectify = |x: f32| f64::from(x).max(0.0) + slope * f64::from(x).min(0.0);
    let count = |part: &[State]| {
        let mut samples = Samples::default();
        for state in part {
            let pairs = live(&state.approximated, x).data().iter().zip(live(&state.exact, x).data());
            pairs.for_each(|(&a, &e)| samples.add(f64::from(a) / bound, rectify(e) / bound, 1.0));
        }
        samples
    };
    let samples = in_parts(states, count, |all: &mut Samples, part| all.merge(&part));
    let name = || func.value_name(data.result).map_or(data.result.to_string(), str::to_string);
    if samples.outside() > 0 {
        return Err(PassError::LeavesDomain { value: name(), count: samples.outside() });
    }
    let failed = |source| PassError::Approximation { value: name(), source };
    let coefficients = fit_rectifier(&samples, slope, options.tails, options.form, degree).map_err(failed)?;
    // Rounded so that a file of them gives the same program; 24 bits are more than encryption
    // keeps.
    let scaled = coefficients.iter().map(|c| f64::from(*c as f32) * bound).collect();
    let polynomial = polynomial(scaled, [-bound, bound]).map_err(failed)?;
    let shape = &func.ty(x).shape;
    let channels = shape[1];
    let plane: usize = shape[2..].iter().product();
    let mut shift = vec![0.0f32; channels];
    if options.shift {
        let differences = |part: &[State]| {
            let mut sums = vec![0.0; channels];
            for state in part {
                let y = interp::nn::eval_polynomial(live(&state.approximated, x), &polynomial);
                let exact = live(&state.exact, x).data();
                for (i, (&e, &y)) in exact.iter().zip(y.data()).enumerate() {
                    sums[i / plane % channels] += rectify(e) - f64::from(y);
                }
            }
            sums
        };
        let sums = in_parts(states, differences, |all: &mut Vec<f64>, part| {
            all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        });
        let elements = (states.len() * shape[0] * plane) as f64;
        shift = sums.iter().map(|sum| (sum / elements) as f32).collect();
    }
    Ok(Fit { polynomial, shift })
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
