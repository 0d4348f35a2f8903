//! Move transposes to where they cost nothing.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | the same function up to rounding, with inputs and outputs of the same shapes; no more elements moved by transposes |
//! | Leaves   | transposes next to inputs and outputs, which `lower` makes free; those that nothing takes in |
//! | Fails    | never, for verified functions |
//! | Method   | every value is stored in an order of its elements, at first its own. An op has orders of operands that fit an order of its result (`needs`); where an operand is in another one, its elements are moved. Every such place suggests an order for what comes before and for what comes after. An order spreads from there along all ops that hand orders on. It is kept if fewer elements are moved then, until nothing gets better |
//! | Tests    | `tests/filetests/nn/move_transposes/`, random networks in `passes/tests/nn_random.rs` |
//!
//! | what | takes in |
//! |---|---|
//! | transpose, reshape | any order that follows its dimensions |
//! | element-wise ops, batch normalisation, softmax, concatenation, slices, pads, means, matrices along dimensions | any order of dimensions: constants are permuted, axes renamed |
//! | convolution, pool | any order of channels: weights are permuted |
//! | dense layer, product of one row with a matrix | any order at all, on both sides |
//! | product of many rows with a matrix | features first: it is a convolution with a window of one pixel |
//! | inputs and outputs | any order: there a transpose is left |

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fhec_ir::{
    entity::Value,
    func::{Func, OpData, StageOp},
    nn::{Nn, Op},
    permutation::Permutation,
};

use crate::{
    error::PassError,
    report::{Passed, Report},
};

mod emit;
mod needs;
pub(crate) mod order;

use needs::{Needs, Product};
use order::same;

const PASS: &str = "move-transposes";
/// Rounds over all ops. Each but the last moves fewer elements than the one before.
const MAX_ROUNDS: usize = 50;

/// Returns the rewritten function; the report counts transposes before and after, and says how many
/// elements they moved.
pub fn move_transposes(func: &Func<Nn>) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new(PASS);
    let mut search = Search::new(func);
    let empty = (0..func.value_count()).any(|value| search.needs.elements(Value::new(value)) == 0);
    if empty || !func.ops().iter().any(|data| search.may_move(data)) {
        return Ok(Passed::new(func.clone(), report));
    }
    let before = search.cost(&search.all_values());
    for _ in 0..MAX_ROUNDS {
        if !search.round() {
            break;
        }
    }
    let after = search.cost(&search.all_values());
    let result = emit::emit(&search.needs, &search.orders).map_err(PassError::malformed(PASS))?;
    let count =
        |func: &Func<Nn>| func.ops().iter().filter(|data| matches!(data.op, Op::Transpose { .. })).count();
    report.summary = format!(
        "{} transposes of {before} elements -> {} of {after} elements, those of inputs and outputs not counted",
        count(func),
        count(&result)
    );
    Ok(Passed::new(result, report))
}

/// The search for an order per value.
struct Search<'f> {
    needs: Needs<'f>,
    /// By value. What makes the value can leave it in this order.
    orders: Vec<Permutation>,
    /// By value: the op that makes it.
    definitions: Vec<Option<usize>>,
    /// By value: the ops that use it.
    users: Vec<Vec<usize>>,
}

/// New orders of some values.
type Move = BTreeMap<Value, Permutation>;

impl<'f> Search<'f> {
    fn new(func: &'f Func<Nn>) -> Self {
        let needs = Needs::new(func);
        let mut users = vec![Vec::new(); func.value_count()];
        for (index, data) in func.ops().iter().enumerate() {
            data.op.operands().iter().for_each(|operand| users[operand.index()].push(index));
        }
        users.iter_mut().for_each(Vec::dedup);
        let orders =
            (0..func.value_count()).map(|value| Permutation::identity(needs.shape(Value::new(value))));
        Search { orders: orders.collect(), definitions: func.definitions(), users, needs }
    }

    fn op(&self, index: usize) -> &'f OpData<Nn> {
        &self.needs.func.ops()[index]
    }

    fn order(&self, value: Value) -> &Permutation {
        &self.orders[value.index()]
    }

    fn all_values(&self) -> BTreeSet<Value> {
        (0..self.orders.len()).map(Value::new).collect()
    }

    /// Whether an op may have something to gain.
    fn may_move(&self, data: &OpData<Nn>) -> bool {
        matches!(data.op, Op::Transpose { .. }) || self.needs.features_first(data).is_some()
    }

    /// The orders that an op wants its operands in, constants left out.
    fn wanted(&self, data: &OpData<Nn>) -> Vec<(Value, Permutation)> {
        let orders = self.needs.operands(data, self.order(data.result), &self.orders);
        let pairs = data.op.operands().into_iter().zip(orders.unwrap_or_default());
        pairs.filter(|(operand, _)| self.needs.constant(*operand).is_none()).collect()
    }

    /// Elements that are moved because of the orders of `values`.
    fn cost(&self, values: &BTreeSet<Value>) -> usize {
        values.iter().map(|&value| self.cost_of(value)).sum()
    }

    fn cost_of(&self, value: Value) -> usize {
        if self.needs.constant(value).is_some() {
            return 0;
        }
        let mut wanted: Vec<Permutation> = Vec::new();
        for &user in &self.users[value.index()] {
            for (operand, order) in self.wanted(self.op(user)) {
                if operand == value && !wanted.contains(&order.normal()) {
                    wanted.push(order.normal());
                }
            }
        }
        let elements = self.needs.elements(value);
        match self.definitions[value.index()] {
            // An input may be in any one order.
            None => elements * wanted.len().saturating_sub(1),
            Some(definition) => {
                let own = self.order(value).normal();
                let moved = wanted.iter().filter(|order| **order != own).count();
                elements * moved + self.cost_of_form(self.op(definition))
            }
        }
    }

    /// A product of many rows with a matrix is lowered as a convolution, and its rows are moved for
    /// that unless they are in order.
    fn cost_of_form(&self, data: &OpData<Nn>) -> usize {
        match data.op {
            Op::MatMul { x, y } if self.needs.product(x, y) == Product::Rows => {
                let shape = self.needs.shape(data.result);
                let parts = order::Parts::of(&self.order(data.result).normal(), shape);
                match parts.is_some_and(|parts| parts.starts_with(shape.len() - 1)) {
                    true => 0,
                    false => self.needs.elements(x) + self.needs.elements(data.result),
                }
            }
            _ => 0,
        }
    }

    /// Tries what every op suggests; whether something was gained.
    fn round(&mut self) -> bool {
        let mut gained = false;
        for index in 0..self.needs.func.ops().len() {
            for (value, order) in self.suggestions(self.op(index)) {
                if same(&order, self.order(value)) {
                    continue;
                }
                let Some(changes) = self.spread(value, order) else { continue };
                gained |= self.try_move(changes);
            }
        }
        gained
    }

    /// Orders that would spare an op's operands being moved.
    fn suggestions(&self, data: &OpData<Nn>) -> Vec<(Value, Permutation)> {
        let mut suggestions = Vec::new();
        for (operand, order) in self.wanted(data) {
            if same(&order, self.order(operand)) {
                continue;
            }
            if let Some(result) = self.needs.result(data, operand, self.order(operand)) {
                suggestions.push((data.result, result));
            }
            suggestions.push((operand, order));
        }
        suggestions.extend(self.needs.features_first(data).map(|order| (data.result, order)));
        suggestions
    }

    /// Whether `value` can be left in `order` by what makes it.
    fn can_be(&self, value: Value, order: &Permutation) -> bool {
        match self.definitions[value.index()] {
            _ if self.needs.constant(value).is_some() => false,
            None => true,
            Some(definition) => self.needs.operands(self.op(definition), order, &self.orders).is_some(),
        }
    }

    /// Whether none of an op's operands is moved.
    fn is_satisfied(&self, data: &OpData<Nn>) -> bool {
        self.wanted(data).iter().all(|(operand, order)| same(order, self.order(*operand)))
    }

    /// The order of `value`, and of all that takes it over along ops that move nothing now.
    fn spread(&self, value: Value, order: Permutation) -> Option<Move> {
        if !self.can_be(value, &order) {
            return None;
        }
        let mut changes = Move::from([(value, order)]);
        let mut queue = VecDeque::from([value]);
        while let Some(value) = queue.pop_front() {
            let order = changes[&value].clone();
            let mut next: Vec<(Value, Permutation)> = Vec::new();
            for data in self.users[value.index()].iter().map(|&user| self.op(user)) {
                let result = self.needs.result(data, value, &order).filter(|_| self.is_satisfied(data));
                next.extend(result.map(|order| (data.result, order)));
            }
            let made = self.definitions[value.index()].map(|definition| self.op(definition));
            if let Some(data) = made.filter(|data| self.is_satisfied(data)) {
                let orders = self.needs.operands(data, &order, &self.orders).unwrap_or_default();
                next.extend(data.op.operands().into_iter().zip(orders));
            }
            for (value, order) in next {
                let known = changes.contains_key(&value) || same(&order, self.order(value));
                if !known && self.can_be(value, &order) {
                    changes.insert(value, order);
                    queue.push_back(value);
                }
            }
        }
        Some(changes)
    }

    /// Makes a move if fewer elements are moved then.
    fn try_move(&mut self, changes: Move) -> bool {
        let mut touched: BTreeSet<Value> = changes.keys().copied().collect();
        for value in changes.keys() {
            if let Some(definition) = self.definitions[value.index()] {
                touched.extend(self.op(definition).op.operands());
            }
        }
        let before = self.cost(&touched);
        let mut old = Move::new();
        for (value, order) in changes {
            old.insert(value, std::mem::replace(&mut self.orders[value.index()], order));
        }
        if self.cost(&touched) < before {
            return true;
        }
        old.into_iter().for_each(|(value, order)| self.orders[value.index()] = order);
        false
    }
}
