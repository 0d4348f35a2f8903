//! Where tests find data that the repository does not hold: pretrained networks, images, outputs of
//! other programs.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

/// The folder with the test data, if it has `part` (a file or folder in it): the one that
/// `FHEC_DATA` names, or else `shared/data` beside the workspace. A test that gets `None` returns;
/// a line on standard error has said why.
pub fn folder_with(part: &str) -> Option<PathBuf> {
    folder("FHEC_DATA", "data", part)
}

/// [`folder_with`] for models of others with the answers of onnxruntime: the folder that
/// `FHEC_CASES` names, or else `shared/cases` beside the workspace.
pub fn cases_with(part: &str) -> Option<PathBuf> {
    folder("FHEC_CASES", "cases", part)
}

/// The folder that `variable` names, or else `shared/beside` beside the workspace, if it has
/// `part`.
fn folder(variable: &str, beside: &str, part: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(beside);
    let folder = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    let path = folder.join(part);
    if path.exists() {
        return Some(folder);
    }
    // Not by `eprintln`, which the test harness keeps to itself when a test passes.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: no data at {} ({variable} names the folder of test data)",
        path.display()
    );
    None
}
