//! Measuring what operations cost on this machine: the table that the compiler's predictions use.
//!
//! The model of [`CostTable`] counts what an operation does; here every kind of operation is run as the circuits run it, at
//! several numbers of limbs of the named bootstrapping sets, and its factor becomes the mean ratio (of logarithms) of
//! measured to modelled time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use fhec_ir::params::Params;
use fhec_ir::scale::{Level, Scale};
use fhec_passes::analysis::cost::{CostTable, OpKind, RingShape};
use fhec_passes::bootstrap::sets;
use fhec_runtime::ckks::{Encoder, Encoding, Encryptor, Evaluator, Factor, FactorEncoder, PlaintextScale};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};

use crate::files::{self, Access};

/// Cost tables are a few lines.
const MAX_BYTES: u64 = 1 << 20;
/// Hoisted rotations and rows of diagonals measured at once: enough that what they share can be told from what they do not.
const STEPS: i64 = 8;
const ROWS: usize = 4;

/// Where the table is looked for when a program is compiled: `fhec/costs.json` in the user's configuration folder.
pub fn default_path() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    config.or_else(home).map(|folder| folder.join("fhec").join("costs.json"))
}

/// Reads a table.
pub fn read(path: &Path) -> Result<CostTable> {
    let bytes = files::read(path, MAX_BYTES)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no table of costs", path.display()))
}

/// Writes a table, its folder as well.
pub fn write(path: &Path, table: &CostTable) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let bytes = serde_json::to_vec_pretty(table)?;
    files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))?;
    Ok(())
}

/// Measures on the threads there are.
pub fn measure() -> Result<CostTable> {
    let threads = rayon::current_num_threads();
    let mut table = CostTable {
        machine: format!("measured here, {} architecture", std::env::consts::ARCH),
        threads,
        ..CostTable::default()
    };
    table.factors.clear();
    let mut ratios: BTreeMap<OpKind, Vec<f64>> = BTreeMap::new();
    for name in ["n15-98", "n16-128"] {
        let params = sets::named(name)?.params;
        let ring = Ring::new(params)?;
        let top = ring.context.params().top_level();
        for level in [3, top / 2, top] {
            for (kind, seconds, model) in ring.at(level, &table)? {
                ratios.entry(kind).or_default().push((seconds / model).ln());
            }
        }
    }
    let mean = |list: &[f64]| (list.iter().sum::<f64>() / list.len() as f64).exp();
    table.factors = ratios.iter().map(|(&kind, list)| (kind, mean(list))).collect();
    Ok(table)
}

/// A ring with what is needed to measure in it.
struct Ring {
    context: Context,
    keys: EvaluationKeys,
    secret: SecretKey,
}

impl Ring {
    fn new(params: Params) -> Result<Self> {
        let context = Context::new(params).context("cannot make the ring")?;
        let seed = Seed::from_bytes([7; 32]);
        let secret = SecretKey::generate(&context, &seed);
        let top = context.params().top_level();
        let requests: Vec<KeyRequest> = (1..=STEPS).map(|k| KeyRequest::rotation(&context, k, top)).collect();
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests)?;
        Ok(Ring { context, keys, secret })
    }

    fn ciphertext(&self, level: Level) -> Result<Ciphertext> {
        let slots = self.context.params().slots();
        let message: Vec<f64> = (0..slots).map(|i| (i as f64 * 0.37).sin() * 0.5).collect();
        let plaintext = Encoder::new(&self.context).encode(&message, Encoding::message(level))?;
        let seed = Seed::from_bytes([8; 32]);
        Ok(Encryptor::with_secret_key(&self.context, &self.secret, seed).encrypt(&plaintext)?)
    }

    /// Kinds with measured and modelled seconds at `level`.
    fn at(&self, level: Level, table: &CostTable) -> Result<Vec<(OpKind, f64, f64)>> {
        let params = self.context.params();
        let (ring, limbs) = (RingShape::of(params), params.limbs(level));
        let evaluator = Evaluator::new(&self.context, &self.keys);
        let encoder = FactorEncoder::new(&self.context);
        let scale = PlaintextScale::Ratio { from: Scale::canonical(level), to: Scale::squared(level) };
        let factors: Result<Vec<Factor>, _> = (0..ROWS * STEPS as usize)
            .map(|row| {
                let values: Vec<f64> = (0..params.slots()).map(|i| ((i * (row + 3)) as f64).cos()).collect();
                encoder.encode(&values, level, scale)
            })
            .collect();
        let factors = factors?;
        let x = self.ciphertext(level)?;
        let y = evaluator.add(&x, &x)?;
        let hoisted = evaluator.hoist(&x)?;
        let steps: Vec<i64> = (1..=STEPS).collect();
        let rows = |rows: usize, steps: usize| -> Vec<Vec<(usize, &Factor)>> {
            let row =
                |row: usize| (0..steps).map(|step| (step, &factors[row * STEPS as usize + step])).collect();
            (0..rows).map(row).collect()
        };
        let sums = |rows_of: usize, steps_of: usize| {
            let terms = rows(rows_of, steps_of);
            least(|| evaluator.rotate_and_sum_products(&hoisted, &steps[..steps_of], &terms).map(drop))
        };
        // One rotation with one product; all rotations with one product each; all rotations with several.
        let (one, all, wide) = (sums(1, 1)?, sums(1, steps.len())?, sums(ROWS, steps.len())?);
        let diagonal = (wide - all) / ((ROWS - 1) * steps.len()) as f64;
        let rotation = (all - one) / (steps.len() - 1) as f64 - diagonal;
        let decompose = least(|| evaluator.hoist(&x).map(drop))? + one - rotation - diagonal;
        let sum = evaluator.rotate_and_sum_products(&hoisted, &steps[..1], &rows(1, 1))?.remove(0);
        let mod_down = least(|| {
            evaluator.divide_special(&sum);
            Ok(())
        })?;
        let product = evaluator.mul_scalar(&x, 0.5)?;
        let model = |kind, limbs| table.seconds(ring, kind, limbs, 2);
        let measured = [
            (OpKind::Add, least(|| evaluator.add(&x, &y).map(drop))?, limbs),
            (OpKind::MulPlain, diagonal, limbs + ring.special),
            (OpKind::KeyProduct, rotation, limbs),
            (OpKind::Decompose, decompose, limbs),
            (OpKind::ModDown, mod_down, limbs),
            (OpKind::Rescale, least(|| evaluator.rescale(&product).map(drop))?, limbs),
        ];
        let positive = measured.into_iter().filter(|(_, seconds, _)| *seconds > 0.0);
        let mut list: Vec<_> =
            positive.map(|(kind, seconds, limbs)| (kind, seconds, model(kind, limbs))).collect();
        if params.continues(level) {
            let seconds = least(|| evaluator.mul(&x, &y).map(drop))?;
            list.push((OpKind::Mul, seconds, model(OpKind::Mul, limbs)));
        }
        Ok(list)
    }
}

/// Least seconds of a few runs: what the machine can do when nothing else takes it.
fn least(mut run: impl FnMut() -> Result<(), fhec_runtime::EvalError>) -> Result<f64> {
    const RUNS: usize = 7;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_written_with_their_folder_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("costs.json");
        let table = CostTable { machine: "test".into(), ..CostTable::default() };
        write(&path, &table).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        std::fs::write(&path, "{").unwrap();
        assert!(read(&path).is_err());
    }
}
