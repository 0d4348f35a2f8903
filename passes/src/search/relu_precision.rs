//! The precision of ReLUs where nobody asked for one: what the literature takes, or less where
//! levels are short.

use crate::ckks::choose_params::ChooseParamsError;
use crate::error::PassError;

/// Precision of ReLU in bits where levels allow it, the one of the 2021 ResNet-20 (arXiv
/// 2106.07229).
pub const PREFERRED: f64 = 13.0;
/// The least precise ReLU that is chosen without being asked for, in bits.
pub const LEAST: f64 = 8.0;

/// The first result of `attempt`, which is given [`PREFERRED`] bits, then one less each time, down
/// to [`LEAST`], as long as levels do not suffice; with the bits that it took.
///
/// # Errors
/// Those of the last attempt.
pub fn search<T>(mut attempt: impl FnMut(f64) -> Result<T, PassError>) -> Result<(T, f64), PassError> {
    let mut bits = PREFERRED;
    loop {
        match attempt(bits) {
            Ok(result) => return Ok((result, bits)),
            Err(error) if bits - 1.0 < LEAST || !shallower_helps(&error) => return Err(error),
            Err(_) => bits -= 1.0,
        }
    }
}

/// Whether fewer levels per ReLU may be what `error` asks for: where the depth is near what a ring
/// holds, not where it is a multiple of that.
pub(crate) fn shallower_helps(error: &PassError) -> bool {
    match error {
        PassError::Params(ChooseParamsError::TooDeep { depth, max_levels, .. }) => *depth <= 2 * max_levels,
        PassError::Params(ChooseParamsError::Precision { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_deep(depth: u32) -> PassError {
        ChooseParamsError::TooDeep { depth, max_levels: 20, max_log_n: 16, security_bits: 128 }.into()
    }

    /// The bits of all attempts, which fail with `error` above `enough` bits.
    fn attempts(enough: f64, error: PassError) -> (Vec<f64>, Result<f64, PassError>) {
        let mut tried = Vec::new();
        let result = search(|bits| {
            tried.push(bits);
            if bits <= enough { Ok(()) } else { Err(error.clone()) }
        });
        (tried, result.map(|((), bits)| bits))
    }

    #[test]
    fn precision_falls_until_levels_suffice() {
        assert_eq!(attempts(13.0, too_deep(30)), (vec![13.0], Ok(13.0)));
        assert_eq!(attempts(11.0, too_deep(40)), (vec![13.0, 12.0, 11.0], Ok(11.0)));
        let precision = PassError::from(ChooseParamsError::Precision { depth: 9, wanted: 20.0, best: 12.0 });
        assert_eq!(attempts(12.0, precision).1, Ok(12.0));
    }

    #[test]
    fn what_a_shallower_relu_cannot_help_is_said_at_once() {
        let (tried, result) = attempts(0.0, too_deep(30));
        assert_eq!((tried.len(), tried.last(), result), (6, Some(&LEAST), Err(too_deep(30))));
        assert_eq!(attempts(8.0, too_deep(41)), (vec![13.0], Err(too_deep(41))));
        let other = PassError::Option { option: "margin", reason: "it is 0".into() };
        assert_eq!(attempts(8.0, other.clone()), (vec![13.0], Err(other)));
    }
}
