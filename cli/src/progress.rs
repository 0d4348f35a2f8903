//! Progress bars on standard error: shown to people, silent in pipelines.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::args::Common;

/// A bar over `total` steps with the time left; hidden with `--quiet`, `--json` or when nobody
/// watches.
pub fn bar(common: &Common, what: &'static str, total: usize) -> ProgressBar {
    if nobody_watches(common) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} {elapsed} (left: {eta})");
    let bar = ProgressBar::new(total as u64).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A turning sign with the time since it began, for work whose length nobody knows; hidden as a
/// [`bar`] is, gone when dropped.
pub fn spinner(common: &Common, what: &'static str) -> ProgressBar {
    if nobody_watches(common) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let spinner = ProgressBar::new_spinner().with_message(what).with_finish(ProgressFinish::AndClear);
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn nobody_watches(common: &Common) -> bool {
    common.quiet || common.json || !std::io::stderr().is_terminal()
}
