//! What a decrypted answer says, by the digits that are certain.

/// What is said of an answer that is refused, whatever was wrong with it, and without numbers: more
/// would tell its sender about the key.
pub const REFUSED: &str = "it is no answer of this program that these keys can read, or a value left its range; \
     do not tell the server (docs/threat-model.md)";

/// Index of the largest logit, the first one on a tie.
pub fn argmax(logits: &[f64]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (1..logits.len()).fold(0, better)
}

/// The other indices of the largest logit: not empty on a tie, as rounded logits may have.
pub fn tied_with_argmax(logits: &[f64]) -> Vec<usize> {
    let class = argmax(logits);
    (class + 1..logits.len()).filter(|&index| logits[index] == logits[class]).collect()
}

/// `logit` as a multiple of `step`, 1, 2 or 5 times a power of ten: no digit more than it has.
pub fn rounded(logit: f64, step: f64) -> f64 {
    // The logarithm of a power of ten may be a little above its integer.
    let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
    let rounded = (logit / step).round() * step;
    // Through text: 0.1 times an integer has digits that nobody computed.
    format!("{rounded:.decimals$}").parse().unwrap_or(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_share_the_largest_logit_are_told() {
        assert_eq!(
            (argmax(&[1.0, 3.0, 3.0, 2.0, 3.0]), tied_with_argmax(&[1.0, 3.0, 3.0, 2.0, 3.0])),
            (1, vec![2, 4])
        );
        assert!(tied_with_argmax(&[1.0, 3.0, 2.0]).is_empty() && tied_with_argmax(&[]).is_empty());
    }

    #[test]
    fn logits_lose_the_digits_that_are_not_certain() {
        assert_eq!(rounded(12.345_678, 0.1), 12.3);
        assert_eq!(rounded(-0.049, 0.1), 0.0);
        assert_eq!(rounded(-12.36, 0.01), -12.36);
        assert_eq!(rounded(1234.5, 100.0), 1200.0);
        assert_eq!(rounded(3.0e-4, 1e-4), 3.0e-4);
        assert_eq!((rounded(1.23, 0.2), rounded(1.36, 0.5), rounded(0.0341, 0.005)), (1.2, 1.5, 0.035));
        assert!(rounded(f64::NAN, 0.1).is_nan());
    }
}
