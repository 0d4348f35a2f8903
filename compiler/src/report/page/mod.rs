//! A plan as one HTML page: no other file, nothing from the network, readable on paper.

use std::fmt::Write;

use super::plot::{escape, plots};
use super::table::Table;
use super::{keys, layers, params, summary};
use crate::profile::OpTime;
use crate::program::Program;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The page of `program`, with what was measured where there is a recording of a run.
pub fn page(program: &Program, measured: Option<&[OpTime]>) -> String {
    let plan = &program.plan;
    let title = format!("{}: the plan", escape(&plan.network));
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(body, "<h1>{title}</h1>\n<table class=\"summary\"><tbody>");
    for (name, value) in summary::rows(plan) {
        let _ =
            writeln!(body, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(&name), escape(&value));
    }
    body += "</tbody></table>\n";
    for plot in plots(program, measured) {
        let _ = writeln!(
            body,
            "<section id=\"{}\"><h2>{}</h2>\n<figure>{}<figcaption>{}</figcaption></figure></section>",
            plot.name,
            escape(plot.title),
            plot.svg,
            escape(&plot.caption)
        );
    }
    body += &section("Layers", &layers::table(plan));
    if !plan.bootstrap_sites.is_empty() {
        body += &section("Bootstraps", &super::bootstraps::table(plan));
    }
    body += &section("Keys", &keys::table(plan));
    body += &section("Parameter sets considered", &params::table(plan));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// A table that is sorted by a click on a title.
fn section(title: &str, table: &Table) -> String {
    let mut text = format!("<section><h2>{}</h2>\n<table class=\"sortable\"><thead><tr>", escape(title));
    let class = |number: bool| if number { " class=\"number\"" } else { "" };
    let numbers: Vec<bool> = table.titles().map(|(_, number)| number).collect();
    for (title, number) in table.titles() {
        let _ = write!(
            text,
            "<th scope=\"col\"{}><button type=\"button\">{}</button></th>",
            class(number),
            escape(title)
        );
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in table.rows() {
        text += "<tr>";
        for (cell, &number) in row.iter().zip(&numbers) {
            let _ = write!(text, "<td{}>{}</td>", class(number), escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></section>\n"
}
