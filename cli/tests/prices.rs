//! Prices of operations: measured once, kept, and named in the plan.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A compile of a small network, in a home of its own.
fn compile(home: &Path, costs: &str, timings: Option<&Path>) -> Output {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist_cnn_deg3.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    command.env("HOME", home).env_remove("XDG_CACHE_HOME").env("FHEC_COSTS", costs);
    command.arg("compile").arg(model).args(["--json", "-o"]).arg(home.join("net.fhec"));
    if let Some(path) = timings {
        command.arg("--timings").arg(path);
    }
    command.output().expect("fhec starts")
}

fn table(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    plan["cost_table"].as_str().expect("a name").to_string()
}

#[test]
fn prices_are_measured_once_or_the_plan_says_why_not() {
    let home = tempfile::tempdir().unwrap();
    let first = compile(home.path(), "auto", None);
    let folder = home.path().join(".cache/fhec/costs");
    let built_in = table(&compile(home.path(), "zen5", None));
    match fs::read_dir(&folder).ok().and_then(|mut files| files.next()) {
        // The machine had time: the table is kept, and the next compile takes it.
        Some(file) => {
            let file = file.unwrap().path();
            let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert!(table(&first).starts_with(kept["machine"].as_str().unwrap()));
            let named = compile(home.path(), file.to_str().unwrap(), None);
            let program = fs::read(home.path().join("net.fhec")).unwrap();
            let again = compile(home.path(), "auto", None);
            assert_eq!((table(&again), table(&named)), (table(&first), table(&first)));
            // The same prices give the same bytes.
            assert_eq!(fs::read(home.path().join("net.fhec")).unwrap(), program);
            // What is damaged is measured anew.
            fs::write(&file, "{}").unwrap();
            table(&compile(home.path(), "auto", None));
            let refused = compile(home.path(), file.with_extension("txt").to_str().unwrap(), None);
            assert!(!refused.status.success());
        }
        None => {
            assert_eq!(table(&first), built_in);
            let errors = String::from_utf8_lossy(&first.stderr);
            assert!(errors.contains("prices could not be measured"), "{errors}");
        }
    }
}

#[test]
fn timings_tell_all_of_a_compile() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("timings.json");
    table(&compile(home.path(), "zen5", Some(&path)));
    let timings: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let total = timings["seconds"].as_f64().unwrap();
    let steps = timings["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    for step in ["import", "simplify", "lower", "schedule", "plan"] {
        assert!(names.contains(&step), "{step} is not among {names:?}");
    }
    for step in steps {
        let (seconds, ended) = (step["seconds"].as_f64().unwrap(), step["ended"].as_f64().unwrap());
        assert!(0.0 <= seconds && seconds <= ended && ended <= total, "{step} of {total}");
    }
}
