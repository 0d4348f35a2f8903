use super::*;
use crate::ckks::{CiphertextType, Ckks, Op};
use crate::func::Func;
use crate::key_demand::{KeyDemand, switching_key_bytes};
use crate::params::{FixedScale, ParamsLiteral, Secret};
use crate::prime::ntt_primes_near;
use crate::prime_set::PrimeSet;

fn step(butterflies: u32, baby_steps: u32) -> DftStep {
    DftStep { butterflies, baby_steps }
}

fn bootstrap() -> BootstrapParams {
    let mut cosine = vec![0.0; 31];
    cosine.iter_mut().step_by(2).for_each(|c| *c = 0.5);
    BootstrapParams {
        log_slots: 11,
        order: Order::SlotsToCoeffsFirst,
        ephemeral_weight: Some(32),
        bound: 14,
        cosine: Polynomial::chebyshev(cosine, [-1.0, 1.0]).unwrap(),
        double_angles: 3,
        arcsine: None,
        coeffs_to_slots: vec![step(3, 4), step(4, 4), step(4, 8)],
        conserves_level: false,
        slots_to_coeffs: vec![step(5, 8), step(6, 8)],
        output_level: 6,
    }
}

/// The same with slots to coefficients last.
fn last() -> BootstrapParams {
    BootstrapParams { order: Order::SlotsToCoeffsLast, output_level: 4, ..bootstrap() }
}

fn params() -> Params {
    let mut q = Vec::new();
    // Nearest to a power of two each: the segments' scales are those powers.
    for (bits, count) in [(42, 1), (30, 2), (32, 4), (45, 8), (40, 3)] {
        q.extend(ntt_primes_near(1 << bits, 12).take(count));
    }
    let literal = ParamsLiteral {
        name: "toy-n12-bootstrap".into(),
        log_n: 12,
        levels: PrimeSet::prefixes(1..=q.len()),
        q,
        p: ntt_primes_near((1 << 48) - 1, 12).take(2).collect(),
        digit_limbs: 2,
        log_scale: 45,
        secret: Secret::UniformTernary,
    };
    let levels = [(16, 45), (15, 45), (14, 45), (6, 32), (1, 32), (0, 32)];
    let fixed = levels.map(|(level, log_scale)| FixedScale { level, log_scale });
    Params::segmented(literal, fixed.into()).unwrap()
}

#[test]
fn levels_add_up() {
    let (b, params) = (bootstrap(), params());
    b.validate(&params).unwrap();
    assert_eq!((b.input_level(), b.output_level, b.usable_levels()), (2, 6, 4));
    assert_eq!((b.sine_depth(), b.sine_input_level(), b.raised_level()), (8, 14, 17));
    let levels = |matrices: Vec<(DftMatrix, Level)>| -> Vec<(u32, u32, Level)> {
        matrices.iter().map(|(m, level)| (m.low, m.high, *level)).collect()
    };
    assert_eq!(levels(b.coeffs_to_slots_matrices()), [(8, 11, 17), (4, 8, 16), (0, 4, 15)]);
    assert_eq!(levels(b.slots_to_coeffs_matrices()), [(0, 5, 2), (5, 11, 1)]);
    assert!((b.log_message_ratio(&params) - 10.0).abs() < 1e-3);
}

#[test]
fn a_first_matrix_that_keeps_its_level_saves_one() {
    let params = params();
    let step = |butterflies, baby_steps| DftStep { butterflies, baby_steps };
    let taking = BootstrapParams {
        coeffs_to_slots: vec![step(3, 8), step(4, 4), step(4, 8)],
        output_level: 7,
        ..bootstrap()
    };
    assert!(taking.raises_into_slots(&params));
    assert!(matches!(taking.validate(&params), Err(BootstrapError::Levels { needed: 18, top: 17 })));
    let keeping = BootstrapParams { conserves_level: true, ..taking };
    keeping.validate(&params).unwrap();
    let levels = |b: &BootstrapParams| -> Vec<Level> {
        b.coeffs_to_slots_matrices().iter().map(|(_, level)| *level).collect()
    };
    assert_eq!((keeping.sine_input_level(), keeping.raised_level()), (15, 17));
    assert_eq!(levels(&keeping), [17, 17, 16]);
    // One prime of 48 bits covers q0, of 42; the other one is the scale.
    assert_eq!(BootstrapParams::raising_special_primes(&params), 1);
    assert_eq!(keeping.raising_key_primes(&params), 2);
    assert_eq!(keeping.scaling_prime(&params), Some(params.p()[1]));
    // Not where a rotation is a key switch, nor where no prime is left.
    for wrong in [
        BootstrapParams { coeffs_to_slots: vec![step(3, 4), step(4, 4), step(4, 8)], ..keeping.clone() },
        BootstrapParams { ephemeral_weight: None, ..keeping.clone() },
    ] {
        let params = match wrong.ephemeral_weight {
            None => Params::segmented(
                ParamsLiteral {
                    secret: Secret::SparseTernary { hamming_weight: 32 },
                    ..params.literal().clone()
                },
                params.fixed_scales().to_vec(),
            )
            .unwrap(),
            Some(_) => params.clone(),
        };
        assert_eq!(wrong.validate(&params), Err(BootstrapError::ConservedLevel));
    }
    let narrow = ParamsLiteral { p: params.p()[..1].to_vec(), digit_limbs: 1, ..params.literal().clone() };
    let narrow = Params::segmented(narrow, params.fixed_scales().to_vec()).unwrap();
    assert_eq!(keeping.validate(&narrow), Err(BootstrapError::ConservedLevel));
}

#[test]
fn slots_to_coefficients_last_are_between_application_and_sine() {
    let (b, params) = (last(), params());
    b.validate(&params).unwrap();
    assert_eq!((b.input_level(), b.output_level, b.usable_levels()), (0, 4, 4));
    assert_eq!((b.sine_output_level(), b.sine_input_level(), b.raised_level()), (6, 14, 17));
    let matrices = b.slots_to_coeffs_matrices();
    let shapes: Vec<_> = matrices.iter().map(|(m, level)| (m.low, m.high, m.halves_first, *level)).collect();
    assert_eq!(shapes, [(0, 5, true, 6), (5, 11, false, 5)]);
    // Of 63 diagonals the main one and those to the right have an entry that is halved, and the
    // length of all slots.
    let periods: Vec<usize> = matrices[0].0.periods().collect();
    assert_eq!((periods[..32].to_vec(), periods[32..].to_vec()), (vec![2048; 32], vec![32; 31]));
    assert!(b.coeffs_to_slots_matrices().iter().all(|(m, _)| !m.halves_first));
    // The conjugate doubles coefficients, not the modulus.
    assert!((b.log_message_ratio(&params) - 9.0).abs() < 1e-3);
    assert_eq!(Reduction::new(&b, &params).ratio() * 2.0, Reduction::new(&bootstrap(), &params).ratio());
    // Keys are where the matrices are.
    let rotations = b.rotations(&params);
    assert_eq!((rotations[&2017], rotations[&32], rotations[&1024]), (6, 5, 17));
    let exchange = b.exchange(&params, 1);
    assert_eq!(exchange.of(PrimeSet::first(7)), PrimeSet::first(7).without(PrimeSet::range(2..5)));
    assert_eq!(exchange.of(PrimeSet::first(4)), PrimeSet::first(4));
    assert_eq!(b.reached_level(&params, 0), 0);
    let high = BootstrapParams { output_level: 5, ..last() };
    assert_eq!(high.validate(&params), Err(BootstrapError::Levels { needed: 18, top: 17 }));
    let none = BootstrapParams { output_level: 0, ..last() };
    assert!(matches!(none.validate(&params), Err(BootstrapError::Levels { .. })));
}

#[test]
fn the_sine_keeps_its_own_scale_down_to_its_result() {
    let (b, params) = (bootstrap(), params());
    for level in 8..=14 {
        assert!(params.continues(level), "level {level}");
    }
    assert!(!params.continues(7));
    assert!((b.sine_scale(&params).log2() - 45.0).abs() < 0.1);
    // D q0 / (2 pi D_0 S) = 2^(32 + 10 - 45) / 2 pi.
    let factor = b.sine_factor(&params);
    assert!((factor * 2.0 * PI * 8.0 - 1.0).abs() < 0.1, "{factor}");
    let argument = b.argument_factor(&params);
    assert!((argument * 13.5 - 8.0).abs() < 0.1, "{argument}");
}

#[test]
fn every_diagonal_is_reached_by_a_baby_and_giant_steps() {
    for log_slots in 4..=9u32 {
        for low in 0..log_slots {
            for high in low + 1..=log_slots {
                for log_baby in 0..=high - low {
                    let matrix = DftMatrix {
                        log_slots,
                        low,
                        high,
                        inverse: false,
                        baby_steps: 1 << log_baby,
                        halves_first: false,
                        mask: None,
                    };
                    let babies = matrix.baby_rotations();
                    let (slots, giant) = (1usize << log_slots, matrix.giant_rotation());
                    let mut offsets = Vec::new();
                    for index in 0..matrix.diagonals() {
                        let (g, b) = (index / babies.len(), index % babies.len());
                        assert!(g < matrix.giant_steps());
                        assert_eq!(matrix.rotation(index), (babies[b] + g * giant) % slots);
                        offsets.push(matrix.rotation(index));
                    }
                    // Exactly the differences of indices that such butterflies can join.
                    let mut expected: Vec<usize> = (0..1usize << high)
                        .step_by(1 << low)
                        .flat_map(|d| [d, (slots - d) % slots])
                        .collect();
                    expected.sort_unstable();
                    expected.dedup();
                    offsets.sort_unstable();
                    assert_eq!(offsets, expected);
                }
            }
        }
    }
}

#[test]
fn keys_go_to_the_highest_level_they_are_used_at() {
    let (b, params) = (bootstrap(), params());
    let rotations = b.rotations(&params);
    // First matrix of coefficients to slots: stride 2^8, babies 0..4, giant 4; last: stride 1,
    // babies -15..-8, giant 8.
    assert_eq!(rotations[&256], 17);
    assert_eq!(rotations[&1024], 17);
    assert_eq!(rotations[&(2048 - 15)], 15);
    assert_eq!(rotations[&8], 15);
    assert!(!rotations.contains_key(&0));
    let sparse = BootstrapParams {
        log_slots: 9,
        coeffs_to_slots: vec![step(3, 4), step(3, 4), step(3, 4)],
        slots_to_coeffs: vec![step(4, 4), step(5, 4)],
        ..b
    };
    sparse.validate(&params).unwrap();
    assert_eq!(sparse.trace_rotations(&params), [1024, 512]);
    assert_eq!(sparse.rotations(&params)[&512], 17);
}

#[test]
fn misfits_are_named() {
    let params = params();
    let check = |change: fn(&mut BootstrapParams)| {
        let mut b = bootstrap();
        change(&mut b);
        b.validate(&params).unwrap_err()
    };
    assert!(matches!(check(|b| b.log_slots = 12), BootstrapError::Slots { .. }));
    assert!(matches!(check(|b| b.coeffs_to_slots[0].butterflies = 4), BootstrapError::Butterflies { .. }));
    assert!(matches!(check(|b| b.slots_to_coeffs[0].baby_steps = 3), BootstrapError::BabySteps { .. }));
    assert!(matches!(check(|b| b.output_level = 7), BootstrapError::Levels { needed: 18, top: 17 }));
    // What a file may say, too.
    let huge = |b: &mut BootstrapParams| {
        b.slots_to_coeffs = vec![step(1 << 31, 8), step((1 << 31) + 11, 8)];
    };
    assert!(matches!(check(huge), BootstrapError::Butterflies { .. }));
    assert!(matches!(check(|b| b.output_level = Level::MAX), BootstrapError::Levels { .. }));
    assert!(matches!(check(|b| b.double_angles = 1 << 16), BootstrapError::Levels { .. }));
    assert!(matches!(check(|b| b.ephemeral_weight = None), BootstrapError::DenseSecret));
    assert!(matches!(check(|b| b.bound = 1), BootstrapError::Bound { .. }));
    let odd = |b: &mut BootstrapParams| {
        b.cosine = Polynomial::chebyshev(vec![0.0, 1.0], [-1.0, 1.0]).unwrap();
    };
    assert!(matches!(check(odd), BootstrapError::Parity { .. }));
}

#[test]
fn the_printed_form_reads_back() {
    let mut b = bootstrap();
    for arcsine in [None, Some(Polynomial::chebyshev(vec![0.0, 1.0, 0.0, 0.25], [-1.0, 1.0]).unwrap())] {
        b.arcsine = arcsine;
        b.ephemeral_weight = b.ephemeral_weight.filter(|_| b.arcsine.is_none());
        let text = b.to_attr().unwrap().to_string();
        let attr = crate::text::parse_attr(&text).unwrap();
        assert_eq!(BootstrapParams::from_attr(Some(&attr)).unwrap(), b);
    }
    let text = last().to_attr().unwrap().to_string();
    assert!(text.contains("slots_to_coeffs_last"), "{text}");
    let attr = crate::text::parse_attr(&text).unwrap();
    assert_eq!(BootstrapParams::from_attr(Some(&attr)).unwrap(), last());
}

/// Rows and columns of a mask go to the last matrix that leaves their blocks together.
#[test]
fn masks_are_factors_of_the_last_matrices_that_can_do_them() {
    let b = bootstrap();
    let mask = |area, plane| SlotMask { area, plane };
    let of = |mask: SlotMask| -> Vec<Option<SlotMask>> {
        mask.validate(b.slots()).unwrap();
        b.masking_matrices(Some(mask)).iter().map(|(matrix, _)| matrix.mask).collect()
    };
    assert_eq!(b.masking_matrices(None), b.slots_to_coeffs_matrices());
    // The first matrix keeps to blocks of 32 slots.
    let both = mask([28, 56], [32, 64]);
    let (rows, columns) = (mask([28, 64], [32, 64]), mask([32, 56], [32, 64]));
    assert_eq!(of(both), [Some(columns), Some(rows)]);
    let periods =
        |mask, index: usize| -> Vec<usize> { b.masking_matrices(mask)[index].0.periods().collect() };
    assert_eq!(periods(Some(both), 0), vec![64; 63]);
    assert_eq!(periods(Some(both), 1), periods(None, 1));
    assert_eq!(of(mask([28, 32], [32, 64])), [None, Some(mask([28, 32], [32, 64]))]);
    assert_eq!(of(mask([3, 3], [4, 4])), [Some(mask([3, 3], [4, 4])), None]);
    assert_eq!(of(mask([4, 4], [4, 4])), [None, None]);
}

#[test]
fn masks_of_programs_are_checked() {
    use crate::text::{ConstSource, parse_func, print_func};
    let mask = SlotMask { area: [28, 56], plane: [32, 64] };
    let program = |masks: &[Option<SlotMask>], bootstrap: BootstrapParams| {
        let mut program = Func::<Ckks>::new("refresh");
        let x = program.add_input(CiphertextType::canonical(2, 2048, 2), None);
        let refreshed =
            masks.iter().map(|&mask| program.push(Op::Bootstrap { x, level: 4, sine: None, mask }).unwrap());
        let refreshed = refreshed.collect();
        program.set_outputs(refreshed);
        BootstrapParams::set_in_program(&mut program, &vec![bootstrap]);
        program
    };
    let params = params();
    let masked = program(&[None, Some(mask)], bootstrap());
    let parsed: Func<Ckks> = parse_func(&print_func(&masked), &ConstSource::default()).unwrap();
    assert_eq!(print_func(&parsed), print_func(&masked));
    assert!(print_func(&masked).contains("mask={area=[28, 56], plane=[32, 64]}"));
    let found = BootstrapParams::checked_of_program(&parsed, &params).unwrap();
    let pairs = found[0].takes_pairs(&params);
    assert_eq!(found[0].masks_in(&parsed, &params), BTreeMap::from([(None, pairs), (Some(mask), pairs)]));
    let last = program(&[Some(mask)], BootstrapParams { output_level: 4, ..last() });
    assert_eq!(BootstrapParams::checked_of_program(&last, &params), Err(ProgramBootstrapError::Mask));
    // Planes of other sizes than the slots allow are no masks of theirs.
    let mut wide = Func::<Ckks>::new("wide");
    let x = wide.add_input(CiphertextType::canonical(1, 16, 2), None);
    assert!(wide.push(Op::Bootstrap { x, level: 4, sine: None, mask: Some(mask) }).is_err());
}

#[test]
fn programs_carry_their_bootstraps_as_text() {
    use crate::text::{ConstSource, parse_func, print_func};
    let mut program = Func::<Ckks>::new("refresh");
    assert!(BootstrapParams::of_program(&program).unwrap().is_empty());
    let x = program.add_input(CiphertextType::canonical(1, 2048, 2), None);
    let y = program.push(Op::Bootstrap { x, level: 6, sine: None, mask: None }).unwrap();
    program.set_outputs(vec![y]);
    let list = vec![bootstrap(), BootstrapParams { log_slots: 10, ..bootstrap() }];
    BootstrapParams::set_in_program(&mut program, &list);
    let parsed: Func<Ckks> = parse_func(&print_func(&program), &ConstSource::default()).unwrap();
    assert_eq!(BootstrapParams::of_program(&parsed).unwrap(), list);
}

#[test]
fn the_keys_of_a_program_include_those_of_its_bootstraps() {
    let params = params();
    let mut program = Func::<Ckks>::new("refresh");
    let x = program.add_input(CiphertextType::canonical(1, 1024, 2), None);
    let y = program.push(Op::Rotate { x, steps: 8 }).unwrap();
    let z = program.push(Op::Bootstrap { x: y, level: 6, sine: None, mask: None }).unwrap();
    let z = program.push(Op::Rotate { x: z, steps: 3 }).unwrap();
    program.set_outputs(vec![z]);
    let few = BootstrapParams {
        log_slots: 10,
        coeffs_to_slots: vec![step(3, 4), step(3, 4), step(4, 4)],
        slots_to_coeffs: vec![step(5, 4), step(5, 4)],
        ..bootstrap()
    };
    let list = vec![bootstrap(), few.clone()];
    BootstrapParams::set_in_program(&mut program, &list);
    let keys = KeyDemand::of(&program, &params).unwrap();
    assert_eq!((keys.relinearization, keys.conjugation), (Some(14), Some(14)));
    // Of the program alone, of both, and of the trace of the smaller bootstrap.
    assert_eq!((keys.rotations[&3], keys.rotations[&8], keys.rotations[&1024]), (6, 15, 17));
    let of_ops = KeyDemand::of_ops(&program);
    assert_eq!(of_ops.rotations.into_iter().collect::<Vec<_>>(), [(3, 6), (8, 2)]);
    let encapsulation = keys.encapsulation.clone().unwrap();
    assert_eq!((encapsulation.weight, encapsulation.level), (32, 17));
    let switching: u64 = keys.levels().map(|level| switching_key_bytes(&params, level)).sum();
    // One key back, that rotates by nothing.
    assert_eq!(encapsulation.rotations, [0].into());
    let limbs = 2 + params.q().len() + BootstrapParams::raising_special_primes(&params);
    assert_eq!(keys.bytes(&params), switching + (2 * limbs * params.ring_degree() * 8) as u64);

    let of = |list: Vec<BootstrapParams>| {
        let mut program = program.clone();
        BootstrapParams::set_in_program(&mut program, &list);
        KeyDemand::of(&program, &params).unwrap_err()
    };
    let mut wrong = bootstrap();
    wrong.output_level = 7;
    assert!(matches!(of(vec![wrong]), ProgramBootstrapError::Misfit(BootstrapError::Levels { .. })));
    assert!(matches!(of(vec![few.clone(), few.clone()]), ProgramBootstrapError::Twice { slots: 1024 }));
    let mut denser = few;
    denser.ephemeral_weight = Some(64);
    assert!(matches!(of(vec![bootstrap(), denser]), ProgramBootstrapError::EphemeralWeights));
    program.meta.insert("bootstraps".into(), Attr::Int(3));
    assert!(matches!(KeyDemand::of(&program, &params), Err(ProgramBootstrapError::Meta(_))));
}

/// Chebyshev coefficients of `cos(frequency t)` over `[-1, 1]`, by interpolation.
fn cosine(frequency: f64, degree: usize) -> Polynomial {
    let count = degree + 1;
    let node = |i: usize| PI * (2 * i + 1) as f64 / (2 * count) as f64;
    let coefficients = (0..count).map(|k| {
        let terms = (0..count).map(|i| (frequency * node(i).cos()).cos() * (k as f64 * node(i)).cos());
        let scale = if k == 0 { 1.0 } else { 2.0 };
        if k % 2 == 0 { scale * terms.sum::<f64>() / count as f64 } else { 0.0 }
    });
    Polynomial::chebyshev(coefficients.collect(), [-1.0, 1.0]).unwrap()
}

/// A message of any size becomes the circuit's polynomials at its point, and those are about the
/// sine.
#[test]
fn the_reduction_is_the_circuit_in_the_clear() {
    let params = params();
    let mut b = bootstrap();
    b.cosine = cosine(2.0 * PI * b.width() / 8.0, 30);
    let q0 = params.q()[0] as f64;
    let ratio = q0 / params.canonical_scale(0).to_f64();
    for arcsine in [None, Some(Polynomial::chebyshev(vec![0.0, 1.0, 0.0, 0.25], [-1.0, 1.0]).unwrap())] {
        b.arcsine = arcsine.clone();
        let reduction = Reduction::new(&b, &params);
        assert_eq!(reduction.ratio(), ratio);
        let mut messages: Vec<f64> = (-300..300).map(|i| f64::from(i) * 0.01).collect();
        messages.extend([100.0, -400.0]);
        for integer in -13..=13i32 {
            let mut all = messages.clone();
            reduction.apply_all(&mut all, |_| f64::from(integer));
            for (&m, &found) in messages.iter().zip(&all) {
                let t = (f64::from(integer) + m / ratio - 0.25) / b.width();
                let sine = (0..3).fold(b.cosine.eval(t), |c, _| 2.0 * c * c - 1.0);
                let y = arcsine.as_ref().map_or(sine, |p| p.eval(sine));
                // Rounding to 2^-53 grows by at most 4^3 in the doublings, and by the ratio 2^10; a
                // few bits for Clenshaw.
                assert!((found - ratio / (2.0 * PI) * y).abs() < 2f64.powi(-53 + 6 + 10 + 6));
                assert_eq!(found, reduction.apply(m, f64::from(integer)));
                // Interpolation of degree 30 is right to 2^-30 here, times 4^3 and the ratio over 2
                // pi.
                let ideal = (2.0 * PI * m / ratio).sin();
                let tolerance = 2f64.powi(-30 + 6 + 8);
                assert!(arcsine.is_some() || (found - ratio / (2.0 * PI) * ideal).abs() < tolerance);
            }
        }
        // Half the modulus more is another residue: m and m - q0 / D_0 are the same message.
        assert!((reduction.apply(0.75 * ratio, 2.0) - reduction.apply(-0.25 * ratio, 2.0)).abs() < 1e-9);
        assert!(reduction.apply(f64::NAN, 0.0).is_nan());
    }
}
