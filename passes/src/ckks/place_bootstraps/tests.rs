use super::*;
use crate::analysis::cost::CostTable;
use crate::bootstrap::sets::{BootstrapSet, Recipe, recipe};
use fhec_ir::text::{ConstSource, parse_func};

/// The set `n15-128` with `levels` levels between bootstraps, security aside.
fn set(levels: u32) -> BootstrapSet {
    let recipe = Recipe { application_levels: levels, security_bits: 98, ..recipe("n15-98").unwrap() };
    recipe.build().unwrap()
}

fn parse(body: &str) -> Func<Packed> {
    parse_func(&format!("func packed test {{ {body} }}"), &ConstSource::default()).unwrap()
}

/// A polynomial that uses `depth` levels.
fn polynomial(depth: u32) -> String {
    let zeros = vec!["0.0"; (1 << (depth - 1)) as usize].join(", ");
    format!("{{polynomial={{domain=[-1.0, 1.0], chebyshev=[{zeros}, 1.0]}}}}")
}

/// Every state of every value, the definition; `avoided` are not refreshed.
fn brute_force(func: &Func<Packed>, set: &BootstrapSet, avoided: &BTreeSet<Value>, costs: &OpCosts) -> f64 {
    let window = Window { bottom: set.bootstrap.input_level(), top: set.bootstrap.output_level };
    let mut shapes = CircuitShapes::default();
    let (prices, live) = (Prices::new(func, costs, &set.bootstrap, &mut shapes), live(func));
    let masks = maskable(func, &live, &set.bootstrap);
    let domain = |value: usize| -> Vec<State> {
        let states = window.states(MOST_STATES[0]);
        let masked = states.iter().map(|&state| State { masked: true, ..state });
        let masked = masked.filter(|_| masks.contains(&Value::new(value)));
        states.iter().copied().chain(masked).collect()
    };
    let domains: Vec<Vec<State>> = (0..func.value_count()).map(domain).collect();
    let mut best = f64::INFINITY;
    'states: for index in 0..domains.iter().map(Vec::len).product() {
        let mut rest = index;
        let state = |domain: &Vec<State>| {
            let state = domain[rest % domain.len()];
            rest /= domain.len();
            state
        };
        let states: Vec<State> = domains.iter().map(state).collect();
        // What is left to a bootstrap is at the level where that starts.
        let left = |state: &State| state.refreshed.is_some() && state.level == window.bottom;
        if states.iter().any(|state| state.masked && !left(state)) {
            continue;
        }
        if avoided.iter().any(|value| states[value.index()].refreshed.is_some()) {
            continue;
        }
        for data in func.ops() {
            let state = states[data.result.index()];
            let level = state.level + state.used(&data.op);
            let reach = |value: &Value| states[value.index()].reaches(level);
            if level > window.top
                || !state.masked && state.level < window.lowest(&data.op)
                || !data.op.operands().iter().all(reach)
            {
                continue 'states;
            }
        }
        best = best.min(prices.of_placement(&live, &states, &mut shapes));
    }
    best
}

#[test]
fn optimal_matches_all_placements_of_small_graphs() {
    let set = set(2);
    let table = CostTable::default();
    let costs = OpCosts::new(&set.params, &table);
    let [two, one] = [2, 1].map(polynomial);
    let chain = format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {two} %2 = polynomial(%1) {one} %3 = polynomial(%2) {two} return %3"
    );
    let residual = format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {two} %2 = polynomial(%1) {two} %3 = add(%1, %2) return %3"
    );
    let product = format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {two} %2 = mul(%0, %1) %3 = mul_scalar(%2) {{factor=0.5}} return %3"
    );
    let crossed = format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {one} %2 = mul(%0, %1) %3 = sub(%2, %1) return %3"
    );
    // One mask that a bootstrap can do, and one that is no mask.
    let mask = |value: f64| {
        let layout = "{shape=[1, 112, 112], gap=1, multiplex=1, plane=[128, 128], period=16384, slots=16384}";
        format!(
            "const @0 : f32[1] = [{value:?}] input %0 : vec<1, 16384> %1 = polynomial(%0) {one}
             %2 = mul_plain(%1) {{plain={{values=@0, layout={layout}}}}} %3 = polynomial(%2) {two} return %3"
        )
    };
    for (body, masked) in [(mask(1.0), 1), (mask(0.5), 0)] {
        let func = parse(&body);
        let placed = place_bootstraps(
            &func,
            &set.bootstrap,
            BootstrapPlacement::Optimal,
            &costs,
            &mut CircuitShapes::default(),
        );
        assert_eq!(placed.unwrap().0.masked.len(), masked);
    }
    for body in [chain, residual, product, crossed, mask(1.0), mask(0.5)] {
        let func = parse(&body);
        let mut shapes = CircuitShapes::default();
        let placed =
            place_bootstraps(&func, &set.bootstrap, BootstrapPlacement::Optimal, &costs, &mut shapes)
                .unwrap();
        let expected = brute_force(&func, &set, &BTreeSet::new(), &costs);
        assert!((placed.1 / expected - 1.0).abs() < 1e-9, "{body}: {} against {expected}", placed.1);
        let lazy =
            place_bootstraps(&func, &set.bootstrap, BootstrapPlacement::Lazy, &costs, &mut shapes).unwrap();
        assert!(lazy.1 >= placed.1 * (1.0 - 1e-9) && lazy.1.is_finite());
        // What bounds an approximate placement is below the least, and the best lazy one above it.
        let window = Window { bottom: set.bootstrap.input_level(), top: set.bootstrap.output_level };
        let prices = Prices::new(&func, &costs, &set.bootstrap, &mut shapes);
        let live = live(&func);
        let masks = maskable(&func, &live, &set.bootstrap);
        let least = least_seconds(&func, &live, window, &masks, &prices, &mut shapes);
        assert!(least > 0.0 && least <= expected * (1.0 + 1e-9), "{body}: {least} against {expected}");
        let (_, best) = best_lazy(&func, &live, window, &prices, &mut shapes);
        assert!((expected * (1.0 - 1e-9)..=lazy.1 * (1.0 + 1e-9)).contains(&best), "{body}: {best}");
        for value in func.inputs().iter().copied().chain(func.ops().iter().map(|data| data.result)) {
            let avoided = BTreeSet::from([value]);
            let expected = brute_force(&func, &set, &avoided, &costs);
            let found = place_bootstraps_without(&func, &set.bootstrap, &avoided, &costs, &mut shapes);
            match found {
                None => assert!(expected.is_infinite(), "{body} without {value}: {expected}"),
                Some((placement, seconds)) => {
                    assert!((seconds / expected - 1.0).abs() < 1e-9, "{body} without {value}: {seconds}");
                    assert!(placement.refreshed[value.index()].is_none());
                    assert_eq!(placement.refresh_order(&func).len(), placement.bootstraps());
                }
            }
        }
    }
}

#[test]
fn a_value_that_two_branches_need_is_refreshed_once() {
    let set = set(3);
    let table = CostTable::default();
    let costs = OpCosts::new(&set.params, &table);
    let three = polynomial(3);
    let func = parse(&format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {three} %2 = polynomial(%1) {three} %3 = polynomial(%1) {three} %4 = add(%2, %3) return %4"
    ));
    let mut shapes = CircuitShapes::default();
    let (placement, _) =
        place_bootstraps(&func, &set.bootstrap, BootstrapPlacement::Optimal, &costs, &mut shapes).unwrap();
    assert_eq!(placement.bootstraps(), 1);
    assert!(placement.refreshed[1].is_some());
}

#[test]
fn an_op_deeper_than_the_window_is_named() {
    let set = set(3);
    let table = CostTable::default();
    let costs = OpCosts::new(&set.params, &table);
    let func = parse(&format!("input %0 : vec<1, 16384> %1 = polynomial(%0) {} return %1", polynomial(4)));
    for method in [BootstrapPlacement::Optimal, BootstrapPlacement::Lazy] {
        let error = place_bootstraps(&func, &set.bootstrap, method, &costs, &mut CircuitShapes::default());
        assert_eq!(
            error.unwrap_err(),
            PlaceBootstrapsError::TooDeep { op: "polynomial", value: "%1".into(), needed: 4, levels: 3 }
        );
    }
}

/// A bootstrap goes as high as is needed and is paid for as high as it goes.
#[test]
fn lower_bootstraps_cost_less() {
    let set = set(6);
    let table = CostTable::default();
    let costs = OpCosts::new(&set.params, &table);
    let (bottom, top) = (set.bootstrap.input_level(), set.bootstrap.output_level);
    let prices = costs.bootstraps(&set.bootstrap, &mut CircuitShapes::default());
    for level in bottom..top {
        let (lower, higher) = (prices[usize::from(level)], prices[usize::from(level) + 1]);
        assert!(lower.single < higher.single && lower.pair < higher.pair, "level {level}");
    }
    // Below the operand's level nothing more can be left out, and there is a level drop.
    assert!(prices[0].single > prices[usize::from(bottom)].single);
    let func = parse(&format!(
        "input %0 : vec<1, 16384>
         %1 = polynomial(%0) {} %2 = polynomial(%1) {} return %2",
        polynomial(5),
        polynomial(3)
    ));
    for method in [BootstrapPlacement::Optimal, BootstrapPlacement::Lazy] {
        let (placement, seconds) =
            place_bootstraps(&func, &set.bootstrap, method, &costs, &mut CircuitShapes::default()).unwrap();
        let target = placement.refreshed[1].expect("eight levels do not fit into six");
        let needed = placement.level[2].unwrap() + 3;
        assert_eq!(target, needed, "{method:?}");
        assert!(seconds > prices[usize::from(target)].single);
        if method == BootstrapPlacement::Optimal {
            assert_eq!(target, bottom + 3);
        }
    }
}

/// Nine values that are all needed at once: too many for a table of their states.
#[test]
fn what_is_too_entangled_is_placed_within_a_bound() {
    let set = set(3);
    let table = CostTable::default();
    let costs = OpCosts::new(&set.params, &table);
    let three = polynomial(3);
    let mut body = "input %0 : vec<1, 16384> ".to_string();
    let branches: Vec<usize> = (1..=16).collect();
    for value in &branches {
        body += &format!("%{value} = polynomial(%0) {three} ");
    }
    let mut next = branches.len() + 1;
    let mut results = Vec::new();
    for (index, x) in branches.iter().enumerate() {
        for y in &branches[index + 1..] {
            body += &format!("%{next} = mul(%{x}, %{y}) ");
            results.push(format!("%{next}"));
            next += 1;
        }
    }
    let func = parse(&format!("{body} return {}", results.join(", ")));
    let mut shapes = CircuitShapes::default();
    let (placement, seconds) =
        place_bootstraps(&func, &set.bootstrap, BootstrapPlacement::Optimal, &costs, &mut shapes).unwrap();
    let approximate = placement.approximate.clone().expect("no table holds the states of sixteen values");
    assert!(approximate.bound >= 1.0 && approximate.bound < 100.0, "{}", approximate.bound);
    assert!(seconds.is_finite());
    for data in func.ops() {
        let made = placement.level[data.result.index()].unwrap();
        let level = made + levels_used(&data.op) as Level;
        for operand in data.op.operands() {
            let state = State {
                level: placement.level[operand.index()].unwrap(),
                refreshed: placement.refreshed[operand.index()],
                masked: placement.masked.contains(&operand),
            };
            assert!(state.reaches(level), "{operand} of {}", data.result);
        }
    }
}
