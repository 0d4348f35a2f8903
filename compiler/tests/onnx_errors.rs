//! Damaged, hostile and unsupported models: each is one clear error, never a panic.

mod onnx_models;

use fhec_compiler::build::{self, Calibration, CompileError, Request};
use fhec_compiler::data::ImageArray;
use fhec_compiler::onnx::{self, ImportError, ImportOptions};
use fhec_ir::program::Preprocess;
use onnx_models::*;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{ModelProto, StringStringEntryProto};
use proptest::prelude::*;
use protobuf::Message;

fn from_bytes(bytes: &[u8]) -> Result<onnx::Imported, ImportError> {
    onnx::import_bytes(bytes, None, &ImportOptions::default())
}

/// The message of the error that importing gives.
fn refusal(model: &ModelProto) -> String {
    import(model).map(|_| ()).unwrap_err().to_string()
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// `y = op(x)` with `x` of shape `[1, 2, 4, 4]`.
fn one_node(op: &str) -> ModelProto {
    let mut m = model(13, &[1, 2, 4, 4]);
    node(&mut m, op, &["x"], &["y"]);
    m
}

#[test]
fn the_small_network_imports() {
    let imported = import(&small_network()).unwrap();
    assert_eq!((imported.opset, imported.producer.as_str()), (9, "test"));
    assert_eq!(imported.func.ty(imported.func.outputs()[0]).shape, [1, 3]);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small_network().write_to_bytes().unwrap();
    let mut truncated = 0;
    for length in 0..bytes.len() {
        match from_bytes(&bytes[..length]) {
            // What follows the graph may be missing; so may an empty tail of it.
            Ok(_) => panic!("{length} of {} bytes import", bytes.len()),
            Err(ImportError::Truncated { length: found, .. }) => {
                assert_eq!(found, length);
                truncated += 1;
            }
            Err(_) => (),
        }
    }
    assert!(truncated > bytes.len() * 9 / 10, "{truncated} of {}", bytes.len());
    let message = from_bytes(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
    assert_says(&message, &["truncated", "download it again"]);
}

#[test]
fn files_of_other_kinds_are_named() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n....", "PNG"),
        (b"PK\x03\x04....", "PyTorch"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"hello world, this is a text", "not an ONNX model"),
        (b"\x08\x07", "no graph"),
    ];
    for (bytes, part) in cases {
        let error = from_bytes(bytes).unwrap_err();
        assert!(matches!(error, ImportError::NotOnnx { .. }), "{error:?}");
        assert_says(&error.to_string(), &[part]);
    }
    let error = onnx::import("/nonexistent/model.onnx").unwrap_err();
    assert_says(&error.to_string(), &["cannot read", "/nonexistent/model.onnx"]);
}

#[test]
fn opsets_out_of_range() {
    for (version, inside) in [(5, false), (6, true), (28, true), (29, false), (-1, false), (i64::MAX, false)]
    {
        let mut m = one_node("Relu");
        m.opset_import[0].version = version;
        match import(&m) {
            Ok(_) => assert!(inside, "{version}"),
            Err(ImportError::Opset { found, .. }) => assert!(!inside && found == version),
            Err(other) => panic!("{other}"),
        }
    }
    let mut m = one_node("Relu");
    m.opset_import.clear();
    assert_says(&refusal(&m), &["no version of the standard operator set"]);
}

#[test]
fn unsupported_operators_name_node_opset_and_alternatives() {
    let message = refusal(&one_node("Hardmax"));
    assert_says(&message, &["`Hardmax_0`", "opset 13", "LeakyRelu", "Supported are: Abs, Add, "]);
    let mut foreign = one_node("FusedConv");
    foreign.graph.mut_or_insert_default().node[0].domain = "com.microsoft".into();
    assert_says(&refusal(&foreign), &["com.microsoft.FusedConv", "standard operators"]);
    // Even a known name of another domain.
    let mut foreign = one_node("Relu");
    foreign.graph.mut_or_insert_default().node[0].domain = "example".into();
    assert!(matches!(import(&foreign), Err(ImportError::UnsupportedOp { .. })));
}

#[test]
fn unsupported_nodes_that_nothing_needs_do_not_matter() {
    let mut m = one_node("Relu");
    node(&mut m, "TopK", &["x"], &["unused"]);
    import(&m).unwrap();
}

#[test]
fn unsupported_forms() {
    let mut unknown = one_node("Relu");
    attr(&mut unknown.graph.mut_or_insert_default().node[0], "slope", Value::Float(1.0));
    assert_says(&refusal(&unknown), &["attribute `slope`", "not supported"]);

    let mut mistyped = one_node("LeakyRelu");
    attr(&mut mistyped.graph.mut_or_insert_default().node[0], "alpha", Value::Int(1));
    assert_says(&refusal(&mistyped), &["`alpha` has type INT, not FLOAT"]);

    let mut training = model(15, &[1, 1, 2, 2]);
    for name in ["s", "b", "m", "v"] {
        store(&mut training, floats(name, &[1], &[1.0]));
    }
    let norm = node(&mut training, "BatchNormalization", &["x", "s", "b", "m", "v"], &["y"]);
    attr(norm, "training_mode", Value::Int(1));
    assert_says(&refusal(&training), &["training mode", "model.eval()"]);

    let mut variable_weight = model(13, &[1, 2, 4, 4]);
    node(&mut variable_weight, "Conv", &["x", "x"], &["y"]);
    assert_says(&refusal(&variable_weight), &["kernel that depends on the network's input", "initializer"]);

    let mut second_output = one_node("MaxPool");
    attr(&mut second_output.graph.mut_or_insert_default().node[0], "kernel_shape", Value::Ints(vec![2, 2]));
    second_output.graph.mut_or_insert_default().node[0].output.push("places".into());
    import(&second_output).unwrap();
    let mut decision = one_node("Relu");
    node(&mut decision, "Greater", &["x", "y"], &["z"]);
    decision.graph.mut_or_insert_default().output[0].name = "z".into();
    assert_says(&refusal(&decision), &["Greater_1", "decision about the network's values", "Clip"]);
    second_output.graph.mut_or_insert_default().output[0].name = "places".into();
    assert_says(&refusal(&second_output), &["`places`", "optional output"]);
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for tensor in ["kernel", "bias", "variance", "weight", "offset"] {
            let mut m = small_network();
            let weights = &mut m.graph.mut_or_insert_default().initializer;
            weights.iter_mut().find(|t| t.name == tensor).unwrap().float_data[2] = value;
            match import(&m) {
                Err(ImportError::NotFinite { tensor: named, position, value: found }) => {
                    assert_eq!((named.as_str(), position, found.to_bits()), (tensor, 2, value.to_bits()));
                }
                other => panic!("{tensor}: {other:?}"),
            }
        }
    }
    // One that is not used does not matter; one that computing constants makes infinite does.
    let mut unused = one_node("Relu");
    store(&mut unused, floats("spare", &[1], &[f32::NAN]));
    import(&unused).unwrap();
    let mut computed = model(13, &[1, 1]);
    store(&mut computed, floats("a", &[1], &[3e38]));
    node(&mut computed, "Add", &["a", "a"], &["b"]);
    node(&mut computed, "Mul", &["x", "b"], &["y"]);
    assert_says(&refusal(&computed), &["tensor `b`", "inf", "element 0"]);
}

#[test]
fn broken_graphs() {
    let mut missing = one_node("Relu");
    missing.graph.mut_or_insert_default().node[0].input[0] = "nowhere".into();
    assert_says(&refusal(&missing), &["Relu_0", "`nowhere`"]);

    let mut no_output = one_node("Relu");
    no_output.graph.mut_or_insert_default().output[0].name = "elsewhere".into();
    assert!(matches!(import(&no_output), Err(ImportError::MissingTensor { .. })));
    no_output.graph.mut_or_insert_default().output.clear();
    assert_says(&refusal(&no_output), &["no output"]);

    let mut cycle = model(13, &[1]);
    node(&mut cycle, "Add", &["x", "b"], &["a"]);
    node(&mut cycle, "Relu", &["a"], &["b"]);
    node(&mut cycle, "Relu", &["a"], &["y"]);
    assert!(matches!(import(&cycle), Err(ImportError::Cycle { .. })));
    let mut itself = model(13, &[1]);
    node(&mut itself, "Add", &["x", "y"], &["y"]);
    assert!(matches!(import(&itself), Err(ImportError::Cycle { .. })));

    let mut twice = one_node("Relu");
    node(&mut twice, "Relu", &["x"], &["y"]);
    assert_says(&refusal(&twice), &["`y` is defined twice"]);
    let mut shadowed = one_node("Relu");
    store(&mut shadowed, floats("y", &[1], &[1.0]));
    assert_says(&refusal(&shadowed), &["`y` is defined twice"]);

    // Out of order is not broken.
    let mut unordered = model(13, &[1]);
    node(&mut unordered, "Relu", &["a"], &["y"]);
    node(&mut unordered, "Sigmoid", &["x"], &["a"]);
    import(&unordered).unwrap();
}

#[test]
fn shapes_that_do_not_fit() {
    let mut m = small_network();
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::FLOAT, &[1, 2, 6, 6]);
    assert_says(&refusal(&m), &["Conv_0", "[4, 1, 3, 3]", "2 input channels"]);
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::FLOAT, &[1, 1, 8, 8]);
    assert_says(&refusal(&m), &["Gemm_9", "[3, 36]", "64 inputs"]);
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::FLOAT, &[1, 1, 0, 6]);
    assert_says(&refusal(&m), &["input `x`", "dimension 2 (`open`) is open"]);
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::BOOL, &[1, 1, 6, 6]);
    assert_says(&refusal(&m), &["input `x`", "BOOL"]);
    // Bytes are numbers like others, of their range.
    assert_eq!(import(&small_network()).unwrap().input_limits, [None]);
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::UINT8, &[1, 1, 6, 6]);
    assert_eq!(import(&m).unwrap().input_limits, [Some([0, 255])]);
    // A shape given by the caller fills what the model leaves open.
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::FLOAT, &[0, 0, 0, 0]);
    let mut options = ImportOptions::default();
    options.input_shapes.insert("x".into(), vec![2, 1, 6, 6]);
    let imported = onnx::import_bytes(&m.write_to_bytes().unwrap(), None, &options).unwrap();
    assert_eq!(imported.func.ty(imported.func.outputs()[0]).shape, [2, 3]);
}

/// A batch that the file fixes, in a target of Reshape as well, is changed with the input's shape.
#[test]
fn another_batch_reaches_targets_of_reshape() {
    let mut m = model(13, &[6, 2, 4, 4]);
    store(&mut m, ints("target", &[2], &[6, -1]));
    node(&mut m, "Reshape", &["x", "target"], &["y"]);
    let bytes = m.write_to_bytes().unwrap();
    let with = |shape: &[usize]| {
        let mut options = ImportOptions::default();
        options.input_shapes.insert("x".into(), shape.to_vec());
        onnx::import_bytes(&bytes, None, &options).map(|m| m.func.ty(m.func.outputs()[0]).shape.clone())
    };
    assert_eq!(with(&[6, 2, 4, 4]).unwrap(), [6, 32]);
    assert_eq!(with(&[1, 2, 4, 4]).unwrap(), [1, 32]);
    // What fits as it stands is left as it is.
    assert_eq!(with(&[3, 2, 4, 4]).unwrap(), [6, 16]);
}

#[test]
fn samples_that_an_input_of_integers_cannot_hold() {
    let mut m = small_network();
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::INT8, &[1, 1, 6, 6]);
    let bytes = m.write_to_bytes().unwrap();
    let compiled = |largest: f32| {
        let numbers = (0..16 * 36).map(|i| if i == 500 { largest } else { (i % 100) as f32 }).collect();
        let samples = ImageArray::values(vec![16, 1, 6, 6], numbers);
        let calibration = Calibration::Array(samples);
        let request = Request { calibration, ..Request::default() };
        build::from_bytes(&bytes, "codes", Preprocess::default(), &request)
    };
    let error = compiled(200.0).map(|_| ()).unwrap_err();
    assert!(matches!(error, CompileError::InputLimits { index: 13, low: -128, high: 127, .. }), "{error:?}");
    assert_says(&error.to_string(), &["sample 13 holds 200", "codes", "-128 to 127", "--mean 128"]);
    assert!(!matches!(compiled(127.0), Err(CompileError::InputLimits { .. })));
}

#[test]
fn stored_tensors_that_lie() {
    let mut short = small_network();
    short.graph.mut_or_insert_default().initializer[0].float_data.pop();
    assert_says(&refusal(&short), &["tensor `kernel`", "needs 36 elements, 35 are stored"]);
    let mut huge = small_network();
    huge.graph.mut_or_insert_default().initializer[0].dims = vec![i64::MAX, 2, 3, 3];
    assert_says(&refusal(&huge), &["tensor `kernel`", "too large"]);
    let mut outside = small_network();
    let kernel = &mut outside.graph.mut_or_insert_default().initializer[0];
    kernel.data_location = DataLocation::EXTERNAL.into();
    let location =
        StringStringEntryProto { key: "location".into(), value: "../x".into(), ..Default::default() };
    kernel.external_data.push(location);
    assert_says(&refusal(&outside), &["tensor `kernel`", "../x"]);
}

#[test]
fn sizes_and_work_are_bounded() {
    // A shape of 2^40 elements out of nothing.
    let mut wide = model(13, &[1]);
    store(&mut wide, ints("shape", &[2], &[1 << 20, 1 << 20]));
    node(&mut wide, "ConstantOfShape", &["shape"], &["c"]);
    node(&mut wide, "Add", &["x", "c"], &["y"]);
    assert!(matches!(import(&wide), Err(ImportError::TooLarge { .. })), "{}", refusal(&wide));

    // A chain of doublings of a variable.
    let mut doubling = model(13, &[1, 1024]);
    let mut last = "x".to_string();
    for step in 0..40 {
        let next = if step == 39 { "y".to_string() } else { format!("d{step}") };
        let concat = node(&mut doubling, "Concat", &[&last, &last], &[&next]);
        attr(concat, "axis", Value::Int(1));
        last = next;
    }
    assert!(matches!(import(&doubling), Err(ImportError::TooLarge { .. })));

    // A constant convolution of 2^44 products.
    let mut work = model(13, &[1]);
    store(&mut work, ints("image", &[4], &[1, 1, 4096, 4096]));
    store(&mut work, ints("kernel", &[4], &[1, 1, 2048, 2048]));
    node(&mut work, "ConstantOfShape", &["image"], &["i"]);
    node(&mut work, "ConstantOfShape", &["kernel"], &["k"]);
    node(&mut work, "Conv", &["i", "k"], &["c"]);
    node(&mut work, "Add", &["x", "c"], &["y"]);
    assert!(matches!(import(&work), Err(ImportError::TooLarge { .. })));

    // Attributes at the ends of the range.
    for extreme in [i64::MAX, i64::MIN, -1, 1 << 31, (1 << 31) - 1] {
        for name in ["pads", "strides", "dilations", "kernel_shape"] {
            let mut m = one_node("MaxPool");
            let pool = &mut m.graph.mut_or_insert_default().node[0];
            if name != "kernel_shape" {
                attr(pool, "kernel_shape", Value::Ints(vec![2, 2]));
            }
            let count = if name == "pads" { 4 } else { 2 };
            attr(pool, name, Value::Ints(vec![extreme; count]));
            let _ = import(&m);
        }
        for (name, count) in
            [("pads", 4), ("strides", 2), ("dilations", 2), ("output_padding", 2), ("output_shape", 2)]
        {
            for auto_pad in ["NOTSET", "SAME_UPPER"] {
                let mut m = one_node("ConvTranspose");
                store(&mut m, floats("kernel", &[2, 1, 2, 2], &[1.0; 8]));
                let grow = &mut m.graph.mut_or_insert_default().node[0];
                grow.input.push("kernel".into());
                attr(grow, name, Value::Ints(vec![extreme; count]));
                attr(grow, "auto_pad", Value::Text(auto_pad));
                let _ = import(&m);
            }
        }
        for op in ["Softmax", "Flatten", "Concat"] {
            let mut m = one_node(op);
            attr(&mut m.graph.mut_or_insert_default().node[0], "axis", Value::Int(extreme));
            assert!(
                import(&m).is_err() || (op, extreme) == ("Softmax", -1) || extreme == -1,
                "{op} {extreme}"
            );
        }
    }
}

/// A quantised concatenation takes a scale, a zero point, and three inputs for each operand.
#[test]
fn quantised_concatenations_have_triples() {
    for inputs in 0..5 {
        let mut m = model(13, &[1, 4]);
        store(&mut m, floats("scale", &[], &[0.5]));
        store(&mut m, bytes("zero", &[], &[3]));
        let names = &["scale", "zero", "x", "scale"][..inputs.min(4)];
        let concat = node(&mut m, "QLinearConcat", names, &["y"]);
        concat.domain = "com.microsoft".into();
        attr(concat, "axis", Value::Int(1));
        assert_says(&refusal(&m), &["QLinearConcat"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any few bytes of a valid model changed: an import or an error.
    #[test]
    fn mutated_models_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = small_network().write_to_bytes().unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = from_bytes(&bytes);
    }

    /// A piece of a valid model removed or repeated.
    #[test]
    fn spliced_models_never_panic(
        (start, end, at) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let bytes = small_network().write_to_bytes().unwrap();
        let (start, end, at) = (start.index(bytes.len()), end.index(bytes.len()), at.index(bytes.len()));
        let piece = &bytes[start.min(end)..start.max(end)];
        let _ = from_bytes(&[&bytes[..at], piece, &bytes[at..]].concat());
        let _ = from_bytes(&[&bytes[..start.min(end)], &bytes[start.max(end)..]].concat());
    }

    /// Noise.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = from_bytes(&bytes);
    }
}
