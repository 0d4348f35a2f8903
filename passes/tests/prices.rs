//! What ops of programs are predicted to take: plaintexts that are encoded on the way, weights for
//! which there is no memory, and what runs showed.

use fhec_ir::ckks::Ckks;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::{CostTable, OpKind, RingShape};
use fhec_passes::estimate::{Estimate, estimate};

const LOG_N: u32 = 13;

/// Of no security: 40-bit levels over a 49-bit base, three special primes.
fn params() -> Params {
    let mut q: Vec<u64> = ntt_primes_near(1 << 49, LOG_N).take(1).collect();
    q.extend(ntt_primes_near(1 << 40, LOG_N).take(4));
    let literal = ParamsLiteral {
        name: "test".into(),
        log_n: LOG_N,
        levels: PrimeSet::prefixes(1..=q.len()),
        digit_limbs: 3,
        q,
        p: ntt_primes_near((1 << 50) - 1, LOG_N).filter(|p| *p < 1 << 50).take(3).collect(),
        log_scale: 40,
        secret: Secret::UniformTernary,
    };
    Params::new(literal).unwrap()
}

/// A depthwise convolution of four channels, each a vector, with its bias, and a sum; every vector
/// has nine products.
fn depthwise() -> Func<Ckks> {
    let layout = "{shape=[4, 64, 64], gap=1, multiplex=1, plane=[64, 64], period=4096, slots=4096}";
    let kind = "{conv2d=@0, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=4}";
    let text = format!(
        "func ckks p {{
           const @0 : f32[4, 1, 3, 3] = random(1)
           const @1 : f32[4] = random(2)
           input %0 : ct<4, 4096, 4, D4, 2>
           %1 = linear_map(%0) {{map={{kind={kind}, input={layout}, output={layout}}}, baby_step=4096}}
           %2 = rescale(%1)
           %3 = add_plain(%2) {{plain={{values=@1, layout={layout}}}}}
           %4 = add(%3, %3)
           return %4
         }}"
    );
    parse_func(&text, &ConstSource::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn predicted(table: &CostTable, ram: Option<u64>) -> Estimate {
    estimate(&depthwise(), &params(), table, ram, &mut CircuitShapes::default()).unwrap()
}

fn seconds(estimate: &Estimate, mnemonic: &str) -> f64 {
    let func = depthwise();
    let of = func.ops().iter().zip(&estimate.op_seconds).filter(|(data, _)| data.op.mnemonic() == mnemonic);
    of.map(|(_, seconds)| seconds).sum()
}

#[test]
fn a_sum_with_constants_is_mostly_their_encoding() {
    let table = CostTable::default();
    let estimate = predicted(&table, None);
    let params = params();
    let encoded = table.encode(RingShape::of(&params), params.limbs(3), 4);
    let found = seconds(&estimate, "add_plain");
    assert!(encoded < found && found < 1.5 * encoded, "{found} s, of which {encoded} s are encoding");
    assert!(found > 5.0 * seconds(&estimate, "add"));
}

/// By hand: each of four vectors is laid out nine times, rotated and as it is, and summed up once;
/// the first one makes all four sums, and the others read and write theirs again.
#[test]
fn what_a_depthwise_convolution_moves_is_counted() {
    let free = [OpKind::Tile, OpKind::Sum].map(|kind| (kind, 0.0));
    let mut table = CostTable::default();
    let all = seconds(&predicted(&table, None), "linear_map");
    table.factors.extend(free);
    let without = seconds(&predicted(&table, None), "linear_map");
    let (table, params) = (CostTable::default(), params());
    let primes = params.limbs(4) + params.p().len();
    let one = |kind| table.seconds(RingShape::of(&params), kind, primes, 2);
    let expected = 4.0 * 9.0 * one(OpKind::Tile) + (4.0 + 3.0) * one(OpKind::Sum);
    assert!(((all - without) / expected - 1.0).abs() < 1e-9, "{all} and {without}, not {expected} apart");
}

#[test]
fn weights_without_memory_are_encoded_every_time() {
    let table = CostTable::default();
    let all = predicted(&table, None);
    let fitting = predicted(&table, Some(all.peak_bytes));
    assert_eq!((fitting.cached_bytes, &fitting.op_seconds), (None, &all.op_seconds));
    let tight = predicted(&table, Some(all.peak_bytes - 1));
    assert_eq!(tight.cached_bytes, Some(0));
    let more = seconds(&tight, "linear_map") - seconds(&all, "linear_map");
    // 36 diagonals of 4,096 slots.
    let expected = 36.0 * 4096.0 * table.packing_ns * 1e-9 + table.embedding(12, 36);
    assert!((more / expected - 1.0).abs() < 1e-9, "{more} s more, not {expected} s");
    assert!((tight.seconds - all.seconds - more).abs() < 1e-12);
}

#[test]
fn what_runs_showed_is_a_factor_of_their_ops() {
    let table = CostTable::default();
    let runs = [("linear_map".to_string(), 2.0), ("add_plain".to_string(), 0.5)].into();
    let refined = CostTable { runs, ..table.clone() };
    let (before, after) = (predicted(&table, None), predicted(&refined, None));
    for (op, factor) in [("linear_map", 2.0), ("rescale", 1.0), ("add_plain", 0.5), ("add", 1.0)] {
        let ratio = seconds(&after, op) / seconds(&before, op);
        assert!((ratio / factor - 1.0).abs() < 1e-9, "{op}: {ratio}, not {factor}");
    }
    // What was measured is the same table still; another one is not.
    assert_eq!(table.digest(), refined.digest());
    assert_ne!(table.digest(), CostTable { tail_ns: 0.2, ..table.clone() }.digest());
    assert!(refined.in_words().starts_with(&table.in_words()) && table != refined);
}
