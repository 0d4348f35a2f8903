//! Why each bootstrap is where it is.

use std::fmt::Write;

use fhec_ir::plan::{Accounting, Alternative, BootstrapRow, Plan};

use super::names::short;
use super::table::Table;
use crate::memory::human_bytes;

/// A few lines per bootstrap.
pub fn bootstraps(plan: &Plan) -> String {
    let mut text = "\nbootstraps\n".to_string();
    if plan.bootstrap_sites.is_empty() {
        text += "  none: one modulus chain holds the whole program\n";
    }
    if let Some(accounting) = &plan.accounting {
        return text + &by_rules(accounting);
    }
    for (index, site) in plan.bootstrap_sites.iter().enumerate() {
        write_site(&mut text, index, site);
    }
    text
}

/// The count by rule and by layer with a running total, what other placements need, and what the
/// keys would take.
fn by_rules(accounting: &Accounting) -> String {
    let mut text = format!("  {}\n", accounting.remark);
    for softmax in [false, true] {
        let rows: Vec<_> = accounting.rows.iter().filter(|row| row.softmax == softmax).collect();
        let Some(total) = rows.last().map(|row| row.total) else { continue };
        let what = if softmax { "of the softmax" } else { "of the network" };
        text += &format!("\n  {what}: {total}\n");
        let mut table = Table::new(&["<rule", "<refreshes", "ct", "total"]);
        for row in &rows {
            table.row([
                row.rule.clone(),
                short(&row.value),
                row.ciphertexts.to_string(),
                row.total.to_string(),
            ]);
        }
        text += &table.text();
        text += "\n";
        let mut rules: Vec<(&str, usize)> = Vec::new();
        for row in &rows {
            match rules.iter_mut().find(|(rule, _)| *rule == row.rule) {
                Some((_, sum)) => *sum += row.ciphertexts,
                None => rules.push((&row.rule, row.ciphertexts)),
            }
        }
        let sums: Vec<String> = rules.iter().map(|(rule, sum)| format!("{rule} {sum}")).collect();
        text += &format!("  by rule: {} = {total}\n", sums.join(" + "));
    }
    text += "\n  the same program, packing and levels under other placements:\n";
    let mut table = Table::new(&["<placement", "network", "softmax", "seconds"]);
    for row in &accounting.placements {
        table.row([
            row.placement.clone(),
            row.bootstraps.to_string(),
            row.bootstraps_softmax.to_string(),
            format!("{:.0}", row.seconds),
        ]);
    }
    text += &table.text();
    if accounting.published_key_bytes > 0 {
        text += &format!(
            "  the same keys with one special prime and a digit per prime, as published: {}\n",
            human_bytes(accounting.published_key_bytes)
        );
    }
    text
}

/// One row per bootstrap.
pub fn table(plan: &Plan) -> Table {
    let titles = [
        "op",
        "<refreshes",
        "before",
        "after",
        "ct",
        "seconds",
        "<needed by",
        "not here",
        "not in its layer",
    ];
    let mut table = Table::new(&titles);
    for site in &plan.bootstrap_sites {
        let extra = |other: &Option<Alternative>| match other {
            Some(other) => format!("{:+.3} s", other.extra_seconds),
            None if site.alternatives_sought => "impossible".into(),
            None => "not sought".into(),
        };
        let needs = site.needed_by.iter().map(|need| format!("{} of {}", need.kind, short(&need.layer)));
        table.row([
            site.op.to_string(),
            short(&site.value),
            site.level_before.to_string(),
            site.level_after.to_string(),
            site.ciphertexts.to_string(),
            format!("{:.3}", site.seconds),
            needs.collect::<Vec<_>>().join(", "),
            extra(&site.without_value),
            extra(&site.without_layer),
        ]);
    }
    table
}

fn write_site(text: &mut String, index: usize, site: &BootstrapRow) {
    let BootstrapRow { op, ciphertexts, level_before, levels_reserved, level_after, seconds, .. } = site;
    let free = level_before.saturating_sub(*levels_reserved);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:>4}  op {op} refreshes {}: level {level_before} to {level_after}, {ciphertexts} ciphertext{}, {seconds:.3} s",
        index + 1,
        short(&site.value),
        if *ciphertexts == 1 { "" } else { "s" },
    );
    let needs: Vec<String> = site
        .needed_by
        .iter()
        .map(|need| {
            let layer = short(&need.layer);
            format!(
                "op {} ({} of {layer}, at level {}, uses {})",
                need.op, need.kind, need.level, need.levels_used
            )
        })
        .collect();
    let _ = writeln!(
        text,
        "      needed by {}; of the {level_before} levels before, {levels_reserved} are for the bootstrap itself, {free} free",
        needs.join(", ")
    );
    if !site.alternatives_sought {
        return;
    }
    let _ = writeln!(text, "      without it here: {}", in_words(&site.without_value));
    let _ = writeln!(text, "      without any in the layer that makes it: {}", in_words(&site.without_layer));
}

fn in_words(alternative: &Option<Alternative>) -> String {
    const SHOWN: usize = 3;
    let Some(Alternative { extra_seconds, bootstraps, instead }) = alternative else {
        return "there is no way to place the others".into();
    };
    let mut places: Vec<String> = instead.iter().take(SHOWN).map(|value| short(value)).collect();
    if instead.len() > SHOWN {
        places.push(format!("{} more", instead.len() - SHOWN));
    }
    let places = match places.is_empty() {
        true => "no other value refreshed".to_string(),
        false => format!("refreshing {} instead", places.join(", ")),
    };
    format!("{extra_seconds:+.3} s, {bootstraps} bootstraps, {places}")
}
