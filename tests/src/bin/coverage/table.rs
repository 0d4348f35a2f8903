//! Rows as a page.

use std::fmt::Write as _;
use std::path::Path;

use crate::case::Case;
use crate::stages::Row;

const HEAD: &str = "# What becomes of real models

Small models of one form each, networks that others trained and published, and those among them that
once failed, each with the answers of onnxruntime. The models are not in the repository. A program
makes this page:

    cargo run --release -p fhec-tests --bin coverage -- CASES --encrypt 10 -o docs/coverage.md

Errors are relative to the largest expected output, of eight inputs. *Clear* is the imported
network in the clear, *simulated* the compiled program with modelled noise, *encrypted* one real run
with its keys. Options are the defaults (128 bits); programs are fitted to the calibration inputs of
the case, often a few dozen, which is what most errors come from. A model that is not done after the
time it is given (`--seconds`) is counted by the stage it reached. Where outputs are no list of
classes the column *classes* means little. A quantised model is read as the network of real numbers
that it stands for, so it differs in the clear from the rounded answers that are expected.
";

/// The page of all rows; `note` says where and when they were made.
pub fn page(cases: &Path, note: &str, rows: &[(Case, Row)]) -> String {
    let count = |keep: &dyn Fn(&Row) -> bool| rows.iter().filter(|(_, row)| keep(row)).count();
    let mut text = format!("{HEAD}\n");
    if !note.is_empty() {
        let _ = writeln!(text, "{note}\n");
    }
    let _ = writeln!(text, "| of {} models | |\n|---|---|", rows.len());
    for (what, number) in [
        ("imported", count(&|row| row.imported)),
        ("equal to onnxruntime in the clear (2^-13)", count(&|row| row.clear.is_some_and(|e| e < 1.3e-4))),
        ("another answer in the clear", count(&|row| row.clear.is_some_and(|e| e >= 1.3e-4))),
        ("compiled", count(&|row| row.plan.is_some())),
        ("simulated with every class as expected", count(&|row| row.classes.is_some_and(|(a, b)| a == b))),
        ("encrypted and accepted", count(&|row| row.encrypted.is_some() && !row.refused)),
        ("encrypted and refused", count(&|row| row.refused)),
    ] {
        let _ = writeln!(text, "| {what} | {number} |");
    }
    let _ = writeln!(
        text,
        "\n| case | clear | compile s | N | boots | predicted s | GiB | simulated | classes | encrypted | s | what ended it |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (case, row) in rows {
        let error = |error: Option<f64>| error.map_or(String::new(), bits);
        let seconds = |s: Option<f64>| s.map_or(String::new(), |s| format!("{s:.1}"));
        let plan = row.plan.map_or("| | | ".to_string(), |(log_n, boots, s, gib)| {
            format!("2^{log_n} | {boots} | {s:.1} | {gib:.1}")
        });
        let classes = row.classes.map_or(String::new(), |(a, b)| format!("{a}/{b}"));
        let overflow = if row.overflows > 0 { " overflow" } else { "" };
        let refused = if row.refused { " refused" } else { "" };
        let ended = row.error.iter().chain(&row.stopped).cloned().collect::<Vec<_>>().join("; ");
        // Paths of the machine do not belong into the page.
        let ended = ended.replace(&format!("{}/", cases.display()), "").replace('|', "\\|");
        let imported = if row.imported { "" } else { "not imported" };
        let _ = writeln!(
            text,
            "| {} | {imported}{} | {} | {plan} | {}{overflow} | {classes} | {}{refused} | {} | {ended} |",
            case.name(),
            error(row.clear),
            seconds(row.compile_seconds),
            error(row.simulated),
            error(row.encrypted),
            seconds(row.encrypted_seconds),
        );
    }
    text
}

/// A relative error as a power of two.
fn bits(error: f64) -> String {
    if error == 0.0 { "0".into() } else { format!("2^{:.1}", error.log2()) }
}
