//! Time per layer: predicted, the share of bootstraps marked, and measured.

use fhec_ir::plan::Plan;

use super::Plot;
use super::canvas::{Anchor, Axes, BLUE, Canvas};
use crate::profile::{OpTime, layer_seconds};
use crate::report::names::{clipped, short};
use crate::report::summary::human_seconds;

/// The plot: bars per layer.
pub fn time(plan: &Plan, measured: Option<&[OpTime]>) -> Plot {
    const LABELS: f64 = 330.0;
    let seconds = measured.map(|ops| layer_seconds(plan, ops));
    let bar = if seconds.is_some() { 7.0 } else { 10.0 };
    let row = if seconds.is_some() { 18.0 } else { 14.0 };
    let height = row * plan.layers.len().max(1) as f64;
    let longest = plan.layers.iter().map(|layer| layer.seconds);
    let longest = longest.chain(seconds.iter().flatten().copied()).fold(1e-6, f64::max);
    let axes = Axes { frame: [LABELS, 44.0, 940.0 - LABELS, height], ends: [longest, 1.0], counts: false };
    let mut canvas = Canvas::new(960.0, height + 90.0);
    legend(&mut canvas, !plan.bootstrap_sites.is_empty(), seconds.is_some());
    axes.draw_rows(&mut canvas, "seconds");
    for (index, layer) in plan.layers.iter().enumerate() {
        let y = axes.frame[1] + row * index as f64 + 1.0;
        let width = |seconds: f64| axes.at(seconds, 0.0)[0] - LABELS;
        let refresh: f64 = plan
            .bootstrap_sites
            .iter()
            .filter(|site| site.layer == layer.name)
            .map(|site| site.seconds)
            // The empty sum of floats is -0.
            .fold(0.0, |sum, seconds| sum + seconds);
        let of_it = match refresh > 0.0 {
            true => format!(", {refresh:.4} s of it in bootstraps"),
            false => String::new(),
        };
        let title = format!("{}: {:.4} s predicted{of_it}", short(&layer.name), layer.seconds);
        canvas.text(
            [LABELS - 6.0, y + bar + 1.0],
            Anchor::End,
            11.0,
            &format!("{} ({index})", clipped(&short(&layer.name), 48)),
        );
        canvas.rect([LABELS, y, width(refresh), bar], "url(#dots)", "none", &title);
        canvas.rect([LABELS + width(refresh), y, width(layer.seconds - refresh), bar], BLUE, "none", &title);
        if let Some(seconds) = &seconds {
            let title = format!("{}: {:.4} s measured", short(&layer.name), seconds[index]);
            canvas.rect([LABELS, y + bar + 1.0, width(seconds[index]), bar], "url(#hatch)", "none", &title);
        }
    }
    let caption = match &seconds {
        Some(seconds) => format!(
            "All layers: {} predicted for the machine of the cost table, {} measured.",
            human_seconds(plan.predicted_seconds),
            human_seconds(seconds.iter().sum())
        ),
        None => format!(
            "All layers: {} predicted. Record a run (`fhec run --profile`) and give the trace (`--trace`) to see measured times beside these.",
            human_seconds(plan.predicted_seconds)
        ),
    };
    let svg = canvas.finish("time", &format!("seconds per layer, {} layers", plan.layers.len()));
    Plot { name: "time", title: "Time per layer", caption, svg }
}

fn legend(canvas: &mut Canvas, bootstraps: bool, measured: bool) {
    let entries = [
        (true, "predicted", BLUE),
        (bootstraps, "predicted, in bootstraps", "url(#dots)"),
        (measured, "measured", "url(#hatch)"),
    ];
    for (index, (_, words, fill)) in entries.into_iter().filter(|(shown, ..)| *shown).enumerate() {
        let x = 330.0 + 190.0 * index as f64;
        canvas.rect([x, 8.0, 24.0, 10.0], fill, "#000", "");
        canvas.text([x + 30.0, 17.0], Anchor::Start, 12.0, words);
    }
}
