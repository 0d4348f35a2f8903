//! Two plans compared: what changed, and what got worse.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::plan::{KeyRow, LayerRow, Plan};
use serde::Serialize;

/// Everything that differs between two plans.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanDiff {
    /// Whether any number got worse beyond the tolerance.
    pub worse: bool,
    /// Share by which resources may grow before they count as worse.
    pub tolerance: f64,
    /// The numbers of the plans, those that did not change too.
    pub numbers: Vec<NumberDiff>,
    /// Layers that are not the same, in the order of the new plan, removed ones last.
    pub layers: Vec<LayerDiff>,
    /// Values that only one of the programs refreshes.
    pub bootstraps: NamesDiff,
    /// Keys that only one of the programs needs.
    pub keys: NamesDiff,
    /// What makes the comparison less than exact.
    pub notes: Vec<String>,
}

/// A number of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NumberDiff {
    /// Its field in the plan.
    pub field: &'static str,
    /// Before; `None` where it does not exist.
    pub old: Option<f64>,
    /// After.
    pub new: Option<f64>,
    /// What to think of it.
    pub verdict: Verdict,
}

/// What to think of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Equal, or within the tolerance.
    Same,
    /// For the better.
    Better,
    /// For the worse, beyond the tolerance.
    Worse,
    /// Neither good nor bad by itself.
    Changed,
    /// The two cannot be compared.
    NotComparable,
}

/// A layer that differs; a side is `None` where the layer does not exist.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerDiff {
    /// Name in the model file.
    pub name: String,
    /// Before.
    pub old: Option<LayerNumbers>,
    /// After.
    pub new: Option<LayerNumbers>,
}

/// What is compared of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs)] // as in the plan
pub struct LayerNumbers {
    pub level_in: u32,
    pub level_top: u32,
    pub level_out: u32,
    pub bootstraps: usize,
    pub rotations: usize,
    pub diagonals: usize,
    pub seconds: f64,
}

/// Names that only one side has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NamesDiff {
    /// Only after.
    pub added: Vec<String>,
    /// Only before.
    pub removed: Vec<String>,
}

/// Predicted logarithms that differ by less are equal: models of errors are not as exact as that.
const NEGLIGIBLE_BITS: f64 = 0.05;

/// How a number is judged.
#[derive(Clone, Copy)]
enum Judge {
    /// Growing beyond the tolerance is worse.
    Resource,
    /// The same for a number whose logarithm to the base 2 is given.
    LogResource,
    /// Any decrease is worse, and so is losing the number.
    Promise,
    /// Not judged.
    Neutral,
}

/// Compares two plans. Resources (bootstraps, keys, time, memory, errors, failures) may grow by the
/// share `tolerance`; security and agreement may not fall at all. Times for different machines are
/// not compared, nor are runs of different batches.
pub fn diff(old: &Plan, new: &Plan, tolerance: f64) -> PlanDiff {
    use Judge::*;
    let number = |field, judge, of: &dyn Fn(&Plan) -> Option<f64>| {
        let (old, new) = (of(old), of(new));
        NumberDiff { field, old, new, verdict: judge_number(judge, old, new, tolerance) }
    };
    let mut numbers = vec![
        number("security_bits", Promise, &|plan| Some(f64::from(plan.security_bits))),
        number("agreement", Promise, &|plan| plan.agreement.map(|agreement| agreement.share())),
        number("bootstraps", Resource, &|plan| Some(plan.bootstraps as f64)),
        number("bootstraps_softmax", Resource, &|plan| Some(plan.bootstraps_softmax as f64)),
        number("predicted_seconds", Resource, &|plan| Some(plan.predicted_seconds)),
        number("predicted_peak_bytes", Resource, &|plan| Some(plan.predicted_peak_bytes as f64)),
        number("key_bytes", Resource, &|plan| Some(plan.key_bytes as f64)),
        number("predicted_log2_error", LogResource, &|plan| Some(plan.predicted_log2_error)),
        number("log2_failure_probability", LogResource, &|plan| plan.log2_failure_probability),
        number("batch", Neutral, &|plan| Some(plan.batch as f64)),
        number("keys", Neutral, &|plan| Some(plan.keys as f64)),
        number("levels", Neutral, &|plan| Some(f64::from(plan.levels))),
        number("rotations", Neutral, &|plan| Some(plan.rotations as f64)),
        number("diagonals", Neutral, &|plan| Some(plan.diagonals as f64)),
        number("multiplications", Neutral, &|plan| Some(plan.multiplications as f64)),
        number("log_n", Neutral, &|plan| Some(f64::from(plan.log_n))),
        number("log_qp", Neutral, &|plan| Some(plan.log_qp)),
    ];
    let mut notes = Vec::new();
    if old.network != new.network {
        notes.push(format!("the networks have different names: {} and {}", old.network, new.network));
    }
    if old.cost_table != new.cost_table {
        notes.push(format!(
            "times are not compared: they are for different machines ({} and {})",
            old.cost_table, new.cost_table
        ));
        let times = numbers.iter_mut().filter(|number| number.field == "predicted_seconds");
        times.for_each(|number| number.verdict = Verdict::NotComparable);
    }
    if old.batch != new.batch {
        notes.push(format!(
            "times and bootstraps are not compared: they are of {} images and of {}",
            old.batch, new.batch
        ));
        let of_runs = ["predicted_seconds", "bootstraps", "bootstraps_softmax"];
        let numbers = numbers.iter_mut().filter(|number| of_runs.contains(&number.field));
        numbers.for_each(|number| number.verdict = Verdict::NotComparable);
    }
    if old.layers.is_empty() != new.layers.is_empty() {
        notes.push(
            "layers, bootstraps and keys are not compared: one of the plans is from before plans had them"
                .into(),
        );
    }
    let detailed = !old.layers.is_empty() && !new.layers.is_empty();
    let sites = |plan: &Plan| plan.bootstrap_sites.iter().map(|site| site.value.clone()).collect();
    let keys = |plan: &Plan| plan.evaluation_keys.iter().map(KeyRow::name).collect();
    let names = |of: &dyn Fn(&Plan) -> Vec<String>| match detailed {
        true => names(&of(old), &of(new)),
        false => NamesDiff::default(),
    };
    PlanDiff {
        worse: numbers.iter().any(|number| number.verdict == Verdict::Worse),
        tolerance,
        numbers,
        layers: if detailed { layers(old, new) } else { Vec::new() },
        bootstraps: names(&sites),
        keys: names(&keys),
        notes,
    }
}

fn judge_number(judge: Judge, old: Option<f64>, new: Option<f64>, tolerance: f64) -> Verdict {
    if old == new {
        return Verdict::Same;
    }
    let by_growth = |old: f64, new: f64, limit: f64| {
        if new < old {
            Verdict::Better
        } else if new <= limit {
            Verdict::Same
        } else {
            Verdict::Worse
        }
    };
    match (judge, old, new) {
        (Judge::Neutral, ..) => Verdict::Changed,
        (Judge::Resource, Some(old), Some(new)) => by_growth(old, new, old * (1.0 + tolerance)),
        (Judge::LogResource, Some(old), Some(new)) if (new - old).abs() < NEGLIGIBLE_BITS => Verdict::Same,
        (Judge::LogResource, Some(old), Some(new)) => by_growth(old, new, old + (1.0 + tolerance).log2()),
        (Judge::Promise, Some(old), Some(new)) if new < old => Verdict::Worse,
        (Judge::Promise, _, Some(_)) => Verdict::Better,
        // What was promised is not said any more.
        (Judge::Promise, _, None) => Verdict::Worse,
        // Nothing could fail that way, now it can; or the other way round.
        (_, None, _) => Verdict::Worse,
        (_, _, None) => Verdict::Better,
    }
}

fn layers(old: &Plan, new: &Plan) -> Vec<LayerDiff> {
    let numbers = |layer: &LayerRow| LayerNumbers {
        level_in: layer.level_in,
        level_top: layer.level_top,
        level_out: layer.level_out,
        bootstraps: layer.bootstraps,
        rotations: layer.rotations,
        diagonals: layer.diagonals,
        seconds: layer.seconds,
    };
    let by_name = |plan: &Plan| -> BTreeMap<String, LayerNumbers> {
        plan.layers.iter().map(|layer| (layer.name.clone(), numbers(layer))).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let gone = old.layers.iter().filter(|layer| !after.contains_key(&layer.name));
    let names = new.layers.iter().chain(gone).map(|layer| &layer.name);
    let pair = |name: &String| LayerDiff {
        name: name.clone(),
        old: before.get(name).copied(),
        new: after.get(name).copied(),
    };
    names.map(pair).filter(|layer| layer.old != layer.new).collect()
}

fn names(old: &[String], new: &[String]) -> NamesDiff {
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) =
        (old.iter().collect(), new.iter().collect());
    NamesDiff {
        added: new.iter().filter(|name| !before.contains(name)).cloned().collect(),
        removed: old.iter().filter(|name| !after.contains(name)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::plan::Agreement;

    fn plan() -> Plan {
        Plan {
            security_bits: 128,
            bootstraps: 19,
            predicted_seconds: 10.0,
            key_bytes: 1 << 30,
            predicted_log2_error: -10.0,
            log2_failure_probability: Some(-56.0),
            agreement: Some(Agreement {
                fitted_images: 400,
                judged_images: 600,
                agreeing_images: 598,
                ..Agreement::default()
            }),
            ..Plan::default()
        }
    }

    fn worse(new: &Plan, tolerance: f64) -> Vec<&'static str> {
        let diff = diff(&plan(), new, tolerance);
        let worse = diff.numbers.iter().filter(|number| number.verdict == Verdict::Worse);
        let fields: Vec<&str> = worse.map(|number| number.field).collect();
        assert_eq!(diff.worse, !fields.is_empty());
        fields
    }

    #[test]
    fn a_plan_is_as_good_as_itself() {
        assert!(worse(&plan(), 0.0).is_empty());
        assert!(diff(&plan(), &plan(), 0.0).numbers.iter().all(|number| number.verdict == Verdict::Same));
    }

    #[test]
    fn resources_may_grow_by_the_tolerance_and_promises_not_at_all() {
        let slower = Plan { predicted_seconds: 10.4, ..plan() };
        assert_eq!(worse(&slower, 0.0), ["predicted_seconds"]);
        assert_eq!(worse(&slower, 0.03), ["predicted_seconds"]);
        assert!(worse(&slower, 0.05).is_empty());
        assert!(worse(&Plan { predicted_seconds: 1.0, ..plan() }, 0.0).is_empty());
        // Twice the error is one bit.
        let noisier = Plan { predicted_log2_error: -9.0, ..plan() };
        assert_eq!(worse(&noisier, 0.99), ["predicted_log2_error"]);
        assert!(worse(&noisier, 1.01).is_empty());
        assert!(worse(&Plan { predicted_log2_error: -9.99, ..plan() }, 0.0).is_empty());
        let weaker = Plan { security_bits: 127, ..plan() };
        assert_eq!(worse(&weaker, 10.0), ["security_bits"]);
        let disagreeing = Plan {
            agreement: Some(Agreement { agreeing_images: 597, ..plan().agreement.unwrap() }),
            ..plan()
        };
        assert_eq!(worse(&disagreeing, 10.0), ["agreement"]);
        assert_eq!(worse(&Plan { agreement: None, ..plan() }, 10.0), ["agreement"]);
        assert!(worse(&Plan { log2_failure_probability: None, bootstraps: 0, ..plan() }, 0.0).is_empty());
    }

    #[test]
    fn times_of_other_machines_are_not_compared() {
        let other = Plan { predicted_seconds: 99.0, cost_table: "another".into(), ..plan() };
        assert!(worse(&other, 0.0).is_empty());
        assert!(diff(&plan(), &other, 0.0).notes[0].contains("different machines"));
    }

    #[test]
    fn runs_of_other_batches_are_not_compared() {
        let batch = Plan { batch: 4, predicted_seconds: 30.0, bootstraps: 50, ..plan() };
        assert!(worse(&batch, 0.0).is_empty());
        let diff = diff(&plan(), &batch, 0.0);
        assert!(diff.notes[0].contains("of 4"));
        assert!(
            diff.numbers.iter().any(|number| number.field == "batch" && number.verdict == Verdict::Changed)
        );
    }

    #[test]
    fn layers_keys_and_bootstraps_that_changed_are_named() {
        let layer = |name: &str, seconds| LayerRow { name: name.into(), seconds, ..LayerRow::default() };
        let key = |steps| KeyRow {
            kind: fhec_ir::plan::KeyKind::Rotation,
            steps: Some(steps),
            ..KeyRow::default()
        };
        let old = Plan {
            layers: vec![layer("a", 1.0), layer("b", 1.0), layer("c", 1.0)],
            evaluation_keys: vec![key(1), key(2)],
            ..plan()
        };
        let new = Plan {
            layers: vec![layer("a", 1.0), layer("c", 2.0), layer("d", 1.0)],
            evaluation_keys: vec![key(2), key(4)],
            ..plan()
        };
        let diff = diff(&old, &new, 0.0);
        let names: Vec<&str> = diff.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["c", "d", "b"]);
        assert!(diff.layers[1].old.is_none() && diff.layers[2].new.is_none());
        assert_eq!(diff.keys.added, ["rotation by 4"]);
        assert_eq!(diff.keys.removed, ["rotation by 1"]);
    }
}
