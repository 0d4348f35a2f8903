//! `fhec diff`: what changed between two compiled programs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fhec_ir::plan::LayerRow;

use super::args::Common;
use super::exit::Exit;
use super::output::Output;
use super::quantities::Share;
use fhec_compiler::memory::human_bytes;
use fhec_compiler::plan_diff::{LayerNumbers, NamesDiff, NumberDiff, PlanDiff, Verdict, diff};
use fhec_compiler::report::layers::path;
use fhec_compiler::report::names::short;
use fhec_compiler::report::table::Table;

/// Compare the plans of two compiled programs
///
/// Says what changed in security, agreement, bootstraps, time, memory, keys, errors and levels, and
/// which layers it comes from. Exit code 0: the new program is as good as the old one or better. 4:
/// something got worse. Bootstraps, time, memory, keys, errors and the probability of failure may
/// grow by --tolerance; security and agreement may not fall at all.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Compiled program after
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Growth of resources that counts as none: 5% or 0.05
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    tolerance: Share,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<Exit> {
    let old = common.open(&args.old).context("the old program")?;
    let new = common.open(&args.new).context("the new program")?;
    let diff = diff(&old.plan, &new.plan, args.tolerance.0);
    let out = Output::new(common.json);
    out.json(&diff)?;
    out.text(&text(&diff))?;
    Ok(if diff.worse { Exit::Worse } else { Exit::Success })
}

fn text(diff: &PlanDiff) -> String {
    let mut table = Table::new(&["<what", "old", "new", "change", "<verdict"]);
    for number in &diff.numbers {
        table.row([
            number.field.replace('_', " "),
            value(number.field, number.old),
            value(number.field, number.new),
            change(number),
            match number.verdict {
                Verdict::Same => "same",
                Verdict::Better => "better",
                Verdict::Worse => "WORSE",
                Verdict::Changed => "changed",
                Verdict::NotComparable => "not comparable",
            }
            .into(),
        ]);
    }
    let mut text = table.text();
    if !diff.layers.is_empty() {
        text += &format!("\nlayers that changed\n{}", layers(diff).text());
    }
    text += &names("values refreshed", &diff.bootstraps);
    text += &names("keys", &diff.keys);
    for note in &diff.notes {
        text += &format!("note: {note}\n");
    }
    text + match diff.worse {
        true => "worse\n",
        false => "not worse\n",
    }
}

fn value(field: &str, value: Option<f64>) -> String {
    let Some(value) = value else { return "-".into() };
    match field {
        "agreement" => format!("{:.2} %", value * 100.0),
        "predicted_seconds" => format!("{value:.2} s"),
        "predicted_peak_bytes" | "key_bytes" => human_bytes(value as u64),
        "predicted_log2_error" | "log2_failure_probability" => format!("2^{value:.1}"),
        "log_qp" => format!("{value:.1}"),
        _ => format!("{value}"),
    }
}

fn change(number: &NumberDiff) -> String {
    match (number.old, number.new) {
        (Some(old), Some(new)) if old == new => String::new(),
        (Some(old), Some(new)) if number.field.contains("log2") => format!("{:+.2} bits", new - old),
        (Some(old), Some(new)) if number.field == "agreement" => {
            format!("{:+.2} points", 100.0 * (new - old))
        }
        (Some(old), Some(new)) if old != 0.0 => format!("{:+.1} %", 100.0 * (new / old - 1.0)),
        _ => String::new(),
    }
}

fn layers(diff: &PlanDiff) -> Table {
    let levels = |numbers: Option<LayerNumbers>| {
        let row = |LayerNumbers { level_in, level_top, level_out, bootstraps, .. }: LayerNumbers| {
            path(&LayerRow { level_in, level_top, level_out, bootstraps, ..LayerRow::default() })
        };
        numbers.map_or("-".into(), row)
    };
    let ms = |numbers: Option<LayerNumbers>| {
        numbers.map_or("-".into(), |numbers| format!("{:.1}", numbers.seconds * 1e3))
    };
    let rotations =
        |numbers: Option<LayerNumbers>| numbers.map_or("-".into(), |numbers| numbers.rotations.to_string());
    let titles = ["<name", "<levels old", "<levels new", "rot old", "rot new", "ms old", "ms new"];
    let mut table = Table::new(&titles);
    for layer in &diff.layers {
        let (old, new) = (layer.old, layer.new);
        table.row([
            short(&layer.name),
            levels(old),
            levels(new),
            rotations(old),
            rotations(new),
            ms(old),
            ms(new),
        ]);
    }
    table
}

fn names(what: &str, names: &NamesDiff) -> String {
    const SHOWN: usize = 8;
    let list = |names: &[String]| {
        let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| short(name)).collect();
        if names.len() > SHOWN {
            shown.push(format!("{} more", names.len() - SHOWN));
        }
        shown.join(", ")
    };
    let mut text = String::new();
    for (word, names) in [("only in the new", &names.added), ("only in the old", &names.removed)] {
        if !names.is_empty() {
            text += &format!("\n{what} {word}: {} ({})\n", names.len(), list(names));
        }
    }
    text
}
