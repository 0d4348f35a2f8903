//! The plan of a compile: its decisions and predictions in the schema of [`fhec_ir::plan`].

mod accounting;
mod bootstraps;
mod keys;
mod layers;

use fhec_ir::batch::Batch;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Op;
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::layout::Layout;
use fhec_ir::nn::Nn;
use fhec_ir::params::Secret;
use fhec_ir::plan::{LEAST_LOG2, OpRow, PassRow, Plan, RangeRow, SCHEMA_VERSION, log2_error};

use crate::analysis::cost::CostTable;
use crate::bootstrap::failure::log2_failure;
use crate::error::PassError;
use crate::nn::softmax::SoftmaxNames;
use crate::report::Report;
use crate::search::Scheduled;
use fhec_ir::layers::Layers;
use fhec_ir::security::{Certificate, CertifiedSecret};

/// The plan of `scheduled`, which was made from `network`. `security_bits` is the level that was
/// asked for; `ranges` and `reports` are those of the passes before.
pub fn plan(
    scheduled: &Scheduled,
    network: &Func<Nn>,
    security_bits: u32,
    costs: &CostTable,
    ranges: Vec<RangeRow>,
    reports: &[Report],
) -> Result<Plan, PassError> {
    let Scheduled { program, params, estimate, considered, .. } = scheduled;
    let encapsulation = KeyDemand::default().with_bootstraps(program, params);
    // A program that was scheduled has bootstraps of its parameters, or none.
    let encapsulation = encapsulation.unwrap_or_default().encapsulation;
    let certificate = Certificate::of(params, encapsulation.as_ref())?;
    certificate.require(security_bits)?;
    let total = |of: fn(&crate::estimate::OpCount) -> usize| estimate.op_counts.iter().map(of).sum();
    let row = |report: &Report| PassRow { pass: report.pass.into(), report: report.in_words() };
    let layers = Layers::of(program);
    let ops = op_rows(scheduled, &layers);
    let bootstraps = BootstrapParams::of_program(program).unwrap_or_default();
    let refreshed = count(scheduled, |op| matches!(op, Op::Bootstrap { .. }));
    let refreshed_softmax = accounting::of_softmax(scheduled);
    let judged = SoftmaxNames::judged_values(program);
    let worst_stddev = judged.iter().map(|output| estimate.noise[output.index()].stddev);
    let mut plan = Plan {
        schema_version: SCHEMA_VERSION,
        network: program.name.clone(),
        bootstraps: refreshed - refreshed_softmax,
        bootstraps_softmax: refreshed_softmax,
        rotations: total(|count| count.rotations),
        diagonals: total(|count| count.diagonals),
        multiplications: total(|count| count.multiplications),
        keys: estimate.keys,
        key_bytes: estimate.key_bytes,
        key_file_bytes: KeyDemand::of(program, params).map_or(0, |keys| keys.file_bytes(params)),
        batch: Batch::of_program(program).map_or(1, |batch| batch.images),
        predicted_seconds: estimate.seconds,
        cost_table: format!("{}, {} threads", costs.machine, costs.threads),
        predicted_peak_bytes: estimate.peak_bytes,
        predicted_log2_error: log2_error(worst_stddev.fold(0.0, f64::max)),
        log2_failure_probability: failure_probability(scheduled),
        resident_bytes: estimate.peak_bytes - estimate.live.peak,
        agreement: None,
        layers: layers::layer_rows(scheduled, &layers, &ops, network),
        accounting: accounting::accounting(scheduled, costs),
        bootstrap_sites: bootstraps::bootstrap_rows(scheduled, &layers, costs),
        evaluation_keys: keys::key_rows(scheduled, &layers, &bootstraps),
        ranges,
        ops,
        considered: considered.clone(),
        passes: reports.iter().chain(&scheduled.reports).map(row).collect(),
        notes: notes(scheduled, &certificate, reports),
        ..Plan::default()
    };
    plan.certify(params, &certificate);
    Ok(plan)
}

/// Bound of the probability that any bootstrap of the program fails, `log2`; `None` without
/// bootstraps.
fn failure_probability(scheduled: &Scheduled) -> Option<f64> {
    let Scheduled { program, params, .. } = scheduled;
    let main_weight = match params.secret() {
        Secret::SparseTernary { hamming_weight } => Some(hamming_weight),
        Secret::UniformTernary => None,
    };
    let bootstraps = BootstrapParams::of_program(program).ok()?;
    let of_size = |bootstrap: &BootstrapParams| {
        let of_slots = |value: Value| program.ty(value).slots == bootstrap.slots();
        let ops =
            program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { x, .. } if of_slots(x)));
        let times = ops.map(|data| program.ty(data.result).vectors).sum();
        let weight = bootstrap.ephemeral_weight.or(main_weight)?;
        Some(log2_failure(weight, bootstrap.bound, bootstrap.slots(), times).exp2())
    };
    let sum: f64 = bootstraps.iter().filter_map(of_size).sum();
    // Zero where the ephemeral secret is so light that no integer reaches the bound.
    (!bootstraps.is_empty()).then(|| sum.log2().max(LEAST_LOG2))
}

fn count(scheduled: &Scheduled, is: impl Fn(&Op) -> bool) -> usize {
    let func = &scheduled.program;
    func.ops().iter().filter(|data| is(&data.op)).map(|data| func.ty(data.result).vectors).sum()
}

fn op_rows(scheduled: &Scheduled, layers: &Layers) -> Vec<OpRow> {
    let Scheduled { program, estimate, .. } = scheduled;
    let row = |(index, data): (usize, &fhec_ir::func::OpData<fhec_ir::ckks::Ckks>)| {
        let result = program.ty(data.result);
        let level_in = data.op.operands().first().map_or(result.level, |operand| program.ty(*operand).level);
        let counts = estimate.op_counts[index];
        let layout = match &data.op {
            Op::LinearMap { map, .. } => describe_layout(&map.output),
            _ => String::new(),
        };
        OpRow {
            index,
            op: data.op.mnemonic().into(),
            name: program.value_name(data.result).unwrap_or_default().into(),
            ciphertexts: result.vectors,
            level_in: u32::from(level_in),
            level_out: u32::from(result.level),
            rotations: counts.rotations,
            diagonals: counts.diagonals,
            multiplications: counts.multiplications,
            seconds: estimate.op_seconds[index],
            layout,
            log2_error: log2_error(estimate.noise[data.result.index()].stddev),
            layer: layers.of_op[index],
            plaintext_bytes: estimate.op_plaintext_bytes[index],
            live_bytes: estimate.live.per_op[index],
        }
    };
    program.ops().iter().enumerate().map(row).collect()
}

/// A layout in words, e.g. `16x14x14, gap 2, 4 channels per 28x28 plane, repeats every 4096 of
/// 16384 slots`.
pub fn describe_layout(layout: &Layout) -> String {
    let Layout { shape: [c, h, w], gap, multiplex, plane: [plane_h, plane_w], period, slots } = layout;
    let vectors = layout.vectors();
    let mut words = format!("{c}x{h}x{w}");
    if *gap != [1, 1] {
        let [rows, columns] = gap;
        let gap = if rows == columns { format!("{rows}") } else { format!("{rows}x{columns}") };
        words += &format!(", gap {gap}, {multiplex} channels per {plane_h}x{plane_w} plane");
    } else if (plane_h, plane_w) != (h, w) {
        words += &format!(", planes of {plane_h}x{plane_w}");
    }
    if vectors > 1 {
        words += &format!(", in {vectors} ciphertexts");
    }
    words + &format!(", repeats every {period} of {slots} slots")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// How large errors of outputs are predicted to be, in bits below the largest value.
fn errors(worst: f64, mean: f64) -> String {
    let words = format!(
        "errors of outputs are likely below 2^{:.1} of the largest value the program represents, 2^{:.1} on average",
        -worst, -mean
    );
    // Bounds of many steep polynomials in a row multiply.
    match worst < 0.0 {
        true => words + ": more than that value, so only a simulation tells whether it is right",
        false => words,
    }
}

fn notes(scheduled: &Scheduled, certificate: &Certificate, reports: &[Report]) -> Vec<String> {
    let mut notes: Vec<String> =
        reports.iter().chain(&scheduled.reports).flat_map(|report| report.notes.iter().cloned()).collect();
    let estimate = &scheduled.estimate;
    notes.push(errors(estimate.error_bits_worst, estimate.error_bits_mean));
    if SoftmaxNames::of(&scheduled.program).is_some() {
        notes.push("predicted errors are those of the softmax's operand: what they do to its result depends on the image".into());
    }
    notes.push(format!(
        "encoded weights take {} if all are kept in memory",
        mebibytes(estimate.plaintext_bytes)
    ));
    if let Some(kept) = estimate.cached_bytes {
        notes.push(format!(
            "only {} of them are kept within the memory allowed; the others are encoded anew for every image, which takes time that \
             is not predicted",
            mebibytes(kept)
        ));
    }
    if scheduled.params.secret() != Secret::UniformTernary {
        notes.push(
            "the secret is sparse: published attacks on sparse secrets that the estimator does not know may cost less"
                .into(),
        );
    }
    if let Some(CertifiedSecret { secret, log_modulus, bits }) = certificate.ephemeral {
        notes.push(format!(
            "bootstraps publish a key under an ephemeral secret ({secret}) at log2(q0 p) = {log_modulus:.1}, which keeps {bits} bits; \
             published attacks on sparse secrets that the estimator does not know may cost less"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_beyond_the_largest_value_are_said_to_be_no_answer() {
        let usual = errors(11.8, 14.25);
        assert!(usual.contains("below 2^-11.8 of") && usual.ends_with("2^-14.2 on average"), "{usual}");
        let beyond = errors(-12.3, -9.7);
        assert!(beyond.contains("below 2^12.3 of") && beyond.contains("only a simulation tells"), "{beyond}");
    }
}
