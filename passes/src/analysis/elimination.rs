//! The least sum of costs of few variables each, exactly, by eliminating one variable after the
//! other.
//!
//! Variables have finite domains; a cost depends on a few of them. Eliminating a variable replaces
//! all costs it occurs in by one cost of its neighbours, the least over its values (dynamic
//! programming over a tree decomposition; Dechter, *Bucket elimination*, 1999). In a chain that is
//! the shortest path; where paths fork and meet again, the inner ones go first and each becomes one
//! cost of its ends. What counts is how many neighbours a variable has at most when its turn comes:
//! one in chains, two in series-parallel graphs, hardly more in networks.
//!
//! This is no algorithm of a graph library: costs are tables over several variables, an eliminated
//! variable makes new ones, and which costs hang together changes with every step. The graph of
//! variables is never walked; only the neighbours of one variable are asked for.

use std::collections::BTreeSet;

use thiserror::Error;

/// Largest table of one cost.
const MAX_TABLE: usize = 1 << 23;

/// Most combinations of values that are looked at, over all variables: about a second.
const MAX_WORK: usize = 1 << 29;

/// The variables hang together so closely that a table would be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{variables} values depend on each other at once")]
pub struct TooEntangled {
    /// How many variables one table would have.
    pub variables: usize,
}

/// Costs of several variables; infinite costs forbid.
#[derive(Clone, Debug)]
struct Cost {
    /// Ascending.
    scope: Vec<usize>,
    /// The last variable of the scope counts fastest.
    table: Vec<f64>,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Elimination {
    domains: Vec<usize>,
    costs: Vec<Cost>,
}

/// What an eliminated variable is, given its neighbours.
struct Eliminated {
    variable: usize,
    scope: Vec<usize>,
    best: Vec<u32>,
}

impl Elimination {
    /// A variable with values `0..domain`; its number.
    pub fn variable(&mut self, domain: usize) -> usize {
        self.domains.push(domain);
        self.domains.len() - 1
    }

    /// Adds a cost of one variable.
    pub fn unary(&mut self, variable: usize, cost: impl FnMut(usize) -> f64) {
        let table = (0..self.domains[variable]).map(cost).collect();
        self.costs.push(Cost { scope: vec![variable], table });
    }

    /// Adds a cost of two different variables.
    pub fn pair(&mut self, a: usize, b: usize, mut cost: impl FnMut(usize, usize) -> f64) {
        assert_ne!(a, b, "a cost of two variables");
        let (low, high) = (a.min(b), a.max(b));
        let mut table = Vec::with_capacity(self.domains[low] * self.domains[high]);
        for x in 0..self.domains[low] {
            table.extend((0..self.domains[high]).map(|y| if a < b { cost(x, y) } else { cost(y, x) }));
        }
        self.costs.push(Cost { scope: vec![low, high], table });
    }

    /// The least sum and values that have it; `None` if every choice is forbidden. Of equally good
    /// values the smallest is taken, so the result is the same every time.
    pub fn minimize(mut self) -> Result<Option<(f64, Vec<usize>)>, TooEntangled> {
        let turns = self.turns()?;
        if self.domains.contains(&0) {
            return Ok(None);
        }
        let (mut order, mut total) = (Vec::new(), 0.0);
        for (variable, scope) in turns {
            let (eliminated, cost) = self.eliminate(variable, scope);
            match cost.scope.is_empty() {
                true => total += cost.table[0],
                false => self.costs.push(cost),
            }
            order.push(eliminated);
        }
        if total.is_infinite() {
            return Ok(None);
        }
        let mut values = vec![0; self.domains.len()];
        for Eliminated { variable, scope, best } in order.iter().rev() {
            let place = scope.iter().fold(0, |place, &v| place * self.domains[v] + values[v]);
            values[*variable] = best[place] as usize;
        }
        Ok(Some((total, values)))
    }

    /// The variables in the order in which they are eliminated, each with its neighbours then,
    /// those with few first: known from who neighbours whom, before any table is made.
    ///
    /// # Errors
    /// If tables would be too large, or all of them too much work.
    fn turns(&self) -> Result<Vec<(usize, Vec<usize>)>, TooEntangled> {
        let mut rest: Vec<usize> = (0..self.domains.len()).collect();
        let mut neighbours = vec![BTreeSet::new(); rest.len()];
        for (&a, &b) in
            self.costs.iter().flat_map(|c| c.scope.iter().flat_map(|a| c.scope.iter().map(move |b| (a, b))))
        {
            if a != b {
                neighbours[a].insert(b);
            }
        }
        let (mut turns, mut work, mut most) = (Vec::with_capacity(rest.len()), 0usize, 0);
        while let Some((_, index)) = rest.iter().enumerate().map(|(i, &v)| (neighbours[v].len(), i)).min() {
            let variable = rest.remove(index);
            let scope = std::mem::take(&mut neighbours[variable]);
            most = most.max(scope.len() + 1);
            let size = scope.iter().try_fold(1usize, |size, &v| size.checked_mul(self.domains[v]));
            let too_entangled = TooEntangled { variables: most };
            let size = size.filter(|&size| size <= MAX_TABLE).ok_or(too_entangled)?;
            work = work.saturating_add(size.saturating_mul(self.domains[variable]));
            if work > MAX_WORK {
                return Err(too_entangled);
            }
            for &a in &scope {
                neighbours[a].remove(&variable);
                neighbours[a].extend(scope.iter().filter(|&&b| b != a));
            }
            turns.push((variable, scope.into_iter().collect()));
        }
        Ok(turns)
    }

    /// Replaces all costs of `variable` by one of its neighbours, which are `scope`.
    fn eliminate(&mut self, variable: usize, scope: Vec<usize>) -> (Eliminated, Cost) {
        let size = scope.iter().map(|&v| self.domains[v]).product();
        let (with, without) =
            std::mem::take(&mut self.costs).into_iter().partition(|cost| cost.scope.contains(&variable));
        self.costs = without;
        let with: Vec<Cost> = with;
        let own = self.domains[variable];
        // Tables in which the variable counts fastest, so that a row has all its values; what
        // depends on the last variable of the scope is added for each value of that one.
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for cost in &with {
            let rows = self.rows(cost, variable, &scope);
            let is_inner = scope.last().is_some_and(|last| cost.scope.contains(last));
            if is_inner { inner.push(rows) } else { outer.push(rows) }
        }
        let domains: Vec<usize> = scope.iter().map(|&v| self.domains[v]).collect();
        let (table, best) = pulp::Arch::new().dispatch(Minima { domains, own, size, inner, outer });
        (Eliminated { variable, scope: scope.clone(), best }, Cost { scope, table })
    }

    /// A cost as rows over `variable`, found by the values of the variables of `scope`.
    fn rows(&self, cost: &Cost, variable: usize, scope: &[usize]) -> Rows {
        let stride = |scope: &[usize], v: usize| {
            let Some(position) = scope.iter().position(|&s| s == v) else { return 0 };
            scope[position + 1..].iter().map(|&s| self.domains[s]).product::<usize>()
        };
        let others: Vec<usize> = cost.scope.iter().copied().filter(|&v| v != variable).collect();
        let (own, own_stride) = (self.domains[variable], stride(&cost.scope, variable));
        let mut table = Vec::with_capacity(cost.table.len());
        for row in 0..cost.table.len() / own {
            let mut start = 0;
            for &v in &others {
                start += row / stride(&others, v) % self.domains[v] * stride(&cost.scope, v);
            }
            table.extend((0..own).map(|x| cost.table[start + x * own_stride]));
        }
        Rows { table, strides: scope.iter().map(|&v| stride(&others, v)).collect() }
    }
}

/// The least sum over all values of a variable for each choice of its neighbours, and the smallest
/// value that has it; in vectors as wide as the machine has.
struct Minima {
    /// Of the neighbours; the last counts fastest.
    domains: Vec<usize>,
    /// Of the variable.
    own: usize,
    /// Choices of all neighbours.
    size: usize,
    /// Costs that depend on the last neighbour, and those that do not.
    inner: Vec<Rows>,
    outer: Vec<Rows>,
}

impl pulp::NullaryFnOnce for Minima {
    type Output = (Vec<f64>, Vec<u32>);

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Minima { domains, own, size, inner, outer } = self;
        let last = domains.last().copied().unwrap_or(1);
        let (mut table, mut best) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let mut values = vec![0usize; domains.len()];
        let (mut common, mut sums) = (vec![0.0; own], vec![0.0; own]);
        for _ in 0..size / last {
            common.fill(0.0);
            for rows in &outer {
                add(&mut common, rows.at(&values, own));
            }
            for _ in 0..last {
                sums.copy_from_slice(&common);
                for rows in &inner {
                    add(&mut sums, rows.at(&values, own));
                }
                let least = least(&sums);
                table.push(least);
                best.push(sums.iter().position(|&sum| sum == least).unwrap_or(0) as u32);
                if let Some(value) = values.last_mut() {
                    *value += 1;
                }
            }
            // Carry over to the variables before the last.
            for position in (1..domains.len()).rev() {
                if values[position] == domains[position] {
                    values[position] = 0;
                    values[position - 1] += 1;
                }
            }
        }
        (table, best)
    }
}

/// A cost with one row of all values of a variable for each choice of the others.
struct Rows {
    table: Vec<f64>,
    /// Rows from one value of each variable of a scope to the next; 0 where the cost does not
    /// depend on it.
    strides: Vec<usize>,
}

impl Rows {
    /// The row of `length` for these values of the scope.
    #[inline(always)]
    fn at(&self, values: &[usize], length: usize) -> &[f64] {
        let row: usize = values.iter().zip(&self.strides).map(|(value, stride)| value * stride).sum();
        &self.table[row * length..][..length]
    }
}

#[inline(always)]
fn add(sums: &mut [f64], row: &[f64]) {
    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
}

/// The least of some numbers, of which none is NaN; infinity of none.
#[inline(always)]
fn least(numbers: &[f64]) -> f64 {
    /// Minima that do not wait for each other.
    const LANES: usize = 8;
    let mut lanes = [f64::INFINITY; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x < *lane { x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f64::INFINITY, |least, &x| if x < least { x } else { least })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All combinations, the definition of a minimum.
    fn brute_force(model: &Elimination) -> f64 {
        let count: usize = model.domains.iter().product();
        let value = |mut index: usize| {
            let mut values = vec![0; model.domains.len()];
            for (value, domain) in values.iter_mut().zip(&model.domains) {
                *value = index % domain;
                index /= domain;
            }
            let of = |cost: &Cost| {
                cost.table[cost.scope.iter().fold(0, |place, &v| place * model.domains[v] + values[v])]
            };
            model.costs.iter().map(of).sum::<f64>()
        };
        (0..count).map(value).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn random_graphs_match_all_combinations() {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..60 {
            let mut model = Elimination::default();
            let count = 3 + next(4) as usize;
            for _ in 0..count {
                let domain = 2 + next(3) as usize;
                let variable = model.variable(domain);
                let costs: Vec<f64> = (0..domain).map(|_| next(50) as f64).collect();
                model.unary(variable, |x| costs[x]);
            }
            for _ in 0..count + next(3) as usize {
                let (a, b) = (next(count as u64) as usize, next(count as u64) as usize);
                if a != b {
                    let salt = next(1000) as usize;
                    let forbid = next(5);
                    model.pair(a, b, |x, y| match (x * 31 + y * 17 + salt) % 23 {
                        r if (r as u64) < forbid => f64::INFINITY,
                        r => r as f64,
                    });
                }
            }
            let expected = brute_force(&model);
            match model.clone().minimize().unwrap() {
                None => assert!(expected.is_infinite()),
                Some((total, values)) => {
                    assert!((total - expected).abs() < 1e-9);
                    let of = |cost: &Cost| {
                        let scope = cost.scope.iter();
                        cost.table[scope.fold(0, |place, &v| place * model.domains[v] + values[v])]
                    };
                    let sum: f64 = model.costs.iter().map(of).sum();
                    assert!((sum - expected).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn a_knot_is_refused_and_a_contradiction_found() {
        let mut knot = Elimination::default();
        let variables: Vec<usize> = (0..8).map(|_| knot.variable(40)).collect();
        for (i, &a) in variables.iter().enumerate() {
            for &b in &variables[..i] {
                knot.pair(a, b, |x, y| (x + y) as f64);
            }
        }
        assert!(matches!(knot.minimize(), Err(TooEntangled { .. })));
        let mut none = Elimination::default();
        let (x, y) = (none.variable(0), none.variable(3));
        none.pair(x, y, |_, _| 0.0);
        assert_eq!(none.minimize(), Ok(None));
        let mut never = Elimination::default();
        let x = never.variable(3);
        never.unary(x, |_| f64::INFINITY);
        assert_eq!(never.minimize(), Ok(None));
    }
}
