//! A toy ring with the chain of a real one, and its bootstraps.

use std::f64::consts::PI;

use fhec_ir::bootstrap::{BootstrapParams, DftStep, Order};
use fhec_ir::params::{FixedScale, Params, ParamsLiteral, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::scale::Level;

/// `log2` of the ring degree.
pub(crate) const LOG_N: u32 = 12;
/// Of the integers that raising adds.
pub(crate) const BOUND: u32 = 14;
const LEVELS: u32 = 3;
const LOG_SCALE: u32 = 40;
const LOG_Q0: u32 = 49;
const LOG_SINE: u32 = 49;

/// Interpolation at the Chebyshev nodes, the even or odd half.
fn interpolate(f: impl Fn(f64) -> f64, degree: usize, parity: usize) -> Polynomial {
    let count = degree + 1;
    let node = |i: usize| PI * (2 * i + 1) as f64 / (2 * count) as f64;
    let coefficients = (0..count).map(|k| {
        let sum: f64 = (0..count).map(|i| f(node(i).cos()) * (k as f64 * node(i)).cos()).sum();
        let scale = if k == 0 { 1.0 } else { 2.0 };
        if k % 2 == parity { scale * sum / count as f64 } else { 0.0 }
    });
    Polynomial::chebyshev(coefficients.collect(), [-1.0, 1.0]).unwrap()
}

/// A bootstrap of `2^log_slots` slots of the toy ring.
pub(crate) fn bootstrap(log_slots: u32, arcsine: bool, ephemeral: bool) -> BootstrapParams {
    let width = f64::from(BOUND) - 0.5;
    let step = |butterflies, baby_steps| DftStep { butterflies, baby_steps };
    let third = log_slots / 3;
    BootstrapParams {
        log_slots,
        order: Order::SlotsToCoeffsFirst,
        ephemeral_weight: ephemeral.then_some(32),
        bound: BOUND,
        cosine: interpolate(|t| (2.0 * PI * width * t / 8.0).cos(), 30, 0),
        double_angles: 3,
        // Near zero, so a Taylor polynomial will do.
        arcsine: arcsine.then(|| interpolate(|y| y + y.powi(3) / 6.0, 3, 1)),
        coeffs_to_slots: vec![step(third, 4), step(third, 4), step(log_slots - 2 * third, 4)],
        slots_to_coeffs: vec![step(log_slots / 2, 4), step(log_slots - log_slots / 2, 8)],
        output_level: 2 + LEVELS as Level,
    }
}

/// The same with slots to coefficients last.
pub(crate) fn last(log_slots: u32, arcsine: bool, ephemeral: bool) -> BootstrapParams {
    let first = bootstrap(log_slots, arcsine, ephemeral);
    BootstrapParams { order: Order::SlotsToCoeffsLast, output_level: LEVELS as Level, ..first }
}

/// The bootstrap of all slots whose first matrix is applied on the way back from the ephemeral secret.
pub(crate) fn raising_into_slots() -> BootstrapParams {
    let mut bootstrap = bootstrap(LOG_N - 1, false, true);
    let first = &mut bootstrap.coeffs_to_slots[0];
    first.baby_steps = 1 << first.butterflies;
    bootstrap
}

/// Parameters that `bootstrap` fits, with a message ratio of `2^log_ratio`.
pub(crate) fn params(bootstrap: &BootstrapParams, log_ratio: u32, secret: Secret) -> Params {
    params_with_digits(bootstrap, log_ratio, secret, 4)
}

/// The same with as many primes per key-switching digit.
pub(crate) fn params_with_digits(
    bootstrap: &BootstrapParams,
    log_ratio: u32,
    secret: Secret,
    digit_limbs: usize,
) -> Params {
    let mut primes = ntt_primes_near(1 << LOG_SINE, LOG_N).filter(|&q| q < 1 << 50);
    let mut take = |count: usize| -> Vec<u64> { primes.by_ref().take(count).collect() };
    let q0 = take(1);
    let sine = take(usize::from(bootstrap.sine_depth()));
    let (transform, special) = (take(3), take(4));
    let mut small = ntt_primes_near(1 << LOG_SCALE, LOG_N);
    let mut take = |count: usize| -> Vec<u64> { small.by_ref().take(count).collect() };
    let (application, bottom) = (take(LEVELS as usize), take(2));
    let below_sine = match bootstrap.order {
        Order::SlotsToCoeffsFirst => [bottom, application],
        Order::SlotsToCoeffsLast => [application, bottom],
    };
    let q = [q0, below_sine.concat(), sine, transform].concat();
    let (input, top) = (bootstrap.sine_input_level(), bootstrap.raised_level());
    let mut fixed: Vec<FixedScale> =
        (input..top).rev().map(|level| FixedScale { level, log_scale: LOG_SINE }).collect();
    let application = (bootstrap.output_level..=bootstrap.sine_output_level()).rev();
    fixed.extend(application.map(|level| FixedScale { level, log_scale: LOG_SCALE }));
    let log_scale = LOG_Q0 - log_ratio - bootstrap.coefficient_gain().log2() as u32;
    fixed.extend((0..bootstrap.input_level().max(1)).rev().map(|level| FixedScale { level, log_scale }));
    let literal = ParamsLiteral {
        name: "toy-n12-bootstrap".into(),
        log_n: LOG_N,
        level_limbs: (1..=q.len()).collect(),
        q,
        p: special,
        digit_limbs,
        log_scale: LOG_SINE,
        secret,
    };
    Params::segmented(literal, fixed).unwrap()
}
