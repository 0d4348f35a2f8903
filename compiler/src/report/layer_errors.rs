//! Errors of a run, layer by layer.

use super::names::short;
use super::table::Table;
use crate::layer_errors::{Bits, LayerError};

/// One row per layer.
pub fn layer_errors(errors: &[LayerError]) -> String {
    let mut table = Table::new(&[
        "layer",
        "<name",
        "noise",
        "worst",
        "simulated",
        "predicted",
        "approximation",
        "worst",
        "total",
        "worst",
    ]);
    let one = |bits: f64| if bits.is_finite() { format!("{bits:.1}") } else { "exact".into() };
    let two = |bits: Bits| [one(bits.mean), one(bits.worst)];
    for (index, error) in errors.iter().enumerate() {
        let ([noise, noise_worst], [total, total_worst]) = (two(error.noise), two(error.total));
        let [approximation, approximation_worst] = two(error.approximation);
        table.row([
            index.to_string(),
            short(&error.name),
            noise,
            noise_worst,
            one(error.simulated.mean),
            one(error.predicted),
            approximation,
            approximation_worst,
            total,
            total_worst,
        ]);
    }
    format!(
        "\nbits of precision per layer, below its largest value: root mean square and worst element\n{}",
        table.text()
    )
}
