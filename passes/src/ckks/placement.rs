//! Where the values of a packed program are in the chain: what [`super::lower_packed`] follows.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::packed::Packed;
use fhec_ir::scale::Level;

use super::place_bootstraps::rules::Rule;
use crate::analysis::mul_depth::{levels_needed, levels_used};

/// Why a placement is not the best one, and how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Approximate {
    /// Why.
    pub reason: String,
    /// Its predicted time is at most as many times the least.
    pub bound: f64,
}

/// A level for every value, and which values are refreshed.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// By value: the level it is made at; `None` where no output depends on it.
    pub level: Vec<Option<Level>>,
    /// Where the least predicted time could not be found: how many values depend on each other at
    /// once, and a bound on the time over the least.
    pub approximate: Option<Approximate>,
    /// By value: the level it is also refreshed to, by one bootstrap that all who need it share.
    pub refreshed: Vec<Option<Level>>,
    /// The rule by which each value is refreshed, where placement is by named rules; empty
    /// otherwise.
    pub rules: BTreeMap<Value, Rule>,
}

impl Placement {
    /// Without bootstraps: every value at the lowest level from which the outputs, at level 0, can
    /// be reached.
    pub fn without_bootstraps(func: &Func<Packed>) -> Self {
        let level =
            levels_needed(func).into_iter().map(|needed| needed.map(|levels| levels as Level)).collect();
        let (refreshed, rules) = (vec![None; func.value_count()], BTreeMap::new());
        Placement { level, approximate: None, refreshed, rules }
    }

    /// The highest level that any value is made at or refreshed to.
    pub fn top(&self) -> Level {
        self.level.iter().chain(&self.refreshed).flatten().copied().max().unwrap_or(0)
    }

    /// The values of `func` that are refreshed, in the order in which ops first need the refreshed
    /// ones.
    pub fn refresh_order(&self, func: &Func<Packed>) -> Vec<Value> {
        let (mut order, mut known) = (Vec::new(), BTreeSet::new());
        for data in func.ops() {
            let Some(below) = self.level[data.result.index()] else { continue };
            let level = below + levels_used(&data.op) as Level;
            let operands = data.op.operands().into_iter();
            let refreshed = operands.filter(|&operand| self.reads_refreshed(operand, level));
            order.extend(refreshed.filter(|&operand| known.insert(operand)));
        }
        let outputs = func.outputs().iter().copied();
        let refreshed = outputs.filter(|&output| self.reads_refreshed(output, 0));
        order.extend(refreshed.filter(|&output| known.insert(output)));
        order
    }

    /// Whether whoever needs `value` at `level` takes what its bootstrap made of it.
    pub fn reads_refreshed(&self, value: Value, level: Level) -> bool {
        let short = self.level[value.index()].is_some_and(|made_at| made_at < level);
        let always = self.rules.get(&value).is_some_and(|rule| rule.always());
        self.refreshed[value.index()].is_some() && (short || always)
    }

    /// Number of values that are refreshed.
    pub fn bootstraps(&self) -> usize {
        self.refreshed.iter().flatten().count()
    }
}
