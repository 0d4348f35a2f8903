//! A simulation as one HTML page.

use std::fmt::Write;

use super::{document, plot_section, section, summary_table};
use crate::report::plot::blame::blame as blame_plot;
use crate::report::plot::escape;
use crate::report::simulation::{blame, changes, differing, overflows, rows};
use crate::simulation::Summary;
use fhec_ir::program::Program;

/// Up to this many classes are shown as a matrix.
const MATRIX: usize = 32;

/// The page of `summary`, a simulation of `program` on the images of `dataset`.
pub fn simulation_page(program: &Program, dataset: &str, summary: &Summary) -> String {
    let all = [("program", program.plan.network.clone()), ("data set", dataset.to_string())].into_iter();
    let mut body = summary_table(all.chain(rows(summary)).map(|(name, value)| (name.to_string(), value)));
    if !summary.blame.is_empty() {
        body += &plot_section(&blame_plot(&program.plan, &summary.blame));
        body += &section("Layers that flip classes", &blame(summary));
    }
    body += &matrix(program, summary);
    if !summary.differing.is_empty() {
        body += &section("Classes that change", &changes(program, summary));
        body += &section("Images that differ", &differing(program, summary, usize::MAX));
    }
    if !summary.overflows.is_empty() {
        body += &section("Operands outside [-1, 1], which encrypted runs cannot see", &overflows(summary));
    }
    document(&format!("{}: simulated answers", program.plan.network), &body)
}

/// The confusion of classes, where there are not too many.
fn matrix(program: &Program, summary: &Summary) -> String {
    let last = summary.confusion.iter().map(|pair| pair.class.max(pair.reference_class)).max();
    let Some(classes) = last.map(|last| last + 1).filter(|&classes| classes <= MATRIX) else {
        return String::new();
    };
    let mut text = String::from(
        "<section><h2>Classes</h2>\n<table class=\"matrix\"><caption>Rows: class of the plain network. Columns: encrypted.</caption>\n<thead><tr><td></td>",
    );
    let name = |class: usize| escape(&program.interface.class_name(class));
    for class in 0..classes {
        // Writing to a String cannot fail.
        let _ = write!(text, "<th scope=\"col\">{}</th>", name(class));
    }
    text += "</tr></thead>\n<tbody>\n";
    for reference in 0..classes {
        let _ = write!(text, "<tr><th scope=\"row\">{}</th>", name(reference));
        for class in 0..classes {
            let pair = |pair: &&crate::simulation::Confusion| {
                (pair.reference_class, pair.class) == (reference, class)
            };
            let images = summary.confusion.iter().find(pair).map_or(0, |pair| pair.images);
            let mark = match (images, reference == class) {
                (0, _) => "",
                (_, true) => " class=\"same\"",
                (_, false) => " class=\"other\"",
            };
            let shown = if images == 0 { String::new() } else { images.to_string() };
            let _ = write!(text, "<td{mark}>{shown}</td>");
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></section>\n"
}
