//! Measuring bootstraps: time per phase, precision, memory.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use fhec_ir::bootstrap::Order;
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::params::Secret;
use fhec_ir::plan::LEAST_LOG2;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::analysis::op_cost::OpCosts;
use fhec_passes::bootstrap::{failure, sets};
use fhec_runtime::circuits::bootstrap::Bootstrapper;
use fhec_runtime::circuits::bootstrap::keys::{encapsulation_keys, key_requests};
use fhec_runtime::ckks::{Complex, Decryptor, Encoder, Encoding, Encryptor, Evaluator, FactorEncoder};
use fhec_runtime::kernels::Isa;
use fhec_runtime::parallel;
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{EvaluationKeys, SecretKey};
use serde::Serialize;

use fhec_compiler::memory::{cpu_seconds, peak_rss_bytes};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the parameter set.
    pub params: String,
    /// Order of the linear maps; that of the set if not given.
    pub order: Option<Order>,
    /// Slots that carry values; all if not given.
    pub slots: Option<usize>,
    /// Levels asked for; all if not given.
    pub levels: Option<u16>,
    /// Messages.
    pub messages: usize,
    /// Bootstraps in a row.
    pub chain: usize,
    /// Seed of keys and messages.
    pub seed: u64,
    /// Name of the instruction set; the fastest there is if not given.
    pub isa: Option<String>,
}

/// What was measured. Seconds are wall time; precision is `-log2` of the mean and of the largest
/// absolute error of the real parts, against the message, over all slots and messages; what is
/// predicted is the same mean by [`fhec_ir::noise::bootstrap`]. Floors are seconds that the
/// built-in model counts for a phase at the price of its kernels, those of primes below 2^50, and
/// of memory, with nothing lost in between ([`CostTable::floor`]).
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub params: String,
    pub order: &'static str,
    pub log_n: u32,
    pub security_bits: u32,
    pub slots: usize,
    pub threads: usize,
    pub isa: &'static str,
    pub seconds: f64,
    pub seconds_median: f64,
    /// Processor time of all threads, the least of all runs: what remains of `seconds` on one
    /// thread when other programs take the cores.
    pub cpu_seconds: Option<f64>,
    pub runs: usize,
    pub phases: BTreeMap<&'static str, f64>,
    pub phase_floors: BTreeMap<&'static str, f64>,
    pub messages: usize,
    pub precision_bits_mean: f64,
    pub precision_bits_min: f64,
    /// What the message with the largest error is.
    pub worst_message: &'static str,
    pub predicted_precision_bits_mean: f64,
    pub chain: usize,
    pub chained_precision_bits_mean: f64,
    pub chained_precision_bits_min: f64,
    pub predicted_chained_precision_bits_mean: f64,
    pub levels_out: u16,
    pub log_scale_out: f64,
    pub keys: usize,
    pub key_bytes: u64,
    pub matrix_bytes: u64,
    pub keygen_seconds: f64,
    pub setup_seconds: f64,
    pub log2_failure_probability: f64,
    pub peak_rss_bytes: Option<u64>,
}

/// Errors of several messages.
#[derive(Default)]
struct Errors {
    sum: f64,
    worst: f64,
    worst_message: &'static str,
    count: usize,
}

impl Errors {
    fn add(&mut self, found: &[Complex], name: &'static str, message: &[f64]) {
        for (z, m) in found.iter().zip(message) {
            let error = (z.re - m).abs();
            self.sum += error;
            // A NaN must not vanish in a maximum.
            if error > self.worst || error.is_nan() {
                (self.worst, self.worst_message) = (error, name);
            }
        }
        self.count += message.len();
    }

    fn bits(&self) -> (f64, f64) {
        (-(self.sum / self.count as f64).log2(), -self.worst.log2())
    }
}

/// Runs the measurement.
pub fn run(options: &Options) -> Result<Report> {
    let recipe = sets::recipe(&options.params)?;
    let order = options.order.unwrap_or(recipe.order);
    let set = recipe.with_order(order).build()?;
    let bootstrap = set.with_slots(options.slots.unwrap_or(set.params.slots()))?;
    let usable = bootstrap.usable_levels();
    let levels = options.levels.unwrap_or(usable);
    ensure!(
        (1..=usable).contains(&levels),
        "--levels {levels}: a bootstrap of {} gives 1 to {usable} levels",
        options.params
    );
    let level = bootstrap.input_level() + levels;
    let isa = match &options.isa {
        Some(name) => Isa::available().into_iter().find(|isa| isa.name() == name).with_context(|| {
            let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
            format!("--isa {name}: this processor has {}", names.join(", "))
        })?,
        None => Isa::detect(),
    };
    let context = Arc::new(Context::with_isa(set.params.clone(), isa).context("cannot make the ring")?);
    let params = context.params();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&options.seed.to_le_bytes());
    let seed = Seed::from_bytes(seed);

    let start = Instant::now();
    let secret = Arc::new(SecretKey::generate(&context, &seed));
    let requests = key_requests(&context, &bootstrap);
    let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests)?;
    let encapsulation = encapsulation_keys(&context, &secret, &bootstrap, &seed)?;
    let keygen_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let bootstrapper = Bootstrapper::new(bootstrap.clone(), &FactorEncoder::new(&context))?;
    let setup_seconds = start.elapsed().as_secs_f64();

    let evaluator = Evaluator::new(&context, &keys);
    let encoder = Encoder::new(&context);
    let mut encryptor = Encryptor::with_secret_key(&context, &secret, seed.child("bench", 0));
    let decryptor = Decryptor::new(&context, &secret);
    let noise = BootstrapNoise::new(&bootstrap, params, bootstrap.input_level(), level)?;
    let (mut first, mut last) = (Errors::default(), Errors::default());
    let (mut predicted, mut predicted_last) = (0.0, 0.0);
    let (mut times, mut cpu_times): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut phases: BTreeMap<&'static str, f64> = BTreeMap::new();
    for index in 0..options.messages {
        let (name, message) = message(index, bootstrap.slots(), options.seed);
        let encoding = Encoding::message(bootstrap.input_level());
        let mut value = encryptor.encrypt(&encoder.encode(&message, encoding)?)?;
        for step in 0..options.chain {
            let cpu_start = cpu_seconds();
            let mut clock = Clock::start();
            let keys = encapsulation.as_ref();
            let done = &mut |phase| clock.lap(phase);
            value =
                parallel::awake(|| bootstrapper.bootstrap_by_phases(&evaluator, keys, &value, level, done))?;
            times.push(clock.laps.values().sum());
            cpu_times.extend(cpu_seconds().zip(cpu_start).map(|(end, start)| end - start));
            for (name, seconds) in clock.laps {
                let best = phases.entry(name).or_insert(f64::INFINITY);
                *best = best.min(seconds);
            }
            if step == 0 || step + 1 == options.chain {
                let found = encoder.decode_complex(&decryptor.decrypt(&value)?)?;
                if step == 0 {
                    first.add(&found, name, &message);
                    predicted += predicted_error(&noise, &message, 1);
                }
                if step + 1 == options.chain {
                    last.add(&found, name, &message);
                    predicted_last += predicted_error(&noise, &message, options.chain);
                }
            }
        }
    }
    times.sort_by(f64::total_cmp);
    let ((mean, min), (chained_mean, chained_min)) = (first.bits(), last.bits());
    let weight = bootstrap.ephemeral_weight.unwrap_or(match params.secret() {
        Secret::SparseTernary { hamming_weight } => hamming_weight,
        Secret::UniformTernary => params.ring_degree() as u32,
    });
    let floors = CostTable::default().floor(rayon::current_num_threads());
    let phase_floors = OpCosts::new(params, &floors)
        .bootstrap_phases(&bootstrap, level, &mut CircuitShapes::default())
        .into();
    let encapsulation_bytes = encapsulation.as_ref().map_or(0, |keys| keys.bytes());
    Ok(Report {
        params: options.params.clone(),
        order: match order {
            Order::SlotsToCoeffsFirst => "slots_to_coeffs_first",
            Order::SlotsToCoeffsLast => "slots_to_coeffs_last",
        },
        log_n: params.log_n(),
        security_bits: set.security_bits,
        slots: bootstrap.slots(),
        threads: rayon::current_num_threads(),
        isa: isa.name(),
        seconds: times[0],
        seconds_median: times[times.len() / 2],
        cpu_seconds: cpu_times.into_iter().min_by(f64::total_cmp),
        runs: times.len(),
        phases,
        phase_floors,
        messages: options.messages,
        precision_bits_mean: mean,
        precision_bits_min: min,
        worst_message: first.worst_message,
        predicted_precision_bits_mean: -(predicted / first.count as f64).log2(),
        chain: options.chain,
        chained_precision_bits_mean: chained_mean,
        chained_precision_bits_min: chained_min,
        predicted_chained_precision_bits_mean: -(predicted_last / last.count as f64).log2(),
        levels_out: levels,
        log_scale_out: params.canonical_scale(level).log2(),
        keys: requests.len(),
        key_bytes: (keys.bytes() + encapsulation_bytes) as u64,
        matrix_bytes: bootstrapper.bytes() as u64,
        keygen_seconds,
        setup_seconds,
        log2_failure_probability: failure::log2_failure(weight, bootstrap.bound, bootstrap.slots(), 1)
            .max(LEAST_LOG2),
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// The sum of the mean absolute errors that the model predicts for the slots of `message` after
/// `count` bootstraps.
fn predicted_error(noise: &BootstrapNoise, message: &[f64], count: usize) -> f64 {
    let power = message.iter().map(|m| m * m).sum::<f64>() / message.len() as f64;
    message.iter().map(|&m| noise.chained_mean_absolute_error(m, power, count)).sum()
}

/// Messages that are hard in one way or another, by name and slot. Transforms gather the energy of
/// some in few slots on the way, or in few coefficients; some are as large as messages may be, or
/// next to nothing.
const ADVERSARIAL: [(&str, fn(usize, usize) -> f64); 11] = [
    ("all 1", |_, _| 1.0),
    ("alternating 1 and -1", |slot, _| if slot % 2 == 0 { 1.0 } else { -1.0 }),
    ("zero", |_, _| 0.0),
    ("all -1", |_, _| -1.0),
    ("1 in slot 0 alone", |slot, _| if slot == 0 { 1.0 } else { 0.0 }),
    ("1 in the last slot alone", |slot, slots| if slot + 1 == slots { 1.0 } else { 0.0 }),
    ("1, then -1 from the middle on", |slot, slots| if slot < slots / 2 { 1.0 } else { -1.0 }),
    ("1 and -1 as the bits of slots add up", |slot, _| if slot.count_ones() % 2 == 0 { 1.0 } else { -1.0 }),
    ("a ramp from -1 to 1", |slot, slots| 2.0 * slot as f64 / (slots - 1) as f64 - 1.0),
    ("all 2^-30", |_, _| 2f64.powi(-30)),
    ("one coefficient", |slot, slots| {
        let order = 4 * slots as u64;
        (TAU * power_of_five(slot, order) as f64 / order as f64).cos()
    }),
];

/// `5^exponent` modulo `order`: slot number `exponent` is the value at that power of a root of
/// unity.
fn power_of_five(exponent: usize, order: u64) -> u64 {
    let (mut result, mut square, mut rest) = (1, 5 % order, exponent);
    while rest > 0 {
        if rest % 2 == 1 {
            result = result * square % order;
        }
        (square, rest) = (square * square % order, rest / 2);
    }
    result
}

/// Message number `index` and its name: one of [`ADVERSARIAL`] and a random one in [-1, 1] by
/// turns, random ones when they are over.
fn message(index: usize, slots: usize, seed: u64) -> (&'static str, Vec<f64>) {
    if let (true, Some((name, value))) = (index.is_multiple_of(2), ADVERSARIAL.get(index / 2)) {
        return (name, (0..slots).map(|slot| value(slot, slots)).collect());
    }
    let mut state = seed ^ (index as u64) << 32;
    ("random", (0..slots).map(|_| (split_mix(&mut state) >> 11) as f64 / 2f64.powi(52) - 1.0).collect())
}

/// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: for test
/// messages only.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

struct Clock {
    last: Instant,
    laps: BTreeMap<&'static str, f64>,
}

impl Clock {
    fn start() -> Self {
        Clock { last: Instant::now(), laps: BTreeMap::new() }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        *self.laps.entry(name).or_default() += (now - self.last).as_secs_f64();
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_hard_and_random_by_turns() {
        let slots = 64;
        let messages: Vec<_> = (0..32).map(|index| message(index, slots, 1)).collect();
        assert_eq!(messages, (0..32).map(|index| message(index, slots, 1)).collect::<Vec<_>>());
        let random = messages.iter().filter(|(name, _)| *name == "random").count();
        assert_eq!(random, 32 - ADVERSARIAL.len());
        assert_ne!(messages[1].1, messages[3].1);
        assert_ne!(messages[1].1, message(1, slots, 2).1);
        for (name, values) in &messages {
            assert!(values.len() == slots && values.iter().all(|m| m.abs() <= 1.0), "{name}");
        }
        // Cosines at the roots of X^128 + 1: orthogonal to constants, of mean square 1/2.
        let (_, cosines) = messages.iter().find(|(name, _)| *name == "one coefficient").unwrap();
        assert!(cosines.iter().sum::<f64>().abs() < 1e-12);
        assert!((cosines.iter().map(|c| c * c).sum::<f64>() / 32.0 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_worst_of_all_messages_is_named() {
        let mut errors = Errors::default();
        errors.add(&[Complex::new(0.5, 0.0)], "a", &[0.25]);
        errors.add(&[Complex::new(0.5, 9.0)], "b", &[0.0]);
        errors.add(&[Complex::new(0.5, 0.0)], "c", &[0.5]);
        assert_eq!((errors.bits(), errors.worst_message), ((2.0, 1.0), "b"));
        errors.add(&[Complex::new(f64::NAN, 0.0)], "d", &[0.5]);
        assert_eq!(errors.worst_message, "d");
        assert!(errors.bits().1.is_nan());
    }
}
