//! Ranges of activations that were calibrated.

use super::names::short;
use super::table::Table;
use crate::activation_ranges::ActivationRanges;

/// One line per activation.
pub fn activation_ranges(ActivationRanges { rows, images }: &ActivationRanges) -> String {
    let mut table = Table::new(&["<activation of", "min", "max", "bound", "margin", "outside"]);
    for range in rows {
        table.row([
            short(&range.value),
            format!("{:.3}", range.min),
            format!("{:.3}", range.max),
            format!("{:.3}", range.bound),
            format!("{:.2}", range.margin),
            format!("{:.2} %", 100.0 * range.images_outside as f64 / (*images).max(1) as f64),
        ]);
    }
    format!("{}outside: images, of {images}, with a value beyond the bound\n", table.text())
}
