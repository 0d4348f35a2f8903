//! What each pass did.

use std::fmt::Write;

use fhec_ir::plan::Plan;

/// One line per pass.
pub fn passes(plan: &Plan) -> String {
    plan.passes.iter().fold("\npasses\n".to_string(), |mut text, row| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}", row.pass, row.report);
        text
    })
}
