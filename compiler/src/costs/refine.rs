//! Runs refine the prices that are kept of this machine.
//!
//! Prices are measured op by op, for a few seconds. A run shows what is beyond that: caches that
//! ops empty for each other, memory that is touched for the first time, counts that leave something
//! out. Each run moves a factor per op of programs ([`CostTable::runs`]) a little towards what it
//! showed. Only prices in the cache folder change, and only by runs of plans that were made with
//! them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use fhec_ir::plan::{MeasuredPrices, Plan};

use super::{CostsError, Machine, cache_path, read, write};
use crate::profile::OpTime;

/// How far one run moves a factor: this part of the way, in the logarithm.
const WEIGHT: f64 = 0.2;

/// What factors are kept within.
const FACTORS: RangeInclusive<f64> = 0.25..=4.0;

/// Ops that take less than this share of a run, predicted and measured, tell more of the clock than
/// of prices. One that takes more of either counts: it may be what is predicted worst.
const SHARE: f64 = 0.005;

/// Where all ops are further off than this factor, other work had the machine, or it was slowed
/// down or sped up as a whole.
const BUSY: f64 = 2.0;

/// What became of the prices.
#[derive(Clone, Debug, PartialEq)]
pub enum Refined {
    /// Factors of runs by op as they are now.
    Now(BTreeMap<String, f64>),
    /// Nothing, because of this.
    Not(&'static str),
}

/// Refines the prices that are kept of this machine by a run of the program of `plan`: the least
/// time of every op over its images counts.
///
/// # Errors
/// [`CostsError::File`] and [`CostsError::Folder`] if the prices cannot be written.
pub fn refine(plan: &Plan, times: &[OpTime]) -> Result<Refined, CostsError> {
    let machine = Machine::here();
    match cache_path(&machine) {
        Some(path) => refine_file(&path, &machine, rayon::current_num_threads(), plan, times),
        None => Ok(Refined::Not("there is no cache folder")),
    }
}

/// [`refine`] of the prices in a file.
fn refine_file(
    path: &Path,
    machine: &Machine,
    threads: usize,
    plan: &Plan,
    times: &[OpTime],
) -> Result<Refined, CostsError> {
    let Some(prices) = &plan.measured_prices else {
        return Ok(Refined::Not("the plan was not made with measured prices"));
    };
    // What cannot be read is measured anew by the next compile.
    let Ok(mut table) = read(path) else { return Ok(Refined::Not("no prices are kept")) };
    if table.machine != machine.in_words() || table.threads != threads || table.digest() != prices.digest {
        return Ok(Refined::Not("the plan was made with other prices"));
    }
    let shown = match shown(plan, prices, times) {
        Ok(shown) => shown,
        Err(why) => return Ok(Refined::Not(why)),
    };
    for (op, factor) in shown {
        let known = table.of_runs(&op);
        let moved = known * (factor / known).powf(WEIGHT);
        table.runs.insert(op, moved.clamp(*FACTORS.start(), *FACTORS.end()));
    }
    write(path, &table)?;
    Ok(Refined::Now(table.runs))
}

/// By op of programs: the factor that would have predicted this run.
fn shown(
    plan: &Plan,
    prices: &MeasuredPrices,
    times: &[OpTime],
) -> Result<BTreeMap<String, f64>, &'static str> {
    let sums = by_op(plan, times);
    let totals = sums.values().fold((0.0, 0.0), |(p, m), sum| (p + sum.predicted, m + sum.measured));
    let counts = |sum: &Sum| sum.predicted > SHARE * totals.0 || sum.measured > SHARE * totals.1;
    let ratios: Vec<(&str, f64)> = sums
        .iter()
        .filter(|(_, sum)| counts(sum))
        .map(|(&op, sum)| (op, sum.measured / sum.predicted))
        .filter(|(_, ratio)| ratio.is_finite() && *ratio > 0.0)
        .collect();
    if ratios.is_empty() {
        return Err("no op took long enough");
    }
    if ratios.iter().all(|&(_, ratio)| ratio > BUSY) {
        return Err("other work took the machine");
    }
    if ratios.iter().all(|&(_, ratio)| ratio < BUSY.recip()) {
        return Err("everything was faster than this machine was when its prices were measured");
    }
    // A plan of a file may say anything.
    let planned = |op: &str| prices.runs.get(op).copied().unwrap_or(1.0);
    let factor = |(op, ratio): (&str, f64)| {
        let factor = planned(op).clamp(*FACTORS.start(), *FACTORS.end()) * ratio;
        (op.to_string(), factor)
    };
    Ok(ratios.into_iter().map(factor).collect())
}

/// Seconds of all ops with one mnemonic.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    predicted: f64,
    measured: f64,
}

/// Predicted and measured seconds by mnemonic, of ops that ran. An op that ran together with the
/// one before counts as a part of it.
fn by_op<'p>(plan: &'p Plan, times: &[OpTime]) -> BTreeMap<&'p str, Sum> {
    let mut least: BTreeMap<usize, f64> = BTreeMap::new();
    for time in times {
        let known = least.entry(time.op).or_insert(f64::INFINITY);
        *known = known.min(time.seconds);
    }
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut before: Option<(usize, &str)> = None;
    for (&op, &seconds) in &least {
        let Some(row) = plan.ops.get(op) else { continue };
        let together = before.filter(|&(index, _)| seconds == 0.0 && index + 1 == op);
        let name = together.map_or(row.op.as_str(), |(_, name)| name);
        let sum = sums.entry(name).or_default();
        sum.predicted += row.seconds;
        sum.measured += seconds;
        before = Some((op, name));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::plan::OpRow;
    use fhec_passes::analysis::cost::CostTable;

    /// A plan of three ops, the second of which runs with the first, and the prices it was made
    /// with.
    fn planned(table: &CostTable) -> Plan {
        let row = |index: usize, op: &str, seconds: f64| OpRow {
            index,
            op: op.into(),
            seconds,
            ..OpRow::default()
        };
        Plan {
            ops: vec![
                row(0, "linear_map", 0.9),
                row(1, "rescale", 0.1),
                row(2, "bootstrap", 2.0),
                row(3, "add", 1e-5),
            ],
            measured_prices: Some(MeasuredPrices { digest: table.digest(), runs: table.runs.clone() }),
            ..Plan::default()
        }
    }

    /// A run of one image with these seconds.
    fn times(image: usize, seconds: [f64; 4]) -> Vec<OpTime> {
        let time =
            |(op, seconds)| OpTime { image, op, start: 0.0, seconds, rss_bytes: None, peak_rss_bytes: None };
        seconds.into_iter().enumerate().map(time).collect()
    }

    fn kept(machine: &Machine) -> CostTable {
        CostTable { machine: machine.in_words(), threads: 2, ..CostTable::default() }
    }

    #[test]
    fn runs_move_factors_towards_what_they_show() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.json");
        let machine = Machine::here();
        let table = kept(&machine);
        write(&path, &table).unwrap();
        let plan = planned(&table);
        // Maps take half as long again, bootstraps what is predicted; a slower image changes
        // nothing.
        let run = [times(0, [1.5, 0.0, 2.0, 1e-3]), times(1, [1.9, 0.0, 2.5, 1e-3])].concat();
        let Refined::Now(once) = refine_file(&path, &machine, 2, &plan, &run).unwrap() else { panic!() };
        assert_eq!(once.keys().collect::<Vec<_>>(), ["bootstrap", "linear_map"], "additions are too few");
        assert!((once["linear_map"] - 1.5f64.powf(WEIGHT)).abs() < 1e-12, "{once:?}");
        assert_eq!(once["bootstrap"], 1.0);
        let refined = read(&path).unwrap();
        assert_eq!((&refined.runs, refined.digest()), (&once, table.digest()), "what was measured stays");
        // The plan knew nothing of the factor: the same run moves it further the same way.
        for _ in 0..50 {
            refine_file(&path, &machine, 2, &plan, &run).unwrap();
        }
        assert!((read(&path).unwrap().of_runs("linear_map") - 1.5).abs() < 1e-3);
        // A plan that knows it predicts the run, and nothing moves.
        let settled = read(&path).unwrap();
        let mut knowing = planned(&settled);
        knowing.ops[0].seconds = 1.5 - 0.1;
        refine_file(&path, &machine, 2, &knowing, &run).unwrap();
        let after = read(&path).unwrap();
        assert!((after.of_runs("linear_map") / settled.of_runs("linear_map") - 1.0).abs() < 1e-6);
    }

    #[test]
    fn factors_have_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.json");
        let machine = Machine::here();
        write(&path, &kept(&machine)).unwrap();
        let plan = planned(&kept(&machine));
        for _ in 0..100 {
            refine_file(&path, &machine, 2, &plan, &times(0, [1e6, 0.0, 2e-1 * 1e6, 0.0])).unwrap();
        }
        assert_eq!(read(&path).unwrap().runs, BTreeMap::new(), "a busy machine");
        for _ in 0..100 {
            refine_file(&path, &machine, 2, &plan, &times(0, [100.0, 0.0, 2.0, 0.0])).unwrap();
        }
        assert_eq!(read(&path).unwrap().of_runs("linear_map"), *FACTORS.end());
    }

    #[test]
    fn runs_that_say_nothing_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.json");
        let machine = Machine::here();
        let table = kept(&machine);
        let plan = planned(&table);
        let honest = times(0, [1.2, 0.0, 2.0, 0.0]);
        let not = |plan: &Plan, threads: usize, times: &[OpTime]| match refine_file(
            &path, &machine, threads, plan, times,
        )
        .unwrap()
        {
            Refined::Not(why) => why,
            now => panic!("{now:?}"),
        };
        assert_eq!(not(&plan, 2, &honest), "no prices are kept");
        write(&path, &table).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // Built-in prices, and those of a file that are not kept here.
        let built_in = Plan { measured_prices: None, ..plan.clone() };
        assert_eq!(not(&built_in, 2, &honest), "the plan was not made with measured prices");
        let of_file = planned(&CostTable { tail_ns: 0.2, ..table.clone() });
        assert_eq!(not(&of_file, 2, &honest), "the plan was made with other prices");
        assert_eq!(not(&plan, 1, &honest), "the plan was made with other prices");
        let busy = times(0, [2.2, 0.0, 4.1, 0.0]);
        assert_eq!(not(&plan, 2, &busy), "other work took the machine");
        let fast = times(0, [0.4, 0.0, 0.9, 0.0]);
        assert!(not(&plan, 2, &fast).starts_with("everything was faster"));
        assert_eq!(not(&plan, 2, &[]), "no op took long enough");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
