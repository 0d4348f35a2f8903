//! Completions, manual pages, and what `--version` says.

use std::fs;
use std::process::{Command, Output};

fn fhec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fhec")).args(args).output().unwrap()
}

fn text(args: &[&str]) -> String {
    let output = fhec(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn completions_know_every_flag_of_a_compile() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = text(&["completions", shell]);
        for word in ["compile", "max-ram", "bootstrap-placement", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(fhec(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn bash_reads_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("fhec.bash");
    fs::write(&script, text(&["completions", "bash"])).unwrap();
    let Ok(status) = Command::new("bash").arg("-n").arg(&script).status() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert!(status.success());
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man");
    text(&["man", "--dir", dir.to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(page("fhec.1"), text(&["man"]));
    assert!(!page("fhec.1").contains("instruction set"), "pages are the same wherever they are written");
    for name in ["compile", "keygen", "man", "completions", "bench-bootstrap"] {
        assert!(page(&format!("fhec-{name}.1")).starts_with(".ie"), "{name}");
    }
    assert!(page("fhec-compile.1").contains("\\-\\-max\\-ram"));
    let occupied = folder.path().join("file");
    fs::write(&occupied, "").unwrap();
    let refused = fhec(&["man", "--dir", occupied.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("cannot write manual pages to"));
}

#[test]
fn the_version_names_build_and_instruction_set() {
    let long = text(&["--version"]);
    let lines: Vec<&str> = long.lines().collect();
    assert_eq!(lines[0], format!("fhec {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].contains(" build for "), "{long}");
    assert!(lines[2].starts_with("instruction set ") && lines[2].contains("scalar"), "{long}");
    assert_eq!(text(&["-V"]).lines().count(), 1);
}
