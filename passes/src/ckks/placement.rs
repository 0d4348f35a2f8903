//! Where the values of a packed program are in the chain: what [`super::lower_packed`] follows.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::packed::{Op, Packed};
use fhec_ir::scale::Level;
use fhec_ir::slot_mask::SlotMask;

use super::place_bootstraps::rules::Rule;
use crate::analysis::mul_depth::{levels_needed, levels_used};

/// The mask that `op` is, if it is one that a bootstrap can do as well: a product with ones and
/// zeros ([`SlotMask::of_plain`]).
pub fn slot_mask(func: &Func<Packed>, op: &Op) -> Option<SlotMask> {
    match op {
        Op::MulPlain { plain, .. } => SlotMask::of_plain(plain, &func.consts),
        _ => None,
    }
}

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
    /// Masks that are left to the bootstraps of their results ([`slot_mask`]): such a result is at
    /// the level of its operand, and nobody reads it but refreshed.
    pub masked: BTreeSet<Value>,
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
        Placement { level, approximate: None, refreshed, masked: BTreeSet::new(), rules }
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
            let level = below + self.levels_used(data);
            let operands = data.op.operands().into_iter();
            let refreshed = operands.filter(|&operand| self.reads_refreshed(operand, level));
            order.extend(refreshed.filter(|&operand| known.insert(operand)));
        }
        let outputs = func.outputs().iter().copied();
        let refreshed = outputs.filter(|&output| self.reads_refreshed(output, 0));
        order.extend(refreshed.filter(|&output| known.insert(output)));
        order
    }

    /// Levels between the operands of an op and its result.
    pub fn levels_used(&self, data: &OpData<Packed>) -> Level {
        if self.masked.contains(&data.result) { 0 } else { levels_used(&data.op) as Level }
    }

    /// Whether whoever needs `value` at `level` takes what its bootstrap made of it.
    pub fn reads_refreshed(&self, value: Value, level: Level) -> bool {
        let short = self.level[value.index()].is_some_and(|made_at| made_at < level);
        let always = self.rules.get(&value).is_some_and(|rule| rule.always());
        let masked = self.masked.contains(&value);
        self.refreshed[value.index()].is_some() && (short || always || masked)
    }

    /// Number of values that are refreshed.
    pub fn bootstraps(&self) -> usize {
        self.refreshed.iter().flatten().count()
    }
}
