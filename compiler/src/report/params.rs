//! The modulus chain and the parameter sets considered.

use std::fmt::Write;

use fhec_ir::plan::Plan;
use fhec_ir::prime_set::PrimeSet;

use super::table::Table;
use crate::memory::human_bytes;
use fhec_ir::program::Program;

/// Primes and scales, level by level: what a level has beyond the one below, and of that one does
/// not have.
pub fn chain(program: &Program) -> String {
    let params = &program.interface.params;
    let mut text = "\nmodulus chain, top to bottom\n".to_string();
    for level in (0..=params.top_level()).rev() {
        let own = params.primes(level);
        let below = level.checked_sub(1).map_or(PrimeSet::EMPTY, |below| params.primes(below));
        let primes = |set: PrimeSet| set.iter().map(|prime| params.q()[prime]).collect::<Vec<u64>>();
        let (added, dropped) = (primes(own.without(below)), primes(below.without(own)));
        let scale = params.canonical_scale(level).log2();
        // Writing to a String cannot fail.
        let _ = write!(text, "  level {level:>2}: primes {added:?}");
        if !dropped.is_empty() {
            let _ = write!(text, " for {dropped:?}");
        }
        let _ = writeln!(text, ", {} in all, scale 2^{scale:.4}", own.len());
    }
    let _ = writeln!(text, "  special: {:?}, {} chain primes per digit", params.p(), params.digit_limbs());
    text
}

/// The parameter sets that were looked at, and why one was chosen; and other fits of activations,
/// where there are any.
pub fn considered(plan: &Plan) -> String {
    let sets = format!("\nparameter sets considered\n{}", table(plan).text());
    match plan.fits.is_empty() {
        true => sets,
        false => format!("{sets}\nfits of activations, each with its best set\n{}", fits(plan).text()),
    }
}

/// What of other images is expected to keep its class, in percent.
fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Rows of fits: none is slower and agrees less than another.
pub fn fits(plan: &Plan) -> Table {
    let titles = ["depths", "levels", "agree", "seconds", "memory", "boot", "log N", "log QP", "<verdict"];
    let mut table = Table::new(&titles);
    for fit in &plan.fits {
        let depths = match fit.least_depth == fit.most_depth {
            true => fit.most_depth.to_string(),
            false => format!("{} to {}", fit.least_depth, fit.most_depth),
        };
        table.row([
            depths,
            fit.levels.to_string(),
            percent(fit.agreement),
            format!("{:.2}", fit.seconds),
            human_bytes(fit.peak_bytes),
            fit.bootstraps.to_string(),
            fit.log_n.to_string(),
            format!("{:.1}", fit.log_qp),
            if fit.chosen { "chosen".into() } else { String::new() },
        ]);
    }
    table
}

/// Rows of parameter sets: what of other images is expected to agree is that of the fits chosen.
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
        "agree",
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
            set.agreement.map_or("-".into(), percent),
            set.verdict.clone(),
            set.bootstrap.clone(),
        ]);
    }
    table
}
