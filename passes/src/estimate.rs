//! What running a scheduled program will take: seconds, memory, error, probability of failure.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks |
//! | Requires | a scheduled program that verifies |
//! | Computes | seconds per op from the cost table; live ciphertexts and working memory; switching keys; encoded weights; errors by the average-case model ([`crate::analysis::noise`]) |
//! | Tests    | `tests/filetests/estimate/`, `passes/src/search/tests.rs` |

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::noise::EncryptionKind;
use fhec_ir::params::Params;
use fhec_ir::plan::LEAST_LOG2;
use fhec_ir::polynomial_shape::OpCounts;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::CostTable;
use crate::analysis::live_bytes::{LiveBytes, live_bytes};
use crate::analysis::noise::{ValueNoise, noise};
use crate::analysis::op_cost::OpCosts;
use crate::error::PassError;
use crate::nn::softmax::SoftmaxNames;

/// Counts of one op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCount {
    /// Key switches by an automorphism.
    pub rotations: usize,
    /// Key switches of products.
    pub relinearizations: usize,
    /// Products of two ciphertexts.
    pub multiplications: usize,
    /// Products with diagonals of linear maps and with plaintexts.
    pub diagonals: usize,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds per op.
    pub op_seconds: Vec<f64>,
    /// Counts per op.
    pub op_counts: Vec<OpCount>,
    /// Bytes of encoded weights per op.
    pub op_plaintext_bytes: Vec<u64>,
    /// Live ciphertexts.
    pub live: LiveBytes,
    /// Number of switching keys, those of bootstraps included.
    pub keys: usize,
    /// All keys of the server, those of bootstraps included.
    pub key_bytes: u64,
    /// Encoded weights, if all are kept.
    pub plaintext_bytes: u64,
    /// What of them may be kept from image to image where not all fit the memory budget; the others
    /// are encoded when they are used.
    pub cached_bytes: Option<u64>,
    /// Keys, live ciphertexts, transform tables, and as many encoded weights as the memory budget
    /// leaves room for.
    pub peak_bytes: u64,
    /// Errors by value.
    pub noise: Vec<ValueNoise>,
    /// Bits of the mean error of the worst output.
    pub error_bits_mean: f64,
    /// Bits of the likely largest error of the worst output.
    pub error_bits_worst: f64,
    /// Upper bound, at least [`LEAST_LOG2`].
    pub log2_failure_probability: f64,
}

/// Bytes of transform tables: compressed twiddles both ways and the automorphisms' permutations.
fn table_bytes(params: &Params) -> u64 {
    ((params.q().len() + params.p().len() + 4) * params.ring_degree() * size_of::<u64>()) as u64
}

/// Estimates `func`; with `ram`, encoded weights are kept only as far as that leaves room. Errs if
/// the program's bootstraps are none of `params`.
pub fn estimate(
    func: &Func<Ckks>,
    params: &Params,
    costs: &CostTable,
    ram: Option<u64>,
    shapes: &mut CircuitShapes,
) -> Result<Estimate, PassError> {
    let malformed = PassError::malformed("estimate");
    let keys = shapes.keys(func, params).map_err(|error| malformed(error.to_string()))?;
    let bootstraps = BootstrapParams::of_program(func).map_err(|error| malformed(error.to_string()))?;
    let prices = OpCosts::new(params, costs).with_bootstraps(&bootstraps, shapes);
    let mut op_seconds: Vec<f64> = func.ops().iter().map(|data| prices.seconds(func, data, shapes)).collect();
    let op_plaintext_bytes: Vec<u64> =
        func.ops().iter().map(|data| prices.plaintext_bytes(func, data, shapes)).collect();
    let op_counts = func.ops().iter().map(|data| op_count(func, &data.op, shapes)).collect();
    let live = live_bytes(func, &prices, shapes);
    let key_bytes = keys.bytes(params);
    let plaintext_bytes: u64 = op_plaintext_bytes.iter().sum();
    let matrices =
        |bootstrap: &BootstrapParams| prices.bootstrap_bytes(bootstrap, &bootstrap.masks_in(func, params));
    let matrix_bytes: u64 = bootstraps.iter().map(matrices).sum();
    // What ops had in the making rests until it is used again.
    let resting = live.peak.min(params.resting_bytes() as u64);
    let fixed = key_bytes + live.peak + resting + table_bytes(params) + matrix_bytes;
    let largest = op_plaintext_bytes.iter().copied().max().unwrap_or(0);
    let room = ram.map_or(plaintext_bytes, |ram| ram.saturating_sub(fixed));
    // One layer's weights have to be there while it runs.
    let cached_bytes = (room < plaintext_bytes).then(|| room.saturating_sub(largest));
    if let Some(room) = cached_bytes {
        // The first ones that fit are kept, as the server keeps them.
        let mut kept = 0;
        for ((data, &bytes), seconds) in func.ops().iter().zip(&op_plaintext_bytes).zip(&mut op_seconds) {
            match kept + bytes <= room {
                true => kept += bytes,
                false => *seconds += prices.encoding(func, data, shapes),
            }
        }
    }
    // Whoever encrypts may have the public key alone, which is the worse of both.
    let noise = noise(func, params, EncryptionKind::PublicKey, shapes);
    let judged = SoftmaxNames::judged_values(func);
    let outputs = || judged.iter().map(|value| noise[value.index()]);
    let worst = |bits: fn(&ValueNoise, usize) -> f64| {
        outputs().map(|value| bits(&value, params.slots())).fold(f64::INFINITY, f64::min)
    };
    Ok(Estimate {
        // An empty sum of floats is -0.
        seconds: op_seconds.iter().sum::<f64>() + 0.0,
        error_bits_mean: worst(|value, _| value.mean_bits()),
        error_bits_worst: worst(ValueNoise::worst_bits),
        log2_failure_probability: failure(func, params, &noise),
        op_seconds,
        op_counts,
        op_plaintext_bytes,
        live,
        keys: keys.levels().count(),
        key_bytes,
        plaintext_bytes,
        cached_bytes,
        peak_bytes: fixed + plaintext_bytes.min(room.max(largest)),
        noise,
    })
}

/// Without bootstraps an inference fails only if an output's error reaches the modulus: a Gaussian
/// tail, summed over all slots.
fn failure(func: &Func<Ckks>, params: &Params, noise: &[ValueNoise]) -> f64 {
    let tail = |output: &fhec_ir::entity::Value| {
        let ty = func.ty(*output);
        let headroom = (params.log_q(ty.level) - 1.0 - params.scale(ty.scale).log2()).exp2();
        let value = noise[output.index()];
        let deviations = ((headroom - 1.0) / value.stddev).max(0.0);
        let slots = (2 * ty.vectors * ty.slots) as f64;
        slots.log2() + 1.0 - deviations * deviations / 2.0 * std::f64::consts::LOG2_E
    };
    func.outputs().iter().map(tail).fold(LEAST_LOG2, f64::max).min(0.0)
}

fn op_count(func: &Func<Ckks>, op: &Op, shapes: &mut CircuitShapes) -> OpCount {
    match op {
        Op::LinearMap { map, baby_step, .. } => {
            let counts = shapes.counts_at(map, &func.consts, *baby_step);
            let rotations = counts.babies + counts.giants;
            OpCount { rotations, diagonals: counts.diagonals, ..OpCount::default() }
        }
        Op::Polynomial { x, polynomial } => {
            let vectors = func.ty(*x).vectors;
            let OpCounts { products, relinearizations, .. } = shapes.polynomial(polynomial).counts();
            OpCount {
                relinearizations: relinearizations * vectors,
                multiplications: products * vectors,
                ..OpCount::default()
            }
        }
        Op::Rotate { x, .. } | Op::Conjugate { x } => {
            OpCount { rotations: func.ty(*x).vectors, ..OpCount::default() }
        }
        Op::Relinearize { x } => OpCount { relinearizations: func.ty(*x).vectors, ..OpCount::default() },
        Op::Mul { x, .. } => OpCount { multiplications: func.ty(*x).vectors, ..OpCount::default() },
        Op::MulPlain { x, .. } => OpCount { diagonals: func.ty(*x).vectors, ..OpCount::default() },
        _ => OpCount::default(),
    }
}
