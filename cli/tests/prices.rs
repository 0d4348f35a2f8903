//! Prices of operations: measured once, kept, named in the plan, and refined by runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fhec_compiler::costs::{Machine, read, write};
use fhec_passes::analysis::cost::CostTable;
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

/// Prices of this machine as a compile would have kept them, but for what runs are said to have
/// shown of linear maps: a thousand times what they take, which no other work makes up for.
#[test]
fn runs_refine_the_prices_that_their_plan_was_made_with() {
    let home = tempfile::tempdir().unwrap();
    let machine = Machine::here();
    let kept = home.path().join(".cache/fhec/costs").join(format!("{}-2.json", machine.digest()));
    let runs = [("linear_map".to_string(), 1000.0)].into();
    let table = CostTable { machine: machine.in_words(), threads: 2, runs, ..CostTable::default() };
    write(&kept, &table).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_string();
    let fhec = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
        command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("FHEC_COSTS");
        let output = command.args(arguments).args(["--threads", "2"]).output().expect("fhec starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let (model, digit) = (models.join("mnist_cnn_deg3.onnx"), models.join("digits/digit_7_a.png"));
    let compile = |costs: &str| {
        fhec(&["compile", model.to_str().unwrap(), "--costs", costs, "-o", &path("net.fhec")]);
        fs::read(path("net.fhec")).unwrap()
    };
    let run = || drop(fhec(&["run", &path("net.fhec"), "--input", digit.to_str().unwrap()]));

    let built_in = compile("zen5");
    run();
    assert_eq!(read(&kept).unwrap(), table, "a plan of other prices changes nothing");
    let copy = path("copy.json");
    fs::copy(&kept, &copy).unwrap();
    let before = compile("auto");
    run();
    let once = read(&kept).unwrap();
    assert!(once.of_runs("linear_map") < 1000.0, "{:?}", once.runs);
    assert_eq!(once.digest(), table.digest());
    assert!(once.in_words().ends_with("refined by runs"));
    // Another compile takes what was learned.
    let after = compile("auto");
    assert!(before != after && compile("auto") == after);
    // Nothing else is touched: a copy holds the prices, and what is built in gives the same bytes
    // as ever.
    assert_eq!(read(Path::new(&copy)).unwrap(), table);
    assert!(compile("zen5") == built_in && compile(&copy) == before);
    // Evaluations by roles teach the same.
    write(&kept, &table).unwrap();
    let (keys, ciphertext) = (path("keys"), path("image.ct"));
    fhec(&["keygen", &path("net.fhec"), "--dir", &keys]);
    let digit = digit.to_str().unwrap();
    fhec(&["encrypt", &path("net.fhec"), "--keys", &keys, "--input", digit, "-o", &ciphertext]);
    fhec(&["eval", &path("net.fhec"), "--keys", &keys, &ciphertext, "-o", &path("answer.ct")]);
    assert!(read(&kept).unwrap().of_runs("linear_map") < 1000.0);
}
