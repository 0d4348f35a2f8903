//! Where classes flip: images per layer.

use fhec_ir::plan::Plan;

use super::Plot;
use super::canvas::{Anchor, Axes, BLUE, Canvas};
use crate::report::names::{clipped, short};
use crate::simulation::BlamedLayer;

/// The plot: a bar per layer, the part that noise flips hatched.
pub fn blame(plan: &Plan, blame: &[BlamedLayer]) -> Plot {
    const LABELS: f64 = 330.0;
    const ROW: f64 = 14.0;
    let height = ROW * plan.layers.len().max(1) as f64;
    let most = blame.iter().map(|row| row.approximation + row.noise).max().unwrap_or(0).max(1);
    let axes = Axes { frame: [LABELS, 44.0, 940.0 - LABELS, height], ends: [most as f64, 1.0], counts: true };
    let mut canvas = Canvas::new(960.0, height + 90.0);
    for (index, (words, fill)) in
        [("by approximation", BLUE), ("by noise", "url(#hatch)")].into_iter().enumerate()
    {
        let x = LABELS + 190.0 * index as f64;
        canvas.rect([x, 8.0, 24.0, 10.0], fill, "#000", "");
        canvas.text([x + 30.0, 17.0], Anchor::Start, 12.0, words);
    }
    axes.draw_rows(&mut canvas, "images");
    for (index, layer) in plan.layers.iter().enumerate() {
        let y = axes.frame[1] + ROW * index as f64 + 1.0;
        let name = short(&layer.name);
        let label = format!("{} ({index})", clipped(&name, 48));
        canvas.text([LABELS - 6.0, y + 11.0], Anchor::End, 11.0, &label);
        let Some(row) = blame.iter().find(|row| row.layer == layer.name) else { continue };
        let width = |images: usize| axes.at(images as f64, 0.0)[0] - LABELS;
        let title = format!("{name}: {} by approximation, {} by noise", row.approximation, row.noise);
        canvas.rect([LABELS, y, width(row.approximation), 10.0], BLUE, "none", &title);
        let start = LABELS + width(row.approximation);
        canvas.rect([start, y, width(row.noise), 10.0], "url(#hatch)", "none", &title);
    }
    Plot {
        name: "blame",
        title: "Where classes flip",
        caption: "Images whose class is wrong with this layer as compiled, and right once it is without fault too: all layers before it \
                  without fault, those after it as compiled."
            .into(),
        svg: canvas.finish("blame", "images that each layer flips"),
    }
}
