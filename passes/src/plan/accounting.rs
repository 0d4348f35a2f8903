//! The count of bootstraps by rule, beside what other placements of the same program need.

use fhec_ir::entity::Value;
use fhec_ir::plan::{Accounting, AccountingRow, PlacementRow};

use super::bootstraps::name;
use crate::analysis::cost::CostTable;
use crate::analysis::op_cost::OpCosts;
use crate::bootstrap::sets;
use crate::ckks::place_bootstraps::{BootstrapPlacement, place_bootstraps};
use crate::ckks::placement::Placement;
use crate::nn::softmax::SoftmaxNames;
use crate::search::Scheduled;
use fhec_ir::layers::Layers;

const REMARK: &str = "a reconstruction: arXiv 2106.07229 reports 1149 bootstraps for its ResNet-20 and does not say where they are; its one \
sentence, in the middle and at the end of every ReLU, would make 1376. On that network, with its packing and \
levels, these rules yield the total; the 22 that the paper gives for its softmax are counted apart";

/// By value of the packed program: whether it belongs to a softmax.
fn in_softmax(scheduled: &Scheduled) -> Vec<bool> {
    let packed = &scheduled.packed;
    SoftmaxNames::of(packed)
        .map_or_else(|| vec![false; packed.value_count()], |names| names.values_after(packed))
}

/// Bootstraps of the softmax, counted per ciphertext.
pub(super) fn of_softmax(scheduled: &Scheduled) -> usize {
    let Some(placed) = &scheduled.placed else { return 0 };
    let softmax = in_softmax(scheduled);
    let sites = placed.sites.iter().filter(|(_, value)| softmax[value.index()]);
    sites.map(|(_, value)| scheduled.packed.ty(*value).vectors).sum()
}

/// The accounting, if rules placed the program's bootstraps.
pub(super) fn accounting(scheduled: &Scheduled, costs: &CostTable) -> Option<Accounting> {
    let placed = scheduled.placed.as_ref().filter(|placed| !placed.placement.rules.is_empty())?;
    let packed = &scheduled.packed;
    let (layers, definitions) = (Layers::of(packed), packed.definitions());
    let softmax = in_softmax(scheduled);
    let (mut rows, mut totals) = (Vec::new(), [0, 0]);
    for value in placed.placement.refresh_order(packed) {
        let rule = placed.placement.rules.get(&value)?;
        let ciphertexts = packed.ty(value).vectors;
        let total = &mut totals[usize::from(softmax[value.index()])];
        *total += ciphertexts;
        let value_name = name(packed, &layers, &definitions, value);
        rows.push(AccountingRow {
            rule: rule.name().into(),
            layer: definitions[value.index()].map_or(value_name.clone(), |op| layers.name(op).to_string()),
            value: value_name,
            ciphertexts,
            softmax: softmax[value.index()],
            total: *total,
        });
    }
    let own = row(scheduled, &softmax, BootstrapPlacement::Lee2021, &placed.placement, placed.seconds);
    let prices = OpCosts::new(&scheduled.params, costs);
    let mut shapes = scheduled.shapes.clone();
    let others = [BootstrapPlacement::Lazy, BootstrapPlacement::Optimal].into_iter().filter_map(|method| {
        let (placement, seconds) =
            place_bootstraps(packed, &placed.bootstrap, method, &prices, &mut shapes).ok()?;
        Some(row(scheduled, &softmax, method, &placement, seconds))
    });
    let placements = [own].into_iter().chain(others).collect();
    let published_key_bytes = published_key_bytes(scheduled).unwrap_or(0);
    Some(Accounting { remark: REMARK.into(), rows, placements, published_key_bytes })
}

fn row(
    scheduled: &Scheduled,
    softmax: &[bool],
    method: BootstrapPlacement,
    placement: &Placement,
    seconds: f64,
) -> PlacementRow {
    let refreshed = placement.refresh_order(&scheduled.packed);
    let count = |inside: bool| {
        let those = refreshed.iter().filter(|value: &&Value| softmax[value.index()] == inside);
        those.map(|value| scheduled.packed.ty(*value).vectors).sum()
    };
    PlacementRow {
        placement: method.name().into(),
        bootstraps: count(false),
        bootstraps_softmax: count(true),
        seconds,
    }
}

/// The program's switching keys as the paper would have them: no encapsulation, one special prime,
/// a digit per prime.
fn published_key_bytes(scheduled: &Scheduled) -> Option<u64> {
    let published = sets::lee2021_as_published().ok()?.params;
    if published.top_level() != scheduled.params.top_level() {
        return None;
    }
    let mut keys = scheduled.shapes.clone().keys(&scheduled.program, &scheduled.params).ok()?;
    keys.encapsulation = None;
    Some(keys.bytes(&published))
}
