//! Measured times beside predicted ones, by layer.

use fhec_ir::plan::Plan;
use serde::Serialize;

use super::names::short;
use super::table::Table;

/// A layer of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredLayer {
    /// Its name in the model file.
    pub name: String,
    /// Seconds that the plan predicts.
    pub predicted_seconds: f64,
    /// Seconds measured.
    pub measured_seconds: f64,
}

/// The layers of `plan` with their measured seconds.
pub fn measured_layers(plan: &Plan, seconds: &[f64]) -> Vec<MeasuredLayer> {
    let layer = |(layer, &measured_seconds): (&fhec_ir::plan::LayerRow, &f64)| MeasuredLayer {
        name: layer.name.clone(),
        predicted_seconds: layer.seconds,
        measured_seconds,
    };
    plan.layers.iter().zip(seconds).map(layer).collect()
}

/// One row per layer and one for all.
pub fn measured(layers: &[MeasuredLayer]) -> String {
    let mut table = Table::new(&["layer", "<name", "predicted ms", "measured ms", "measured / predicted"]);
    let mut row = |index: String, name: String, predicted: f64, measured: f64| {
        let ratio = if predicted > 0.0 { format!("{:.2}", measured / predicted) } else { String::new() };
        table.row([index, name, format!("{:.1}", predicted * 1e3), format!("{:.1}", measured * 1e3), ratio]);
    };
    for (index, layer) in layers.iter().enumerate() {
        row(index.to_string(), short(&layer.name), layer.predicted_seconds, layer.measured_seconds);
    }
    let total = |of: fn(&MeasuredLayer) -> f64| layers.iter().map(of).sum();
    row(
        String::new(),
        "all".into(),
        total(|layer| layer.predicted_seconds),
        total(|layer| layer.measured_seconds),
    );
    format!("\ntime per layer\n{}", table.text())
}
