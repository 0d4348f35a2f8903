//! Networks with channels last are those with channels first, but for the order of their inputs and
//! outputs.

use std::path::PathBuf;

use fhec_compiler::onnx;
use fhec_ir::entity::Value;
use fhec_ir::fact::{INPUT_PERMUTATIONS, OUTPUT_PERMUTATIONS};
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::{Nn, Op, TensorType};
use fhec_ir::packed::Packed;
use fhec_ir::permutation::Permutation;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::print_func;
use fhec_passes::lower_nn::{LayoutOptions, check_lowerable, lower_nn};
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::nn::collect_polynomials::collect_polynomials;
use fhec_passes::nn::drop_softmax::drop_softmax;
use fhec_passes::nn::expand_max_pools::expand_max_pools;
use fhec_passes::nn::move_transposes::move_transposes;
use fhec_passes::nn::simplify::{Options, simplify};
use fhec_passes::pipeline::{NnOptions, run_nn};
use fhec_passes::report::Passed;
use fhec_tests::random::Random;

/// Builds a network of tensors `[1, H, W, C]` or `[1, C, H, W]`.
struct Builder {
    func: Func<Nn>,
    random: Random,
    last: bool,
}

const TO_FIRST: [usize; 4] = [0, 3, 1, 2];
const TO_LAST: [usize; 4] = [0, 2, 3, 1];

impl Builder {
    fn random(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_fn(shape, |_| self.random.single())
    }

    fn push(&mut self, op: Op, name: Option<&str>) -> Value {
        self.func.push_named(op, name).unwrap()
    }

    /// What an op on channels first makes of `x`; with channels last there is a transpose on either
    /// side, as exporters write it.
    fn on_first(&mut self, x: Value, op: impl FnOnce(&mut Self, Value) -> Op) -> Value {
        if !self.last {
            let op = op(self, x);
            return self.push(op, None);
        }
        let x = self.push(Op::Transpose { x, permutation: TO_FIRST.to_vec() }, None);
        let op = op(self, x);
        let x = self.push(op, None);
        self.push(Op::Transpose { x, permutation: TO_LAST.to_vec() }, None)
    }

    fn convolution(&mut self, x: Value, [outputs, inputs, kernel]: [usize; 3], name: &str) -> Value {
        let weight = self.random(&[outputs, inputs, kernel, kernel]);
        let bias = self.random(&[outputs]);
        let x = self.on_first(x, |builder, x| {
            let weight = builder.func.add_const(weight);
            let (strides, dilations, pads) = ([1, 1], [1, 1], [kernel / 2; 4]);
            Op::Conv2d { x, weight, bias: None, strides, pads, dilations, groups: 1 }
        });
        // Channels last need no dimensions behind the bias.
        let bias = if self.last { bias } else { bias.reshaped([outputs, 1, 1]).unwrap() };
        let value = self.func.add_const(bias);
        let y = self.push(Op::Constant { value }, None);
        self.push(Op::Add { x, y }, Some(name))
    }

    fn pool(&mut self, x: Value, largest: bool) -> Value {
        let (kernel, strides, pads) = ([2, 2], [2, 2], [0; 4]);
        self.on_first(x, |_, x| match largest {
            true => Op::MaxPool { x, kernel, strides, pads, dilations: [1, 1] },
            false => Op::AveragePool { x, kernel, strides, pads, count_include_pad: false },
        })
    }

    /// A dense layer on all elements; the columns of its weight are in their order.
    fn dense(&mut self, x: Value, [channels, height, width]: [usize; 3], outputs: usize) -> Value {
        let columns = channels * height * width;
        let mut weight = self.random(&[outputs, columns]);
        if self.last {
            let shape = vec![outputs, channels, height, width];
            let data = Permutation { shape, axes: TO_LAST.to_vec() }.apply(weight.data());
            weight = Tensor::new([outputs, columns], data).unwrap();
        }
        let weight = self.func.add_const(weight);
        let x = self.push(Op::Reshape { x, shape: vec![1, columns] }, None);
        self.push(Op::Dense { x, weight, bias: None }, Some("logits"))
    }
}

fn network(last: bool) -> Func<Nn> {
    let mut builder = Builder { func: Func::new("net"), random: Random::new(1), last };
    let shape = if last { [1, 8, 12, 3] } else { [1, 3, 8, 12] };
    let image = builder.func.add_input(TensorType::new(shape), Some("image"));
    let x = builder.convolution(image, [4, 3, 3], "first");
    let x = builder.push(Op::relu(x), Some("first/relu"));
    let x = builder.pool(x, true);
    let a = builder.convolution(x, [4, 4, 3], "second");
    let x = builder.push(Op::Add { x: a, y: x }, Some("sum"));
    let x = builder.push(Op::relu(x), Some("sum/relu"));
    let x = builder.pool(x, false);
    let x = builder.dense(x, [4, 2, 3], 5);
    builder.func.set_outputs(vec![x]);
    builder.func
}

fn lowered(network: &Func<Nn>) -> Func<Packed> {
    let source = Source::Intervals(Range::new(-1.0, 1.0));
    let result = run_nn(network, &source, &NnOptions::default(), &mut |_, _| ()).unwrap();
    lower_nn(&result.func, &LayoutOptions::for_slots(1024)).unwrap()
}

#[test]
fn channels_last_compile_to_what_channels_first_do() {
    let (first, last) = (network(false), network(true));
    // They are twins.
    let image = Tensor::from_fn([1, 3, 8, 12], |i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0);
    let order = Permutation { shape: vec![3, 96], axes: vec![1, 0] };
    let turned = Tensor::new([1, 8, 12, 3], order.apply(image.data())).unwrap();
    let [a] = &interp::nn::run(&first, &[image]).unwrap()[..] else { panic!("one output") };
    let [b] = &interp::nn::run(&last, &[turned]).unwrap()[..] else { panic!("one output") };
    assert!(a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");

    let (first, mut last) = (lowered(&first), lowered(&last));
    assert_eq!(first.fact(INPUT_PERMUTATIONS).unwrap(), None);
    // What is stored has channels first.
    let stored = Permutation { shape: vec![96, 3], axes: vec![1, 0] };
    assert_eq!(last.fact(INPUT_PERMUTATIONS).unwrap(), Some(vec![stored]));
    assert_eq!(last.fact(OUTPUT_PERMUTATIONS).unwrap(), None);
    last.remove_fact(INPUT_PERMUTATIONS);
    let without_orders = |text: String| -> String {
        // Layers say in which order they are stored.
        text.lines()
            .filter(|line| !line.contains("meta stored_values"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    assert_eq!(without_orders(print_func(&first)), without_orders(print_func(&last)));
}

/// Networks of other people, if there are any: `FHEC_CASES` names their folder. Beside the name is
/// how many transposes are left of them, at an input or an output.
const FREE: &[(&str, usize)] = &[
    ("failing/nhwc_transpose_mesonet/model.onnx", 1),
    ("failing/channel_shuffle_shufflenet/light_shufflenet.onnx", 0),
    ("failing/pixel_shuffle_espcn/super_resolution.onnx", 1),
    ("models/signlang/sign_language.onnx", 0),
    ("models/tf_resnet8_tfl/model.onnx", 1),
];

/// Of these several outputs are put in order and then side by side: the transposes stay.
const MOVED: &[(&str, usize)] = &[
    ("failing/detection_head_transpose/cut_conf.onnx", 4),
    ("models/mp_face_short/face_detection_short_range.onnx", 4),
];

#[test]
fn published_networks_lose_their_transposes() {
    let Some(folder) = std::env::var_os("FHEC_CASES").map(PathBuf::from) else { return };
    let free = FREE.iter().map(|case| (case, true));
    for (&(name, expected), free) in free.chain(MOVED.iter().map(|case| (case, false))) {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let network = onnx::import(&path).unwrap().func;
        let network = drop_softmax(&network).func;
        let Passed { func: moved, report, .. } = move_transposes(&network).unwrap();
        let mut random = Random::new(1);
        let inputs: Vec<Tensor> = network
            .inputs()
            .iter()
            .map(|&input| Tensor::from_fn(network.ty(input).shape.as_slice(), |_| random.single()))
            .collect();
        let (old, new) = (interp::nn::run(&network, &inputs), interp::nn::run(&moved, &inputs));
        for (old, new) in old.unwrap().iter().zip(&new.unwrap()) {
            assert_eq!(old.shape(), new.shape(), "{name}");
            let largest = old.data().iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
            let pairs = old.data().iter().zip(new.data());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3 * largest), "{name}");
        }
        let count = moved.ops().iter().filter(|data| matches!(data.op, Op::Transpose { .. })).count();
        assert_eq!(count, expected, "{name}: {}", report.summary);
        if free {
            assert!(report.summary.contains("of 0 elements, those") || report.summary.is_empty(), "{name}");
            let func = collect_polynomials(&moved).unwrap().func;
            let func = expand_max_pools(&func).unwrap().func;
            let func = simplify(&func, &Options::default()).unwrap().func;
            check_lowerable(&func).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
