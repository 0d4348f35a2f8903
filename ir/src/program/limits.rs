//! What a program of a file may declare. A few bytes can name any number, so sizes are bounded as a
//! whole before anything is made of them, and what a program does not use it may not hold.

use std::collections::BTreeSet;

use crate::bootstrap::BootstrapParams;
use crate::ckks::{Ckks, Op};
use crate::entity::Value;
use crate::func::{Func, Stage};
use crate::nn::Nn;
use crate::slot_mask::MOST_MASKS;
use crate::tensor::element_count;

/// Bound on the text of one program, in bytes. A ResNet-20 has about 0.1 MiB.
pub(super) const MAX_TEXT_BYTES: usize = 16 << 20;
/// Bound on the plan's text.
pub(super) const MAX_JSON_BYTES: usize = 48 << 20;
/// Bound on the ops of one program.
const MAX_OPS: usize = 1 << 18;
/// Bound on the slots of one value, 1 GiB as numbers: a layout of few elements may ask for many
/// more vectors.
const MAX_VALUE_SLOTS: usize = 1 << 27;
/// Bound on the slots of all values of a program together.
const MAX_SLOTS: u64 = 1 << 36;
/// Bound on the elements of all values of a plain network together, 8 GiB as `f32`.
const MAX_ELEMENTS: usize = 1 << 31;

/// All values of `func`, inputs first.
fn values<S: Stage>(func: &Func<S>) -> impl Iterator<Item = Value> + '_ {
    func.inputs().iter().copied().chain(func.ops().iter().map(|data| data.result))
}

/// Errs if `func` declares more than any program has, or holds what it does not use.
pub(super) fn check_schedule(func: &Func<Ckks>) -> Result<(), String> {
    check_ops(func)?;
    let mut sum = 0u64;
    for value in values(func) {
        let ty = func.ty(value);
        let slots = ty.vectors.saturating_mul(ty.slots);
        sum = sum.saturating_add(slots as u64);
        if slots == 0 || slots > MAX_VALUE_SLOTS || sum > MAX_SLOTS {
            return Err(format!("{value} has {} vectors of {} slots", ty.vectors, ty.slots));
        }
    }
    let uses = func.use_counts();
    if let Some(unused) = func.ops().iter().find(|data| uses[data.result.index()] == 0) {
        return Err(format!("nothing uses {}", unused.result));
    }
    let bootstraps = BootstrapParams::of_program(func).map_err(|error| error.to_string())?;
    let refreshed = |slots: usize| {
        func.ops().iter().any(|data| matches!(data.op, Op::Bootstrap { x, .. } if func.ty(x).slots == slots))
    };
    let masks = func.ops().iter().filter_map(|data| match data.op {
        Op::Bootstrap { mask, .. } => mask,
        _ => None,
    });
    let masks = masks.collect::<BTreeSet<_>>().len();
    if masks > MOST_MASKS {
        return Err(format!("its bootstraps have {masks} masks, more than {MOST_MASKS}"));
    }
    // Of slots that the ring lacks: refused where bootstraps are compared with parameters.
    let slots = |bootstrap: &BootstrapParams| 1usize.checked_shl(bootstrap.log_slots);
    match bootstraps.iter().find(|bootstrap| slots(bootstrap).is_some_and(|slots| !refreshed(slots))) {
        Some(unused) => Err(format!("no op uses its bootstrap of 2^{} slots", unused.log_slots)),
        None => Ok(()),
    }
}

/// Errs if the plain network declares more than any has.
pub(super) fn check_network(func: &Func<Nn>) -> Result<(), String> {
    check_ops(func)?;
    let elements = |value| element_count(&func.ty(value).shape).unwrap_or(usize::MAX);
    let sum = values(func).map(elements).fold(0usize, usize::saturating_add);
    match sum > MAX_ELEMENTS {
        true => Err(format!("its tensors have {sum} elements, more than {MAX_ELEMENTS}")),
        false => Ok(()),
    }
}

fn check_ops<S: Stage>(func: &Func<S>) -> Result<(), String> {
    match func.ops().len() {
        0..=MAX_OPS => Ok(()),
        ops => Err(format!("it has {ops} ops, more than {MAX_OPS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::CiphertextType;
    use crate::slot_mask::SlotMask;

    /// Each mask has matrices of its own, which a few bytes could ask for many times.
    #[test]
    fn masks_are_few() {
        for (masks, fits) in [(MOST_MASKS, true), (MOST_MASKS + 1, false)] {
            let mut func = Func::<Ckks>::new("masks");
            let x = func.add_input(CiphertextType::canonical(1, 64, 2), None);
            let refreshed = (1..=2 * masks).map(|number| {
                let mask = Some(SlotMask { area: [1, number.div_ceil(2)], plane: [1, 64] });
                func.push(Op::Bootstrap { x, level: 2, sine: None, mask }).unwrap()
            });
            let refreshed = refreshed.collect();
            func.set_outputs(refreshed);
            let found = check_schedule(&func);
            assert_eq!(found.is_ok(), fits, "{found:?}");
            assert!(fits || found.unwrap_err().contains("masks"));
        }
    }
}
