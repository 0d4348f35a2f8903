//! What the documentation says is true: the commands of the tutorial run as they stand, and the
//! guide to plans names every line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

fn documentation(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the documentation is there")
}

#[cfg(unix)]
#[test]
fn the_commands_of_the_tutorial_run_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("models"), folder.path().join("models")).unwrap();
    let tutorial = documentation("tutorial.md");
    let commands: Vec<&str> = tutorial.lines().filter_map(|line| line.strip_prefix("    $ ")).collect();
    assert!(commands.len() >= 12, "{}", commands.len());
    for command in commands {
        let (command, comment) = command.split_once('#').unwrap_or((command, ""));
        let code = match comment.trim() {
            "" => 0,
            comment => {
                comment.strip_prefix("exit code ").and_then(|code| code.parse().ok()).expect("an exit code")
            }
        };
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("fhec"), "{command}");
        let output = Command::new(env!("CARGO_BIN_EXE_fhec"))
            .env("FHEC_COSTS", "zen5")
            .args(words)
            .current_dir(folder.path())
            .output()
            .expect("fhec starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command}: {errors}");
        if command.starts_with("fhec decrypt") {
            let answer = String::from_utf8_lossy(&output.stdout);
            assert!(answer.contains("ship"), "{answer}");
        }
    }
    for file in ["resnet20.fhec", "trace.json", "plan.html", "keys/secret.key", "answer.ct", "new.fhec"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    assert!(!folder.path().join("slow.fhec").exists());
}

#[test]
fn the_guide_to_plans_explains_every_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("net.fhec");
    let (out, model) = (out.to_str().unwrap(), root().join("models/mnist_cnn_deg3.onnx"));
    let fhec = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fhec"))
            .env("FHEC_COSTS", "zen5")
            .args(arguments)
            .output()
            .expect("fhec starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let summary = fhec(&["compile", model.to_str().unwrap(), "-o", out]);
    let guide = documentation("plan.md");
    let explained = |word: &str| guide.contains(&format!("`{word}`"));
    let mut lines = 0;
    for line in summary.lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(explained(name), "`{name}` of the first screen");
        lines += 1;
    }
    assert!(lines >= 14, "{summary}");
    let layers = fhec(&["inspect", out, "--layers"]);
    let titles = layers.lines().find(|line| line.trim_start().starts_with("layer ")).unwrap();
    for title in titles.split("  ").map(str::trim).filter(|title| !title.is_empty() && *title != "layer") {
        assert!(explained(title), "`{title}` of --layers");
    }
    // Every option of inspect, diff and the limits of compile is in it.
    for command in ["inspect", "diff"] {
        let help = fhec(&[command, "--help"]);
        let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        let common = [
            "--json",
            "--verbose",
            "--quiet",
            "--threads",
            "--help",
            "--emit",
            "--profile",
            "--ignore-memory",
        ];
        for option in options.map(|option| option.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
            assert!(common.contains(&option) || guide.contains(option), "{option} of {command}");
        }
    }
    for limit in ["--max-latency", "--max-ram", "--max-bootstraps", "--min-agreement"] {
        assert!(explained(limit), "{limit}");
    }
}
