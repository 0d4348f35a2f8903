//! Forms that operators had in older opsets, and the constructions of exporters, by their
//! documented meaning.

mod onnx_models;

use fhec_compiler::onnx::{self, ImportOptions};
use fhec_ir::fact::OUTPUT_ENDINGS;
use fhec_ir::func::StageOp;
use fhec_ir::interp;
use fhec_ir::program::{Affine, Ending, Lists};
use fhec_ir::tensor::Tensor;
use fhec_ir::text::print_func;
use fhec_passes::nn::drop_softmax::drop_softmax;
use onnx_models::*;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{ModelProto, StringStringEntryProto, TensorProto};
use protobuf::Message;

/// Mnemonics of the imported ops.
fn ops(model: &ModelProto) -> Vec<&'static str> {
    import(model).unwrap().func.ops().iter().map(|data| data.op.mnemonic()).collect()
}

#[test]
fn bounds_of_clip_are_attributes_then_inputs() {
    let x = [-2.0, -0.25, 0.25, 2.0];
    let mut old = model(6, &[4]);
    let clip = node(&mut old, "Clip", &["x"], &["y"]);
    attr(clip, "min", Value::Float(-1.0));
    attr(clip, "max", Value::Float(0.5));
    assert_eq!(run(&old, &x).1, [-1.0, -0.25, 0.25, 0.5]);

    let mut new = model(13, &[4]);
    store(&mut new, floats("high", &[], &[0.5]));
    node(&mut new, "Clip", &["x", "", "high"], &["y"]);
    assert_eq!(run(&new, &x).1, [-2.0, -0.25, 0.25, 0.5]);

    // From zero upwards it is a ReLU, between the largest floats nothing.
    let mut relu = model(6, &[4]);
    let clip = node(&mut relu, "Clip", &["x"], &["y"]);
    attr(clip, "min", Value::Float(0.0));
    attr(clip, "max", Value::Float(f32::MAX));
    assert_eq!((ops(&relu), run(&relu, &x).1), (vec!["relu"], vec![0.0, 0.0, 0.25, 2.0]));
    let mut nothing = model(9, &[4]);
    node(&mut nothing, "Clip", &["x"], &["y"]);
    assert!(ops(&nothing).is_empty());
}

#[test]
fn softmax_flattened_before_opset_13() {
    let x: Vec<f32> = (0..8).map(|i| i as f32 / 4.0).collect();
    let make = |opset| {
        let mut m = model(opset, &[2, 2, 2]);
        attr(node(&mut m, "Softmax", &["x"], &["y"]), "axis", Value::Int(1));
        run(&m, &x)
    };
    let (old, new) = (make(12), make(13));
    assert_eq!((&old.0, &new.0), (&vec![2, 2, 2], &vec![2, 2, 2]));
    let sum: f32 = (0..4).map(|i| x[i].exp()).sum();
    assert!((old.1[1] - x[1].exp() / sum).abs() < 1e-6, "four elements sum to one");
    assert!((new.1[1] - x[1].exp() / (x[1].exp() + x[3].exp())).abs() < 1e-6, "two elements sum to one");
    // The default axis moved from 1 to the last.
    let mut default = model(11, &[2, 2, 2]);
    node(&mut default, "Softmax", &["x"], &["y"]);
    assert_eq!(run(&default, &x), old);
}

#[test]
fn axes_are_attributes_then_inputs() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut old = model(13, &[1, 2, 3]);
    attr(node(&mut old, "ReduceMean", &["x"], &["y"]), "axes", Value::Ints(vec![-1]));
    let mut new = model(18, &[1, 2, 3]);
    store(&mut new, ints("axes", &[1], &[2]));
    node(&mut new, "ReduceMean", &["x", "axes"], &["y"]);
    assert_eq!(
        (run(&old, &x), run(&new, &x)),
        ((vec![1, 2, 1], vec![2.0, 5.0]), (vec![1, 2, 1], vec![2.0, 5.0]))
    );

    let mut squeeze = model(11, &[1, 2, 3]);
    attr(node(&mut squeeze, "Squeeze", &["x"], &["y"]), "axes", Value::Ints(vec![0]));
    assert_eq!(run(&squeeze, &x).0, [2, 3]);
    let mut squeeze = model(13, &[1, 2, 3]);
    node(&mut squeeze, "Squeeze", &["x"], &["y"]);
    assert_eq!(run(&squeeze, &x).0, [2, 3]);
    attr(&mut squeeze.graph.mut_or_insert_default().node[0], "axes", Value::Ints(vec![0]));
    assert!(import(&squeeze).is_err(), "the attribute is gone in opset 13");

    let mut slice = model(9, &[1, 2, 3]);
    let node_ = node(&mut slice, "Slice", &["x"], &["y"]);
    attr(node_, "axes", Value::Ints(vec![2]));
    attr(node_, "starts", Value::Ints(vec![-2]));
    attr(node_, "ends", Value::Ints(vec![i64::MAX]));
    assert_eq!(run(&slice, &x), (vec![1, 2, 2], vec![2.0, 3.0, 5.0, 6.0]));

    let mut pad = model(10, &[2, 3]);
    let node_ = node(&mut pad, "Pad", &["x"], &["y"]);
    attr(node_, "pads", Value::Ints(vec![0, 1, 0, -1]));
    attr(node_, "value", Value::Float(9.0));
    assert_eq!(run(&pad, &x), (vec![2, 3], vec![9.0, 1.0, 2.0, 9.0, 4.0, 5.0]));
}

#[test]
fn arithmetic_of_opset_6_aligned_at_an_axis() {
    let x: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let mut m = model(6, &[1, 2, 2, 2]);
    store(&mut m, floats("b", &[2], &[10.0, 20.0]));
    let add = node(&mut m, "Add", &["x", "b"], &["y"]);
    attr(add, "broadcast", Value::Int(1));
    attr(add, "axis", Value::Int(1));
    assert_eq!(run(&m, &x).1, [10.0, 11.0, 12.0, 13.0, 24.0, 25.0, 26.0, 27.0]);
}

#[test]
fn matrix_products_with_constants_are_dense_layers() {
    let x = [1.0, 2.0, 3.0];
    let mut m = model(13, &[1, 3]);
    store(&mut m, floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    node(&mut m, "MatMul", &["x", "w"], &["y"]);
    assert_eq!((ops(&m), run(&m, &x)), (vec!["dense"], (vec![1, 2], vec![22.0, 28.0])));

    // alpha and beta are folded; C of one element is repeated.
    let mut gemm = model(13, &[1, 3]);
    store(&mut gemm, floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    store(&mut gemm, floats("c", &[1], &[10.0]));
    let node_ = node(&mut gemm, "Gemm", &["x", "w", "c"], &["y"]);
    attr(node_, "alpha", Value::Float(0.5));
    attr(node_, "beta", Value::Float(2.0));
    assert_eq!((ops(&gemm), run(&gemm, &x).1), (vec!["dense"], vec![31.0, 34.0]));

    // The weight on the left: A constant, B variable and transposed.
    let mut left = model(13, &[1, 3]);
    store(&mut left, floats("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    attr(node(&mut left, "Gemm", &["w", "x"], &["y"]), "transB", Value::Int(1));
    assert_eq!(run(&left, &x), (vec![2, 1], vec![14.0, 32.0]));
}

#[test]
fn shape_arithmetic_leaves_no_trace() {
    let func = import(&small_network()).unwrap().func;
    let names: Vec<&str> = func.ops().iter().map(|data| data.op.mnemonic()).collect();
    assert_eq!(names, ["conv2d", "batch_norm", "relu", "max_pool", "reshape", "dense"]);
    let values: Vec<_> = func.ops().iter().map(|data| func.value_name(data.result)).collect();
    assert_eq!(values, ["c", "n", "r", "p", "f", "y"].map(Some));

    // As exporters trace `view(n, -1)` and a pad computed from shapes: casts, products, reversals.
    let mut m = model(11, &[0, 2, 3]);
    store(&mut m, ints("zero", &[1], &[0]));
    store(&mut m, ints("one", &[1], &[1]));
    store(&mut m, ints("end", &[1], &[i64::MAX]));
    node(&mut m, "Shape", &["x"], &["shape"]);
    attr(node(&mut m, "Cast", &["shape"], &["floats"]), "to", Value::Int(DataType::FLOAT as i64));
    attr(node(&mut m, "Cast", &["floats"], &["back"]), "to", Value::Int(DataType::INT64 as i64));
    node(&mut m, "Slice", &["back", "one", "end", "zero"], &["tail"]);
    node(&mut m, "Slice", &["back", "zero", "one", "zero"], &["batch"]);
    attr(node(&mut m, "Gather", &["tail", "zero"], &["rows"]), "axis", Value::Int(0));
    attr(node(&mut m, "Gather", &["tail", "one"], &["columns"]), "axis", Value::Int(0));
    node(&mut m, "Mul", &["rows", "columns"], &["product"]);
    let concat = node(&mut m, "Concat", &["batch", "product"], &["target"]);
    attr(concat, "axis", Value::Int(0));
    node(&mut m, "Reshape", &["x", "target"], &["y"]);
    assert_eq!((ops(&m), run(&m, &[0.0; 6]).0), (vec!["reshape"], vec![1, 6]));
}

#[test]
fn constants_are_folded_through_any_op() {
    let mut m = model(13, &[1, 2]);
    store(&mut m, floats("raw", &[4], &[1.0, 2.0, 3.0, 4.0]));
    store(&mut m, ints("shape", &[2], &[2, 2]));
    store(&mut m, floats("divisor", &[], &[2.0]));
    node(&mut m, "Reshape", &["raw", "shape"], &["square"]);
    node(&mut m, "Transpose", &["square"], &["turned"]);
    node(&mut m, "Div", &["turned", "divisor"], &["half"]);
    node(&mut m, "MatMul", &["x", "half"], &["y"]);
    assert_eq!((ops(&m), run(&m, &[1.0, 1.0]).1), (vec!["dense"], vec![1.5, 3.5]));
}

#[test]
fn activations_made_of_several_nodes() {
    let mut silu = model(13, &[1, 4]);
    node(&mut silu, "Sigmoid", &["x"], &["s"]);
    node(&mut silu, "Mul", &["s", "x"], &["y"]);
    assert_eq!(ops(&silu), ["silu"]);
    let mut other = model(13, &[1, 4]);
    node(&mut other, "Sigmoid", &["x"], &["s"]);
    node(&mut other, "Mul", &["s", "s"], &["y"]);
    assert_eq!(ops(&other), ["sigmoid", "mul"]);
    let mut square = model(13, &[1, 4]);
    store(&mut square, floats("two", &[], &[2.0]));
    node(&mut square, "Pow", &["x", "two"], &["y"]);
    assert_eq!(
        (ops(&square), run(&square, &[1.0, -2.0, 3.0, 0.5]).1),
        (vec!["mul"], vec![1.0, 4.0, 9.0, 0.25])
    );
}

#[test]
fn what_does_nothing_at_inference_is_gone() {
    let mut m = model(12, &[1, 4]);
    store(&mut m, floats("ratio", &[], &[0.5]));
    node(&mut m, "Identity", &["x"], &["a"]);
    node(&mut m, "Dropout", &["a", "ratio"], &["b"]);
    attr(node(&mut m, "Cast", &["b"], &["c"]), "to", Value::Int(DataType::DOUBLE as i64));
    node(&mut m, "Relu", &["c"], &["y"]);
    assert_eq!(ops(&m), ["relu"]);
}

#[test]
fn windows_over_sequences() {
    let mut m = model(13, &[1, 1, 5]);
    store(&mut m, floats("k", &[1, 1, 3], &[1.0, 2.0, 3.0]));
    attr(node(&mut m, "Conv", &["x", "k"], &["c"]), "pads", Value::Ints(vec![1, 1]));
    let pool = node(&mut m, "MaxPool", &["c"], &["y"]);
    attr(pool, "kernel_shape", Value::Ints(vec![2]));
    attr(pool, "strides", Value::Ints(vec![2]));
    attr(pool, "ceil_mode", Value::Int(1));
    assert_eq!(run(&m, &[1.0, 2.0, 3.0, 4.0, 5.0]), (vec![1, 1, 3], vec![14.0, 26.0, 14.0]));
}

#[test]
fn pads_of_ceil_mode_do_not_count_in_means() {
    let mut m = model(13, &[1, 1, 4]);
    let pool = node(&mut m, "AveragePool", &["x"], &["y"]);
    attr(pool, "kernel_shape", Value::Ints(vec![3]));
    attr(pool, "strides", Value::Ints(vec![2]));
    attr(pool, "pads", Value::Ints(vec![1, 0]));
    attr(pool, "ceil_mode", Value::Int(1));
    attr(pool, "count_include_pad", Value::Int(1));
    // Windows [pad 1 2], [2 3 4] and, were it not to begin in the pads behind, [4 . .].
    assert_eq!(run(&m, &[3.0, 6.0, 9.0, 12.0]), (vec![1, 1, 2], vec![3.0, 9.0]));
    m.graph.mut_or_insert_default().input[0] = value_info("x", DataType::FLOAT, &[1, 1, 5]);
    // A third window [4 5 .]: the model's pads would count, those behind do not.
    assert_eq!(run(&m, &[3.0, 6.0, 9.0, 12.0, 15.0]), (vec![1, 1, 3], vec![3.0, 9.0, 13.5]));
}

#[test]
fn external_data_are_read_from_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut m = small_network();
    let kernel = &mut m.graph.mut_or_insert_default().initializer[0];
    let data: Vec<u8> = kernel.float_data.drain(..).flat_map(f32::to_le_bytes).collect();
    kernel.data_location = DataLocation::EXTERNAL.into();
    for (key, value) in [("location", "weights/kernel.bin"), ("offset", "8"), ("length", "144")] {
        let entry = StringStringEntryProto { key: key.into(), value: value.into(), ..Default::default() };
        kernel.external_data.push(entry);
    }
    std::fs::create_dir(folder.path().join("weights")).unwrap();
    std::fs::write(folder.path().join("weights/kernel.bin"), [&[0; 8][..], &data].concat()).unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, m.write_to_bytes().unwrap()).unwrap();
    assert_eq!(onnx::import(&path).unwrap(), import(&small_network()).unwrap());
    // The same bytes without a directory.
    assert!(onnx::import_bytes(&std::fs::read(&path).unwrap(), None, &ImportOptions::default()).is_err());
}

#[test]
fn imports_are_deterministic_and_weights_may_be_listed_as_inputs() {
    let mut m = small_network();
    let text = print_func(&import(&m).unwrap().func);
    let graph = m.graph.mut_or_insert_default();
    graph.input.push(value_info("kernel", DataType::FLOAT, &[4, 1, 3, 3]));
    graph.node.reverse();
    assert_eq!(print_func(&import(&m).unwrap().func), text);
}

#[test]
fn outputs_may_be_inputs_or_constants() {
    let mut m = model(13, &[1, 2]);
    m.graph.mut_or_insert_default().output[0].name = "x".into();
    assert_eq!(run(&m, &[1.0, 2.0]).1, [1.0, 2.0]);
    let mut shape = model(13, &[0, 2]);
    node(&mut shape, "Shape", &["x"], &["y"]);
    assert_eq!(run(&shape, &[1.0, 2.0]), (vec![2], vec![1.0, 2.0]));
}

#[test]
fn the_documentation_names_every_supported_operator() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/onnx.md")).unwrap();
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for operator in onnx::supported_operators() {
        assert!(words.contains(&operator), "docs/onnx.md does not name {operator}");
    }
    assert!(page.contains(&format!("opset {} to {}", onnx::OLDEST_OPSET, onnx::NEWEST_OPSET)));
}

#[test]
fn rounding_is_left_out_or_refused() {
    let mut quantised = model(13, &[1, 4]);
    store(&mut quantised, floats("scale", &[], &[0.5]));
    node(&mut quantised, "QuantizeLinear", &["x", "scale"], &["codes"]);
    node(&mut quantised, "DequantizeLinear", &["codes", "scale"], &["y"]);
    assert_eq!(run(&quantised, &[0.6, 0.9, -1.0, 500.0]).1, [0.6, 0.9, 0.0, 127.5]);
    let bytes = quantised.write_to_bytes().unwrap();
    let options = ImportOptions { keep_rounding: true, ..ImportOptions::default() };
    let error = onnx::import_bytes(&bytes, None, &options).unwrap_err().to_string();
    assert!(error.contains("QuantizeLinear_0") && error.contains("a staircase"), "{error}");
    // Weights alone may be rounded: they are constants.
    let mut weights = model(13, &[1, 4]);
    store(&mut weights, floats("scale", &[], &[0.5]));
    store(&mut weights, floats("w", &[4], &[0.6, 0.9, 1.0, 2.3]));
    node(&mut weights, "QuantizeLinear", &["w", "scale"], &["codes"]);
    node(&mut weights, "DequantizeLinear", &["codes", "scale"], &["rounded"]);
    node(&mut weights, "Mul", &["x", "rounded"], &["y"]);
    assert!(onnx::import_bytes(&weights.write_to_bytes().unwrap(), None, &options).is_ok());
}

/// Codes of probabilities end a step before 1. A softmax stays the last op all the same, and is
/// left to the client; other numbers are saturated, and so are probabilities where codes end early.
#[test]
fn probabilities_are_not_saturated_a_step_before_one() {
    let last = |scale: f32, op: &str| {
        let mut m = model(13, &[1, 4]);
        store(&mut m, floats("scale", &[], &[scale]));
        node(&mut m, op, &["x"], &["p"]);
        node(&mut m, "QuantizeLinear", &["p", "scale"], &["codes"]);
        node(&mut m, "DequantizeLinear", &["codes", "scale"], &["y"]);
        let imported = import(&m).unwrap();
        let output = imported.func.outputs()[0];
        let op = imported.func.ops().iter().find(|data| data.result == output).map(|data| data.op.clone());
        op.unwrap().mnemonic()
    };
    assert_eq!(last(1.0 / 256.0, "Softmax"), "softmax");
    assert_ne!(last(1.0 / 512.0, "Softmax"), "softmax");
    assert_ne!(last(1.0 / 256.0, "Exp"), "exp");
}

/// A network of 8 bits answers in codes. What is saturated nowhere is an affine map of the softmax.
#[test]
fn codes_of_probabilities_are_probabilities_scaled() {
    let mut m = model(13, &[1, 4]);
    store(&mut m, floats("scale", &[], &[1.0 / 256.0]));
    let zero = TensorProto { data_type: DataType::INT8 as i32, ..bytes("zero", &[], &[-128]) };
    store(&mut m, zero);
    node(&mut m, "Softmax", &["x"], &["p"]);
    node(&mut m, "QuantizeLinear", &["p", "scale", "zero"], &["y"]);
    let imported = import(&m).unwrap();
    let x = Tensor::new([1, 4], vec![1.0, -2.0, 0.5, 3.0]).unwrap();
    let codes = interp::nn::run(&imported.func, std::slice::from_ref(&x)).unwrap();
    let dropped = drop_softmax(&imported.func).func;
    let logits = interp::nn::run(&dropped, std::slice::from_ref(&x)).unwrap();
    assert_eq!(logits[0].data(), x.data());
    let endings = dropped.fact(OUTPUT_ENDINGS).unwrap().expect("something is left to the client");
    assert_eq!(endings, [Ending::Softmax(Lists::One, Affine { scale: 256.0, offset: -128.0 })]);
    let finished = endings[0].finish(&logits[0].data().iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    for (finished, code) in finished.iter().zip(codes[0].data()) {
        assert!((finished - f64::from(*code)).abs() < 1e-4, "{code}: {finished}");
    }
}

/// What PyTorch, JAX and Keras make of an activation that is written with a comparison.
#[test]
fn comparisons_that_are_part_of_an_activation_go_into_it() {
    let x = [-2.0, -0.5, 0.0, 0.5, 3.0];
    let start = || {
        let mut m = model(13, &[1, 5]);
        store(&mut m, floats("zero", &[], &[0.0]));
        store(&mut m, floats("slope", &[], &[0.25]));
        m
    };
    let leaky = [-0.5, -0.125, 0.0, 0.5, 3.0];
    for (comparison, leak_first) in
        [("Greater", false), ("GreaterOrEqual", false), ("Less", true), ("LessOrEqual", true)]
    {
        let mut m = start();
        node(&mut m, comparison, &["x", "zero"], &["decided"]);
        node(&mut m, "Mul", &["x", "slope"], &["leak"]);
        let [first, second] = if leak_first { ["leak", "x"] } else { ["x", "leak"] };
        node(&mut m, "Where", &["decided", first, second], &["y"]);
        assert_eq!((ops(&m), run(&m, &x).1), (vec!["leaky_relu"], leaky.to_vec()), "{comparison}");
    }
    // A mask.
    let mut m = start();
    node(&mut m, "Less", &["zero", "x"], &["decided"]);
    attr(node(&mut m, "Cast", &["decided"], &["mask"]), "to", Value::Int(DataType::FLOAT as i64));
    node(&mut m, "Mul", &["mask", "x"], &["y"]);
    assert_eq!((ops(&m), run(&m, &x).1), (vec!["relu"], vec![0.0, 0.0, 0.0, 0.5, 3.0]));
    // An ELU, whose exponential overflows where it is not taken.
    let mut m = start();
    store(&mut m, floats("one", &[], &[1.0]));
    node(&mut m, "Greater", &["x", "zero"], &["decided"]);
    node(&mut m, "Exp", &["x"], &["e"]);
    node(&mut m, "Sub", &["e", "one"], &["below"]);
    node(&mut m, "Where", &["decided", "x", "below"], &["y"]);
    assert_eq!(ops(&m), ["elu"]);
    // A bound.
    let mut m = start();
    node(&mut m, "Less", &["x", "slope"], &["decided"]);
    node(&mut m, "Where", &["decided", "slope", "x"], &["y"]);
    assert_eq!((ops(&m), run(&m, &x).1), (vec!["clip"], vec![0.25, 0.25, 0.25, 0.5, 3.0]));
    let mut m = model(13, &[1, 5]);
    attr(node(&mut m, "ThresholdedRelu", &["x"], &["y"]), "alpha", Value::Float(0.0));
    assert_eq!(ops(&m), ["relu"]);
}

#[test]
fn comparisons_that_jump_are_refused() {
    let refused = |m: &ModelProto, parts: [&str; 2]| {
        let message = import(m).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)) && message.contains("a jump"), "{message}");
    };
    let mut m = model(13, &[1, 5]);
    store(&mut m, floats("one", &[], &[1.0]));
    node(&mut m, "Greater", &["x", "one"], &["decided"]);
    attr(node(&mut m, "Cast", &["decided"], &["mask"]), "to", Value::Int(DataType::FLOAT as i64));
    node(&mut m, "Mul", &["mask", "x"], &["y"]);
    refused(&m, ["`Greater_0` (Greater", "a decision about the network's values"]);
    let mut m = model(13, &[1, 5]);
    node(&mut m, "ThresholdedRelu", &["x"], &["y"]);
    refused(&m, ["`ThresholdedRelu_0`", "a threshold other than 0"]);
    // Nothing needs it.
    let mut m = model(13, &[1, 5]);
    node(&mut m, "Greater", &["x", "x"], &["decided"]);
    node(&mut m, "Relu", &["x"], &["y"]);
    assert_eq!(ops(&m), ["relu"]);
    // Of constants it is a number.
    let mut m = model(13, &[1, 2]);
    store(&mut m, floats("c", &[2], &[0.5, 2.0]));
    node(&mut m, "ThresholdedRelu", &["c"], &["d"]);
    node(&mut m, "Add", &["x", "d"], &["y"]);
    assert_eq!(run(&m, &[0.0, 0.0]).1, [0.0, 2.0]);
}

/// Segmentations of tf2onnx end in positions as integers.
#[test]
fn what_is_an_integer_already_becomes_another_one() {
    let segmentation = |classes: i64, to: DataType| {
        let mut m = model(13, &[1, classes, 1, 2]);
        attr(node(&mut m, "ArgMax", &["x"], &["c"]), "axis", Value::Int(1));
        attr(node(&mut m, "Transpose", &["c"], &["t"]), "perm", Value::Ints(vec![0, 3, 1, 2]));
        attr(node(&mut m, "Cast", &["t"], &["y"]), "to", Value::Int(to as i64));
        m
    };
    let m = segmentation(3, DataType::INT32);
    assert_eq!(run(&m, &[0.0, 5.0, 1.0, 6.0, 2.0, 4.0]), (vec![1, 2, 1, 1], vec![2.0, 1.0]));
    assert!(import(&segmentation(256, DataType::UINT8)).is_ok());
    let message = import(&segmentation(257, DataType::UINT8)).unwrap_err().to_string();
    assert!(message.contains("a cast of the network's values to UINT8"), "{message}");
    let mut bytes = model(13, &[1, 2]);
    attr(node(&mut bytes, "Cast", &["x"], &["y"]), "to", Value::Int(DataType::INT32 as i64));
    assert!(import(&bytes).is_err());
    bytes.graph.mut_or_insert_default().input[0] = value_info("x", DataType::UINT8, &[1, 2]);
    assert_eq!(run(&bytes, &[3.0, 255.0]).1, [3.0, 255.0]);
}
