//! Runs every text program under `filetests`. `FHEC_BLESS=1` rewrites expected outputs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use fhec_tests::runner;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests")
}

/// Runs the files of `folder`, at least `least` of them.
fn run_folder(folder: &str, least: usize) {
    let (root, mut failures) = (root(), String::new());
    let bless = std::env::var_os("FHEC_BLESS").is_some();
    let files = runner::files(&root.join(folder)).expect("the folder of filetests");
    assert!(files.len() >= least, "only {} filetests in {folder}", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a filetest");
        match runner::run(&text, bless) {
            Ok(None) => {}
            Ok(Some(blessed)) => std::fs::write(&file, blessed).expect("a blessed filetest"),
            Err(message) => {
                let name = file.strip_prefix(&root).unwrap_or(&file).display();
                let _ = writeln!(failures, "{name}: {message}\n");
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

// One test per folder, so that they run side by side.

#[test]
fn nn() {
    run_folder("nn", 40);
}

#[test]
fn lower_nn() {
    run_folder("lower_nn", 10);
}

#[test]
fn packed() {
    run_folder("packed", 1);
}

#[test]
fn ckks() {
    run_folder("ckks", 20);
}

#[test]
fn estimate() {
    run_folder("estimate", 3);
}

/// Folders that hold filetests, relative to the root.
fn folders() -> BTreeSet<PathBuf> {
    let files = runner::files(&root()).expect("the folder of filetests");
    let folder = |file: &PathBuf| file.parent().and_then(|f| f.strip_prefix(root()).ok()).map(Path::to_owned);
    files.iter().filter_map(folder).collect()
}

#[test]
fn no_folder_is_left_out() {
    let run = ["nn", "lower_nn", "packed", "ckks", "estimate"];
    for folder in folders() {
        assert!(run.iter().any(|run| folder.starts_with(run)), "nothing runs {}", folder.display());
    }
}

/// Files of Rust under `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = |path: PathBuf| {
        if path.is_dir() { sources(&path) } else { vec![path] }
    };
    paths.flat_map(files).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// The paths in backticks that `text` names under `tests/filetests`, without the root.
fn named_folders(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|path| path.strip_prefix("tests/filetests/")).map(|path| path.trim_end_matches('/'))
}

/// Folders are called as the sources of the passes: `ckks/place_bootstraps` has what tests
/// `passes/src/ckks/place_bootstraps.rs`. Headers name them, and all that they name is there.
#[test]
fn headers_name_their_folders() {
    let passes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../passes/src");
    let (folders, mut wrong) = (folders(), String::new());
    let mut named = BTreeSet::new();
    for file in sources(&passes) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let file = file.strip_prefix(&passes).expect("a path below");
        let own = if file.ends_with("mod.rs") { file.with_file_name("") } else { file.with_extension("") };
        for folder in named_folders(&text).map(PathBuf::from) {
            if !folders.contains(&folder) {
                let _ = writeln!(wrong, "{} names {folder:?}, which has no filetests", file.display());
            } else if folder.components().ne(own.components()) {
                let _ = writeln!(wrong, "{} names {folder:?}, which is no folder of its", file.display());
            }
            named.insert(folder);
        }
    }
    for folder in folders.difference(&named) {
        let _ = writeln!(wrong, "no pass names {folder:?}");
    }
    assert!(named.len() >= 20, "only {} folders are named", named.len());
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_runner_notices_what_is_wrong() {
    let program = "func packed p {\n  input %0 : vec<1, 512>\n  %1 = rotate(%0) {steps=1}\n  %2 = rotate(%0) {steps=1}\n  \
                   %3 = add(%1, %2)\n  return %3\n}\n";
    let run = |head: &str, tail: &str| runner::run(&format!("{head}{program}{tail}"), false);
    let pass = "; test: common-subexpr\n";
    assert_eq!(run(&format!("{pass}; count: rotate 1\n; check: add(%1, %1)\n"), ""), Ok(None));
    let wrong = [
        "; count: rotate 2\n",
        "; check: mul\n",
        "; not: rotate\n",
        "; error: anything\n",
        "; note: anything\n",
    ];
    for wrong in wrong {
        assert!(run(&format!("{pass}{wrong}"), "").is_err(), "{wrong}");
    }
    assert!(run("; test: nothing\n", "").unwrap_err().contains("no pass"));
    assert!(run(pass, "; out:\n; func other\n").unwrap_err().contains("differs"));
    let blessed = runner::run(&format!("{pass}{program}; out:\n"), true).unwrap().unwrap();
    assert_eq!(runner::run(&blessed, false), Ok(None));
}

/// The programs that a pass of the nn stage may not change, changed: each directive is looked at.
#[test]
fn directives_of_networks_are_looked_at() {
    let program = "func nn p {\n  input %0 : f32[1, 4]\n  %1 = sigmoid(%0)\n  return %1\n}\n";
    let run = |head: &str| runner::run(&format!("; test: approximate\n{head}{program}"), false);
    assert_eq!(
        run("; smooth: degree 9\n; tolerance: 0.01\n; count: poly 1\n; note: has degree 9\n"),
        Ok(None)
    );
    assert!(run("; smooth: degree 1\n; tolerance: 0.001\n").unwrap_err().contains("results differ"));
    assert!(run("; smooth: degree 9\n; tolerance: 0.01\n; note: has degree 8\n").is_err());
    assert!(run("; smooth: error 2\n; error: smooth-error\n").is_ok());
    for wrong in ["; smooth: exact\n", "; relu: magic 3\n", "; images: many\n", "; intervals: 1\n"] {
        let message = run(wrong).unwrap_err();
        assert!(!message.contains("refused"), "{message}");
    }
}
