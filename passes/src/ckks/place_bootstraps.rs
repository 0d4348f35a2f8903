//! Where ciphertexts are refreshed, and at which level every op runs.
//!
//! | | |
//! |---|---|
//! | Stage    | packed, for a chain with bootstrapping |
//! | Requires | a packed program for the ring's slots; no unused ops |
//! | Ensures  | a [`Placement`]: operands of every op reach its level, products of ciphertexts stay in the application's levels, refreshed values are at the bootstrap's input level or above; outputs reach level 0 |
//! | Fails    | [`PlaceBootstrapsError`] |
//! | Method   | *optimal*: least predicted seconds over all (op, level, refreshed or not, to which level), exactly (above 80 states per value, or 32 where branches are so entangled that it would take more than about a second, targets are tried at every second, fourth, ... level), by [`Elimination`]: in a chain that is a shortest path, and residual branches are solved inside out (as Orion does for branches that nest, arXiv 2311.03470; here for all graphs); where the bootstrap bends what it refreshes, only values that polynomials alone read are refreshed ([`super::absorb_sines`]); a mask takes no level where its result is read refreshed alone, as the bootstrap does it then ([`Placement::masked`]). *lazy*: forward, at the highest levels, a bootstrap only where an operand has no level left. *lee2021*: by named rules ([`rules`]) |
//! | Tests    | `tests/filetests/ckks/place_bootstraps/`, unit tests below |
//!
//! The costs of an op and of a bootstrap fall with its level, that of a bootstrap much less: so ops
//! with many key switches move to the bottom of a window, and a value that two branches need is
//! refreshed once. Compositions are several polynomials in packed programs, so they may be cut
//! between any two.
//!
//! Where so many branches depend on each other that the optimum cannot be computed, the best of all
//! *lazy* placements is taken, one for each level that bootstraps may lead to.

pub mod rules;

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::bootstrap::{BootstrapParams, Order};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::packed::{Op, Packed};
use fhec_ir::scale::Level;
use fhec_ir::slot_mask::{MOST_MASKS, SlotMask};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::rules::Rule;
use super::absorb_sines::{bent_by, unabsorbing};
use super::placement::{Approximate, Placement, slot_mask};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::def_use::live;
use crate::analysis::elimination::{Elimination, TooEntangled};
use crate::analysis::mul_depth::{levels_used, mul_depth_by};
use crate::analysis::op_cost::{BootstrapSeconds, OpCosts};

/// How bootstraps are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum BootstrapPlacement {
    /// Least predicted time
    #[default]
    Optimal,
    /// As late as possible
    Lazy,
    /// By the rules that yield the 1,149 bootstraps of arXiv 2106.07229, a reconstruction
    ///
    /// See [`rules`].
    Lee2021,
}

impl BootstrapPlacement {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BootstrapPlacement::Optimal => "optimal",
            BootstrapPlacement::Lazy => "lazy",
            BootstrapPlacement::Lee2021 => "lee2021",
        }
    }
}

/// Why bootstraps cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum PlaceBootstrapsError {
    #[error("{op} (result {value}) uses {needed} levels, between bootstraps there are {levels}")]
    TooDeep { op: &'static str, value: String, needed: u32, levels: Level },
    #[error("no levels satisfy all ops of the program, with {levels} between bootstraps")]
    Nowhere { levels: Level },
    #[error(
        "the bootstrap bends what it refreshes by a sine that only polynomials undo: place bootstraps optimally"
    )]
    Bent,
    #[error("the program's branches cannot be placed optimally: {0}")]
    Entangled(#[from] TooEntangled),
}

/// The levels that a bootstrap leaves to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// A refreshed value is made here or above; products of ciphertexts end here or above.
    bottom: Level,
    /// Results of bootstraps.
    top: Level,
}

impl Window {
    /// The lowest level the result of `op` may be made at. Below the window segments of the chain
    /// end at every level, and only products with plaintexts cross such ends.
    fn lowest(self, op: &Op) -> Level {
        match op {
            Op::Polynomial { .. } | Op::Mul { .. } => self.bottom,
            _ => 0,
        }
    }

    /// All states of a value. Where there are many levels, refreshed values are priced at every
    /// second, fourth, ... level, as if they were brought to the next of those: tables grow with
    /// the cube of the number of states, of which there are `many` at most.
    fn states(self, many: usize) -> Vec<State> {
        let states = |step: usize| -> Vec<State> {
            let of_level = |level: Level| {
                let targets = level.saturating_add(1)..=self.top;
                let targets = targets.rev().step_by(step).filter(move |_| level >= self.bottom);
                std::iter::once(None).chain(targets.map(Some)).map(move |refreshed| State {
                    level,
                    refreshed,
                    masked: false,
                })
            };
            (0..=self.top).flat_map(of_level).collect()
        };
        let mut step = 1;
        while states(step).len() > many && step < usize::from(self.top) {
            step *= 2;
        }
        states(step)
    }
}

/// See the [module](self). The second result is the predicted cost in seconds, bootstraps included.
pub fn place_bootstraps(
    func: &Func<Packed>,
    bootstrap: &BootstrapParams,
    method: BootstrapPlacement,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Result<(Placement, f64), PlaceBootstrapsError> {
    let window = Window { bottom: bootstrap.input_level(), top: bootstrap.output_level };
    let live = live(func);
    for data in func.ops().iter().filter(|data| live[data.result.index()]) {
        let (needed, levels) = (levels_used(&data.op), window.top - window.lowest(&data.op));
        if needed > u32::from(levels) {
            let value = func.value_name(data.result).map_or_else(|| data.result.to_string(), str::to_string);
            return Err(PlaceBootstrapsError::TooDeep { op: data.op.mnemonic(), value, needed, levels });
        }
    }
    let prices = Prices::new(func, costs, bootstrap, shapes);
    let avoided = avoided(func, bootstrap, costs, shapes);
    let masks = maskable(func, &live, bootstrap);
    if method != BootstrapPlacement::Optimal && !avoided.is_empty() {
        return Err(PlaceBootstrapsError::Bent);
    }
    let mut approximate = None;
    let (mut states, rules) = match method {
        BootstrapPlacement::Optimal => {
            let states = match optimal(func, &live, window, (&avoided, &masks), &prices, shapes) {
                Err(PlaceBootstrapsError::Entangled(reason)) if avoided.is_empty() => {
                    let (states, seconds) = best_lazy(func, &live, window, &prices, shapes);
                    let bound = seconds / least_seconds(func, &live, window, &masks, &prices, shapes);
                    approximate = Some(Approximate { reason: reason.to_string(), bound });
                    states
                }
                other => other?,
            };
            (states, BTreeMap::new())
        }
        BootstrapPlacement::Lazy => (lazy(func, &live, window), BTreeMap::new()),
        BootstrapPlacement::Lee2021 => rules::place(func, &live, window),
    };
    tighten(func, &live, &mut states, &rules, window);
    let seconds = prices.of_placement(&live, &states, shapes);
    Ok((Placement { approximate, ..placement(&live, states, rules) }, seconds))
}

/// What must not be refreshed: where the bootstrap bends messages, what others than polynomials
/// read.
fn avoided(
    func: &Func<Packed>,
    bootstrap: &BootstrapParams,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> BTreeSet<Value> {
    let curve = bent_by(bootstrap, costs.params());
    curve.map(|curve| unabsorbing(func, curve, shapes)).unwrap_or_default()
}

/// Results of masks that the bootstraps that follow can do: slots to coefficients first, and few
/// different masks.
pub(crate) fn maskable(func: &Func<Packed>, live: &[bool], bootstrap: &BootstrapParams) -> BTreeSet<Value> {
    let ops = func.ops().iter().filter(|data| live[data.result.index()]);
    let of_slots = ops.filter(|data| func.ty(data.result).slots == bootstrap.slots());
    let masks: BTreeMap<Value, SlotMask> =
        of_slots.filter_map(|data| Some((data.result, slot_mask(func, &data.op)?))).collect();
    let different = masks.values().collect::<BTreeSet<_>>().len();
    if bootstrap.order == Order::SlotsToCoeffsLast || different > MOST_MASKS {
        return BTreeSet::new();
    }
    masks.into_keys().collect()
}

/// The lazy placement with the least predicted seconds, over all levels that bootstraps may lead
/// to.
fn best_lazy(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
    prices: &Prices,
    shapes: &mut CircuitShapes,
) -> (Vec<State>, f64) {
    let needed = |data: &OpData<Packed>| levels_used(&data.op) as Level + window.lowest(&data.op);
    let ops = func.ops().iter().filter(|data| live[data.result.index()]);
    let least = ops.map(needed).max().unwrap_or(0).max(window.bottom + 1);
    let tops = least.min(window.top)..=window.top;
    let placed = tops.map(|top| {
        let mut states = lazy(func, live, Window { top, ..window });
        tighten(func, live, &mut states, &BTreeMap::new(), Window { top, ..window });
        let seconds = prices.of_placement(live, &states, shapes);
        (states, seconds)
    });
    placed.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is a highest level")
}

/// Seconds that no placement can be below: of every op at its cheapest level, and of as many
/// bootstraps of one ciphertext as the longest way through the program needs.
fn least_seconds(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
    masks: &BTreeSet<Value>,
    prices: &Prices,
    shapes: &mut CircuitShapes,
) -> f64 {
    let mut seconds = 0.0;
    let unmasked = |data: &&OpData<Packed>| live[data.result.index()] && !masks.contains(&data.result);
    for data in func.ops().iter().filter(unmasked) {
        let used = levels_used(&data.op) as Level;
        let lowest = window.lowest(&data.op) + used;
        let at =
            (lowest..=window.top).map(|level| prices.costs.packed_seconds(func, &data.op, level, shapes));
        let cheapest = at.fold(f64::INFINITY, f64::min);
        seconds += if cheapest.is_finite() { cheapest } else { 0.0 };
    }
    let levels = window.top - window.bottom;
    let used = |data: &OpData<Packed>| match masks.contains(&data.result) {
        true => 0,
        false => levels_used(&data.op),
    };
    let beyond = mul_depth_by(func, used).saturating_sub(u32::from(window.top));
    let bootstraps = beyond.div_ceil(u32::from(levels).max(1));
    let each = prices.bootstrap[usize::from(window.bottom)..=usize::from(window.top)].iter();
    let each = each.map(|seconds| seconds.of(1)).fold(f64::INFINITY, f64::min);
    seconds + f64::from(bootstraps) * if each.is_finite() { each } else { 0.0 }
}

/// The placement with the least predicted seconds of all that refresh none of `avoided`; `None` if
/// there is none.
pub fn place_bootstraps_without(
    func: &Func<Packed>,
    bootstrap: &BootstrapParams,
    avoided: &BTreeSet<Value>,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Option<(Placement, f64)> {
    let avoided = avoided.union(&self::avoided(func, bootstrap, costs, shapes)).copied().collect();
    place_avoiding(func, bootstrap, &avoided, costs, shapes)
}

/// The placement with the least predicted seconds, whatever reads what the bootstrap bends.
pub fn place_bootstraps_anywhere(
    func: &Func<Packed>,
    bootstrap: &BootstrapParams,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Option<(Placement, f64)> {
    place_avoiding(func, bootstrap, &BTreeSet::new(), costs, shapes)
}

fn place_avoiding(
    func: &Func<Packed>,
    bootstrap: &BootstrapParams,
    avoided: &BTreeSet<Value>,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Option<(Placement, f64)> {
    let window = Window { bottom: bootstrap.input_level(), top: bootstrap.output_level };
    let live = live(func);
    let prices = Prices::new(func, costs, bootstrap, shapes);
    let masks = maskable(func, &live, bootstrap);
    let mut states = optimal(func, &live, window, (avoided, &masks), &prices, shapes).ok()?;
    tighten(func, &live, &mut states, &BTreeMap::new(), window);
    let seconds = prices.of_placement(&live, &states, shapes);
    Some((placement(&live, states, BTreeMap::new()), seconds))
}

/// A value's place: the level it is made at, and the level it is refreshed to as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    level: Level,
    refreshed: Option<Level>,
    /// Of the result of a mask: that it is left to the bootstrap, and `level` is that of the
    /// operand.
    masked: bool,
}

impl State {
    /// Whether it can be an operand at `level`.
    fn reaches(self, level: Level) -> bool {
        level <= self.level && !self.masked || self.refreshed.is_some_and(|target| level <= target)
    }

    /// Levels between the operands of `op` and its result in this state.
    fn used(self, op: &Op) -> Level {
        if self.masked { 0 } else { levels_used(op) as Level }
    }
}

/// Predicted seconds of ops and bootstraps.
struct Prices<'a> {
    func: &'a Func<Packed>,
    costs: &'a OpCosts<'a>,
    /// By the level of the result.
    bootstrap: Vec<BootstrapSeconds>,
    /// Of a level drop, by the level of the result.
    drop: Vec<f64>,
}

impl<'a> Prices<'a> {
    fn new(
        func: &'a Func<Packed>,
        costs: &'a OpCosts<'a>,
        bootstrap: &BootstrapParams,
        shapes: &mut CircuitShapes,
    ) -> Self {
        let drop = (0..bootstrap.output_level).map(|level| costs.level_drop(level)).collect();
        Prices { func, costs, bootstrap: costs.bootstraps(bootstrap, shapes), drop }
    }

    /// Seconds of `value` in `state`: of the op that makes it, by `op_seconds` of its operands'
    /// level, of its bootstraps, and of bringing outputs to level 0.
    fn unary(&self, value: Value, state: State, op_seconds: f64) -> f64 {
        let vectors = self.func.ty(value).vectors;
        let refresh = state.refreshed.map_or(0.0, |target| self.bootstrap[usize::from(target)].of(vectors));
        let is_output = self.func.outputs().contains(&value);
        let drop = if is_output { self.drop(state.level, 0) } else { 0.0 };
        op_seconds + refresh + vectors as f64 * drop
    }

    /// Seconds of bringing a ciphertext from one level to another.
    fn drop(&self, from: Level, to: Level) -> f64 {
        if from > to { self.drop[usize::from(to)] } else { 0.0 }
    }

    /// Seconds of using `value`, in `state`, as an operand at `level`.
    fn operand(&self, value: Value, state: State, level: Level) -> f64 {
        // A refreshed value is brought to the level wanted by its bootstrap.
        let as_it_is = level <= state.level && !state.masked;
        let drop = if as_it_is { self.drop(state.level, level) } else { 0.0 };
        self.func.ty(value).vectors as f64 * drop
    }

    fn of_placement(&self, live: &[bool], states: &[State], shapes: &mut CircuitShapes) -> f64 {
        let mut sum = 0.0;
        for &input in self.func.inputs().iter().filter(|input| live[input.index()]) {
            sum += self.unary(input, states[input.index()], 0.0);
        }
        for data in self.func.ops().iter().filter(|data| live[data.result.index()]) {
            let state = states[data.result.index()];
            if state.masked {
                sum += self.unary(data.result, state, 0.0);
                continue;
            }
            let level = state.level + levels_used(&data.op) as Level;
            let seconds = self.costs.packed_seconds(self.func, &data.op, level, shapes);
            sum += self.unary(data.result, state, seconds);
            for operand in distinct(&data.op) {
                sum += self.operand(operand, states[operand.index()], level);
            }
        }
        sum
    }
}

fn distinct(op: &Op) -> Vec<Value> {
    let mut operands = op.operands();
    operands.dedup();
    operands
}

/// Most states of a value: where branches depend on each other so that these are too many, fewer.
const MOST_STATES: [usize; 2] = [80, 32];

/// The least cost where values that are `avoided` are not refreshed, and bootstraps may do `masks`,
/// over as many states as is no endless work.
fn optimal(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
    (avoided, masks): (&BTreeSet<Value>, &BTreeSet<Value>),
    prices: &Prices,
    shapes: &mut CircuitShapes,
) -> Result<Vec<State>, PlaceBootstrapsError> {
    let [most, fewer] = MOST_STATES.map(|most| window.states(most));
    match optimal_over(func, live, window, &most, (avoided, masks), prices, shapes) {
        Err(PlaceBootstrapsError::Entangled(_)) if fewer.len() < most.len() => {
            optimal_over(func, live, window, &fewer, (avoided, masks), prices, shapes)
        }
        other => other,
    }
}

/// One variable per value, whose states are those of the `domain` that it can have; one cost per
/// value and per use.
fn optimal_over(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
    domain: &[State],
    (avoided, masks): (&BTreeSet<Value>, &BTreeSet<Value>),
    prices: &Prices,
    shapes: &mut CircuitShapes,
) -> Result<Vec<State>, PlaceBootstrapsError> {
    let nowhere = PlaceBootstrapsError::Nowhere { levels: window.top - window.bottom };
    let mut model = Elimination::default();
    // The variable of each value, and the states that its numbers stand for.
    let mut variables: Vec<Option<(usize, Vec<State>)>> = vec![None; func.value_count()];
    // What a value can never be is no number: tables grow with the cube of how many there are.
    let mut variable = |value: Value, seconds: &mut dyn FnMut(State) -> Option<f64>| {
        let of_bootstrap = domain.iter().filter(|state| state.level == window.bottom);
        let of_bootstrap = of_bootstrap.filter(|state| state.refreshed.is_some() && masks.contains(&value));
        let of_bootstrap = of_bootstrap.map(|&state| State { masked: true, ..state });
        let all = domain.iter().copied().chain(of_bootstrap);
        let can_be = all.filter(|state| state.refreshed.is_none() || !avoided.contains(&value));
        let priced = can_be.filter_map(|state| Some((state, seconds(state)?)));
        let (states, seconds): (Vec<State>, Vec<f64>) =
            priced.filter(|(_, seconds)| seconds.is_finite()).unzip();
        let index = model.variable(states.len());
        model.unary(index, |number| seconds[number]);
        variables[value.index()] = Some((index, states));
    };
    for &input in func.inputs().iter().filter(|input| live[input.index()]) {
        variable(input, &mut |state| Some(prices.unary(input, state, 0.0)));
    }
    let mut pairs = Vec::new();
    for data in func.ops().iter().filter(|data| live[data.result.index()]) {
        let (used, lowest) = (levels_used(&data.op) as Level, window.lowest(&data.op));
        let by_level: Vec<Option<f64>> = (0..=window.top)
            .map(|level| {
                level.checked_sub(used).filter(|result| *result >= lowest)?;
                Some(prices.costs.packed_seconds(func, &data.op, level, shapes))
            })
            .collect();
        variable(data.result, &mut |state| {
            if state.masked {
                return Some(prices.unary(data.result, state, 0.0));
            }
            let seconds = by_level.get(usize::from(state.level + used)).copied().flatten()?;
            Some(prices.unary(data.result, state, seconds))
        });
        pairs.extend(distinct(&data.op).into_iter().map(|operand| (operand, data)));
    }
    for (operand, data) in pairs {
        let (Some((a, of_a)), Some((b, of_b))) =
            (&variables[operand.index()], &variables[data.result.index()])
        else {
            continue;
        };
        model.pair(*a, *b, |from, to| {
            let (from, to) = (of_a[from], of_b[to]);
            let level = to.level + to.used(&data.op);
            match (from.reaches(level), to.masked) {
                (false, _) => f64::INFINITY,
                // The price of a bootstrap holds for operands at any level.
                (true, true) => 0.0,
                (true, false) => prices.operand(operand, from, level),
            }
        });
    }
    let (_, values) = model.minimize()?.ok_or(nowhere)?;
    let state = |variable: &Option<(usize, Vec<State>)>| {
        variable.as_ref().map_or(State::default(), |(index, states)| states[values[*index]])
    };
    Ok(variables.iter().map(state).collect())
}

/// Every op as high as its operands are; operands that have too few levels left are refreshed.
fn lazy(func: &Func<Packed>, live: &[bool], window: Window) -> Vec<State> {
    let fresh = State { level: window.top, ..State::default() };
    forward(func, live, window, fresh, |_| false, |_, _| ())
}

/// Every op as high as its operands are, from inputs in the state `input`. Results that are
/// refreshed `always` are read so by all; `lacking` is told of operands that are refreshed because
/// they have too few levels left, with the result they are needed for.
fn forward(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
    input: State,
    always: impl Fn(Value) -> bool,
    mut lacking: impl FnMut(Value, Value),
) -> Vec<State> {
    let mut states = vec![State::default(); func.value_count()];
    func.inputs().iter().for_each(|value| states[value.index()] = input);
    for data in func.ops().iter().filter(|data| live[data.result.index()]) {
        let used = levels_used(&data.op) as Level;
        let available = |state: State| state.refreshed.unwrap_or(state.level);
        let operands = distinct(&data.op);
        for operand in &operands {
            let state = &mut states[operand.index()];
            if available(*state) < used + window.bottom {
                state.refreshed = Some(window.top);
                lacking(*operand, data.result);
            }
        }
        let level = operands.iter().map(|operand| available(states[operand.index()])).min();
        let level = level.unwrap_or(window.top) - used;
        let refreshed = always(data.result).then_some(window.top);
        states[data.result.index()] = State { level, refreshed, masked: false };
    }
    states
}

/// Bootstraps go as high as somebody needs, and no higher; those of values that are always read
/// refreshed to the top.
fn tighten(
    func: &Func<Packed>,
    live: &[bool],
    states: &mut [State],
    rules: &BTreeMap<Value, Rule>,
    window: Window,
) {
    let mut refreshed = vec![None; states.len()];
    for data in func.ops().iter().filter(|data| live[data.result.index()]) {
        let state = states[data.result.index()];
        let level = state.level + state.used(&data.op);
        for operand in data.op.operands() {
            let from = states[operand.index()];
            if level > from.level || from.masked {
                let target: &mut Option<Level> = &mut refreshed[operand.index()];
                *target = Some(level.max(target.unwrap_or(window.bottom + 1)));
            }
        }
    }
    let masked_outputs = func.outputs().iter().filter(|output| states[output.index()].masked);
    for output in masked_outputs {
        refreshed[output.index()].get_or_insert(window.bottom + 1);
    }
    for (value, _) in rules.iter().filter(|(_, rule)| rule.always()) {
        refreshed[value.index()] = Some(window.top);
    }
    states.iter_mut().zip(refreshed).for_each(|(state, target)| state.refreshed = target);
}

fn placement(live: &[bool], states: Vec<State>, rules: BTreeMap<Value, Rule>) -> Placement {
    let level = states.iter().zip(live).map(|(state, live)| live.then_some(state.level)).collect();
    let refreshed = states.iter().map(|state| state.refreshed).collect();
    let masked = states.iter().enumerate().filter(|(index, state)| live[*index] && state.masked);
    let masked = masked.map(|(index, _)| Value::new(index)).collect();
    Placement { level, approximate: None, refreshed, masked, rules }
}

#[cfg(test)]
mod tests;
