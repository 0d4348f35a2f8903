//! Memory over time.

use fhec_ir::plan::Plan;

use super::Plot;
use super::canvas::{Axes, BLUE, Canvas, GREY, VERMILLION};
use crate::memory::human_bytes;
use crate::profile::OpTime;

/// The plot: what is there all the time below, live ciphertexts on top; resident memory where it
/// was measured.
pub fn memory(plan: &Plan, measured: Option<&[OpTime]>) -> Plot {
    const GIB: f64 = (1u64 << 30) as f64;
    let mut ends = vec![0.0];
    for op in &plan.ops {
        ends.push(ends[ends.len() - 1] + op.seconds);
    }
    let last = ends[ends.len() - 1].max(1e-9);
    // By op, of the last image that was recorded.
    let mut resident = vec![None; plan.ops.len()];
    for time in measured.unwrap_or_default() {
        if let (Some(place), Some(bytes)) = (resident.get_mut(time.op), time.rss_bytes) {
            *place = Some(bytes as f64 / GIB);
        }
    }
    let highest = resident.iter().flatten().copied().fold(plan.predicted_peak_bytes as f64 / GIB, f64::max);
    let axes = Axes { frame: [60.0, 30.0, 880.0, 240.0], ends: [last, highest * 1.05], counts: false };
    let mut canvas = Canvas::new(960.0, 315.0);
    let base = plan.resident_bytes as f64 / GIB;
    let [left, y] = axes.at(0.0, base);
    let bottom = axes.at(0.0, 0.0)[1];
    let title = format!("keys, tables and weights: {}", human_bytes(plan.resident_bytes));
    canvas.rect([left, y, 880.0, bottom - y], GREY, "none", &title);
    let mut line = Vec::new();
    for (index, op) in plan.ops.iter().enumerate() {
        let all = base + op.live_bytes as f64 / GIB;
        let ([x0, y], [x1, _]) = (axes.at(ends[index], all), axes.at(ends[index + 1], all));
        let title = format!("op {index}, {}: {} of ciphertexts", op.op, human_bytes(op.live_bytes));
        canvas.rect([x0, y, x1 - x0, axes.at(0.0, base)[1] - y], "#cfe6f5", "none", &title);
        line.extend([[x0, y], [x1, y]]);
    }
    axes.draw(&mut canvas, ["predicted time in seconds", "GiB"]);
    canvas.line(&line, BLUE, 1.5, "");
    let points: Vec<[f64; 2]> = resident
        .iter()
        .enumerate()
        .filter_map(|(op, gib)| gib.map(|gib| axes.at(ends[op + 1], gib)))
        .collect();
    canvas.line(&points, VERMILLION, 1.8, "6 3");
    let mut caption = format!(
        "Predicted peak {}: grey is there all the time (keys {}, tables, weights), blue are ciphertexts and working memory.",
        human_bytes(plan.predicted_peak_bytes),
        human_bytes(plan.key_bytes)
    );
    if !points.is_empty() {
        caption += " Dashed: resident memory measured after each op, at the op's predicted time; allocators keep memory, so it falls late.";
    }
    let svg = canvas
        .finish("memory", &format!("memory over time, peak {}", human_bytes(plan.predicted_peak_bytes)));
    Plot { name: "memory", title: "Memory", caption, svg }
}
