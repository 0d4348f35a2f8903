//! HTML pages, each of one file: nothing from the network, readable on paper. Here that of a plan;
//! [`simulation`] has another.

pub mod simulation;

use std::fmt::Write;

use super::plot::{Plot, escape, plots};
use super::table::Table;
use super::{keys, layers, params, summary};
use crate::profile::OpTime;
use fhec_ir::program::Program;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The page of `program`, with what was measured where there is a recording of a run.
pub fn page(program: &Program, measured: Option<&[OpTime]>) -> String {
    let plan = &program.plan;
    let mut body = summary_table(summary::rows(plan));
    for plot in plots(program, measured) {
        body += &plot_section(&plot);
    }
    body += &section("Layers", &layers::table(plan));
    if !plan.bootstrap_sites.is_empty() {
        body += &section("Bootstraps", &super::bootstraps::table(plan));
    }
    body += &section("Keys", &keys::table(plan));
    body += &section("Parameter sets considered", &params::table(plan));
    document(&format!("{}: the plan", plan.network), &body)
}

/// The first table of the page alone, for a notebook: no style, no script.
pub fn summary(program: &Program) -> String {
    summary_table(summary::rows(&program.plan))
}

/// A page whole in itself.
fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// Names and what there is to say of them.
fn summary_table(rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = String::from("<table class=\"summary\"><tbody>\n");
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(&name), prose(&value));
    }
    text + "</tbody></table>\n"
}

/// A plot with its heading and what it shows.
fn plot_section(plot: &Plot) -> String {
    format!(
        "<section id=\"{}\"><h2>{}</h2>\n<figure>{}<figcaption>{}</figcaption></figure></section>\n",
        plot.name,
        escape(plot.title),
        plot.svg,
        prose(&plot.caption)
    )
}

/// A sentence, what is between backticks set as code.
fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    let part = |(index, part): (usize, &&str)| match index % 2 {
        0 => escape(part),
        // A backtick without another is one.
        _ if index == last => format!("`{}", escape(part)),
        _ => format!("<code>{}</code>", escape(part)),
    };
    parts.iter().enumerate().map(part).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_mark_code() {
        assert_eq!(prose("`a` or `b<c>`"), "<code>a</code> or <code>b&lt;c&gt;</code>");
        assert_eq!(prose("a `b"), "a `b");
        assert_eq!(prose(""), "");
    }
}
