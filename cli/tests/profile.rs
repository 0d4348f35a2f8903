//! `fhec run --profile`: the trace against the program, the plan and the clock. The network is the
//! MNIST CNN with polynomial activations of degree 3: real parameters, small keys.

mod binary;

use std::fs;
use std::path::Path;

use fhec_compiler::profile::{TraceError, layer_seconds, read_trace};
use fhec_compiler::program;
use fhec_compiler::report::summary::human_seconds;
use serde_json::Value;

use binary::succeeds;

#[test]
fn a_trace_has_one_event_per_op_and_adds_up_to_the_run() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (program, trace) = (path("net.fhec"), path("trace.json"));
    let model = models.join("mnist_cnn_deg3.onnx");
    succeeds(&["compile", model.to_str().unwrap(), "-o", &program]);
    let digit = models.join("digits/digit_7_a.png");
    let report =
        succeeds(&["run", &program, "--input", digit.to_str().unwrap(), "--profile", &trace, "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let seconds = report["images"][0]["seconds"].as_f64().unwrap();

    let program_file = program::open(Path::new(&program), 98).unwrap();
    let plan = &program_file.plan;
    let json: Value = serde_json::from_slice(&fs::read(&trace).unwrap()).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let ops: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(ops.len(), plan.ops.len());
    let (mut end, mut total) = (0.0, 0.0);
    for (event, row) in ops.iter().zip(&plan.ops) {
        assert_eq!(event["name"], row.op.as_str());
        assert_eq!(event["args"]["op"], row.index);
        assert_eq!(event["args"]["predicted_seconds"], row.seconds);
        assert_eq!(event["args"]["level_out"], row.level_out);
        assert_eq!(event["args"]["layer"], plan.layers[row.layer].name.as_str());
        let [ts, dur] = ["ts", "dur"].map(|key| event[key].as_f64().unwrap());
        assert!(ts >= end, "op {} starts before the one before it ends", row.index);
        assert_eq!(event["args"]["fused"], dur == 0.0);
        (end, total) = (ts + dur, total + dur / 1e6);
    }
    // Ops run one after the other and nothing else takes long.
    assert!(total <= seconds && total > 0.9 * seconds, "{total} of {seconds} s");
    #[cfg(target_os = "linux")]
    {
        let counters: Vec<&Value> = events.iter().filter(|event| event["ph"] == "C").collect();
        assert_eq!(counters.len(), ops.len());
        let peak = report["peak_rss_bytes"].as_u64().unwrap();
        let mut before = 0;
        for counter in counters {
            let [now, most] =
                ["resident_bytes", "peak_bytes"].map(|key| counter["args"][key].as_u64().unwrap());
            assert!(now <= most && most <= peak && most >= before);
            before = most;
        }
    }

    // Per layer, from the report and from the file.
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), plan.layers.len());
    let read = read_trace(Path::new(&trace), &program_file).unwrap();
    let by_layer = layer_seconds(plan, &read);
    for ((layer, row), measured) in layers.iter().zip(&plan.layers).zip(&by_layer) {
        assert_eq!(layer["name"], row.name.as_str());
        assert_eq!(layer["predicted_seconds"], row.seconds);
        assert!((layer["measured_seconds"].as_f64().unwrap() - measured).abs() < 1e-9);
    }
    assert!((by_layer.iter().sum::<f64>() - total).abs() < 1e-6);

    // Plots with what was measured: one hatched bar per layer, as long as its time; a dashed line
    // of memory.
    let plots = path("plots");
    succeeds(&["inspect", &program, "--svg", &plots, "--html", &path("plan.html"), "--trace", &trace]);
    let time = fs::read_to_string(Path::new(&plots).join("time.svg")).unwrap();
    let bars: Vec<f64> = time
        .lines()
        .filter(|line| line.contains("s measured</title>"))
        .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(bars.len(), by_layer.len());
    let longest =
        plan.layers.iter().map(|layer| layer.seconds).chain(by_layer.iter().copied()).fold(0.0, f64::max);
    for (bar, seconds) in bars.iter().zip(&by_layer) {
        assert!((bar / 610.0 - seconds / longest).abs() < 1e-3);
    }
    let page = fs::read_to_string(path("plan.html")).unwrap();
    assert!(page.contains(&format!("{} measured", human_seconds(by_layer.iter().sum()))));
    #[cfg(target_os = "linux")]
    assert!(fs::read_to_string(Path::new(&plots).join("memory.svg")).unwrap().contains("stroke-dasharray"));

    // Traces of other programs and other files are refused.
    let other = path("other.fhec");
    succeeds(&["compile", model.to_str().unwrap(), "--security", "192", "-o", &other]);
    let other = program::open(Path::new(&other), 98).unwrap();
    assert!(matches!(read_trace(Path::new(&trace), &other), Err(TraceError::OtherProgram { .. })));
    let text = fs::read_to_string(&trace).unwrap();
    for damaged in
        ["[]".to_string(), text.replace("\"op\":0,", "\"op\":100000,"), text[..text.len() / 2].into()]
    {
        let file = path("damaged.json");
        fs::write(&file, damaged).unwrap();
        assert!(matches!(read_trace(Path::new(&file), &program_file), Err(TraceError::Malformed { .. })));
    }
}
