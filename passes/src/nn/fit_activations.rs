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
//! | Tests    | below, `compiler/tests/fitted_activations.rs` |
//!
//! Fitting in order lets a layer make good a part of what the layers before it did wrong. The shift per channel is an
//! addition of constants and takes no level. A factor per channel would have to reach the next linear map past residual additions, which would take one.
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

use super::scaling::Scaling;
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
    pub shift: Vec<f64>,
}

/// Fits by the result of the activation.
pub type Fits = BTreeMap<Value, Fit>;

/// The activations that are fitted, in order: results of `relu` and `leaky_relu` on tensors with channels.
pub fn fitted_activations(func: &Func<Nn>) -> Vec<Value> {
    let fits = |op: &Op| {
        matches!(op, Op::Relu { .. } | Op::LeakyRelu { .. }) && func.ty(op.operands()[0]).shape.len() >= 2
    };
    func.ops().iter().filter(|data| fits(&data.op)).map(|data| data.result).collect()
}

/// Fits all activations of `func`, one degree per activation in the order of [`fitted_activations`].
pub fn fit_activations(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    scaling: &Scaling,
    degrees: &[usize],
    options: &Options,
) -> Result<Fits, PassError> {
    check(func, images, degrees, options)?;
    let mut states: Vec<State> = images.iter().map(|image| State::new(func, image)).collect();
    let last_uses = func.last_uses();
    let activations = fitted_activations(func);
    let mut fits = Fits::new();
    for (index, data) in func.ops().iter().enumerate() {
        let fit = match activations.iter().position(|&value| value == data.result) {
            Some(position) => {
                let fit = fit_one(func, index, &mut states, scaling, degrees[position], options)?;
                fits.insert(data.result, fit.clone());
                Some(fit)
            }
            None => None,
        };
        let ended: Vec<Value> =
            data.op.operands().into_iter().filter(|v| last_uses[v.index()] == Some(index)).collect();
        states.par_iter_mut().for_each(|state| state.step(func, index, fit.as_ref(), &ended));
    }
    Ok(fits)
}

fn check(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    degrees: &[usize],
    options: &Options,
) -> Result<(), PassError> {
    let refuse = |option, reason: String| Err(PassError::Option { option, reason });
    let count = fitted_activations(func).len();
    if degrees.len() != count {
        return refuse("degrees", format!("{} degrees for {count} activations", degrees.len()));
    }
    if let Some(degree) = degrees.iter().find(|degree| !(2..=511).contains(*degree)) {
        return refuse("degrees", format!("{degree} is not between 2 and 511"));
    }
    if !(options.tails > 0.0 && options.tails.is_finite()) {
        return refuse("tails", format!("{} is not positive", options.tails));
    }
    if images.is_empty() {
        return refuse("calibration", "there is no image to fit to".into());
    }
    interp::nn::check_ops(func)?;
    for image in images {
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
    Tensor::from_fn(y.shape().to_vec(), |i| data[i] + fit.shift[i / plane % channels] as f32)
}

/// The fit of the activation at op `index`, whose operand all states hold.
fn fit_one(
    func: &Func<Nn>,
    index: usize,
    states: &mut [State],
    scaling: &Scaling,
    degree: usize,
    options: &Options,
) -> Result<Fit, PassError> {
    let data = &func.ops()[index];
    let (x, slope) = match data.op {
        Op::Relu { x } => (x, 0.0),
        Op::LeakyRelu { x, alpha } => (x, alpha),
        _ => unreachable!("only these are fitted"),
    };
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
    let scaled = coefficients.iter().map(|c| c * bound).collect();
    let polynomial = polynomial(scaled, [-bound, bound]).map_err(failed)?;
    let shape = &func.ty(x).shape;
    let channels = shape[1];
    let plane: usize = shape[2..].iter().product();
    let mut shift = vec![0.0; channels];
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
        shift = sums.iter().map(|sum| sum / elements).collect();
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
