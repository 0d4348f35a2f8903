//! Runs every text program under `filetests/packed` and `filetests/ckks`. `FHEC_BLESS=1` rewrites expected outputs.

use std::fmt::Write;
use std::path::Path;

use fhec_tests::runner;

#[test]
fn packed_and_ckks_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let bless = std::env::var_os("FHEC_BLESS").is_some();
    let (mut failures, mut count) = (String::new(), 0);
    for folder in ["packed", "ckks"] {
        for file in runner::files(&root.join(folder)).expect("the folder of filetests") {
            count += 1;
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
    }
    assert!(count >= 20, "only {count} filetests");
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn the_runner_notices_what_is_wrong() {
    let program = "func packed p {\n  input %0 : vec<1, 512>\n  %1 = rotate(%0) {steps=1}\n  %2 = rotate(%0) {steps=1}\n  \
                   %3 = add(%1, %2)\n  return %3\n}\n";
    let run = |head: &str, tail: &str| runner::run(&format!("{head}{program}{tail}"), false);
    let pass = "; test: common-subexpr\n";
    assert_eq!(run(&format!("{pass}; count: rotate 1\n; check: add(%1, %1)\n"), ""), Ok(None));
    for wrong in ["; count: rotate 2\n", "; check: mul\n", "; not: rotate\n", "; error: anything\n"] {
        assert!(run(&format!("{pass}{wrong}"), "").is_err(), "{wrong}");
    }
    assert!(run("; test: nothing\n", "").unwrap_err().contains("no pass"));
    assert!(run(pass, "; out:\n; func other\n").unwrap_err().contains("differs"));
    let blessed = runner::run(&format!("{pass}{program}; out:\n"), true).unwrap().unwrap();
    assert_eq!(runner::run(&blessed, false), Ok(None));
}
