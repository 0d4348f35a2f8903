use fhec_ir::text::{ConstSource, parse_func};

use super::*;

/// A polynomial that uses `depth` levels.
fn polynomial(depth: u32) -> String {
    let zeros = vec!["0.0"; (1 << (depth - 1)) as usize].join(", ");
    format!("{{polynomial={{domain=[-1.0, 1.0], chebyshev=[{zeros}, 1.0]}}}}")
}

/// Builds a program op by op; every value is a bundle of four.
#[derive(Default)]
struct Body {
    text: String,
    next: usize,
}

impl Body {
    fn op(&mut self, op: String, name: &str) -> usize {
        self.next += 1;
        let name = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        self.text += &format!("%{} = {op}{name}\n", self.next);
        self.next
    }

    fn convolution(&mut self, x: usize, name: &str) -> usize {
        const LAYOUT: &str = "{shape=[4, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=1, slots=16}";
        let map = format!("{{kind={{dense=@0}}, input={LAYOUT}, output={LAYOUT}}}");
        self.op(format!("linear_map(%{x}) {{map={map}}}"), name)
    }

    fn relu(&mut self, x: usize, name: &str) -> usize {
        let mut sign = x;
        for depth in [4, 4, 5] {
            sign = self.op(format!("polynomial(%{sign}) {}", polynomial(depth)), "");
        }
        self.op(format!("mul(%{x}, %{sign})"), name)
    }

    fn func(&self, meta: &str) -> Func<Packed> {
        let text = format!(
            "func packed test {{ const @0 : f32[4, 4] = random(1) {meta} input %0 : vec<4, 16> \"image\"\n{} return %{} }}",
            self.text, self.next
        );
        parse_func(&text, &ConstSource::default()).unwrap()
    }
}

/// By name of the value or its number: the rule, in order of values.
fn placed(func: &Func<Packed>) -> (Vec<State>, Vec<(String, Rule)>) {
    let live = vec![true; func.value_count()];
    let (states, rules) = place(func, &live, Window { bottom: 2, top: 13 });
    let name = |value: Value| func.value_name(value).map_or_else(|| value.to_string(), str::to_string);
    (states, rules.into_iter().map(|(value, rule)| (name(value), rule)).collect())
}

#[test]
fn three_refreshes_per_residual_block() {
    let mut body = Body::default();
    let first = body.convolution(0, "conv1");
    let stem = body.relu(first, "stem");
    // A block whose shortcut is the value itself, and one with a convolution on it.
    let conv = body.convolution(stem, "a.conv1");
    let inner = body.relu(conv, "a.relu1");
    let conv = body.convolution(inner, "a.conv2");
    let sum = body.op(format!("add(%{conv}, %{stem})"), "a.sum");
    let block = body.relu(sum, "a.relu2");
    let conv = body.convolution(block, "b.conv1");
    let inner = body.relu(conv, "b.relu1");
    let conv = body.convolution(inner, "b.conv2");
    let shortcut = body.convolution(block, "b.shortcut");
    let sum = body.op(format!("add(%{conv}, %{shortcut})"), "b.sum");
    let end = body.relu(sum, "b.relu2");
    body.convolution(end, "dense");
    let (states, rules) = placed(&body.func(""));
    let of =
        |rule: Rule| rules.iter().filter(|(_, r)| *r == rule).map(|(n, _)| n.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Rule::Input), ["image"]);
    assert_eq!(of(Rule::Block), ["stem", "a.relu2", "b.relu2"]);
    assert_eq!(of(Rule::Shortcut), ["b.shortcut"]);
    // One within each of the five ReLUs: before the third polynomial from full level, before the
    // second from level 4.
    let numbers = |list: &[usize]| list.iter().map(|n| format!("%{n}")).collect::<Vec<_>>();
    let relu = |conv: usize, nth: usize| conv + nth;
    assert_eq!(of(Rule::Relu), numbers(&[relu(1, 2), relu(6, 2), relu(12, 1), relu(17, 2), relu(24, 1)]));
    assert_eq!(rules.len(), 1 + 3 + 1 + 5);
    // conv 10, 6, 2, refreshed 11: 6, product 5; conv 4, 0, refreshed 11: 7, 2, product 1. All
    // above the bottom of 2.
    let levels = |values: [usize; 5]| values.map(|value| states[value].level - 2);
    assert_eq!(levels([6, 7, 8, 9, 10]), [10, 6, 2, 6, 5]);
    assert_eq!(levels([12, 13, 14, 15, 16]), [4, 0, 7, 2, 1]);
}

#[test]
fn a_softmax_is_counted_apart() {
    let mut body = Body::default();
    let logits = body.convolution(0, "logits");
    let mut value = body.op(format!("polynomial(%{logits}) {}", polynomial(4)), "");
    for index in 0..4 {
        let name = if index == 3 { "p/exponentials" } else { "" };
        value = body.op(format!("mul(%{value}, %{value})"), name);
    }
    let exponentials = value;
    let (mut b, mut a) = (body.convolution(value, ""), body.convolution(value, ""));
    for _ in 0..12 {
        b = body.op(format!("mul(%{b}, %{b})"), "");
        let product = body.op(format!("mul(%{a}, %{b})"), "");
        a = body.op(format!("add(%{a}, %{product})"), "");
    }
    let inverse = body.convolution(a, "");
    body.op(format!("mul(%{exponentials}, %{inverse})"), "p");
    let meta = "meta softmax = {logits=\"logits\", exponentials=\"p/exponentials\", probabilities=\"p\", operand_factor=16.0}";
    let (_, rules) = placed(&body.func(meta));
    let count = |rule: Rule| rules.iter().filter(|(_, r)| *r == rule).count();
    assert_eq!((count(Rule::Input), count(Rule::Logits), count(Rule::Levels)), (1, 1, 0));
    assert_eq!((count(Rule::SoftmaxExponentials), count(Rule::SoftmaxProbabilities)), (1, 1));
    // The iteration's two values, once each.
    assert_eq!(count(Rule::SoftmaxInverse), 2);
    assert_eq!(rules.len(), 6);
}
