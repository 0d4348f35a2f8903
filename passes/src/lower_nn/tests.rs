//! Every op: the lowered program, run on packed vectors, must give what the network gives on
//! tensors.

use fhec_ir::fact::{INPUT_LAYOUTS, INPUT_PERMUTATIONS, OUTPUT_LAYOUTS, OUTPUT_PERMUTATIONS};
use fhec_ir::func::Func;
use fhec_ir::interp::{Bundle, eval_packed, nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::LinearMap;
use fhec_ir::nn::Nn;
use fhec_ir::packed::{Op, Packed};
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_ir::verify::verify;

use super::*;
use crate::ckks::placement::slot_mask;

fn parse(body: &str) -> Func<Nn> {
    parse_func(&format!("func nn test {{ {body} }}"), &ConstSource::default()).unwrap()
}

fn input(shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 1.0)
}

/// Runs both sides and compares; returns the packed program.
fn check_with(network: &Func<Nn>, options: &LayoutOptions) -> Func<Packed> {
    let packed = lower_nn(network, options).unwrap();
    verify(&packed).unwrap();
    let inputs: Vec<Tensor> = network.inputs().iter().map(|&v| input(&network.ty(v).shape)).collect();
    let expected = nn::run(network, &inputs).unwrap();
    let layouts: Vec<Layout> = packed.fact(INPUT_LAYOUTS).unwrap();
    let doubles = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let moved = packed.fact(INPUT_PERMUTATIONS).unwrap();
    let bundles = layouts.iter().zip(&inputs).enumerate().map(|(index, (layout, tensor))| {
        let elements = doubles(tensor);
        layout.pack(&moved.as_ref().map_or(elements.clone(), |list| list[index].apply(&elements)))
    });
    let bundles: Vec<_> = bundles.collect();
    let results = run_packed(&packed, &bundles).unwrap();
    let layouts: Vec<Layout> = packed.fact(OUTPUT_LAYOUTS).unwrap();
    let moved = packed.fact(OUTPUT_PERMUTATIONS).unwrap();
    for (index, ((layout, result), expected)) in layouts.iter().zip(&results).zip(&expected).enumerate() {
        let mut found = layout.unpack(result);
        if let Some(list) = &moved {
            found = list[index].inverse().apply(&found);
        }
        let expected = doubles(expected);
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-5 * largest, "{found} instead of {expected}");
        }
        // Copies hold the same as the first.
        for vector in result {
            for place in layout.places() {
                let copies = (place.slot..layout.slots).step_by(layout.period);
                assert!(copies.map(|slot| (vector[slot] - vector[place.slot]).abs()).all(|d| d < 1e-9));
            }
        }
    }
    packed
}

fn check(body: &str, slots: usize) -> Func<Packed> {
    check_with(&parse(body), &LayoutOptions::for_slots(slots))
}

fn rejected(body: &str) -> String {
    lower_nn(&parse(body), &LayoutOptions::for_slots(1 << 12)).unwrap_err().to_string()
}

const STILL: &str = "strides=[1, 1], pads=[2, 2, 2, 2], dilations=[1, 1], groups=1";

#[test]
fn a_lenet_sized_network() {
    let body = format!(
        "const @0 : f32[8, 1, 5, 5] = random(1) const @1 : f32[8] = random(2)
         const @2 : f32[16, 8, 5, 5] = random(3) const @3 : f32[16] = random(4)
         const @4 : f32[10, 784] = random(5) const @5 : f32[10] = random(6)
         input %0 : f32[1, 1, 28, 28] \"image\"
         %1 = conv2d(%0) {{weight=@0, bias=@1, {STILL}}}
         %2 = poly(%1) {{polynomial={{domain=[-16.0, 16.0], chebyshev=[0.5, 0.25, 0.5]}}}}
         %3 = average_pool(%2) {{kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], count_include_pad=false}}
         %4 = conv2d(%3) {{weight=@2, bias=@3, {STILL}}}
         %5 = poly(%4) {{polynomial={{domain=[-60.0, 50.0], chebyshev=[0.5, 0.25, 0.5]}}}} \"act\"
         %6 = average_pool(%5) {{kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], count_include_pad=false}}
         %7 = reshape(%6) {{shape=[1, 784]}}
         %8 = dense(%7) {{weight=@4, bias=@5}} \"logits\"
         return %8"
    );
    let packed = check(&body, 1 << 13);
    // The gap of the poolings reaches the last layer, and ten outputs are folded, not spread over
    // the slots.
    let maps = packed.ops().iter().filter_map(|data| match &data.op {
        Op::LinearMap { map, .. } => Some((map.input.gap[1], map.output.gap[1], map.fold)),
        _ => None,
    });
    let maps: Vec<_> = maps.collect();
    assert_eq!(maps.len(), 5);
    assert_eq!((maps[1].1, maps[3].1, maps[4].0), (2, 4, 4));
    assert!(maps[4].2 > 1);
    assert_eq!(packed.value_name(packed.outputs()[0]), Some("logits"));
    // Smaller rings split tensors over several vectors.
    for slots in [1 << 9, 1 << 11] {
        check(&body, slots);
    }
    check_with(
        &parse(&body),
        &LayoutOptions { packing: Packing::Channel, ..LayoutOptions::for_slots(1 << 10) },
    );
    check_with(
        &parse(&body),
        &LayoutOptions { packing: Packing::Multiplexed, ..LayoutOptions::for_slots(1 << 12) },
    );
}

#[test]
fn a_residual_block_with_projection() {
    let body = "const @0 : f32[16, 16, 3, 3] = random(1) const @1 : f32[32, 16, 3, 3] = random(2)
         const @2 : f32[32, 16, 1, 1] = random(3) const @3 : f32[32, 32, 3, 3] = random(4)
         const @4 : f32[32] = random(5)
         input %0 : f32[1, 16, 32, 32]
         %1 = conv2d(%0) {weight=@0, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %2 = conv2d(%1) {weight=@1, bias=@4, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %3 = conv2d(%2) {weight=@3, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %4 = conv2d(%1) {weight=@2, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1}
         %5 = add(%3, %4)
         %6 = reduce_mean(%5) {axes=[2, 3], keep_dims=false}
         return %6";
    let packed = check(body, 1 << 14);
    let Op::LinearMap { map, .. } = &packed.ops()[1].op else { panic!("a map was expected") };
    assert_eq!((map.output.gap, map.output.multiplex, map.output.period), ([2; 2], 4, 1 << 13));
}

/// The seed paper's packing (arXiv 2106.07229): a stride leaves the pixels where they are in the
/// first plane, pooling and the last layer combine no ciphertexts.
#[test]
fn one_channel_per_ciphertext() {
    let conv = |x: usize, weight: usize, stride: usize, pad: usize| {
        format!(
            "conv2d(%{x}) {{weight=@{weight}, bias=@5, strides=[{stride}, {stride}], pads=[{pad}, {pad}, {pad}, {pad}], dilations=[1, 1], groups=1}}"
        )
    };
    let body = format!(
        "const @0 : f32[8, 3, 3, 3] = random(1) const @1 : f32[8, 8, 3, 3] = random(2)
         const @2 : f32[8, 8, 1, 1] = random(3) const @3 : f32[10, 8] = random(4)
         const @4 : f32[10] = random(5) const @5 : f32[8] = random(6)
         input %0 : f32[1, 3, 32, 32]
         %1 = {} %2 = poly(%1) {square} %3 = {} %4 = poly(%3) {square} %5 = {} %6 = {} %7 = add(%5, %6)
         %8 = reduce_mean(%7) {{axes=[2, 3], keep_dims=true}} %9 = reshape(%8) {{shape=[1, 8]}}
         %10 = dense(%9) {{weight=@3, bias=@4}} return %10",
        conv(0, 0, 1, 1),
        conv(2, 1, 2, 1),
        conv(4, 1, 1, 1),
        conv(2, 2, 2, 0),
        square = "{polynomial={domain=[-32.0, 32.0], chebyshev=[0.25, 0.25, 0.25]}}"
    );
    let options = LayoutOptions { packing: Packing::Channel, ..LayoutOptions::for_slots(1 << 10) };
    let packed = check_with(&parse(&body), &options);
    let maps: Vec<_> = packed
        .ops()
        .iter()
        .filter_map(|data| match &data.op {
            Op::LinearMap { map, .. } => Some(map),
            _ => None,
        })
        .collect();
    for layout in maps.iter().flat_map(|map| [&map.input, &map.output]) {
        assert_eq!((layout.multiplex, layout.vectors()), (1, layout.shape[0]));
    }
    for map in &maps[..4] {
        assert_eq!((map.output.plane, map.output.period), ([32, 32], 1 << 10));
    }
    assert_eq!(maps.iter().map(|map| map.output.gap[1]).collect::<Vec<_>>(), [1, 2, 2, 2, 1, 1]);
    // Nine taps per pair of channels, whatever the gap.
    let diagonals = |map: &LinearMap| map.rotations(&packed.consts).values().map(Vec::len).sum::<usize>();
    assert_eq!(diagonals(maps[0]), 3 * 8 * 9);
    assert_eq!(diagonals(maps[1]), 8 * 8 * 9);
    assert_eq!(diagonals(maps[5]), 8 * 10);
    assert_eq!(packed.ty(packed.outputs()[0]).vectors, 10);
}

#[test]
fn element_wise_ops_broadcast() {
    check(
        "const @0 : f32[3, 1, 1] = [1.0, -2.0, 0.5] const @1 : f32[4, 5] = random(3)
         const @2 : f32[] = [0.75] const @3 : f32[3] = [0.1, 0.2, 0.3] const @4 : f32[3] = [1.0, 2.0, 3.0]
         input %0 : f32[1, 3, 4, 5] input %1 : f32[1, 3, 1, 1]
         %2 = constant() {value=@0} %3 = constant() {value=@1} %4 = constant() {value=@2}
         %5 = mul(%0, %2) %6 = add(%3, %5) %7 = mul(%6, %4) %8 = sub(%2, %7) %9 = div(%8, %2)
         %10 = mul(%9, %1) %11 = sub(%10, %0) %12 = add(%1, %11)
         %13 = batch_norm(%12) {scale=@3, bias=@4, mean=@3, variance=@4, epsilon=0.001}
         %14 = mul(%13, %13) %15 = mul(%1, %3)
         return %14, %15",
        64,
    );
}

/// What an operand's dimensions are is asked of the result: a row that is repeated for all rows is
/// no column, where there are as many.
#[test]
fn rows_and_columns_are_repeated_along_their_own_dimension() {
    check(
        "input %0 : f32[1, 9] input %1 : f32[3] input %2 : f32[1, 3]
         %3 = reshape(%0) {shape=[3, 3]} %4 = reshape(%1) {shape=[3, 1]}
         %5 = add(%3, %1) %6 = mul(%5, %4) %7 = sub(%6, %2) %8 = mul(%4, %2)
         return %5, %6, %7, %8",
        64,
    );
    check(
        "input %0 : f32[1, 6, 4, 5] input %1 : f32[5] input %2 : f32[1, 4]
         %3 = reshape(%0) {shape=[2, 3, 4, 5]} %4 = reshape(%2) {shape=[4, 1]}
         %5 = mul(%3, %1) %6 = add(%5, %4) return %6",
        256,
    );
    let message = rejected(
        "input %0 : f32[1, 6, 4, 5] input %1 : f32[1, 3] %2 = reshape(%0) {shape=[2, 3, 4, 5]}
         %3 = reshape(%1) {shape=[3, 1, 1]} %4 = mul(%2, %3) return %4",
    );
    assert!(message.contains("[3, 1, 1]") && message.contains("[2, 3, 4, 5]"), "{message}");
}

#[test]
fn shapes_move() {
    check(
        "input %0 : f32[1, 3, 4, 6] input %1 : f32[1, 2, 4, 6]
         %2 = concat(%0, %1) {axis=1} %3 = concat(%0, %0) {axis=3} %4 = concat(%1, %1, %1) {axis=2}
         %5 = pad(%0) {before=[0, 1, 2, 0], after=[0, 0, 1, 3], value=-0.5}
         %6 = slice(%2) {starts=[0, 1, 0, 1], ends=[1, 5, 4, 6], steps=[1, 2, 1, 2]}
         %7 = slice(%0) {starts=[0, 0, 1, 0], ends=[1, 3, 4, 5], steps=[1, 1, 2, 1]}
         %8 = reshape(%0) {shape=[1, 6, 3, 4]} %9 = transpose(%0) {permutation=[0, 2, 3, 1]}
         %10 = add(%8, %8) %11 = reduce_mean(%2) {axes=[1], keep_dims=true}
         %12 = reduce_mean(%2) {axes=[3], keep_dims=false}
         return %2, %3, %4, %5, %6, %7, %10, %9, %11, %12",
        256,
    );
}

#[test]
fn pools_with_pads_and_grouped_convolutions() {
    check(
        "const @0 : f32[8, 2, 3, 3] = random(1)
         input %0 : f32[1, 4, 9, 8]
         %1 = average_pool(%0) {kernel=[3, 2], strides=[2, 1], pads=[1, 1, 1, 0], count_include_pad=false}
         %2 = average_pool(%0) {kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=true}
         %3 = conv2d(%0) {weight=@0, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2], groups=2}
         return %1, %2, %3",
        512,
    );
}

#[test]
fn matrices_and_lines() {
    check(
        "const @0 : f32[24, 7] = random(1) const @1 : f32[5, 7] = random(2) const @2 : f32[5] = random(3)
         input %0 : f32[1, 2, 3, 4]
         %1 = reshape(%0) {shape=[1, 24]} %2 = constant() {value=@0} %3 = matmul(%1, %2)
         %4 = poly(%3) {polynomial={domain=[2.0, 30.0], chebyshev=[0.5, 0.25, -0.5, 0.125]}}
         %5 = dense(%4) {weight=@1, bias=@2}
         %6 = poly(%5) {polynomial={domain=[-1.0, 1.0], chebyshev=[0.375]}}
         return %5, %6",
        128,
    );
}

/// The packed program on several images against the network on each.
fn check_batch(network: &Func<Nn>, options: &LayoutOptions) -> Func<Packed> {
    let packed = lower_nn(network, options).unwrap();
    verify(&packed).unwrap();
    let batch = Batch::of_program(&packed).unwrap();
    assert_eq!(batch.images, options.images);
    let shape = &network.ty(network.inputs()[0]).shape;
    let images: Vec<Tensor> = (0..batch.images)
        .map(|image| {
            Tensor::from_fn(shape.clone(), |i| ((i * 7919 + 31 * image + 3) % 2003) as f32 / 1001.5 - 1.0)
        })
        .collect();
    let doubles = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let moved = packed.fact(INPUT_PERMUTATIONS).unwrap();
    let stored = |tensor: &Tensor| {
        let elements = doubles(tensor);
        moved.as_ref().map_or(elements.clone(), |list| list[0].apply(&elements))
    };
    let all: Vec<f64> = images.iter().flat_map(stored).collect();
    let [input]: [Layout; 1] = packed.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
    let results = run_packed(&packed, &[batch.pack(&input, &all).unwrap()]).unwrap();
    let outputs: Vec<Layout> = packed.fact(OUTPUT_LAYOUTS).unwrap();
    let moved = packed.fact(OUTPUT_PERMUTATIONS).unwrap();
    for (number, (layout, result)) in outputs.iter().zip(&results).enumerate() {
        let found = batch.unpack(layout, result).unwrap();
        let found: Vec<&[f64]> = found.chunks_exact(found.len() / batch.images).collect();
        for (image, found) in images.iter().zip(found) {
            let found = moved.as_ref().map_or(found.to_vec(), |list| list[number].inverse().apply(found));
            let expected = doubles(&nn::run(network, std::slice::from_ref(image)).unwrap()[number]);
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
            let close = |(found, expected): (&f64, &f64)| (found - expected).abs() < 2e-5 * largest;
            assert!(found.iter().zip(&expected).all(close), "{found:?} instead of {expected:?}");
        }
    }
    packed
}

/// Every kind of step: convolutions with and without groups, a dense layer, a copy to other
/// channels, constants per channel and per element, a view, a pooling, a product.
const ALL_STEPS: &str = "const @0 : f32[4, 3, 3, 3] = random(1) const @1 : f32[4] = random(2) const @2 : f32[8, 2, 2, 2] = random(3)
     const @3 : f32[4, 6, 6] = random(4) const @4 : f32[5, 72] = random(5) const @5 : f32[5] = random(6)
     input %0 : f32[1, 3, 6, 6]
     %1 = conv2d(%0) {weight=@0, bias=@1, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
     %2 = constant() {value=@3} %3 = mul(%1, %2) %4 = add(%3, %2)
     %5 = poly(%4) {polynomial={domain=[-20.0, 20.0], chebyshev=[0.5, 0.25, 0.5]}}
     %6 = conv2d(%5) {weight=@2, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=2}
     %7 = mul(%6, %6) %8 = average_pool(%5) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], count_include_pad=false}
     %9 = concat(%7, %8, %8) {axis=1} %10 = slice(%9) {starts=[0, 4, 0, 0], ends=[1, 12, 3, 3], steps=[1, 1, 1, 1]}
     %11 = reshape(%10) {shape=[1, 72]} %12 = dense(%11) {weight=@4, bias=@5} \"logits\"
     return %12, %9";

#[test]
fn images_share_the_channels_of_tensors() {
    for images in [2, 3, 4] {
        for slots in [1 << 8, 1 << 10, 1 << 12] {
            check_batch(&parse(ALL_STEPS), &LayoutOptions { images, ..LayoutOptions::for_slots(slots) });
        }
    }
    // The second stage of a ResNet: two images fill what one fills half.
    let body = "const @0 : f32[32, 16, 3, 3] = random(1) const @1 : f32[32, 32, 3, 3] = random(2)
         input %0 : f32[1, 16, 32, 32]
         %1 = conv2d(%0) {weight=@0, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %2 = conv2d(%1) {weight=@1, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         return %2";
    let packed = check_batch(&parse(body), &LayoutOptions { images: 2, ..LayoutOptions::for_slots(1 << 14) });
    let vectors = |value| packed.ty(value).vectors;
    assert_eq!((vectors(packed.inputs()[0]), vectors(packed.outputs()[0])), (2, 1));
    // Both images of a vector have the same diagonals.
    let maps = packed.ops().iter().filter_map(|data| match &data.op {
        Op::LinearMap { map, .. } => Some(map.diagonal_period(&packed.consts)),
        _ => None,
    });
    assert_eq!(maps.collect::<Vec<_>>(), [1 << 14, 1 << 13]);
}

#[test]
fn one_pixel_per_ciphertext() {
    let options = LayoutOptions { images: 11, packing: Packing::Pixel, ..LayoutOptions::for_slots(16) };
    let packed = check_batch(&parse(ALL_STEPS), &options);
    for data in packed.ops() {
        assert!(!matches!(data.op, Op::Rotate { .. }));
        if let Op::LinearMap { map, .. } = &data.op {
            assert!(map.is_slotwise());
            assert_eq!(map.output.vectors(), map.output.elements());
        }
    }
    let many = LayoutOptions { images: 17, ..options };
    let message = lower_nn(&parse(ALL_STEPS), &many).unwrap_err().to_string();
    assert!(message.contains("17 images do not fit 16 slots"), "{message}");
}

#[test]
fn what_cannot_be_lowered_is_named() {
    let unary = |op: &str| format!("input %0 : f32[1, 2, 4, 4] %1 = {op} \"features/out\" return %1");
    let cases = [
        (unary("relu(%0)"), "approximate"),
        (unary("softmax(%0) {axis=1}"), "left to the client"),
        (
            unary("max_pool(%0) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]}"),
            "AveragePool",
        ),
        (unary("div(%0, %0)"), "divisor is encrypted"),
        (unary("matmul(%0, %0)"), "encrypted matrices"),
    ];
    for (body, expected) in cases {
        let message = rejected(&body);
        assert!(message.contains(expected) && message.contains("features/out"), "{message}");
        // Told before anything is approximated, and in the same words.
        let early = check_lowerable(&parse(&body)).map_err(|error| error.to_string());
        let activation = body.contains("relu");
        assert_eq!(early, if activation { Ok(()) } else { Err(message.clone()) });
        assert_eq!(message.contains(&lowerable()), !activation, "{message}");
    }
    let pool = unary("max_pool(%0) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]}");
    let message = rejected(&pool);
    assert!(
        message.starts_with("cannot lower the MaxPool that computes the tensor `features/out`"),
        "{message}"
    );
    let batch = rejected("input %0 : f32[2, 3] %1 = add(%0, %0) return %1");
    assert!(batch.contains("2 images"), "{batch}");
}

const GROWN_AND_TURNED: &str = "const @0 : f32[4, 3, 3, 2] = random(1) const @1 : f32[6] = random(2)
     const @2 : f32[5, 8] = random(3) const @3 : f32[4, 8] = random(4) const @4 : f32[7, 6] = random(5)
     const @5 : f32[3, 2] = random(6)
     input %0 : f32[1, 4, 4, 4]
     %1 = conv_transpose2d(%0) {weight=@0, bias=@1, strides=[2, 2], pads=[1, 0, 0, 0], dilations=[1, 1], groups=2, output_padding=[0, 0]}
     %2 = axis_matrices(%1) {axes=[2, 3], weights=[@2, @3]}
     %3 = axis_matrices(%2) {axes=[1], weights=[@4]}
     %4 = transpose(%3) {permutation=[0, 2, 3, 1]}
     %5 = reshape(%0) {shape=[1, 2, 2, 1, 4, 4]}
     %6 = axis_matrices(%5) {axes=[2, 1], weights=[@5, @5]}
     %7 = transpose(%6) {permutation=[0, 3, 4, 1, 5, 2]}
     return %4, %7";

#[test]
fn images_grow_and_tensors_turn() {
    let body = GROWN_AND_TURNED;
    for slots in [1 << 8, 1 << 11] {
        let packed = check(body, slots);
        let kinds = packed.ops().iter().filter(|data| matches!(data.op, Op::LinearMap { .. }));
        // The transposes at the ends are the client's.
        assert!(kinds.count() >= 5);
    }
    check_batch(&parse(body), &LayoutOptions { images: 3, ..LayoutOptions::for_slots(1 << 12) });
    let pixels = LayoutOptions { images: 5, packing: Packing::Pixel, ..LayoutOptions::for_slots(16) };
    check_batch(&parse(body), &pixels);
}

/// A result that is twice as large as its operand leaves the pixels where they are.
#[test]
fn growing_narrows_the_gap() {
    let packed = check(
        "const @0 : f32[8, 4, 3, 3] = random(1) const @1 : f32[8, 4, 2, 2] = random(2)
         input %0 : f32[1, 4, 16, 16]
         %1 = conv2d(%0) {weight=@0, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %2 = conv_transpose2d(%1) {weight=@1, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1, output_padding=[0, 0]}
         return %2",
        1 << 11,
    );
    let maps = packed.ops().iter().filter_map(|data| match &data.op {
        Op::LinearMap { map, .. } => Some((map.input.gap[1], map.output.gap[1])),
        _ => None,
    });
    assert_eq!(maps.collect::<Vec<_>>(), [(1, 2), (2, 1)]);
}

/// A whole picture with channels last, and matrices of a batch of them.
#[test]
fn any_tensor_is_turned() {
    check(
        "input %0 : f32[1, 96, 96, 3] %1 = add(%0, %0) %2 = transpose(%1) {permutation=[0, 3, 1, 2]}
         %3 = add(%2, %2) return %1, %3",
        1 << 12,
    );
    check(
        "const @0 : f32[5, 3] = random(1) input %0 : f32[1, 12] %1 = reshape(%0) {shape=[2, 2, 3]}
         %2 = axis_matrices(%1) {axes=[2], weights=[@0]} %3 = transpose(%2) {permutation=[1, 0, 2]}
         %4 = add(%3, %3) return %4",
        1 << 8,
    );
}

#[test]
fn transposes_at_the_ends_are_left_to_the_client() {
    let maps = |body: &str| {
        let packed = check(body, 256);
        packed.ops().iter().filter(|data| matches!(data.op, Op::LinearMap { .. })).count()
    };
    let turn = "{permutation=[0, 2, 3, 1]}";
    // In one order, by whatever way; an output is a part of it.
    assert_eq!(
        maps(&format!(
            "input %0 : f32[1, 3, 4, 6] %1 = transpose(%0) {turn} %2 = reshape(%0) {{shape=[3, 24]}}
             %3 = transpose(%2) {{permutation=[1, 0]}} %4 = reshape(%3) {{shape=[1, 4, 6, 3]}}
             %5 = add(%1, %4) %6 = transpose(%5) {turn} return %6, %1"
        )),
        0
    );
    // In two orders: one of them takes a map.
    assert_eq!(
        maps(&format!(
            "input %0 : f32[1, 3, 4, 6] %1 = transpose(%0) {turn} %2 = add(%0, %0) %3 = add(%1, %1)
             return %2, %3"
        )),
        1
    );
    // What is read elsewhere, too.
    assert_eq!(
        maps(&format!(
            "input %0 : f32[1, 3, 4, 6] %1 = add(%0, %0) %2 = transpose(%1) {turn} %3 = add(%2, %2)
             %4 = transpose(%3) {turn} return %2, %4, %1, %0"
        )),
        1
    );
}

#[test]
fn layouts_are_deterministic() {
    let body = "const @0 : f32[6, 3, 3, 3] = random(1) input %0 : f32[1, 3, 15, 17]
         %1 = conv2d(%0) {weight=@0, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1} return %1";
    let print =
        || fhec_ir::text::print_func(&lower_nn(&parse(body), &LayoutOptions::for_slots(4096)).unwrap());
    assert_eq!(print(), print());
}

/// Runs a function as ciphertexts are: maps by rotations and diagonals, so that slots beside
/// pictures hold what they will hold. By value; ops that `skip` says are the identity.
fn run_by_diagonals(func: &Func<Packed>, inputs: &[Bundle], skip: impl Fn(&Op) -> bool) -> Vec<Bundle> {
    let mut values = vec![Bundle::new(); func.value_count()];
    for (input, bundle) in func.inputs().iter().zip(inputs) {
        values[input.index()] = bundle.clone();
    }
    for data in func.ops() {
        let operands: Vec<&Bundle> = data.op.operands().iter().map(|v| &values[v.index()]).collect();
        let result = match &data.op {
            op if skip(op) => operands[0].clone(),
            Op::LinearMap { map, .. } => {
                let mut y = vec![vec![0.0; map.output.slots]; map.output.vectors()];
                for ((output, input), diagonals) in map.diagonals(&func.consts) {
                    let x = &operands[0][input];
                    for (rotation, diagonal) in diagonals {
                        for (slot, y) in y[output].iter_mut().enumerate() {
                            *y += diagonal[slot % diagonal.len()] * x[(slot + rotation) % x.len()];
                        }
                    }
                }
                y
            }
            op => eval_packed(op, &operands, &func.consts),
        };
        values[data.result.index()] = result;
    }
    values
}

/// Tensors of several vectors on planes with borders: regular maps, and what they read is zero
/// beside the picture, also after polynomials that are not zero at zero.
#[test]
fn what_regular_maps_read_is_zero_beside_the_picture() {
    let body = "const @0 : f32[8, 8, 3, 3] = random(1) const @1 : f32[8] = random(2)
         const @2 : f32[16, 8, 3, 3] = random(3) const @3 : f32[16, 8, 1, 1] = random(4)
         const @4 : f32[16, 16, 3, 3] = random(5) const @5 : f32[16, 1, 3, 3] = random(6)
         input %0 : f32[1, 8, 14, 14]
         %1 = conv2d(%0) {weight=@0, bias=@1, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %2 = poly(%1) {polynomial={domain=[-20.0, 20.0], chebyshev=[0.5, 0.25, 0.5]}}
         %3 = conv2d(%2) {weight=@2, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %4 = conv2d(%2) {weight=@3, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1}
         %5 = add(%3, %4)
         %6 = poly(%5) {polynomial={domain=[-40.0, 40.0], chebyshev=[0.25, 0.5, 0.25]}}
         %7 = conv2d(%6) {weight=@5, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=16}
         %8 = conv2d(%7) {weight=@4, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %9 = add(%6, %8) return %9";
    let packed = check(body, 1 << 10);
    let maps = packed.ops().iter().filter_map(|data| match &data.op {
        Op::LinearMap { x, map } if map.regular.is_some() => Some((*x, map.clone())),
        _ => None,
    });
    let maps: Vec<_> = maps.collect();
    assert_eq!(maps.len(), 5, "every convolution");
    assert!(maps.iter().all(|(_, map)| map.diagonal_period(&packed.consts) <= 1 << 7));
    assert_eq!(maps.iter().filter(|(_, map)| map.leaves_sums(&packed.consts)).count(), 4);
    let masks = packed.ops().iter().filter(|data| matches!(data.op, Op::MulPlain { .. }));
    assert_eq!(masks.count(), 4);
    // Each is one that bootstraps can do: of what polynomials read, with bias and shortcut in it,
    // of what another map reads, and of the output.
    let masks = || packed.ops().iter().filter(|data| slot_mask(&packed, &data.op).is_some());
    let masked: Vec<Value> = masks().map(|data| data.op.operands()[0]).collect();
    let definitions = packed.definitions();
    let made = masked.iter().map(|v| packed.ops()[definitions[v.index()].unwrap()].op.mnemonic());
    assert_eq!(made.collect::<Vec<_>>(), ["mul_scalar", "mul_scalar", "linear_map", "add"]);
    let layouts: Vec<Layout> = packed.fact(INPUT_LAYOUTS).unwrap();
    let elements: Vec<f64> = input(&[8 * 14 * 14]).data().iter().map(|&x| f64::from(x)).collect();
    let inputs = [layouts[0].pack(&elements)];
    let values = run_by_diagonals(&packed, &inputs, |_| false);
    // Elements are what they should be, which they are not where a mask is left out.
    let (output, expected) = (packed.outputs()[0].index(), run_packed(&packed, &inputs).unwrap());
    let layout: &Layout = &packed.fact::<Vec<Layout>>(OUTPUT_LAYOUTS).unwrap()[0];
    let off = |values: &[Bundle]| -> f64 {
        let (found, expected) = (layout.unpack(&values[output]), layout.unpack(&expected[0]));
        let largest = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        found.iter().zip(&expected).fold(0.0f64, |most, (x, y)| most.max((x - y).abs())) / largest
    };
    assert!(off(&values) < 1e-9);
    for (index, mask) in masks().enumerate().take(3) {
        let without = run_by_diagonals(&packed, &inputs, |op| *op == mask.op);
        assert!(off(&without) > 1e-3, "without mask {index}");
    }
    for (x, map) in &maps {
        let value = &values[x.index()];
        let elements = map.input.pack(&vec![1.0; map.input.elements()]);
        let slots = value.iter().flatten().zip(elements.iter().flatten());
        let beside: Vec<f64> = slots.filter(|(_, element)| **element == 0.0).map(|(x, _)| x.abs()).collect();
        assert!(!beside.is_empty() && beside.iter().all(|x| *x < 1e-9));
    }
}
