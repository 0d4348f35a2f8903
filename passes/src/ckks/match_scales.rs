//! Every value at level `l` has the canonical scale of `l`; operands from higher levels are brought
//! down.
//!
//! A level drop costs a product with a constant and a rescale, but no multiplicative level. Each
//! value is dropped to a given level once, however many ops want it there. Tests:
//! `tests/filetests/ckks/match_scales/`, through [`lower_packed`](mod@super::lower_packed).

use std::collections::BTreeMap;

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::scale::Level;

/// Remembers the drops made in one function.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    dropped: BTreeMap<(Value, Level), Value>,
}

impl Matcher {
    /// `value`, canonical, at `level`.
    ///
    /// # Errors
    /// If it is below that level, or not canonical.
    pub fn bring(&mut self, func: &mut Func<Ckks>, value: Value, level: Level) -> Result<Value, String> {
        let ty = func.ty(value);
        if !ty.is_canonical() || ty.level < level {
            return Err(format!(
                "{value} at level {} and scale {} is wanted at level {level}",
                ty.level, ty.scale
            ));
        }
        if ty.level == level {
            return Ok(value);
        }
        if let Some(&known) = self.dropped.get(&(value, level)) {
            return Ok(known);
        }
        let dropped = func.push(Op::LevelDrop { x: value, level })?;
        self.dropped.insert((value, level), dropped);
        Ok(dropped)
    }
}
