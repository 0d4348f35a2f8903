//! packed to ckks: every value gets a level and a scale.
//!
//! | | |
//! |---|---|
//! | Stage    | packed → ckks |
//! | Requires | polynomials over `[-1, 1]`; a [`Placement`] within the chain's levels; no unused ops |
//! | Ensures  | every value is at its placement's level, refreshed at most once; outputs are at level 0; the program verifies |
//! | Leaves   | rescale and relinearise right after each product; baby steps cheapest one by one |
//! | Fails    | [`LowerPackedError`] |
//! | Method   | levels are those of the placement ([`super::placement`], [`super::place_bootstraps`]); inputs arrive at theirs; [`super::match_scales`] |
//! | Tests    | `tests/filetests/ckks/lower_packed/` |

use std::collections::BTreeMap;

use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, Rewriter, StageOp};
use fhec_ir::packed::{self, Packed};
use fhec_ir::params::Params;
use fhec_ir::scale::Level;
use fhec_ir::slot_mask::SlotMask;
use thiserror::Error;

use super::match_scales::Matcher;
use super::placement::{Placement, slot_mask};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::CostTable;
use crate::analysis::linear_cost::cheapest_of;
use crate::analysis::op_cost::OpCosts;

/// Why a packed program has no ckks form under the given parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum LowerPackedError {
    #[error("the program needs {depth} levels, the parameters have {levels}")]
    Depth { depth: u32, levels: u32 },
    #[error("the program uses {found} slots, the parameters have {slots}")]
    Slots { found: usize, slots: usize },
    #[error("{op} (result {value}): {reason}")]
    Op { op: String, value: String, reason: String },
}

/// What [`lower_packed`] leaves.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The program.
    pub func: Func<Ckks>,
    /// By value of the packed program that is refreshed: the result of its bootstrap.
    pub refreshed: BTreeMap<Value, Value>,
}

/// The ckks form of `func` under `params`.
pub fn lower_packed(
    func: &Func<Packed>,
    placement: &Placement,
    params: &Params,
    costs: &CostTable,
    shapes: &mut CircuitShapes,
) -> Result<Lowered, LowerPackedError> {
    let (needed, levels) = (placement.top(), params.top_level());
    if needed > levels {
        return Err(LowerPackedError::Depth { depth: needed.into(), levels: levels.into() });
    }
    let prices = OpCosts::new(params, costs);
    let mut rewriter = Rewriter::<Packed, Ckks>::new(func);
    let mut matcher = Matcher::default();
    let (mut refreshed, mut masks) = (BTreeMap::new(), BTreeMap::new());
    for &input in func.inputs() {
        let ty = func.ty(input);
        if ty.slots > params.slots() {
            return Err(LowerPackedError::Slots { found: ty.slots, slots: params.slots() });
        }
        let level = placement.level[input.index()].unwrap_or(0);
        let ty = CiphertextType::canonical(ty.vectors, ty.slots, level);
        let new = rewriter.func.add_input(ty, func.value_name(input));
        rewriter.replace(input, new);
    }
    for data in func.ops() {
        let Some(below) = placement.level[data.result.index()] else { continue };
        let level = below + placement.levels_used(data);
        let name = func.value_name(data.result);
        let mut step = Step {
            placement,
            rewriter: &mut rewriter,
            matcher: &mut matcher,
            refreshed: &mut refreshed,
            masks: &mut masks,
            level,
            name,
        };
        let lowered = match slot_mask(func, &data.op).filter(|_| placement.masked.contains(&data.result)) {
            Some(mask) => step.left_to_bootstrap(&data.op, data.result, mask),
            None => step.lower(&data.op, &prices, shapes),
        };
        let new = lowered.map_err(|reason| LowerPackedError::Op {
            op: data.op.mnemonic().into(),
            value: name.map_or_else(|| data.result.to_string(), str::to_string),
            reason,
        })?;
        rewriter.replace(data.result, new);
    }
    for &output in func.outputs() {
        let mut step = Step {
            placement,
            rewriter: &mut rewriter,
            matcher: &mut matcher,
            refreshed: &mut refreshed,
            masks: &mut masks,
            level: 0,
            name: None,
        };
        let canonical = step.operand(output).map_err(|reason| LowerPackedError::Op {
            op: "return".into(),
            value: output.to_string(),
            reason,
        })?;
        rewriter.replace(output, canonical);
    }
    let outputs = func.outputs().iter().map(|&output| rewriter.get(output)).collect();
    let mut result = rewriter.func;
    result.set_outputs(outputs);
    Ok(Lowered { func: result, refreshed })
}

/// One op on its way.
struct Step<'a> {
    placement: &'a Placement,
    rewriter: &'a mut Rewriter<Packed, Ckks>,
    matcher: &'a mut Matcher,
    /// Results of bootstraps, by old value.
    refreshed: &'a mut BTreeMap<Value, Value>,
    /// What bootstraps mask, by old value.
    masks: &'a mut BTreeMap<Value, SlotMask>,
    /// Where the op's operands have to be.
    level: Level,
    name: Option<&'a str>,
}

impl Step<'_> {
    fn operand(&mut self, value: Value) -> Result<Value, String> {
        let mut new = self.rewriter.get(value);
        let target = self.placement.refreshed[value.index()];
        if let Some(level) = target.filter(|_| self.placement.reads_refreshed(value, self.level)) {
            new = match self.refreshed.get(&value) {
                Some(&known) => known,
                None => {
                    let mask = self.masks.get(&value).copied();
                    let made = self.rewriter.func.push(Op::Bootstrap { x: new, level, sine: None, mask })?;
                    self.refreshed.insert(value, made);
                    made
                }
            };
        }
        self.matcher.bring(&mut self.rewriter.func, new, self.level)
    }

    /// A mask that the bootstrap of its `result` applies: the result is the operand until then.
    fn left_to_bootstrap(&mut self, op: &packed::Op, result: Value, mask: SlotMask) -> Result<Value, String> {
        self.masks.insert(result, mask);
        let [operand] = op.operands()[..] else { return Err("a mask has one operand".into()) };
        // A bootstrap brings its operand to the level it needs by itself.
        match self.placement.reads_refreshed(operand, self.level) {
            true => self.operand(operand),
            false => Ok(self.rewriter.get(operand)),
        }
    }

    fn push(&mut self, op: Op) -> Result<Value, String> {
        self.rewriter.func.push_named(op, self.name)
    }

    fn rescaled(&mut self, op: Op) -> Result<Value, String> {
        let product = self.rewriter.func.push(op)?;
        self.push(Op::Rescale { x: product })
    }

    fn lower(
        &mut self,
        op: &packed::Op,
        prices: &OpCosts,
        shapes: &mut CircuitShapes,
    ) -> Result<Value, String> {
        match op {
            packed::Op::LinearMap { x, map } => {
                let x = self.operand(*x)?;
                let consts = &self.rewriter.func.consts;
                let (counts, prices) = (shapes.counts(map, consts), prices.linear(self.level));
                let (baby_step, _) = cheapest_of(&counts, map.diagonal_period(consts), &prices);
                self.rescaled(Op::LinearMap { x, map: map.clone(), baby_step })
            }
            packed::Op::Polynomial { x, polynomial } => {
                let x = self.operand(*x)?;
                self.push(Op::Polynomial { x, polynomial: polynomial.clone() })
            }
            packed::Op::Add { x, y } => {
                let (x, y) = (self.operand(*x)?, self.operand(*y)?);
                self.push(Op::Add { x, y })
            }
            packed::Op::Sub { x, y } => {
                let (x, y) = (self.operand(*x)?, self.operand(*y)?);
                self.push(Op::Sub { x, y })
            }
            packed::Op::Mul { x, y } => {
                let (x, y) = (self.operand(*x)?, self.operand(*y)?);
                let product = self.rewriter.func.push(Op::Mul { x, y })?;
                self.rescaled(Op::Relinearize { x: product })
            }
            packed::Op::AddPlain { x, plain } => {
                let x = self.operand(*x)?;
                self.push(Op::AddPlain { x, plain: plain.clone() })
            }
            packed::Op::MulPlain { x, plain } => {
                let x = self.operand(*x)?;
                self.rescaled(Op::MulPlain { x, plain: plain.clone() })
            }
            packed::Op::MulScalar { x, factor } => {
                let x = self.operand(*x)?;
                self.rescaled(Op::MulScalar { x, factor: *factor })
            }
            packed::Op::AddScalar { x, offset } => {
                let x = self.operand(*x)?;
                self.push(Op::AddScalar { x, offset: *offset })
            }
            packed::Op::Rotate { x, steps } => {
                let x = self.operand(*x)?;
                self.push(Op::Rotate { x, steps: *steps })
            }
            packed::Op::Conjugate { x } => {
                let x = self.operand(*x)?;
                self.push(Op::Conjugate { x })
            }
        }
    }
}
