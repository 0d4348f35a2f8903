//! Activations: input ranges and what polynomials are made for.

use std::fmt::Write;

use fhec_ir::plan::Plan;

/// One line per activation that is approximated.
pub fn ranges(plan: &Plan) -> String {
    if plan.ranges.is_empty() {
        return "\nno activation is approximated: those of the network are polynomials already\n".into();
    }
    let mut text = "\nactivations\n".to_string();
    for range in &plan.ranges {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {} of {}: [{:.3}, {:.3}] from {}, made for +-{:.3}",
            range.activation, range.value, range.min, range.max, range.source, range.bound
        );
    }
    text
}
