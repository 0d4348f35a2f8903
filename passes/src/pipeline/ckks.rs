//! The passes that give slot vectors levels, scales, keys and an order, under given parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::fact::GENERIC_KEYS;
use fhec_ir::func::Func;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;

use super::runner::{After, Runner};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::CostTable;
use crate::analysis::op_cost::OpCosts;
use crate::ckks::absorb_sines::absorb_sines;
use crate::ckks::lower_packed::{Lowered, lower_packed};
use crate::ckks::place_bootstraps::{BootstrapPlacement, place_bootstraps};
use crate::ckks::place_relinearizations::place_relinearizations;
use crate::ckks::place_rescales::place_rescales;
use crate::ckks::placement::{Approximate, Placement};
use crate::ckks::schedule::schedule;
use crate::ckks::select_rotation_keys::{KeyBudget, select_rotation_keys};
use crate::error::PassError;
use crate::estimate::estimate;
use crate::report::{Passed, Report};

/// Parameters to compile for.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Ring and chain.
    pub params: Params,
    /// Of all slots; `None` for a chain that holds the whole program.
    pub bootstrap: Option<BootstrapParams>,
    /// Where bootstraps are, with the predicted seconds of the program, if they were placed for
    /// these parameters, this program, these prices and this method.
    pub placed: Option<(Placement, f64)>,
}

/// Options of [`run_ckks`].
#[derive(Clone, Copy, Debug)]
pub struct CkksOptions<'a> {
    /// How bootstraps are placed.
    pub bootstrap_placement: BootstrapPlacement,
    /// Bytes that evaluating may take; `None` for any number.
    pub ram: Option<u64>,
    /// Keys that follow from the ring alone, so that they tell nothing of the layers.
    pub generic_keys: bool,
    /// Prices.
    pub costs: &'a CostTable,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
}

/// What the passes on ciphertexts leave.
#[derive(Clone, Debug)]
pub struct CkksResult {
    /// The scheduled program.
    pub func: Arc<Func<Ckks>>,
    /// How its bootstraps were placed; `None` for a chain that holds the whole program.
    pub placed: Option<PlacedBootstraps>,
    /// One per pass, in order.
    pub reports: Vec<Report>,
}

/// The placement of a program's bootstraps.
#[derive(Clone, Debug)]
pub struct PlacedBootstraps {
    /// The bootstrap.
    pub bootstrap: BootstrapParams,
    /// Where the values of the packed program are.
    pub placement: Placement,
    /// Predicted seconds of the packed program so placed.
    pub seconds: f64,
    /// The `bootstrap` ops of the scheduled program, each with the value of the packed program that
    /// it refreshes, in order.
    pub sites: Vec<(usize, Value)>,
}

/// Takes slot vectors to a scheduled program. `after` is shown what each pass left.
///
/// # Errors
/// Those of the passes, [`PassError::Keys`] among them if `options.ram` is too little;
/// [`PassError::Verify`] if one broke the program.
pub fn run_ckks<'a>(
    packed: &Func<Packed>,
    candidate: &Candidate,
    options: CkksOptions<'_>,
    shapes: &mut CircuitShapes,
    after: &'a mut After<'a>,
) -> Result<CkksResult, PassError> {
    let Candidate { params, bootstrap, placed } = candidate;
    let costs = OpCosts::new(params, options.costs).with_bootstraps(bootstrap.as_slice(), shapes);
    let mut runner = Runner::new(options.verify_each, after);
    let (placement, seconds) = match bootstrap {
        None => (Placement::without_bootstraps(packed), 0.0),
        Some(bootstrap) => runner.analysis(packed, |packed| {
            let method = options.bootstrap_placement;
            let (placement, seconds) = match placed {
                Some(placed) => placed.clone(),
                None => place_bootstraps(packed, bootstrap, method, &costs, shapes)?,
            };
            let words = format!("{} values refreshed, {seconds:.2} s predicted", placement.bootstraps());
            let mut report = Report::of("place_bootstraps", words);
            if let Some(Approximate { reason, bound }) = &placement.approximate {
                report.note(format!(
                    "bootstraps are not placed optimally: {reason}; they are where levels run out, which takes at most {bound:.1} times the least time"
                ));
            }
            Ok(((placement, seconds), report))
        })?,
    };
    let mut sites = Sites::default();
    let func = runner.pass(packed, |packed| {
        let Lowered { mut func, refreshed } =
            lower_packed(packed, &placement, params, options.costs, shapes)?;
        // A program that refreshes nothing holds no bootstrap, and asks for none of its keys.
        if let Some(bootstrap) = bootstrap.as_ref().filter(|_| placement.bootstraps() > 0) {
            BootstrapParams::set_in_program(&mut func, &vec![bootstrap.clone()]);
        }
        if options.generic_keys {
            func.set_fact(GENERIC_KEYS, &Some(true));
        }
        sites = Sites(refreshed);
        let words = format!("{} levels", params.top_level());
        Ok(Passed::new(func, Report::of("lower_packed", words)))
    })?;

    let (func, values) = runner.followed(&func, |func| absorb_sines(func, params, shapes))?;
    sites.follow(&values);
    let swap_pays = |level| {
        costs.rescale(level, 3) + costs.key_switch(level - 1)
            < costs.key_switch(level) + costs.rescale(level, 2)
    };
    let (func, values) = runner.followed(&func, |func| place_relinearizations(func, swap_pays))?;
    sites.follow(&values);
    let (func, values) = runner.followed(&func, place_rescales)?;
    sites.follow(&values);
    let (func, values) = runner.followed(&func, |func| {
        let budget = key_budget(func, params, options, shapes)?;
        Ok(select_rotation_keys(func, params, budget, options.costs, shapes)?.0)
    })?;
    sites.follow(&values);
    let (func, values) = runner.followed(&func, |func| schedule(func, &costs, shapes))?;
    sites.follow(&values);

    let sites = sites.ops(&func)?;
    let placed = bootstrap.clone().map(|bootstrap| PlacedBootstraps { bootstrap, placement, seconds, sites });
    Ok(CkksResult { func, placed, reports: runner.finish() })
}

/// What the memory leaves for keys.
fn key_budget(
    func: &Func<Ckks>,
    params: &Params,
    options: CkksOptions<'_>,
    shapes: &mut CircuitShapes,
) -> Result<KeyBudget, PassError> {
    let Some(ram) = options.ram else { return Ok(KeyBudget::default()) };
    let without = estimate(func, params, options.costs, Some(0), shapes)?;
    let other = without.peak_bytes - without.key_bytes;
    Ok(KeyBudget { bytes: Some(ram.saturating_sub(other)), other })
}

/// The result of each bootstrap by the value of the packed program that it refreshes. Passes rename
/// and reorder; [`Sites::follow`] goes along.
#[derive(Clone, Debug, Default)]
struct Sites(BTreeMap<Value, Value>);

impl Sites {
    /// After a pass: `values` says what its values are now
    /// ([`Passed::values`](super::Passed::values)).
    fn follow(&mut self, values: &BTreeMap<Value, Value>) {
        let now = |(&refreshed, result): (&Value, &Value)| Some((refreshed, *values.get(result)?));
        self.0 = self.0.iter().filter_map(now).collect();
    }

    /// Every `bootstrap` op of `func`, in order, with the packed value that it refreshes.
    fn ops(&self, func: &Func<Ckks>) -> Result<Vec<(usize, Value)>, PassError> {
        let refreshed: BTreeMap<Value, Value> =
            self.0.iter().map(|(&value, &result)| (result, value)).collect();
        let bootstraps = func.ops().iter().enumerate();
        let bootstraps = bootstraps.filter(|(_, data)| matches!(data.op, Op::Bootstrap { .. }));
        let site = |(op, data): (usize, &fhec_ir::func::OpData<Ckks>)| match refreshed.get(&data.result) {
            Some(&value) => Ok((op, value)),
            None => {
                let message = format!("nobody knows what bootstrap {} refreshes", data.result);
                Err(PassError::Malformed { pass: "schedule", message })
            }
        };
        bootstraps.map(site).collect()
    }
}

#[cfg(test)]
mod tests {
    use fhec_ir::ckks::CiphertextType;
    use fhec_ir::func::Rewriter;

    use super::*;

    /// A function of two bootstraps, and their results.
    fn bootstraps() -> (Func<Ckks>, [Value; 2]) {
        let mut func = Func::new("test");
        let ty = CiphertextType::canonical(1, 16, 3);
        let x = func.add_input(ty, None);
        let results = [3, 2].map(|level| {
            func.push_typed(
                Op::Bootstrap { x, level, sine: None, mask: None },
                CiphertextType::canonical(1, 16, level),
                None,
            )
        });
        func.set_outputs(results.to_vec());
        (func, results)
    }

    #[test]
    fn a_bootstrap_is_known_wherever_passes_put_it() {
        let (func, [first, second]) = bootstraps();
        let [a, b] = [Value::new(70), Value::new(4)];
        let mut sites = Sites(BTreeMap::from([(a, first), (b, second)]));
        assert_eq!(sites.ops(&func), Ok(vec![(0, a), (1, b)]));
        // A pass that turns the order around, so that ids change, too.
        let mut rewriter = Rewriter::same_stage(&func);
        for data in func.ops().iter().rev() {
            rewriter.copy(&func, data).unwrap();
        }
        let (turned, values) = rewriter.finish_with_values(&func);
        sites.follow(&values);
        assert_eq!(sites.ops(&turned), Ok(vec![(0, b), (1, a)]));
    }

    #[test]
    fn a_bootstrap_that_a_pass_loses_is_an_error() {
        let (func, [first, second]) = bootstraps();
        let mut sites = Sites(BTreeMap::from([(Value::new(0), first), (Value::new(1), second)]));
        sites.follow(&BTreeMap::from([(first, first)]));
        assert!(matches!(sites.ops(&func), Err(PassError::Malformed { .. })));
    }
}
