//! The first screen.

use std::fmt::Write;

use fhec_ir::plan::{LEAST_LOG2, OutputRow, Plan, SecretRow};

use crate::memory::human_bytes;

/// Said where the probability that a bootstrap fails is zero.
pub const NO_BOOTSTRAP_FAILS: &str =
    "no bootstrap can fail: no integer part reaches the bound under the ephemeral secret";

/// What a program is and takes, in one screen.
pub fn summary(plan: &Plan) -> String {
    rows(plan).into_iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:>14}  {value}");
        text
    })
}

/// The lines of the first screen: what, and how much.
pub fn rows(plan: &Plan) -> Vec<(String, String)> {
    let error = plan.predicted_log2_error;
    let secrets = plan.secrets.iter().map(|secret| ("secret", of_secret(secret)));
    let first = [
        ("network", format!("{}: {} layers, {} ops", plan.network, plan.layers.len(), plan.ops.len())),
        ("security", format!("{} bits ({})", plan.security_bits, plan.security_source)),
    ];
    let rest = [
        ("ring", format!("N = 2^{}, log QP = {:.1}", plan.log_n, plan.log_qp)),
        ("levels", levels(plan)),
        ("bootstraps", bootstraps(plan)),
        ("failure", failure(plan)),
        ("rotations", format!("{}, {} diagonals", plan.rotations, plan.diagonals)),
        ("products", format!("{} of two ciphertexts", plan.multiplications)),
        ("keys", keys(plan)),
        ("time", time(plan)),
        ("memory", memory(plan)),
        ("precision", format!("errors of stored outputs are 2^{error:.1} (standard deviation, predicted)")),
        ("agreement", agreement(plan)),
    ];
    let outputs = plan.outputs.iter().map(|row| ("output", output(row)));
    let notes = plan.notes.iter().map(|note| ("note".to_string(), note.clone()));
    let rows = first.into_iter().chain(secrets).chain(rest).chain(outputs);
    rows.map(|(name, value)| (name.to_string(), value)).chain(notes).collect()
}

/// A secret that keys are published under, and what the table says of it.
fn of_secret(secret: &SecretRow) -> String {
    let SecretRow { role, distribution, log_modulus, bits } = secret;
    let modulus = if role == SecretRow::EPHEMERAL { "log2(q0 p)" } else { "log2(QP)" };
    format!("{role}: {distribution}, {modulus} = {log_modulus:.1}, {bits} bits")
}

/// How many keys there are, and what they take.
fn keys(plan: &Plan) -> String {
    let in_memory = format!("{}, {} in memory", plan.keys, human_bytes(plan.key_bytes));
    match plan.key_file_bytes {
        0 => in_memory,
        bytes => format!("{in_memory}, {} that a client sends once", human_bytes(bytes)),
    }
}

/// Levels of the chain, and those that a bootstrap leaves to the program.
fn levels(plan: &Plan) -> String {
    let usable = plan.bootstrap_sites.iter().map(|site| site.level_after - site.levels_reserved).max();
    let between = usable.map_or(String::new(), |levels| format!(", {levels} between bootstraps"));
    format!("{}{between}; scale 2^{}", plan.levels, plan.log_scale)
}

fn bootstraps(plan: &Plan) -> String {
    let seconds: f64 = plan.bootstrap_sites.iter().map(|site| site.seconds).sum();
    let count = match plan.bootstraps_softmax {
        0 => plan.bootstraps.to_string(),
        softmax => format!("{} and {softmax} of the softmax", plan.bootstraps),
    };
    match plan.bootstrap_sites.is_empty() {
        true => count,
        false => format!(
            "{count}, {} or {:.0} % of the time",
            rounded(seconds),
            100.0 * seconds / plan.predicted_seconds
        ),
    }
}

fn failure(plan: &Plan) -> String {
    match plan.log2_failure_probability {
        Some(log2) if log2 <= LEAST_LOG2 => NO_BOOTSTRAP_FAILS.into(),
        Some(log2) => format!("2^{log2:.1} per inference that a bootstrap fails"),
        None => "no bootstraps, none of theirs can fail".into(),
    }
}

fn time(plan: &Plan) -> String {
    let (seconds, table) = (plan.predicted_seconds, &plan.cost_table);
    match plan.batch {
        0 | 1 => format!("{} predicted ({table})", rounded(seconds)),
        images => format!(
            "{} predicted for {images} images, {} per image ({table})",
            rounded(seconds),
            human_seconds(seconds / images as f64)
        ),
    }
}

/// Predicted seconds, of which hundredths say nothing, or milliseconds.
fn rounded(seconds: f64) -> String {
    if seconds < 1.0 { human_seconds(seconds) } else { format!("{seconds:.1} s") }
}

/// Seconds, or milliseconds where it is less than one.
pub fn human_seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", 1e3 * seconds) } else { format!("{seconds:.2} s") }
}

fn memory(plan: &Plan) -> String {
    let peak = human_bytes(plan.predicted_peak_bytes);
    match plan.resident_bytes {
        0 => format!("{peak} peak predicted"),
        resident => format!(
            "{peak} peak predicted: keys {}, weights and tables {}, ciphertexts {}",
            human_bytes(plan.key_bytes),
            human_bytes(resident.saturating_sub(plan.key_bytes)),
            human_bytes(plan.predicted_peak_bytes - resident)
        ),
    }
}

/// How close an output comes to that of the plain network.
fn output(row: &OutputRow) -> String {
    let median = if row.classes { ", of the median image" } else { "" };
    format!(
        "{}: {} of signal to error on {} sample images{median}",
        row.name,
        row.in_words(),
        row.judged_images
    )
}

fn agreement(plan: &Plan) -> String {
    match &plan.agreement {
        Some(agreement) => {
            let expected = agreement.expected.map_or(String::new(), |share| {
                format!("; {:.2} % of others are expected to, with the noise of encryption", 100.0 * share)
            });
            format!(
                "{:.2} % of {} sample images keep their class under the approximated activations{expected}",
                100.0 * agreement.share(),
                agreement.judged_images
            )
        }
        None => "not measured when compiled; `fhec simulate` measures it".into(),
    }
}
