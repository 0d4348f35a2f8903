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

Errors are relative to the largest expected output, of eight inputs; where all outputs are 0 they
are absolute. *Clear* is the imported network in the clear, *simulated* the compiled program with
modelled noise, *encrypted* one real run with its keys. Options are the defaults (128 bits);
programs are fitted to the calibration inputs of the case, often a few dozen, which is what most
errors come from. A model that is not done after the time it is given (`--seconds`) is counted by
the stage it reached. A quantised model is read as the network of real numbers that it stands for,
so it differs in the clear from the rounded answers that are expected. *Classes* counts simulated
inputs whose largest output is where it is expected, or at one of several places where these are
equal; where the network in the clear has fewer than all, its count stands beside it.
";

/// The heading of the section on kinds, which stands at the end of the page.
const KINDS: &str = "## One network of each kind, answered encrypted

A program makes this section:

    cargo run --release -p fhec-tests --bin coverage -- CASES --kinds --encrypt 60 -o docs/coverage.md

Compiles are asked for programs within 10 GiB (`--max-ram`), and those that are predicted to take
less than a minute are run. Errors are relative to
the largest expected output: *simulated* is the largest of eight inputs, *encrypted* of the first.
*Class* says whether the largest output is where it is expected. Seconds are those of one evaluation
on this machine, keys and weights loaded.
";

/// `page` with a section on kinds made of `rows`, one for each kind, in place of the one it has.
pub fn with_kinds(page: &str, note: &str, rows: &[(Case, Row)]) -> String {
    let mut text = format!("{}\n\n{KINDS}\n", before_kinds(page).trim_end());
    if !note.is_empty() {
        let _ = writeln!(text, "{note}\n");
    }
    let _ = writeln!(
        text,
        "| case | kind | predicted s | GiB | simulated error | encrypted error | class | seconds |\n|---|---|---|---|---|---|---|---|"
    );
    for ((case, row), (kind, _)) in rows.iter().zip(&crate::kinds::KINDS) {
        let plan = row.plan.map_or(" | ".to_string(), |(_, _, s, gib)| format!("{s:.1} | {gib:.1}"));
        let error = |error: Option<f64>| error.map_or(String::new(), bits);
        let ended = row.error.iter().chain(&row.stopped).cloned().collect::<Vec<_>>().join("; ");
        let encrypted = match row.encrypted {
            Some(found) => format!("{}{}", bits(found), if row.refused { " refused" } else { "" }),
            None if ended.is_empty() && row.plan.is_some() => "beyond the limits".into(),
            None => ended.replace('|', "\\|"),
        };
        let class = match row.encrypted_class {
            _ if !row.is_class_list => "no classes",
            Some(true) => "same",
            Some(false) => "another",
            None => "",
        };
        let seconds = row.evaluation_seconds.map_or(String::new(), |s| format!("{s:.1}"));
        let (name, simulated) = (case.name(), error(row.simulated));
        let _ =
            writeln!(text, "| {name} | {kind} | {plan} | {simulated} | {encrypted} | {class} | {seconds} |");
    }
    text
}

/// `page` with the section on kinds that another one has.
pub fn with_kinds_of(page: &str, other: &str) -> String {
    let section = &other[before_kinds(other).len()..];
    if section.is_empty() { page.into() } else { format!("{}\n\n{section}", page.trim_end()) }
}

fn before_kinds(page: &str) -> &str {
    let heading = KINDS.lines().next().unwrap_or_default();
    page.find(heading).map_or(page, |at| &page[..at])
}

/// The page of all rows and of cases `without` inputs; `note` says where and when they were made.
pub fn page(cases: &Path, note: &str, rows: &[(Case, Row)], without: &[Case]) -> String {
    let folder = |case: &Case| {
        let path = case.model.strip_prefix(cases).unwrap_or(&case.model);
        path.iter().next().map(|first| first.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let mut folders: Vec<String> = rows.iter().map(|(case, _)| folder(case)).collect();
    folders.sort();
    folders.dedup();
    let mut text = format!("{HEAD}\n");
    if !note.is_empty() {
        let _ = writeln!(text, "{note}\n");
    }
    let counts = |keep: &dyn Fn(&Row) -> bool| {
        let of_folder = |name: &String| {
            let kept = rows.iter().filter(|(case, row)| folder(case) == *name && keep(row));
            kept.count().to_string()
        };
        let all = rows.iter().filter(|(_, row)| keep(row)).count();
        [vec![all.to_string()], folders.iter().map(of_folder).collect()].concat().join(" | ")
    };
    let _ = writeln!(text, "| | all | {} |\n|---|{}", folders.join(" | "), "---|".repeat(folders.len() + 1));
    for (what, numbers) in [
        ("models", counts(&|_| true)),
        ("imported", counts(&|row| row.imported)),
        ("equal to onnxruntime in the clear (2^-13)", counts(&|row| row.clear.is_some_and(|e| e < 1.3e-4))),
        ("another answer in the clear", counts(&|row| row.clear.is_some_and(|e| e >= 1.3e-4))),
        ("compiled", counts(&|row| row.plan.is_some())),
        ("simulated", counts(&|row| row.simulated.is_some())),
        (
            "simulated within 2 % of the largest output",
            counts(&|row| row.simulated.is_some_and(|e| e < 0.02)),
        ),
        ("simulated lists of classes", counts(&|row| row.class_counts().is_some())),
        (
            "of these, with every class as expected",
            counts(&|row| row.class_counts().is_some_and(|(a, b)| a == b)),
        ),
        (
            "of these, with as many classes as the network in the clear",
            counts(&|row| row.class_counts().is_some_and(|(a, _)| a >= row.clear_classes)),
        ),
        ("encrypted and accepted", counts(&|row| row.encrypted.is_some() && !row.refused)),
        ("encrypted and refused", counts(&|row| row.refused)),
    ] {
        let _ = writeln!(text, "| {what} | {numbers} |");
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
        let classes = row.class_counts().map_or(String::new(), |(a, b)| match row.clear_classes {
            clear if clear < b => format!("{a}/{b}, clear {clear}"),
            _ => format!("{a}/{b}"),
        });
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
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(Case::name).collect();
        let _ = writeln!(
            text,
            "\nModels without inputs are no cases. They are imported:\n\n{}",
            names.iter().map(|name| format!("- {name}\n")).collect::<String>().trim_end()
        );
    }
    text
}

/// A relative error as a power of two.
fn bits(error: f64) -> String {
    if error == 0.0 { "0".into() } else { format!("2^{:.1}", error.log2()) }
}
