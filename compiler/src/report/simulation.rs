//! A simulation on a data set, for people and for tables.

use super::names::short;
use super::table::Table;
use crate::blame::Cause;
use crate::simulation::{Outcome, Summary};
use fhec_ir::program::Program;

/// Images that differ are listed up to this many; JSON, CSV and the page have all of them.
const LISTED: usize = 20;

/// A plain network that classifies a smaller share correctly gets other pixels, or is held to other
/// labels, than it was trained with.
const SUSPECT: f64 = 0.25;

/// The screen.
pub fn simulation(program: &Program, summary: &Summary) -> String {
    let mut text = String::new();
    for (name, value) in rows(summary) {
        text += &format!("{name:<13} {value}\n");
    }
    let listed = summary.differing.len().min(LISTED);
    if listed > 0 {
        text += &format!("\nclasses that change\n{}", changes(program, summary).text());
        text += &format!("\nimages that differ\n{}", differing(program, summary, listed).text());
        if listed < summary.differing.len() {
            text += &format!("and {} more: --json, --csv or --html\n", summary.differing.len() - listed);
        }
    }
    if !summary.blame.is_empty() {
        text += &format!("\nlayers that flip classes\n{}", blame(summary).text());
    }
    if !summary.overflows.is_empty() {
        text += &format!(
            "\noperands outside [-1, 1], which encrypted runs cannot see\n{}",
            overflows(summary).text()
        );
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("{:.2} to {:.2} %", low * 100.0, high * 100.0)
}

/// What is told of all images together.
pub fn rows(summary: &Summary) -> Vec<(&'static str, String)> {
    let accuracy = |share: Option<f64>, bounds: Option<[f64; 2]>| match (share, bounds) {
        (Some(share), Some(bounds)) => format!("{} (95 % confidence: {})", percent(share), interval(bounds)),
        _ => "unknown: the file has no labels".into(),
    };
    let suspect = summary.reference_accuracy.filter(|&share| share < SUSPECT);
    let suspect = suspect.map(|_| {
        let note = "the plain network itself is wrong on these images; check --mean/--std and the labels";
        ("note", note.to_string())
    });
    let mut rows = vec![("images", summary.images.to_string())];
    if let (Some(share), Some(bounds)) = (summary.agreement, summary.agreement_interval) {
        let differ = summary.disagreeing.len();
        let words = format!(
            "{} with the plain network (95 % confidence: {}); {differ} differ",
            percent(share),
            interval(bounds)
        );
        rows.push(("agreement", words));
        if let (Some(share), Some(bounds)) = (summary.top5_agreement, summary.top5_agreement_interval) {
            let words = format!(
                "{} have the plain network's class among their five best (95 % confidence: {})",
                percent(share),
                interval(bounds)
            );
            rows.push(("top 5", words));
        }
        rows.push(("accuracy", accuracy(summary.accuracy, summary.accuracy_interval)));
        let plain = accuracy(summary.reference_accuracy, summary.reference_accuracy_interval);
        rows.push(("plain network", plain));
        if summary.top5_accuracy.is_some() {
            let own = accuracy(summary.top5_accuracy, summary.top5_accuracy_interval);
            let plain = accuracy(summary.reference_top5_accuracy, summary.reference_top5_accuracy_interval);
            rows.extend([("true in top 5", own), ("plain, top 5", plain)]);
        }
    }
    let decibels = match summary.signal_to_error_db {
        Some(decibels) if !summary.classes => format!("; {decibels:.0} dB"),
        _ => String::new(),
    };
    let lost = match summary.lost_images {
        0 => String::new(),
        lost => format!("; without {lost} image(s) whose outputs are beyond all numbers"),
    };
    rows.extend([
        (
            if summary.classes { "logits" } else { "outputs" },
            format!(
                "differ by {:.1e} at most, {:.1e} on average{decibels}{lost}",
                summary.max_logit_difference, summary.mean_logit_difference
            ),
        ),
        (
            "time",
            format!(
                "{:.1} s, {:.1} images per second",
                summary.seconds,
                summary.images as f64 / summary.seconds
            ),
        ),
    ]);
    rows.into_iter().chain(suspect).collect()
}

/// Classes that become others.
pub fn changes(program: &Program, summary: &Summary) -> Table {
    let mut table = Table::new(&["<plain", "<encrypted", "images"]);
    for pair in summary.confusion.iter().filter(|pair| pair.class != pair.reference_class) {
        table.row([
            program.interface.class_name(pair.reference_class),
            program.interface.class_name(pair.class),
            pair.images.to_string(),
        ]);
    }
    table
}

/// The first `most` images that differ.
pub fn differing(program: &Program, summary: &Summary, most: usize) -> Table {
    let mut table = Table::new(&["image", "<label", "<plain", "<encrypted", "margin", "<cause", "<layer"]);
    for image in summary.differing.iter().take(most) {
        table.row([
            image.index.to_string(),
            image.label.map_or(String::new(), |label| program.interface.class_name(label as usize)),
            program.interface.class_name(image.reference_class),
            program.interface.class_name(image.class),
            format!("{:.3}", image.reference_margin),
            image.cause.map(Cause::name).unwrap_or_default().to_string(),
            image.layer.as_deref().map(short).unwrap_or_default(),
        ]);
    }
    table
}

/// Layers that flip classes.
pub fn blame(summary: &Summary) -> Table {
    let mut table = Table::new(&["<layer", "by approximation", "by noise"]);
    for row in &summary.blame {
        table.row([short(&row.layer), row.approximation.to_string(), row.noise.to_string()]);
    }
    table
}

/// Operands outside their range.
pub fn overflows(summary: &Summary) -> Table {
    let mut table = Table::new(&["op", "<kind", "<layer", "images", "slots", "largest"]);
    for row in &summary.overflows {
        table.row([
            row.op.to_string(),
            row.kind.clone(),
            short(&row.layer),
            row.images.to_string(),
            row.slots.to_string(),
            if row.largest < 1e4 { format!("{:.3}", row.largest) } else { format!("{:.1e}", row.largest) },
        ]);
    }
    table
}

/// One row per image: index, label, classes, what flips them, logits of the simulated program, then
/// of the plain network.
pub fn csv(outcomes: &[Outcome]) -> String {
    let outputs = outcomes.first().map_or(0, |outcome| outcome.logits.len());
    let columns = |what: &str| (0..outputs).map(|i| format!(",{what}_{i}")).collect::<String>();
    let mut text = format!(
        "index,label,class,reference_class,cause,layer{}{}\n",
        columns("logit"),
        columns("reference")
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        let label = outcome.label.map_or(String::new(), |label| label.to_string());
        let blame = outcome.blame.as_ref();
        let cause = blame.map(|blame| blame.cause.name()).unwrap_or_default();
        let layer = blame.map(|blame| quoted(&blame.layer)).unwrap_or_default();
        text += &format!("{index},{label},{},{},{cause},{layer}", outcome.class(), outcome.reference_class());
        for logit in outcome.logits.iter().chain(&outcome.reference) {
            text += &format!(",{logit:.8}");
        }
        text.push('\n');
    }
    text
}

/// A cell of RFC 4180: in quotes where it has to be.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_are_quoted() {
        assert_eq!(quoted("/a/Relu"), "/a/Relu");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
