//! The modulus chain and the parameter sets considered.

use std::fmt::Write;

use fhec_ir::plan::Plan;

use super::table::Table;
use crate::memory::human_bytes;
use crate::program::Program;

/// Primes and scales, level by level.
pub fn chain(program: &Program) -> String {
    let params = &program.artifact.params;
    let mut text = "\nmodulus chain, top to bottom\n".to_string();
    for level in (0..=params.top_level()).rev() {
        let from = if level == 0 { 0 } else { params.limbs(level - 1) };
        let primes = &params.q()[from..params.limbs(level)];
        let scale = params.canonical_scale(level).log2();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  level {level:>2}: primes {primes:?}, scale 2^{scale:.4}");
    }
    let _ = writeln!(text, "  special: {:?}, {} chain primes per digit", params.p(), params.digit_limbs());
    text
}

/// The parameter sets that were looked at, and why one was chosen.
pub fn considered(plan: &Plan) -> String {
    format!("\nparameter sets considered\n{}", table(plan).text())
}

/// The rows.
pub fn table(plan: &Plan) -> Table {
    let titles = [
        "log N",
        "log QP",
        "scale",
        "digit",
        "special",
        "boot",
        "seconds",
        "keys",
        "memory",
        "<verdict",
        "<bootstrap",
    ];
    let mut table = Table::new(&titles);
    for set in &plan.considered {
        table.row([
            set.log_n.to_string(),
            format!("{:.1}", set.log_qp),
            set.log_scale.to_string(),
            set.digit_limbs.to_string(),
            set.special_primes.to_string(),
            set.bootstraps.to_string(),
            format!("{:.2}", set.seconds),
            human_bytes(set.key_bytes),
            human_bytes(set.peak_bytes),
            set.verdict.clone(),
            set.bootstrap.clone(),
        ]);
    }
    table
}
