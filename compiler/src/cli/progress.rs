//! Progress bars on standard error: shown to people, silent in pipelines.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Common;

/// A bar over `total` steps with the time left; hidden with `--quiet`, `--json` or when nobody watches.
pub fn bar(common: &Common, what: &'static str, total: usize) -> ProgressBar {
    if common.quiet || common.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} {elapsed} (left: {eta})");
    let bar = ProgressBar::new(total as u64).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
