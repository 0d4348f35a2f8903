//! What `fhec inspect` says about a plan, against the program itself: counts and sums are made
//! again from the artifact.
//!
//! The programs are the ResNet-20 with its bootstraps and the MNIST CNN without any.

mod binary;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fhec_compiler::program;
use fhec_ir::ckks::Op;
use fhec_ir::func::StageOp;
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::plan::{KeyKind, Plan};
use fhec_ir::program::Program;

use binary::{fhec, succeeds};

struct Compiled {
    folder: tempfile::TempDir,
    program: Program,
}

impl Compiled {
    fn path(&self) -> PathBuf {
        self.folder.path().join("net.fhec")
    }

    fn inspect(&self, flags: &[&str]) -> String {
        let path = self.path();
        let mut arguments =
            vec!["--min-security", "98", "inspect", path.to_str().expect("paths of tests are text")];
        arguments.extend(flags);
        succeeds(&arguments)
    }
}

fn compile(model: &str, security: &str) -> Compiled {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(model);
    let out = folder.path().join("net.fhec");
    let [model, path] = [&model, &out].map(|path| path.to_str().expect("paths of tests are text"));
    succeeds(&["compile", model, "--security", security, "-o", path]);
    let program = program::open(&out, 98).expect("it was just written");
    Compiled { folder, program }
}

fn resnet20() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| compile("resnet20.onnx", "98"))
}

fn mnist() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| compile("mnist_cnn.onnx", "128"))
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn layers_share_out_the_ops_and_their_costs() {
    for compiled in [resnet20(), mnist()] {
        let Program { plan, schedule, .. } = &compiled.program;
        let mut seen = BTreeSet::new();
        for (index, layer) in plan.layers.iter().enumerate() {
            for &op in &layer.ops {
                assert!(seen.insert(op), "op {op} is in two layers");
                assert_eq!(plan.ops[op].layer, index);
            }
            let own = || layer.ops.iter().map(|&op| &plan.ops[op]);
            assert!(close(layer.seconds, own().map(|op| op.seconds).sum()), "{}", layer.name);
        }
        assert_eq!(seen.len(), schedule.ops().len());
        let seconds: f64 = plan.layers.iter().map(|layer| layer.seconds).sum();
        assert!(close(seconds, plan.predicted_seconds));
        let total = |of: fn(&fhec_ir::plan::LayerRow) -> usize| plan.layers.iter().map(of).sum::<usize>();
        assert_eq!(total(|layer| layer.rotations), plan.rotations);
        assert_eq!(total(|layer| layer.diagonals), plan.diagonals);
        assert_eq!(total(|layer| layer.multiplications), plan.multiplications);
        assert_eq!(total(|layer| layer.bootstraps), plan.bootstraps);
        // Every op of the network is in exactly one layer, the softmax of networks that have one
        // aside.
        let sources: Vec<&String> = plan.layers.iter().flat_map(|layer| &layer.sources).collect();
        assert_eq!(sources.len(), compiled.program.reference().unwrap().ops().len());
        assert_eq!(sources.iter().collect::<BTreeSet<_>>().len(), sources.len());
        let live = plan.ops.iter().map(|op| op.live_bytes).max().unwrap();
        assert_eq!(plan.resident_bytes + live, plan.predicted_peak_bytes);
        // Levels along ops are those of the program.
        for (row, data) in plan.ops.iter().zip(schedule.ops()) {
            assert_eq!(row.level_out, u32::from(schedule.ty(data.result).level));
        }
    }
}

#[test]
fn layers_are_named_as_in_the_model() {
    let plan = &mnist().program.plan;
    let names: Vec<&str> = plan.layers.iter().map(|layer| layer.name.as_str()).collect();
    let expected = [
        "/bn1/BatchNormalization_output_0",
        "/act1/Relu_output_0",
        "/bn2/BatchNormalization_output_0",
        "/act2/Relu_output_0",
        "logits",
    ];
    assert_eq!(names, expected);
    // A pool before a convolution is folded into it.
    let kinds = ["average_pool", "conv2d", "batch_norm"];
    assert_eq!(plan.layers[2].sources.len(), kinds.len());
    assert!(plan.layers[2].sources.iter().zip(kinds).all(|(source, kind)| source.starts_with(kind)));
    let text = mnist().inspect(&["--layers"]);
    for layer in &plan.layers {
        let row = text
            .lines()
            .find(|line| line.contains(&format!("  {}  ", fhec_compiler::report::names::short(&layer.name))));
        let row = row.unwrap_or_else(|| panic!("{} has no row in\n{text}", layer.name));
        assert!(row.contains(&format!("{:.1}", layer.seconds * 1e3)), "{row}");
        // Between them, where a layer is refreshed, the level it is refreshed to.
        let levels = row.split_whitespace().find(|word| word.contains('>')).expect("levels have an arrow");
        let (from, to) = levels.split_once('>').expect("they have");
        let from = from.split('^').next().expect("there is a first");
        assert_eq!((from, to), (&*layer.level_in.to_string(), &*layer.level_out.to_string()), "{row}");
    }
}

#[test]
fn every_bootstrap_says_what_needs_it_and_what_it_would_cost_elsewhere() {
    let compiled = resnet20();
    let Program { plan, schedule, .. } = &compiled.program;
    let ops: Vec<usize> = schedule
        .ops()
        .iter()
        .enumerate()
        .filter_map(|(index, data)| matches!(data.op, Op::Bootstrap { .. }).then_some(index))
        .collect();
    let sites: Vec<usize> = plan.bootstrap_sites.iter().map(|site| site.op).collect();
    assert_eq!(sites, ops);
    assert!(!ops.is_empty());
    let definitions = schedule.definitions();
    let values: BTreeSet<&str> = plan.bootstrap_sites.iter().map(|site| site.value.as_str()).collect();
    for site in &plan.bootstrap_sites {
        // The value refreshed is the operand of the op.
        let operand = schedule.ops()[site.op].op.operands()[0];
        assert_eq!(schedule.value_name(operand), Some(site.value.as_str()));
        assert_eq!(plan.ops[definitions[operand.index()].unwrap()].level_out, site.level_before);
        assert!(site.level_before >= site.levels_reserved && site.level_after > site.level_before);
        // Somebody cannot do with the levels that were left.
        let short =
            |need: &&fhec_ir::plan::Need| need.level > site.level_before && need.level <= site.level_after;
        assert!(site.needed_by.iter().any(|need| short(&need) && need.levels_used > 0), "{}", site.value);
        // A refreshed value is read only by those that need it or can use it.
        assert!(!site.needed_by.is_empty());
        // The placement is optimal: anything else costs as much or more, and forbidding more never
        // costs less.
        let [value, layer] = [&site.without_value, &site.without_layer];
        let extra = value.as_ref().map_or(f64::INFINITY, |other| other.extra_seconds);
        let extra_layer = layer.as_ref().map_or(f64::INFINITY, |other| other.extra_seconds);
        assert!(extra >= -1e-9 && extra_layer >= extra - 1e-9, "{}: {extra}, {extra_layer}", site.value);
        for other in [value, layer].into_iter().flatten() {
            assert!(!other.instead.contains(&site.value));
            assert!(other.instead.iter().all(|name| !values.contains(name.as_str())));
            // Each further bootstrap costs its time; nothing in this network is cheap enough to
            // hide one.
            let more = other.bootstraps as f64 - plan.bootstraps as f64;
            assert!(other.extra_seconds > more * site.seconds * 0.9, "{}", site.value);
        }
    }
    // Somewhere the second best place costs something: otherwise the numbers tell nothing.
    let costs = |site: &&fhec_ir::plan::BootstrapRow| {
        site.without_layer.as_ref().is_some_and(|other| other.extra_seconds > 0.001)
    };
    // Where polynomials undo the sine, only what they read may be refreshed: there may be no other
    // place at all, which is then said.
    let undone = |&op: &usize| matches!(schedule.ops()[op].op, Op::Bootstrap { sine: Some(_), .. });
    let nowhere = plan.bootstrap_sites.iter().all(|site| site.without_layer.is_none());
    let text = compiled.inspect(&["--bootstraps"]);
    if ops.iter().all(undone) && nowhere {
        assert_eq!(
            text.matches("layer that makes it: there is no way to place the others").count(),
            ops.len()
        );
    } else {
        assert!(plan.bootstrap_sites.iter().any(|site| costs(&site)));
    }
    assert_eq!(text.matches(" refreshes ").count(), ops.len());
    assert_eq!(text.matches("needed by op ").count(), ops.len());
    let shallow = compile("mnist_cnn_deg3.onnx", "128");
    assert!(shallow.inspect(&["--bootstraps"]).contains("none: one modulus chain holds"));
}

#[test]
fn keys_add_up_and_name_their_users() {
    for compiled in [resnet20(), mnist()] {
        let Program { plan, schedule, interface, .. } = &compiled.program;
        let needed = KeyDemand::of(schedule, &interface.params).unwrap();
        assert_eq!(needed.bytes(&interface.params), plan.key_bytes);
        assert_eq!(plan.evaluation_keys.iter().map(|key| key.bytes).sum::<u64>(), plan.key_bytes);
        let rotations: Vec<(usize, u32)> = plan
            .evaluation_keys
            .iter()
            .filter(|key| key.kind == KeyKind::Rotation)
            .map(|key| (key.steps.unwrap(), key.level))
            .collect();
        let expected: Vec<(usize, u32)> =
            needed.rotations.iter().map(|(&steps, &level)| (steps, u32::from(level))).collect();
        assert_eq!(rotations, expected);
        let level = |kind| plan.evaluation_keys.iter().find(|key| key.kind == kind).map(|key| key.level);
        assert_eq!(level(KeyKind::Relinearization), needed.relinearization.map(u32::from));
        assert_eq!(
            level(KeyKind::Encapsulation),
            needed.encapsulation.as_ref().map(|pair| u32::from(pair.level))
        );
        for key in &plan.evaluation_keys {
            assert!(key.bootstraps || key.ops > 0, "nobody uses {}", key.name());
            assert_eq!(key.ops == 0, key.layers.is_empty());
        }
        let counted = plan.evaluation_keys.iter().filter(|key| key.kind != KeyKind::Encapsulation).count();
        assert_eq!(counted, plan.keys);
        let text = compiled.inspect(&["--keys"]);
        assert!(text.contains(&format!("\n{counted} keys")), "{text}");
        assert!(plan.evaluation_keys.iter().all(|key| text.contains(&key.name())));
    }
}

#[test]
fn every_value_has_a_level_and_a_bar_as_long() {
    let compiled = resnet20();
    let func = &compiled.program.schedule;
    let text = compiled.inspect(&["--levels"]);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first().is_some_and(|word| word.starts_with('%')))
        .collect();
    let values = func.inputs().iter().copied().chain(func.ops().iter().map(|data| data.result));
    assert_eq!(rows.len(), func.value_count());
    for (row, value) in rows.iter().zip(values) {
        let level = usize::from(func.ty(value).level);
        assert_eq!(row[0], value.to_string());
        assert_eq!(row[1], level.to_string());
        if level > 0 {
            assert_eq!(row[2], "=".repeat(level));
        }
    }
    assert_eq!(text.matches("= bootstrap ").count(), compiled.program.plan.bootstraps);
}

#[test]
fn layouts_and_weights_are_per_layer() {
    let compiled = mnist();
    let plan = &compiled.program.plan;
    let maps = plan.ops.iter().filter(|op| op.op == "linear_map").count();
    let rows = plan.layers.iter().filter(|layer| !layer.layout.is_empty()).count();
    assert_eq!(rows, maps);
    let text = compiled.inspect(&["--layouts"]);
    for layer in plan.layers.iter().filter(|layer| !layer.layout.is_empty()) {
        assert!(text.lines().any(|line| line.contains(&layer.layout)), "{text}");
        assert!(layer.plaintext_bytes > 0);
    }
}

#[test]
fn the_graph_has_every_op_and_every_use() {
    for compiled in [resnet20(), mnist()] {
        let func = &compiled.program.schedule;
        let graph = compiled.inspect(&["--dot"]);
        assert!(graph.starts_with("digraph ") && graph.ends_with("}\n"));
        assert_eq!(graph.matches('{').count(), graph.matches('}').count());
        let uses: usize = func.ops().iter().map(|data| data.op.operands().len()).sum();
        assert_eq!(graph.matches(" -> ").count(), uses);
        assert_eq!(graph.matches(" [ label=").count(), func.value_count());
        assert_eq!(graph.matches("shape=house").count(), compiled.program.plan.bootstraps);
    }
}

/// Checks that elements are closed in the order they were opened, and returns how many there are of
/// each.
fn elements(xml: &str) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    let mut open: Vec<&str> = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "unescaped text: {text}");
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        *counts.entry(name.to_string()).or_default() += 1;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    counts
}

#[test]
fn plots_show_the_levels_of_the_program() {
    for compiled in [resnet20(), mnist()] {
        let Program { plan, .. } = &compiled.program;
        let folder = compiled.folder.path().join("plots");
        compiled.inspect(&["--svg", folder.to_str().unwrap()]);
        let read = |name: &str| std::fs::read_to_string(folder.join(name).with_extension("svg")).unwrap();
        for name in ["network", "levels", "time", "memory", "errors"] {
            let svg = read(name);
            assert!(svg.starts_with("<svg xmlns="), "{name}");
            assert_eq!(elements(&svg)["svg"], 1, "{name}");
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
        }
        // Bootstraps are the thick lines: their ends, turned back into levels, are those of the
        // plan.
        let levels = read("levels");
        let top = plan.ops.iter().map(|op| op.level_in.max(op.level_out)).max().unwrap();
        let level = |y: f64| f64::from(top) * (1.0 - (y - 30.0) / 260.0);
        let rises: Vec<(u32, u32)> = levels
            .lines()
            .filter(|line| line.starts_with("<polyline") && line.contains("stroke-width=\"5\""))
            .map(|line| {
                let points = line.split('"').nth(1).unwrap();
                let ys =
                    points.split(' ').map(|point| point.split_once(',').unwrap().1.parse::<f64>().unwrap());
                let levels: Vec<u32> = ys.map(|y| level(y).round() as u32).collect();
                (levels[0], levels[1])
            })
            .collect();
        let expected: Vec<(u32, u32)> =
            plan.bootstrap_sites.iter().map(|site| (site.level_before, site.level_after)).collect();
        assert_eq!(rises, expected);
        assert_eq!(elements(&levels).get("polygon").copied().unwrap_or(0), plan.bootstraps);
        // One triangle per layer that bootstraps, one circle for each of the others.
        let errors = elements(&read("errors"));
        let refreshed = plan.layers.iter().filter(|layer| layer.bootstraps > 0).count();
        assert_eq!(errors.get("polygon").copied().unwrap_or(0), refreshed);
        // One more circle is part of a pattern.
        assert_eq!(errors["circle"], 1 + plan.layers.len() - refreshed);
        // A bar per layer, the share of bootstraps apart, whose lengths add up to the predicted
        // time.
        let time = read("time");
        let widths = time.lines().filter(|line| line.starts_with("<rect") && line.contains("<title>"));
        let widths: Vec<f64> = widths
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2 * plan.layers.len());
        let longest = plan.layers.iter().map(|layer| layer.seconds).fold(0.0, f64::max);
        let seconds = widths.iter().sum::<f64>() / 610.0 * longest;
        assert!((seconds / plan.predicted_seconds - 1.0).abs() < 0.01, "{seconds}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_takes_names_as_text() {
    let compiled = resnet20();
    let plan = &compiled.program.plan;
    let path = compiled.folder.path().join("plan.html");
    compiled.inspect(&["--html", path.to_str().unwrap()]);
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("default-src 'none'"));
    let outside = page.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
    for word in ["http:", "https:", "src=", "href=", "@import", "url(", "fetch(", "<link", "<iframe"] {
        assert!(!outside.contains(word), "{word}");
    }
    assert_eq!(page.matches("<svg ").count(), 5);
    let rows: usize = [&plan.layers.len(), &plan.bootstrap_sites.len(), &plan.evaluation_keys.len()]
        .into_iter()
        .chain([&plan.considered.len()])
        .sum();
    assert_eq!(page.matches("<tr><td").count(), rows);
    for layer in &plan.layers {
        assert!(page.contains(&fhec_compiler::report::names::short(&layer.name)), "{}", layer.name);
    }

    // Names come from a model, and models from anywhere.
    let mut hostile = compiled.program.clone();
    let name = "<script>alert('x')</script>\"&";
    hostile.plan.layers[0].name = name.into();
    hostile.plan.layers[0].sources.push(name.into());
    hostile.plan.bootstrap_sites[0].value = name.into();
    hostile.plan.network = name.into();
    hostile.plan.notes.push(name.into());
    let page = fhec_compiler::report::page::page(&hostile, None);
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
    for plot in fhec_compiler::report::plot::plots(&hostile, None) {
        elements(&plot.svg);
    }
}

#[test]
fn the_first_screen_fits_a_screen_and_says_what_the_plan_says() {
    for compiled in [resnet20(), mnist()] {
        let plan = &compiled.program.plan;
        let text = compiled.inspect(&[]);
        assert!(text.lines().count() <= 24, "{text}");
        let row = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).to_string()
        };
        assert!(row("security").contains(&format!("{} bits", plan.security_bits)));
        assert!(row("security").contains("lattice-estimator"));
        assert!(row("ring").contains(&format!("2^{}", plan.log_n)));
        assert!(row("bootstraps").contains(&plan.bootstraps.to_string()));
        assert!(row("rotations").contains(&plan.rotations.to_string()));
        let predicted = match plan.predicted_seconds {
            seconds if seconds < 1.0 => format!("{:.2} ms predicted", 1e3 * seconds),
            seconds => format!("{seconds:.1} s predicted"),
        };
        assert!(row("time").contains(&predicted));
    }
    // 598 of 600 images, as models/resnet20.activations.json has it.
    assert!(resnet20().inspect(&[]).contains("99.67 % of 600 sample images"));
    assert!(mnist().inspect(&[]).contains("not measured when compiled"));
}

#[test]
fn plans_without_what_came_later_are_still_read() {
    let json = resnet20().program.plan.to_json().unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let plan = value.as_object_mut().unwrap();
    for newer in ["layers", "bootstrap_sites", "evaluation_keys", "agreement", "resident_bytes"] {
        assert!(plan.remove(newer).is_some(), "{newer}");
    }
    let old = Plan::from_json(&value.to_string()).unwrap();
    assert!(old.layers.is_empty() && old.bootstraps == resnet20().program.plan.bootstraps);
    let mut program = resnet20().program.clone();
    program.plan = old.clone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.fhec");
    program::write(&program, &path).unwrap();
    let path = path.to_str().unwrap();
    assert!(
        succeeds(&["inspect", path, "--min-security", "98"])
            .contains(&format!("bootstraps  {}", old.bootstraps))
    );
    let refused = fhec(&["inspect", path, "--layers", "--min-security", "98"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("compile the network again"));
}

#[test]
fn every_field_of_a_plan_is_documented() {
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let documentation = std::fs::read_to_string(documentation).unwrap();
    fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    found.insert(name.clone());
                    names(value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let json: serde_json::Value = serde_json::from_str(&resnet20().inspect(&["--json"])).unwrap();
    assert_eq!(json["schema_version"], fhec_ir::plan::SCHEMA_VERSION);
    names(&json, &mut found);
    assert!(found.len() > 60, "{}", found.len());
    let absent: Vec<&String> =
        found.iter().filter(|name| !documentation.contains(&format!("`{name}`"))).collect();
    assert!(absent.is_empty(), "not in docs/json.md: {absent:?}");
}
