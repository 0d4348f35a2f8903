//! Arguments that are numbers with a unit.

use std::str::FromStr;

/// A time: `30s`, `500ms`, `2m`, or `30` for seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub f64);

/// A share: `99.5%` or `0.995`. It is not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

fn number(text: &str, whole: &str, example: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| format!("`{whole}` is not understood; write for example {example}"))
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("unknown unit `{other}`; use ms, s, min or h, for example 30s")),
        };
        Ok(Seconds(factor * number(digits, text, "30s")?))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%') {
            Some(percent) => Ok(Share(number(percent, text, "99.5%")? / 100.0)),
            None => Ok(Share(number(text, text, "99.5%")?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let seconds = |text: &str| text.parse::<Seconds>().map(|seconds| seconds.0);
        assert_eq!(seconds("30s"), Ok(30.0));
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert_eq!(seconds("1.5"), Ok(1.5));
        assert_eq!(seconds("2min"), Ok(120.0));
        let share = |text: &str| text.parse::<Share>().map(|share| share.0);
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.995"), Ok(0.995));
        for bad in ["", "s", "-1s", "nan", "3 fortnights", "inf", "5%%"] {
            assert!(seconds(bad).is_err(), "{bad}");
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
