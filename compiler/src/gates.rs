//! Limits on a plan, for pipelines: a compile that goes beyond one fails and says what would not.

use std::fmt;

use fhec_ir::plan::{Considered, Plan};

use crate::memory::human_bytes;

/// Limits that a plan has to keep, beside memory, within which plans are searched in the first
/// place ([`out_of_memory`]).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gates {
    /// Largest predicted time of one inference, in seconds.
    pub max_seconds: Option<f64>,
    /// Largest number of bootstraps.
    pub max_bootstraps: Option<usize>,
    /// Least share of sample images that keep their class.
    pub min_agreement: Option<f64>,
}

/// A plan is beyond limits.
#[derive(Clone, Debug, PartialEq)]
pub struct GateError {
    /// Which limits, in words.
    pub reasons: Vec<String>,
    /// What else was considered, in words.
    pub nearest: String,
}

impl fmt::Display for GateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the plan is beyond what was asked for: {}; {}", self.reasons.join("; "), self.nearest)
    }
}

impl std::error::Error for GateError {}

impl Gates {
    /// Checks `plan`.
    pub fn check(&self, plan: &Plan) -> Result<(), GateError> {
        let mut reasons = Vec::new();
        if let Some(max) = self.max_seconds.filter(|&max| plan.predicted_seconds > max) {
            reasons.push(format!("{:.2} s predicted, at most {max} s allowed", plan.predicted_seconds));
        }
        let bootstraps = plan.bootstraps + plan.bootstraps_softmax;
        if let Some(max) = self.max_bootstraps.filter(|&max| bootstraps > max) {
            reasons.push(format!("{bootstraps} bootstraps, at most {max} allowed"));
        }
        let resources = !reasons.is_empty();
        reasons.extend(self.agreement(plan));
        if reasons.is_empty() {
            return Ok(());
        }
        let nearest = match (resources, plan.agreement) {
            (true, _) => self.nearest(plan),
            (false, Some(_)) => "parameters do not change the agreement: use more levels per activation (--relu-depth), or more \
                                 and other --calibration images"
                .into(),
            (false, None) => "give --calibration images, or fit activations with `fhec calibrate`".into(),
        };
        Err(GateError { reasons, nearest })
    }

    fn agreement(&self, plan: &Plan) -> Option<String> {
        let min = self.min_agreement?;
        match &plan.agreement {
            Some(agreement) if agreement.share() >= min => None,
            Some(agreement) => Some(format!(
                "{:.2} % of {} images keep their class, at least {} % asked for",
                100.0 * agreement.share(),
                agreement.judged_images,
                100.0 * min
            )),
            None => Some("agreement was not measured, which takes sample images".into()),
        }
    }

    /// How far beyond the limits on resources a parameter set is: the largest ratio, at most 1
    /// where it keeps all.
    fn excess(&self, set: &Considered) -> f64 {
        let ratio = |value: f64, limit: f64| if value == 0.0 { 0.0 } else { value / limit };
        let ratios = [
            self.max_seconds.map(|max| ratio(set.seconds, max)),
            self.max_bootstraps.map(|max| ratio(set.bootstraps as f64, max as f64)),
        ];
        ratios.into_iter().flatten().fold(0.0, f64::max)
    }

    /// The parameter set that keeps the limits at the least time, or else the one that comes
    /// nearest.
    fn nearest(&self, plan: &Plan) -> String {
        // Sets that were given up before they were priced say nothing.
        let priced =
            || plan.considered.iter().filter(|set| set.seconds > 0.0 && set.verdict != Considered::CHOSEN);
        let passing = priced().filter(|set| self.excess(set) <= 1.0);
        // One that keeps precision first, then the fastest.
        let refused = |set: &Considered| !set.acceptable();
        let best = passing.min_by(|a, b| refused(a).cmp(&refused(b)).then(a.seconds.total_cmp(&b.seconds)));
        if let Some(set) = best {
            let why_not = match set.verdict.as_str() {
                Considered::SLOWER => "it is slower than the one chosen".into(),
                Considered::LESS_PRECISE => {
                    "it is less precise than the one chosen, and hardly faster".into()
                }
                verdict => format!("it was not chosen because {verdict}"),
            };
            return format!("the nearest plan that would pass: {}; {why_not}", in_words(set));
        }
        let count = priced().count();
        match priced().min_by(|a, b| self.excess(a).total_cmp(&self.excess(b))) {
            Some(set) => format!(
                "none of the {count} other parameter sets that were priced would pass; the nearest: {}",
                in_words(set)
            ),
            None => "no other parameter set was priced".into(),
        }
    }
}

/// That no plan keeps within `max` bytes of memory; `nearest` needs least.
pub fn out_of_memory(max: u64, nearest: &Considered) -> GateError {
    let mebibytes = nearest.peak_bytes.div_ceil(1 << 20);
    GateError {
        reasons: vec![format!("no plan keeps within {} of memory", human_bytes(max))],
        nearest: format!(
            "the nearest one: {}; --max-ram {mebibytes}MiB, a lower security level or a smaller network would pass",
            in_words(nearest)
        ),
    }
}

fn in_words(set: &Considered) -> String {
    let bootstraps = match set.bootstraps {
        0 => "no bootstraps".into(),
        count => format!("{count} bootstraps"),
    };
    format!(
        "N = 2^{}, log QP = {:.0}, {} primes per digit: {:.2} s, {} of memory, {bootstraps}",
        set.log_n,
        set.log_qp,
        set.digit_limbs,
        set.seconds,
        human_bytes(set.peak_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::plan::Agreement;

    fn set(seconds: f64, peak_bytes: u64, verdict: &str) -> Considered {
        Considered { seconds, peak_bytes, log_n: 16, verdict: verdict.into(), ..Considered::default() }
    }

    fn plan() -> Plan {
        Plan {
            predicted_seconds: 2.0,
            predicted_peak_bytes: 8 << 30,
            bootstraps: 3,
            considered: vec![
                set(2.0, 8 << 30, "chosen"),
                set(3.0, 6 << 30, "slower"),
                set(4.0, 5 << 30, "slower"),
                set(1.5, 4 << 30, "outputs would have errors"),
                set(0.0, 0, "given up"),
            ],
            ..Plan::default()
        }
    }

    fn error(gates: Gates) -> GateError {
        gates.check(&plan()).expect_err("beyond a limit")
    }

    #[test]
    fn limits_that_are_kept_pass() {
        let gates = Gates { max_seconds: Some(2.0), max_bootstraps: Some(3), min_agreement: None };
        assert_eq!(gates.check(&plan()), Ok(()));
        assert_eq!(Gates::default().check(&plan()), Ok(()));
    }

    #[test]
    fn the_nearest_set_that_passes_is_named_with_the_way_to_get_it() {
        // One bootstrap less would do: the faster of the two that keep precision, before a faster
        // one that does not.
        let mut plan = plan();
        plan.considered.iter_mut().filter(|set| set.verdict != "chosen").for_each(|set| set.bootstraps = 2);
        let gate = Gates { max_bootstraps: Some(2), ..Gates::default() }.check(&plan).unwrap_err();
        assert_eq!(gate.reasons.len(), 1);
        assert!(
            gate.nearest.contains("3.00 s, 6.0 GiB") && gate.nearest.contains("slower than the one"),
            "{gate}"
        );
        // Only one that was refused for its errors would do.
        let gate = error(Gates { max_seconds: Some(1.6), ..Gates::default() });
        assert!(
            gate.nearest.contains("1.50 s") && gate.nearest.contains("outputs would have errors"),
            "{gate}"
        );
        // None would do.
        let gate = error(Gates { max_seconds: Some(1.0), max_bootstraps: Some(2), ..Gates::default() });
        assert_eq!(gate.reasons.len(), 2);
        assert!(gate.nearest.contains("none of the 3 other") && gate.nearest.contains("1.50 s"), "{gate}");
    }

    #[test]
    fn memory_that_is_too_small_names_what_would_do() {
        let gate = out_of_memory(4 << 30, &set(3.0, (5 << 30) + 1, "the switching keys need more"));
        let message = gate.to_string();
        assert!(message.contains("within 4.0 GiB") && message.contains("3.00 s, 5.0 GiB"), "{message}");
        // Rounded up, so that what is named is enough.
        assert!(message.contains("--max-ram 5121MiB"), "{message}");
    }

    #[test]
    fn agreement_has_to_be_measured_to_pass() {
        let gates = Gates { min_agreement: Some(0.995), ..Gates::default() };
        assert!(gates.check(&plan()).unwrap_err().reasons[0].contains("not measured"));
        let judged = |agreeing_images| Plan {
            agreement: Some(Agreement {
                fitted_images: 1,
                judged_images: 200,
                agreeing_images,
                ..Agreement::default()
            }),
            ..plan()
        };
        assert_eq!(gates.check(&judged(199)), Ok(()));
        assert!(gates.check(&judged(198)).unwrap_err().reasons[0].contains("99.00 % of 200"));
    }
}
