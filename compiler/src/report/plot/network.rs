//! The network layer by layer.

use std::collections::BTreeSet;

use fhec_ir::func::StageOp;
use fhec_ir::plan::LayerRow;

use super::Plot;
use super::canvas::{Anchor, Canvas};
use crate::report::layers::{kinds, path};
use crate::report::names::{clipped, short};
use fhec_ir::program::Program;

const BOX: [f64; 2] = [262.0, 36.0];
const PITCH: [f64; 2] = [318.0, 52.0];
const MARGIN: [f64; 2] = [24.0, 20.0];

/// The plot: boxes in columns, read from top to bottom and from left to right, with arrows along
/// the data.
pub fn network(program: &Program) -> Plot {
    let plan = &program.plan;
    let columns = match plan.layers.len() {
        0..=8 => 1,
        9..=24 => 2,
        _ => 3,
    };
    let rows = plan.layers.len().div_ceil(columns).max(1);
    let height = 2.0 * MARGIN[1] + PITCH[1] * rows as f64;
    let mut canvas = Canvas::new(960.0, height);
    let place = |layer: usize| {
        [MARGIN[0] + PITCH[0] * (layer / rows) as f64, MARGIN[1] + PITCH[1] * (layer % rows) as f64]
    };
    for (from, to) in edges(program) {
        arrow(&mut canvas, rows, (from, place(from)), (to, place(to)));
    }
    for (index, layer) in plan.layers.iter().enumerate() {
        draw_layer(&mut canvas, index, layer, place(index));
    }
    Plot {
        name: "network",
        title: "Network",
        caption: "Layers from top to bottom, column by column. Under each name: ops of the network, level in > out (2^10>3: refreshed from 2 to \
                  10), predicted time. A triangle and a thick border: the layer bootstraps."
            .into(),
        svg: canvas.finish("network", &format!("the {} layers of the network and how data flows between them", plan.layers.len())),
    }
}

fn draw_layer(canvas: &mut Canvas, index: usize, layer: &LayerRow, [x, y]: [f64; 2]) {
    let sources = layer.sources.join("\n");
    let bootstraps = layer.bootstraps > 0;
    let fill = if bootstraps { "#fdf0d0" } else { "#ffffff" };
    canvas.rect([x, y, BOX[0], BOX[1]], fill, "#000", &format!("{}\n{sources}", layer.name));
    if bootstraps {
        canvas.rect([x + 2.0, y + 2.0, BOX[0] - 4.0, BOX[1] - 4.0], "none", "#000", "");
        canvas.triangle([x + BOX[0] - 14.0, y + 6.0], &format!("{} bootstraps", layer.bootstraps));
    }
    canvas.text(
        [x + 8.0, y + 15.0],
        Anchor::Start,
        12.0,
        &format!("{index}  {}", clipped(&short(&layer.name), 33)),
    );
    let time = match layer.seconds {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    };
    // A layer that passes have made has no op of the network.
    let parts = [clipped(&kinds(layer), 26), path(layer), time];
    let below = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    canvas.text([x + 8.0, y + 29.0], Anchor::Start, 10.5, &below);
}

/// Pairs of layers where one reads what the other makes.
fn edges(program: &Program) -> BTreeSet<(usize, usize)> {
    let (func, plan) = (&program.schedule, &program.plan);
    let definitions = func.definitions();
    let mut edges = BTreeSet::new();
    for (data, row) in func.ops().iter().zip(&plan.ops) {
        for operand in data.op.operands() {
            let Some(from) = definitions[operand.index()].and_then(|op| plan.ops.get(op)) else { continue };
            if from.layer != row.layer {
                edges.insert((from.layer, row.layer));
            }
        }
    }
    edges
}

fn arrow(
    canvas: &mut Canvas,
    rows: usize,
    (from, [x0, y0]): (usize, [f64; 2]),
    (to, [x1, y1]): (usize, [f64; 2]),
) {
    let [width, height] = BOX;
    let same_column = from / rows == to / rows;
    if same_column && to == from + 1 {
        let x = x0 + width / 2.0;
        return canvas.arrow(&format!("M{x:.1} {:.1}V{:.1}", y0 + height, y1 - 1.0), 1.3);
    }
    // Skips leave and enter at the side; longer ones reach farther out, so that nested ones do not
    // overlap.
    let reach = 10.0 + 7.0 * (from.abs_diff(to).min(4)) as f64;
    let (start, end) = (y0 + height / 2.0 + 4.0, y1 + height / 2.0 - 4.0);
    let right = x0 + width;
    let path = match same_column {
        true => format!(
            "M{right:.1} {start:.1}C{0:.1} {start:.1} {0:.1} {end:.1} {1:.1} {end:.1}",
            right + reach,
            right + 1.0
        ),
        false => format!(
            "M{right:.1} {start:.1}C{:.1} {start:.1} {:.1} {end:.1} {:.1} {end:.1}",
            right + 40.0,
            x1 - 40.0,
            x1 - 1.0
        ),
    };
    canvas.arrow(&path, 1.1);
}
