//! The level of the ciphertext along the program: a sawtooth, bootstraps at its rising edges.

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::plan::Plan;

use super::Plot;
use super::canvas::{Axes, BLUE, Canvas, GREY, ORANGE};
use crate::report::names::short;
use fhec_ir::program::Program;

/// The plot: over ops in program order, the level along the main path from input to output.
pub fn levels(program: &Program) -> Plot {
    let (func, plan) = (&program.schedule, &program.plan);
    let on_path = main_path(func, plan);
    let count = func.ops().len().max(1) as f64;
    let values = func.inputs().iter().copied().chain(func.ops().iter().map(|data| data.result));
    let top = values.map(|value| func.ty(value).level).max().unwrap_or(0).max(1);
    let axes = Axes { frame: [50.0, 30.0, 890.0, 260.0], ends: [count, f64::from(top)], counts: true };
    let mut canvas = Canvas::new(960.0, 335.0);
    let reserved = plan.bootstrap_sites.iter().map(|site| site.levels_reserved).max().unwrap_or(0);
    if reserved > 0 {
        let [x, y] = axes.at(0.0, f64::from(reserved));
        let bottom = axes.at(0.0, 0.0)[1];
        let title = format!("a bootstrap uses {reserved} levels itself");
        canvas.rect([x, y, 890.0, bottom - y], "#eeeeee", "none", &title);
    }
    axes.draw(&mut canvas, ["op, in program order", "level"]);
    let mut line = Vec::new();
    let mut marks = Vec::new();
    for (index, data) in func.ops().iter().enumerate() {
        let (from, to) = (func.ty(data.op.operands()[0]).level, func.ty(data.result).level);
        let layer = plan.ops.get(index).and_then(|op| plan.layers.get(op.layer));
        let layer = layer.map_or(String::new(), |layer| format!(" of {}", short(&layer.name)));
        let title = format!("op {index}: {}{layer}, level {from} to {to}", data.op.mnemonic());
        let (x, [from, to]) = (index as f64, [from, to].map(f64::from));
        let (start, end) = (axes.at(x, from), axes.at(x + 1.0, to));
        if matches!(data.op, Op::Bootstrap { .. }) {
            canvas.line(&[start, end], ORANGE, 5.0, "");
            marks.push((end, title.clone()));
        }
        if on_path[index] {
            line.extend([start, end]);
        } else if from != to {
            canvas.line(&[start, end], GREY, 1.5, "3 2");
        }
    }
    canvas.line(&line, BLUE, 1.8, "");
    for ([x, y], title) in marks {
        canvas.triangle([x, y - 4.0], &title);
    }
    let bootstraps = plan.bootstraps;
    let label = format!("level of the ciphertext along {} ops, {bootstraps} bootstraps", func.ops().len());
    let mut caption = "Every product uses up a level. Dashed: values beside the main path.".to_string();
    if bootstraps > 0 {
        caption += &format!(
            " {bootstraps} bootstraps (triangles) give levels back. Grey: levels that a bootstrap uses itself, so that values are \
             refreshed before they get there; the last layers need no such care."
        );
    }
    Plot { name: "levels", title: "Levels", caption, svg: canvas.finish("levels", &label) }
}

/// By op: whether it is on the path from input to output that takes the longest.
fn main_path(func: &Func<Ckks>, plan: &Plan) -> Vec<bool> {
    // By value: seconds of the longest path that ends there.
    let mut ends = vec![0.0; func.value_count()];
    let longest = |ends: &[f64], values: Vec<Value>| {
        values.into_iter().max_by(|a, b| ends[a.index()].total_cmp(&ends[b.index()]))
    };
    for (index, data) in func.ops().iter().enumerate() {
        let before = longest(&ends, data.op.operands()).map_or(0.0, |value| ends[value.index()]);
        ends[data.result.index()] = before + plan.ops.get(index).map_or(0.0, |op| op.seconds);
    }
    let definitions = func.definitions();
    let mut on_path = vec![false; func.ops().len()];
    let mut value = longest(&ends, func.outputs().to_vec());
    while let Some(op) = value.and_then(|value| definitions[value.index()]) {
        on_path[op] = true;
        value = longest(&ends, func.ops()[op].op.operands());
    }
    on_path
}
