//! Baby steps and rotations, chosen for all maps together, so that their keys fit the memory.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program that verifies |
//! | Ensures  | the same function; `meta rotation_keys`: steps and highest level of every rotation key |
//! | Fails    | [`PassError::Keys`] if even the smallest choice found exceeds the budget |
//! | Method   | each map takes the baby step that minimises its seconds plus a price per byte of keys that no other op needs; the price starts low and doubles until the keys fit. If they still do not, rotations become sums of powers of two. With `meta generic_keys` each map takes the fastest of the baby steps whose rotations are among [`KeyDemand::generic`], and other rotations become two of these |
//! | Tests    | `tests/filetests/ckks/select_rotation_keys/` |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::fact::Fact;
use fhec_ir::func::{Func, Rewriter};
use fhec_ir::key_demand::{KeyDemand, has_generic_keys, switching_key_bytes};
use fhec_ir::params::Params;
use fhec_ir::scale::Level;
use thiserror::Error;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::CostTable;
use crate::analysis::linear_cost::LinearCounts;
use crate::analysis::op_cost::OpCosts;
use crate::error::PassError;
use crate::report::{Passed, Report};

/// The keys do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the switching keys need at least {needed} bytes, {budget} are allowed")]
pub struct KeyBudgetError {
    /// Bytes of the smallest choice found.
    pub needed: u64,
    /// Bytes allowed.
    pub budget: u64,
}

/// What keys may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyBudget {
    /// Bytes of keys; `None` for any number.
    pub bytes: Option<u64>,
    /// Bytes that the program needs besides keys. They are passed on to who has to find more memory
    /// ([`PassError::Keys`]).
    pub other: u64,
}

/// What the pass decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// All keys of the program.
    pub keys: KeyDemand,
    /// Their bytes, both halves expanded.
    pub bytes: u64,
    /// Rotations that became several.
    pub split: usize,
}

impl KeyReport {
    fn in_words(&self) -> String {
        let KeyReport { keys, bytes, split } = self;
        format!("{} keys, {bytes} bytes, {split} rotations split", keys.levels().count())
    }
}

/// Seconds that a byte of key is worth when memory is plentiful: it has to be generated, sent and
/// loaded once.
const SECONDS_PER_BYTE: f64 = 2e-11;
const MAX_DOUBLINGS: usize = 40;

const PASS: &str = "select_rotation_keys";
/// Steps and level of every rotation key, for readers of the text. Programs say it in their
/// interface.
const ROTATION_KEYS: Fact<Vec<Vec<i64>>> = Fact::new("rotation_keys");

/// See the [module](self).
pub fn select_rotation_keys(
    func: &Func<Ckks>,
    params: &Params,
    budget: KeyBudget,
    costs: &CostTable,
    shapes: &mut CircuitShapes,
) -> Result<(Passed<Ckks>, KeyReport), PassError> {
    let KeyBudget { bytes: budget, other } = budget;
    let mut maps = maps(func, params, costs, shapes);
    let mut smallest: Option<u64> = None;
    let splits = match has_generic_keys(func) {
        true => {
            let generic = KeyDemand::generic(params).rotations;
            for map in &mut maps {
                map.choices.retain(|(_, _, set)| set.iter().all(|steps| generic.contains_key(steps)));
            }
            &[Split::Steps(KeyDemand::generic_baby_step(params))][..]
        }
        false => &[Split::Whole, Split::Powers],
    };
    for &split in splits {
        let mut price = SECONDS_PER_BYTE;
        let mut previous = None;
        for _ in 0..MAX_DOUBLINGS {
            let steps = choose_steps(func, params, &maps, split, price);
            price *= 2.0;
            if previous.as_ref() == Some(&steps) && budget.is_some() {
                continue;
            }
            let malformed = PassError::malformed(PASS);
            let (rewriter, split_count) = rewrite(func, &maps, &steps, split).map_err(&malformed)?;
            let (mut rewritten, values) = rewriter.finish_with_values(func);
            let keys = shapes.keys(&rewritten, params).map_err(|error| malformed(error.to_string()))?;
            let bytes = keys.bytes(params);
            if budget.is_none_or(|budget| bytes <= budget) {
                record(&mut rewritten, &keys);
                let keys = KeyReport { keys, bytes, split: split_count };
                let report = Report::of(PASS, keys.in_words());
                return Ok((Passed { func: rewritten, report, values }, keys));
            }
            smallest = Some(smallest.map_or(bytes, |least| least.min(bytes)));
            previous = Some(steps);
        }
    }
    let (needed, budget) = (smallest.unwrap_or(0), budget.unwrap_or(u64::MAX));
    Err(PassError::Keys { keys: KeyBudgetError { needed, budget }, other })
}

/// What becomes of rotations.
#[derive(Clone, Copy, Debug)]
enum Split {
    /// They stay.
    Whole,
    /// Sums of powers of two.
    Powers,
    /// Less than this baby step, and a multiple of it.
    Steps(usize),
}

/// A map with, for every baby step, its seconds and rotations.
struct MapChoices {
    op: usize,
    level: Level,
    choices: Vec<(usize, f64, Arc<BTreeSet<usize>>)>,
}

fn maps(
    func: &Func<Ckks>,
    params: &Params,
    costs: &CostTable,
    shapes: &mut CircuitShapes,
) -> Vec<MapChoices> {
    let prices = OpCosts::new(params, costs);
    let mut maps = Vec::new();
    for (op, data) in func.ops().iter().enumerate() {
        let Op::LinearMap { x, map, .. } = &data.op else { continue };
        let level = func.ty(*x).level;
        let linear = prices.linear(level);
        let diagonal = map.diagonal_period(&func.consts);
        let counts = shapes.counts(map, &func.consts);
        let choice = |&(step, counts): &(usize, LinearCounts)| {
            (step, linear.seconds(&counts, diagonal), shapes.rotation_set(map, &func.consts, step))
        };
        maps.push(MapChoices { op, level, choices: counts.iter().map(choice).collect() });
    }
    maps
}

/// Index of the choice of each map, by coordinate descent.
fn choose_steps(
    func: &Func<Ckks>,
    params: &Params,
    maps: &[MapChoices],
    split: Split,
    price: f64,
) -> Vec<usize> {
    const MAX_SWEEPS: usize = 4;
    let key_bytes: Vec<f64> =
        (0..=params.top_level()).map(|level| switching_key_bytes(params, level) as f64).collect();
    // For every rotation how many users it has at each level: the key is as large as the highest
    // one says.
    let mut users: BTreeMap<usize, BTreeMap<Level, usize>> = BTreeMap::new();
    let add = |users: &mut BTreeMap<usize, BTreeMap<Level, usize>>, set: &BTreeSet<usize>, level| {
        for &steps in set {
            *users.entry(steps).or_default().entry(level).or_default() += 1;
        }
    };
    for data in func.ops() {
        if let Op::Rotate { x, steps } = data.op {
            let ty = func.ty(x);
            let steps = steps.rem_euclid(ty.slots as i64) as usize;
            add(&mut users, &parts(steps, split).into_iter().collect(), ty.level);
        }
    }
    let fastest = |map: &MapChoices| {
        let numbered = map.choices.iter().enumerate();
        numbered.min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map_or(0, |(index, _)| index)
    };
    let mut chosen: Vec<usize> = maps.iter().map(fastest).collect();
    for (map, &choice) in maps.iter().zip(&chosen) {
        add(&mut users, &map.choices[choice].2, map.level);
    }
    for _ in 0..MAX_SWEEPS {
        let mut changed = false;
        for (map, choice) in maps.iter().zip(&mut chosen) {
            for steps in map.choices[*choice].2.iter() {
                let levels = users.entry(*steps).or_default();
                if let Some(count) = levels.get_mut(&map.level) {
                    *count -= 1;
                    if *count == 0 {
                        levels.remove(&map.level);
                    }
                }
            }
            let cost = |(_, seconds, set): &(usize, f64, Arc<BTreeSet<usize>>)| {
                let extra = |steps: &usize| {
                    let have = users.get(steps).and_then(|levels| levels.last_key_value()).map(|(&l, _)| l);
                    let have = have.map_or(0.0, |level| key_bytes[usize::from(level)]);
                    (key_bytes[usize::from(map.level)] - have).max(0.0)
                };
                seconds + price * set.iter().map(extra).sum::<f64>()
            };
            let costs: Vec<f64> = map.choices.iter().map(cost).collect();
            for index in 0..costs.len() {
                if costs[index] < costs[*choice] * (1.0 - 1e-9) {
                    (*choice, changed) = (index, true);
                }
            }
            add(&mut users, &map.choices[*choice].2, map.level);
        }
        if !changed {
            break;
        }
    }
    chosen
}

/// A rotation, or what it is a sum of.
fn parts(steps: usize, split: Split) -> Vec<usize> {
    match split {
        _ if steps == 0 => Vec::new(),
        Split::Whole => vec![steps],
        Split::Powers => (0..usize::BITS).filter(|bit| steps >> bit & 1 == 1).map(|bit| 1 << bit).collect(),
        Split::Steps(step) => {
            [steps % step, steps - steps % step].into_iter().filter(|&part| part != 0).collect()
        }
    }
}

fn rewrite(
    func: &Func<Ckks>,
    maps: &[MapChoices],
    chosen: &[usize],
    split: Split,
) -> Result<(Rewriter<Ckks>, usize), String> {
    let mut rewriter = Rewriter::same_stage(func);
    let mut split_count = 0;
    let mut next_map = maps.iter().zip(chosen).peekable();
    for (index, data) in func.ops().iter().enumerate() {
        let mut data = data.clone();
        if let Some((map, &choice)) = next_map.next_if(|(map, _)| map.op == index)
            && let Op::LinearMap { baby_step, .. } = &mut data.op
        {
            *baby_step = map.choices[choice].0;
        }
        if let Op::Rotate { x, steps } = data.op {
            let slots = func.ty(x).slots as i64;
            let parts = parts(steps.rem_euclid(slots) as usize, split);
            if parts.len() > 1 {
                split_count += 1;
                let mut value = rewriter.get(x);
                for &part in &parts {
                    value = rewriter.func.push(Op::Rotate { x: value, steps: part as i64 })?;
                }
                let name = func.value_name(data.result).map(str::to_string);
                rewriter.func.set_value_name(value, name);
                rewriter.replace(data.result, value);
                continue;
            }
        }
        rewriter.copy(func, &data)?;
    }
    Ok((rewriter, split_count))
}

fn record(func: &mut Func<Ckks>, keys: &KeyDemand) {
    let key = |(&steps, &level): (&usize, &Level)| vec![steps as i64, i64::from(level)];
    func.set_fact(ROTATION_KEYS, &keys.rotations.iter().map(key).collect());
}
