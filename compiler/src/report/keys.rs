//! The evaluation keys.

use fhec_ir::plan::{KeyKind, KeyRow, Plan};

use super::names::short;
use super::table::Table;
use crate::memory::human_bytes;

/// One row per key, and their sum.
pub fn keys(plan: &Plan) -> String {
    let bytes: u64 = plan.evaluation_keys.iter().map(|key| key.bytes).sum();
    // Counted apart in the plan: they switch no ciphertext of the program.
    let encapsulation = plan.evaluation_keys.iter().any(|key| key.kind == KeyKind::Encapsulation);
    let and = if encapsulation { " and those of encapsulation" } else { "" };
    format!(
        "\nevaluation keys, each up to the highest level it is used at\n{}{} keys{and}, {}\n",
        table(plan).text(),
        plan.keys,
        human_bytes(bytes)
    )
}

/// The rows.
pub fn table(plan: &Plan) -> Table {
    let mut table = Table::new(&["<key", "level", "size", "ops", "<used by"]);
    for key in &plan.evaluation_keys {
        table.row([
            key.name(),
            key.level.to_string(),
            human_bytes(key.bytes),
            key.ops.to_string(),
            used_by(key),
        ]);
    }
    table
}

/// Bootstraps and the first layers that use a key.
fn used_by(key: &KeyRow) -> String {
    const SHOWN: usize = 2;
    let mut users: Vec<String> = Vec::new();
    if key.bootstraps {
        users.push("bootstraps".into());
    }
    users.extend(key.layers.iter().take(SHOWN).map(|layer| short(layer)));
    let more = key.layers.len().saturating_sub(SHOWN);
    if more > 0 {
        users.push(format!("{more} more layers"));
    }
    users.join(", ")
}
