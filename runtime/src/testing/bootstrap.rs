//! A toy ring with the chain of a real one, and its bootstraps.

use std::f64::consts::PI;

use fhec_ir::bootstrap::{BootstrapParams, DftStep, Order};
use fhec_ir::params::{FixedScale, Params, ParamsLiteral, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;

use super::packed_levels;

/// `log2` of the ring degree.
pub(crate) const LOG_N: u32 = 12;
/// Of the integers that raising adds.
pub(crate) const BOUND: u32 = 14;
const LEVELS: u32 = 3;
const LOG_SCALE: u32 = 40;
/// Where levels share primes: two for three of them are below `2^50`.
const LOG_PACKED: u32 = 32;
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
        conserves_level: false,
        slots_to_coeffs: vec![step(log_slots / 2, 4), step(log_slots - log_slots / 2, 8)],
        output_level: 2 + LEVELS as Level,
    }
}

/// The same with slots to coefficients last.
pub(crate) fn last(log_slots: u32, arcsine: bool, ephemeral: bool) -> BootstrapParams {
    let first = bootstrap(log_slots, arcsine, ephemeral);
    BootstrapParams { order: Order::SlotsToCoeffsLast, output_level: LEVELS as Level, ..first }
}

/// The bootstrap of all slots whose first matrix is applied on the way back from the ephemeral
/// secret.
pub(crate) fn raising_into_slots() -> BootstrapParams {
    let mut bootstrap = bootstrap(LOG_N - 1, false, true);
    let first = &mut bootstrap.coeffs_to_slots[0];
    first.baby_steps = 1 << first.butterflies;
    bootstrap
}

/// The same without a level for that matrix.
pub(crate) fn conserving_a_level() -> BootstrapParams {
    BootstrapParams { conserves_level: true, ..raising_into_slots() }
}

/// A bootstrap like `bootstrap` with as many levels for an application.
pub(crate) fn with_levels(bootstrap: BootstrapParams, levels: Level) -> BootstrapParams {
    BootstrapParams { output_level: bootstrap.input_level() + levels, ..bootstrap }
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
    make(bootstrap, log_ratio, secret, digit_limbs, false)
}

/// The same with three levels of the application in two primes. Narrow primes that its highest
/// level does not have are those of the raised levels.
pub(crate) fn packed_params(bootstrap: &BootstrapParams, log_ratio: u32, digit_limbs: usize) -> Params {
    make(bootstrap, log_ratio, Secret::UniformTernary, digit_limbs, true)
}

fn make(
    bootstrap: &BootstrapParams,
    log_ratio: u32,
    secret: Secret,
    digit_limbs: usize,
    packed: bool,
) -> Params {
    let levels = usize::from(bootstrap.usable_levels());
    let shared = if packed { 2 - levels % 3 } else { 0 };
    let mut primes = ntt_primes_near(1 << LOG_SINE, LOG_N).filter(|&q| q < 1 << 50);
    let mut take = |count: usize| -> Vec<u64> { primes.by_ref().take(count).collect() };
    let q0 = take(1);
    let sine = take(usize::from(bootstrap.sine_depth()));
    let transform = take(3 - usize::from(bootstrap.conserves_level) - shared);
    // One special prime is enough for digits of one prime, and is larger than they are.
    let special: Vec<u64> = match digit_limbs {
        1 => ntt_primes_near((1 << 50) - 1, LOG_N).filter(|&q| q < 1 << 50).take(1).collect(),
        _ => take(4),
    };
    let log_application = if packed { LOG_PACKED } else { LOG_SCALE };
    let mut small = ntt_primes_near(1 << log_application, LOG_N);
    let mut take = |count: usize| -> Vec<u64> { small.by_ref().take(count).collect() };
    let narrow = take(if packed { 2 } else { levels });
    let bottom = take(2);
    let wide = ntt_primes_near(1 << (LOG_PACKED + LOG_PACKED / 2), LOG_N);
    let wide: Vec<u64> = wide.take(if packed { levels / 3 * 2 } else { 0 }).collect();
    let application = [narrow, wide].concat();
    let below_sine = match bootstrap.order {
        Order::SlotsToCoeffsFirst => [bottom, application],
        Order::SlotsToCoeffsLast => [application, bottom],
    };
    let q = [q0, below_sine.concat(), sine, transform].concat();
    let levels =
        if packed { packed_chain(bootstrap, levels, q.len()) } else { PrimeSet::prefixes(1..=q.len()) };
    let (input, top) = (bootstrap.sine_input_level(), bootstrap.raised_level());
    let mut fixed: Vec<FixedScale> =
        (input..top).rev().map(|level| FixedScale { level, log_scale: LOG_SINE }).collect();
    let application = (bootstrap.output_level..=bootstrap.sine_output_level()).rev();
    fixed.extend(application.map(|level| FixedScale { level, log_scale: log_application }));
    let log_scale = LOG_Q0 - log_ratio - bootstrap.coefficient_gain().log2() as u32;
    fixed.extend((0..bootstrap.input_level().max(1)).rev().map(|level| FixedScale { level, log_scale }));
    let literal = ParamsLiteral {
        name: "toy-n12-bootstrap".into(),
        log_n: LOG_N,
        levels,
        q,
        p: special,
        digit_limbs,
        log_scale: LOG_SINE,
        secret,
    };
    Params::segmented(literal, fixed).unwrap()
}

/// Levels of a chain of as many primes whose `levels` levels of the application are packed.
fn packed_chain(bootstrap: &BootstrapParams, levels: usize, primes: usize) -> Vec<PrimeSet> {
    let below = match bootstrap.order {
        Order::SlotsToCoeffsFirst => 1 + bootstrap.slots_to_coeffs.len(),
        Order::SlotsToCoeffsLast => 1,
    };
    let mut chain = PrimeSet::prefixes(1..below);
    chain.extend(packed_levels(PrimeSet::first(below), below, levels));
    let mut top = chain.last().copied().unwrap_or_default();
    let above = below + 2 + levels / 3 * 2..primes;
    for prime in above.chain(below + levels % 3..below + 2) {
        top = top.with(PrimeSet::range(prime..prime + 1));
        chain.push(top);
    }
    chain
}
