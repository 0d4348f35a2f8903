//! Measuring what operations cost on this machine.
//!
//! The model of [`CostTable`] counts what an operation does; here every kind of operation is run as
//! the circuits run it, at several numbers of limbs of bootstrapping sets with few and with many
//! digits, and its factor becomes the mean ratio of measured time, without what it waits for
//! memory, to modelled time. The rate of the memory is that of reading more than any cache holds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhec_ir::diagonal;
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::PlainTensor;
use fhec_ir::params::Params;
use fhec_ir::scale::{Level, Scale};
use fhec_ir::tensor::{ConstPool, Tensor};
use fhec_passes::analysis::cost::{CostTable, OpKind, RingShape};
use fhec_passes::bootstrap::sets::{self, Recipe};
use fhec_runtime::EvalError;
use fhec_runtime::ckks::{
    CompactPlaintext, Encoder, Encoding, Encryptor, Evaluator, Factor, FactorEncoder, PlaintextScale,
};
use fhec_runtime::parallel;
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};
use rayon::prelude::*;

use super::{CostsError, Machine};
use crate::memory::cpu_seconds;

/// Hoisted rotations and rows of diagonals measured at once: enough that what they share can be
/// told from what they do not.
const STEPS: i64 = 8;
const ROWS: usize = 4;
/// Diagonals are measured at this share of the slots, `-log2`: as those of layers mostly are.
const DIAGONAL_LOG_GAP: u32 = 2;
/// Channels of the tensor that is laid out.
const CHANNELS: usize = 16;
/// A machine that gives this process less than this share of its threads' time is busy.
const OWN: f64 = 0.85;

/// How long a look at the processors takes: times are told to a hundredth of a second.
const LOOK: Duration = Duration::from_millis(150);

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// In a few seconds.
    Quick,
    /// In half a minute.
    Thorough,
}

/// Prices, and whether the machine had time for them.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The prices.
    pub table: CostTable,
    /// Whether other work took the processors: prices are too high then.
    pub busy: bool,
}

/// Measures on the threads there are.
///
/// # Errors
/// [`CostsError::Measure`] if an operation fails: memory, most likely.
pub fn measure(effort: Effort) -> Result<Measured, CostsError> {
    // What a short look tells needs no long one.
    let before = own_share();
    if effort == Effort::Quick && before < OWN {
        return Ok(Measured { table: CostTable::default(), busy: true });
    }
    let mut table = CostTable {
        machine: Machine::here().in_words(),
        threads: rayon::current_num_threads(),
        bytes_per_ns: memory_rate(effort),
        ..CostTable::default()
    };
    table.factors.clear();
    let narrow = sets::recipe("n15-128")?;
    let one_special = Recipe { special: (narrow.special.0, 1), digit_limbs: None, ..narrow.clone() };
    let recipes = match effort {
        Effort::Quick => vec![narrow, one_special],
        Effort::Thorough => {
            vec![sets::recipe("n15-98")?, narrow, one_special, sets::recipe("n16-128")?]
        }
    };
    let mut ratios: BTreeMap<OpKind, Vec<f64>> = BTreeMap::new();
    let (mut packing, mut embedding) = (Vec::new(), Vec::new());
    for recipe in recipes {
        let ring = Ring::new(recipe.build()?.params, effort)?;
        packing.push(ring.packing_ns());
        embedding.push(ring.embedding_ns()?);
        let top = ring.context.params().top_level();
        let levels = match (effort, ring.context.params().digit_limbs()) {
            // Digits of one prime are dear at any level.
            (Effort::Quick, 1) => vec![top / 2],
            _ => vec![3, top / 2, top],
        };
        for level in levels {
            for (kind, seconds, (waiting, computing)) in parallel::awake(|| ring.at(level, &table))? {
                tracing::debug!(
                    set = recipe.name,
                    level,
                    ?kind,
                    "{:.0} us, {:.0} of waiting and {:.2} times {:.0}",
                    seconds * 1e6,
                    waiting * 1e6,
                    (seconds - waiting) / computing,
                    computing * 1e6
                );
                ratios.entry(kind).or_default().push((seconds - waiting) / computing);
            }
        }
    }
    let mean = |list: &[f64]| (list.iter().sum::<f64>() / list.len() as f64).max(0.0);
    (table.packing_ns, table.embedding_ns) = (mean(&packing), mean(&embedding));
    table.factors = ratios.iter().map(|(&kind, list)| (kind, mean(list))).collect();
    // What is too short to be told from noise.
    for (kind, factor) in CostTable::default().factors {
        table.factors.entry(kind).or_insert(factor);
    }
    let share = before.min(own_share());
    tracing::debug!(share, "prices measured");
    Ok(Measured { table, busy: share < OWN })
}

/// How much of the time of all threads this process gets: all of them want it for a moment.
fn own_share() -> f64 {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    rayon::broadcast(|_| {
        while start.elapsed() < LOOK {
            std::hint::spin_loop();
        }
    });
    let all = start.elapsed().as_secs_f64() * rayon::current_num_threads() as f64;
    cpu_seconds().zip(cpu).map_or(1.0, |(now, then)| (now - then) / all)
}

/// Bytes per nanosecond that all threads read together.
fn memory_rate(effort: Effort) -> f64 {
    // More than any cache holds.
    let count = match effort {
        Effort::Quick => 1 << 25,
        Effort::Thorough => 1 << 27,
    };
    let words = vec![1u64; count];
    let read = || {
        black_box(words.par_chunks(1 << 16).map(|part| part.iter().sum::<u64>()).sum::<u64>());
        Ok(())
    };
    least(effort, read).map_or(f64::INFINITY, |seconds| (count * size_of::<u64>()) as f64 / seconds * 1e-9)
}

/// A ring with what is needed to measure in it.
struct Ring {
    context: Arc<Context>,
    keys: EvaluationKeys,
    secret: Arc<SecretKey>,
    effort: Effort,
}

impl Ring {
    fn new(params: Params, effort: Effort) -> Result<Self, CostsError> {
        let context = Arc::new(Context::new(params)?);
        let seed = Seed::from_bytes([7; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let top = context.params().top_level();
        let requests: Vec<KeyRequest> = (1..=STEPS).map(|k| KeyRequest::rotation(&context, k, top)).collect();
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests)?;
        Ok(Ring { context, keys, secret, effort })
    }

    fn ciphertext(&self, level: Level) -> Result<Ciphertext, CostsError> {
        let slots = self.context.params().slots();
        let message: Vec<f64> = (0..slots).map(|i| (i as f64 * 0.37).sin() * 0.5).collect();
        let plaintext = Encoder::new(&self.context).encode(&message, Encoding::message(level))?;
        let seed = Seed::from_bytes([8; 32]);
        Ok(Encryptor::with_secret_key(&self.context, &self.secret, seed).encrypt(&plaintext)?)
    }

    /// What it takes to lay out a tensor of one number per channel, of a vector each, per slot.
    fn packing_ns(&self) -> f64 {
        let slots = self.context.params().slots();
        let mut consts = ConstPool::default();
        let values = consts.add(Tensor::from_fn([CHANNELS], |i| i as f32));
        let (shape, plane) = ([CHANNELS, slots, 1], [slots, 1]);
        let layout = Layout { shape, gap: [1; 2], multiplex: 1, plane, period: slots, slots };
        let plain = PlainTensor { values, layout };
        let seconds = least(self.effort, || {
            black_box(plain.pack(&consts));
            Ok(())
        });
        seconds.map_or(0.0, |seconds| seconds / (CHANNELS * slots) as f64 * 1e9)
    }

    /// What it takes to find the coefficients of a plaintext, per slot and level of the transform.
    fn embedding_ns(&self) -> Result<f64, CostsError> {
        let slots = self.context.params().slots();
        Ok(self.embedding_seconds()? / (slots as f64 * f64::from(slots.ilog2())) * 1e9)
    }

    fn embedding_seconds(&self) -> Result<f64, EvalError> {
        let encoder = FactorEncoder::new(&self.context);
        let values = numbers(0, self.context.params().slots());
        let scale = PlaintextScale::Named(Scale::canonical(0));
        least(self.effort, || encoder.encode_compact(&values, 0, scale, size_of::<i64>()).map(drop))
    }

    /// Kinds with the seconds they take at `level`, and those that the model of `table` waits and
    /// computes.
    fn at(&self, level: Level, table: &CostTable) -> Result<Vec<(OpKind, f64, (f64, f64))>, CostsError> {
        let params = self.context.params();
        let ring = RingShape::of(params);
        let limbs = params.limbs(level);
        let evaluator = Evaluator::new(&self.context, &self.keys);
        let encoder = FactorEncoder::new(&self.context);
        let scale = PlaintextScale::Ratio { from: Scale::canonical(level), to: Scale::squared(level) };
        let all = 0..ROWS * STEPS as usize;
        let factors: Result<Vec<Factor>, _> =
            all.clone().map(|row| encoder.encode(&numbers(row, params.slots()), level, scale)).collect();
        let factors = factors?;
        let word_bytes = diagonal::word_bytes(params, level, false);
        let period = params.slots() >> DIAGONAL_LOG_GAP;
        let diagonals: Result<Vec<CompactPlaintext>, _> =
            all.map(|row| encoder.encode_compact(&numbers(row, period), level, scale, word_bytes)).collect();
        let diagonals = diagonals?;
        let x = self.ciphertext(level)?;
        let y = evaluator.add(&x, &x)?;
        let hoisted = evaluator.hoist(&x)?;
        let steps: Vec<i64> = (1..=STEPS).collect();
        let sums = |rows: usize, of: usize| {
            let terms = terms(&factors, rows, of);
            least(self.effort, || evaluator.rotate_and_sum_products(&hoisted, &steps[..of], &terms).map(drop))
        };
        let compact_sums = |rows: usize, rotations: usize, of: usize| {
            let (steps, terms) = (&steps[..rotations], terms(&diagonals, rows, of));
            least(self.effort, || evaluator.add_products_extended(&mut None, &hoisted, steps, &terms))
        };
        // One rotation with one product; all rotations with one product each; all rotations with
        // several.
        let (one, all, wide) = (sums(1, 1)?, sums(1, steps.len())?, sums(ROWS, steps.len())?);
        let product = (wide - all) / ((ROWS - 1) * steps.len()) as f64;
        let rotation = (all - one) / (steps.len() - 1) as f64 - product;
        // Rotations that are laid out, and multiplied with what is kept as integers: one with one
        // product; all of them with one product each, in one sum; in several sums, with one product
        // each and with all.
        let tiled_one = compact_sums(1, 1, 1)?;
        let tiled_all = compact_sums(1, steps.len(), steps.len())?;
        let tiled_narrow = compact_sums(ROWS, steps.len(), 1)?;
        let tiled_wide = compact_sums(ROWS, steps.len(), steps.len())?;
        let diagonal = (tiled_wide - tiled_narrow) / (ROWS * (steps.len() - 1)) as f64;
        let sum = (tiled_wide - tiled_all) / (ROWS - 1) as f64 - diagonal * steps.len() as f64;
        let tile = (tiled_all - tiled_one) / (steps.len() - 1) as f64 - diagonal - rotation;
        let plaintext = numbers(0, params.slots());
        let encode = || encoder.encoder().encode(&plaintext, Encoding::message(level)).map(drop);
        let encode = least(self.effort, encode)? - self.embedding_seconds()?;
        let decompose = least(self.effort, || evaluator.hoist(&x).map(drop))? + one - rotation - product;
        let one_sum =
            evaluator.rotate_and_sum_products(&hoisted, &steps[..1], &terms(&factors, 1, 1))?.remove(0);
        let mod_down = least(self.effort, || {
            evaluator.divide_special(&one_sum);
            Ok(())
        })?;
        let scaled = evaluator.mul_scalar(&x, 0.5)?;
        let primes = limbs + ring.special;
        let model = |kind, limbs| table.parts(ring, kind, limbs, 2);
        let mut measured = vec![
            (OpKind::Add, least(self.effort, || evaluator.add(&x, &y).map(drop))?, model(OpKind::Add, limbs)),
            (OpKind::MulPlain, product, model(OpKind::MulPlain, primes)),
            (OpKind::Diagonal, diagonal, table.diagonal_parts(ring, primes, DIAGONAL_LOG_GAP)),
            (OpKind::Tile, tile, model(OpKind::Tile, primes)),
            (OpKind::Sum, sum, model(OpKind::Sum, primes)),
            (OpKind::Encode, encode, table.parts(ring, OpKind::Encode, limbs, 1)),
            (OpKind::KeyProduct, rotation, model(OpKind::KeyProduct, limbs)),
            (OpKind::Decompose, decompose, model(OpKind::Decompose, limbs)),
            (OpKind::ModDown, mod_down, model(OpKind::ModDown, limbs)),
            (
                OpKind::Rescale,
                least(self.effort, || evaluator.rescale(&scaled).map(drop))?,
                model(OpKind::Rescale, limbs),
            ),
        ];
        if params.continues(level) {
            measured.push((
                OpKind::Mul,
                least(self.effort, || evaluator.mul(&x, &y).map(drop))?,
                model(OpKind::Mul, limbs),
            ));
        }
        // Differences of two times can be noise alone.
        measured.retain(|(_, seconds, _)| *seconds > 0.0);
        Ok(measured)
    }
}

/// Some numbers of size up to 1.
fn numbers(row: usize, count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * (row + 3)) as f64).cos()).collect()
}

/// `rows` times `of` of the factors, as rows of sums of rotations.
fn terms<F>(factors: &[F], rows: usize, of: usize) -> Vec<Vec<(usize, &F)>> {
    (0..rows).map(|row| (0..of).map(|step| (step, &factors[row * STEPS as usize + step])).collect()).collect()
}

/// Least seconds of a few runs: what the machine can do when nothing else takes it.
fn least(effort: Effort, mut run: impl FnMut() -> Result<(), EvalError>) -> Result<f64, EvalError> {
    let runs = match effort {
        Effort::Quick => 3,
        Effort::Thorough => 7,
    };
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
