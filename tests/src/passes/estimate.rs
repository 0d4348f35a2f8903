//! `passes/src/estimate.rs`: what a scheduled program is predicted to take.

use fhec_ir::ckks::Ckks;
use fhec_ir::func::StageOp;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::estimate::{OpCount, estimate};

use crate::runner::{Case, Failure, Outcome};

/// The result is a line per op with what it takes, and the sums. Prices are those of the built-in
/// table.
pub(super) fn prediction(case: &Case) -> Result<Outcome, Failure> {
    let program = case.program::<Ckks>()?;
    let (params, table) = (case.params()?, CostTable::default());
    let predicted = estimate(&program, &params, &table, None, &mut CircuitShapes::default());
    let predicted = predicted.map_err(Failure::broken)?;
    let sum: f64 = predicted.op_seconds.iter().sum();
    if (sum - predicted.seconds).abs() > 1e-12 || predicted.op_seconds.iter().any(|&s| s.is_nan() || s < 0.0)
    {
        return Err(Failure::Broken(format!("{predicted:?}")));
    }
    let mut lines = Vec::new();
    for (index, data) in program.ops().iter().enumerate() {
        let OpCount { rotations, relinearizations, multiplications, diagonals } = predicted.op_counts[index];
        lines.push(format!(
            "{} {}: {rotations} rotations, {relinearizations} relinearizations, {multiplications} multiplications, \
             {diagonals} diagonals, {} bytes of weights, {} alive",
            data.result,
            data.op.mnemonic(),
            predicted.op_plaintext_bytes[index],
            predicted.live.per_op[index]
        ));
    }
    lines.push(format!(
        "{} keys of {} bytes, peak {} bytes",
        predicted.keys, predicted.key_bytes, predicted.peak_bytes
    ));
    lines.push(format!(
        "{:.1e} seconds, errors 2^-{:.1} on average, 2^-{:.1} at most, failures 2^{:.0}",
        predicted.seconds,
        predicted.error_bits_mean,
        predicted.error_bits_worst,
        predicted.log2_failure_probability
    ));
    Ok(Outcome::text(lines))
}
