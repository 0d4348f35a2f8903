//! Predicted precision along the layers.

use fhec_ir::plan::Plan;

use super::Plot;
use super::canvas::{Axes, BLUE, Canvas};
use crate::report::names::short;

/// The plot: bits of precision of each layer's result.
pub fn errors(plan: &Plan) -> Plot {
    let bits: Vec<f64> = plan.layers.iter().map(|layer| (-layer.log2_error).max(0.0)).collect();
    let most = bits.iter().copied().fold(1.0, f64::max);
    let axes = Axes {
        frame: [50.0, 30.0, 890.0, 220.0],
        ends: [plan.layers.len().max(1) as f64, most * 1.05],
        counts: true,
    };
    let mut canvas = Canvas::new(960.0, 295.0);
    axes.draw(&mut canvas, ["layer", "bits"]);
    let points: Vec<[f64; 2]> =
        bits.iter().enumerate().map(|(index, bits)| axes.at(index as f64 + 0.5, *bits)).collect();
    canvas.line(&points, BLUE, 1.5, "");
    for ((layer, bits), &point) in plan.layers.iter().zip(&bits).zip(&points) {
        let title = format!("{}: error 2^-{bits:.1}", short(&layer.name));
        match layer.bootstraps {
            0 => canvas.circle(point, 3.0, "#fff", &title),
            _ => canvas.triangle([point[0], point[1] - 5.0], &title),
        }
    }
    Plot {
        name: "errors",
        title: "Precision per layer",
        caption: "Standard deviation of the error of each layer's result, in bits below 1, predicted: what is stored lies within about \
                  [-1, 1]. Triangles: layers that bootstrap."
            .into(),
        svg: canvas.finish("errors", "bits of precision per layer"),
    }
}
