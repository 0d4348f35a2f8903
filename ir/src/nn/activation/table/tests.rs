use super::*;
use crate::attr::Fields;
use crate::op_table::Family;

/// Every row, with the parameters of ONNX and with others.
fn all() -> Vec<Activation> {
    // What is not defined everywhere is looked at where it is at all of the points.
    let default = |parameter: &Parameter| match parameter.name {
        "from" => 1.0,
        "to" => 79.0,
        _ => parameter.default,
    };
    let other = |parameter: &Parameter| match parameter.kind {
        _ if ["from", "to"].contains(&parameter.name) => default(parameter) + 1.0,
        Kind::Flag => 1.0,
        Kind::Bound if parameter.default < 0.0 => -0.75,
        _ => 1.25,
    };
    let of = |function: &'static Function, f: &dyn Fn(&Parameter) -> f64| {
        let parameters: Vec<f64> = function.parameters.iter().map(f).collect();
        Activation::new(function, &parameters).unwrap()
    };
    let both = |function: &&'static Function| [of(function, &default), of(function, &other)];
    let around = |exponent| Activation::power(exponent).around([1.0, 79.0]).unwrap();
    let more = [Activation::leaky_relu(-0.5), Activation::clip(1.0, -1.0), around(-1.0), around(-0.5)];
    TABLE.iter().flat_map(both).chain(more).collect()
}

fn points() -> impl Iterator<Item = f64> {
    (-240..=240).map(|i| f64::from(i) / 20.0)
}

#[test]
fn rows_are_sorted_and_names_are_unique() {
    assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
    assert!(TABLE.iter().all(|function| function.parameters.len() <= super::super::MAX_PARAMETERS));
}

/// What approximations work with is the function: the form adds up to the value.
#[test]
fn forms_add_up_to_values() {
    for activation in all() {
        for x in points() {
            let clamped = |c: Clamp| c.scale * clamp(x, c.low, c.high) + c.offset;
            let found = match activation.form() {
                Form::Rectifier { negative } => x * if x < 0.0 { negative } else { 1.0 },
                Form::Clamp(c) => clamped(c),
                Form::Gate(c) => x * clamped(c),
                Form::Smooth(s) => {
                    let lines = s.constant + s.slope * x + s.rectifier * x.max(0.0);
                    assert!(
                        (s.value(&activation, x) + s.rectifier * x.max(0.0) - activation.value(x)).abs()
                            < 1e-13
                    );
                    lines + s.rest.at::<f64>(x, ())
                }
            };
            let value = activation.value(x);
            let close = (found - value).abs() <= 1e-14 * value.abs().max(10.0);
            assert!(close, "{activation} at {x}: {value}, its form gives {found}");
        }
    }
}

#[test]
fn parts_have_the_symmetry_that_they_claim() {
    for activation in all() {
        let Form::Smooth(Smooth { parity, rest, .. }) = activation.form() else { continue };
        for x in points().filter(|x| *x > 0.0) {
            let [left, right] = [-x, x].map(|x| rest.at::<f64>(x, ()));
            let defect = match parity {
                Parity::Odd => left + right,
                Parity::Even => left - right,
                Parity::General => 0.0,
            };
            assert!(defect.abs() <= 1e-14 * right.abs().max(1.0), "{activation} at {x}: {defect}");
        }
    }
}

#[test]
fn images_contain_all_values() {
    let points: Vec<f64> = points().collect();
    for activation in all() {
        for ends in [[0, 480], [0, 100], [150, 239], [220, 260], [239, 241], [240, 400], [300, 480]] {
            let [low, high] = activation.image(ends.map(|i| points[i]));
            assert!(low <= high, "{activation}");
            for &x in &points[ends[0]..=ends[1]] {
                let value = activation.value(x);
                assert!(low - 1e-15 <= value && value <= high + 1e-15, "{activation} at {x}");
            }
        }
        if activation.is_nonnegative() {
            assert!(points.iter().all(|&x| activation.value(x) >= 0.0), "{activation}");
        }
    }
    let nonnegative = [Activation::RELU, Activation::SIGMOID, Activation::EXP, Activation::clip(0.0, 6.0)];
    assert!(nonnegative.iter().all(Activation::is_nonnegative));
    assert!(!Activation::SILU.is_nonnegative() && !Activation::clip(-1.0, 1.0).is_nonnegative());
}

#[test]
fn what_is_not_defined_everywhere_has_no_image_there() {
    for activation in [Activation::LOG, Activation::power(-1.0), Activation::power(0.5)] {
        assert!(activation.image([-1.0, 2.0])[0].is_nan() && !activation.is_nonnegative());
        let around = activation.around([1.0, 5.0]).unwrap();
        assert_eq!([-2.0, 0.0, 2.0].map(|x| around.value(x)), [1.0, 3.0, 5.0].map(|x| activation.value(x)));
    }
    assert_eq!(Activation::power(-1.0).image([0.5, 2.0]), [0.5, 2.0]);
    assert!(Activation::RELU.around([0.0, 1.0]).is_none());
}

#[test]
fn no_number_stays_none() {
    for activation in all() {
        assert!(activation.value(f64::NAN).is_nan(), "{activation}");
    }
}

#[test]
fn only_rectifiers_are_homogeneous() {
    // But for a clip without bounds, which is none.
    let unbounded = Activation::clip(f64::NEG_INFINITY, f64::INFINITY);
    for activation in all().into_iter().filter(|activation| *activation != unbounded) {
        let homogeneous = points().all(|x| {
            let [once, thrice] = [activation.value(x), activation.value(3.0 * x)];
            (thrice - 3.0 * once).abs() <= 1e-13 * thrice.abs()
        });
        assert_eq!(activation.rectifier().is_some(), homogeneous, "{activation}");
        if let Some(other) = activation.rescaled(3.0) {
            for x in points() {
                assert!((other.value(x) - activation.value(3.0 * x) / 3.0).abs() < 1e-14, "{activation}");
            }
        }
    }
}

#[test]
fn the_printed_form_is_read_back() {
    for activation in all() {
        let attrs = activation.attrs();
        let mut fields = Fields::new(&attrs);
        let read = Activation::from_parts(activation.mnemonic(), &mut fields).unwrap();
        assert_eq!(read, Ok(activation));
    }
    assert_eq!(Activation::gelu(true).to_string(), "gelu {tanh=true}");
    assert_eq!(Activation::clip(f64::NEG_INFINITY, 1.0).to_string(), "clip {low=-inf, high=1.0}");
    assert!(Activation::from_parts("rely", &mut Fields::new(&[])).is_none());
}

#[test]
fn useless_parameters_are_refused() {
    for (function, parameters, reason) in [
        (&ELU, &[f64::INFINITY][..], "`alpha` of elu must be a finite number"),
        (&CELU, &[0.0], "other than 0"),
        (&CLIP, &[f64::NAN, 1.0], "possibly infinite"),
        (&GELU, &[0.5], "true or false"),
        (&SELU, &[1.0], "has 2 parameters"),
    ] {
        let error = Activation::new(function, parameters).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn known_values() {
    // Phi(1) = 0.841344746068543, Phi(-3) = 0.001349898031630.
    assert!((gelu(1.0) - 0.841_344_746_068_543).abs() < 1e-15);
    assert!((gelu(-3.0) + 3.0 * 0.001_349_898_031_630).abs() < 1e-14);
    let at_zero = [Activation::gelu(false), Activation::SILU, Activation::gelu(true), Activation::SIGMOID];
    assert_eq!(at_zero.map(|f| f.value(0.0)), [0.0, 0.0, 0.0, 0.5]);
    assert!((sigmoid(2.0) - 0.880_797_077_977_882_4).abs() < 1e-15);
    assert_eq!((sigmoid(-1000.0), sigmoid(1000.0)), (0.0, 1.0));
    assert_eq!((softplus(-1000.0), softplus(1000.0)), (0.0, 1000.0));
    assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-16);
}

#[test]
fn the_two_forms_of_gelu_differ_by_less_than_their_authors_say() {
    let worst = (-800..=800).map(|i| f64::from(i) / 100.0).map(|x| (gelu(x) - gelu_tanh(x)).abs());
    let worst = worst.fold(0.0, f64::max);
    assert!(worst < 5e-4 && worst > 1e-4, "{worst}");
}
