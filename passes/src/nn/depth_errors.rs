//! What the approximation of each activation does to the outputs, depth by depth.
//!
//! One activation at a time is approximated, at one depth, on a few images; all others stay exact.
//! What outputs move by then, against what the polynomial is off by on its operands, is how much
//! the activation counts. What it is off by at another depth needs no run of the network. Errors of
//! several activations are taken to be independent, so that their squares add up.

use super::{choose_degrees::DEPTHS, fit_activations::Walk};
use crate::error::PassError;

/// The depth that outputs are looked at with.
const PROBE: u32 = 6;

/// The mean square that outputs move by where one activation is a polynomial of one depth.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthErrors {
    /// By activation, then by depth, from the least of [`DEPTHS`].
    errors: Vec<Vec<f64>>,
}

impl DepthErrors {
    /// Of the activations that `walk` has before it, on the images that it fits to.
    pub fn measure(mut walk: Walk<'_>) -> Result<DepthErrors, PassError> {
        let mut errors = Vec::with_capacity(walk.left());
        while walk.left() > 0 {
            walk.go_to_next();
            let residuals: Vec<f64> =
                DEPTHS.map(|depth| walk.residual_of_next(depth)).collect::<Result<_, _>>()?;
            let mut probe = walk.clone();
            probe.fit_next_at(PROBE)?;
            let moved = probe.squared_difference();
            let off = residuals[(PROBE - DEPTHS.start()) as usize];
            // What is fitted exactly may have any depth.
            let weight = if off > 0.0 && moved.is_finite() { moved / off } else { 0.0 };
            errors.push(residuals.into_iter().map(|residual| weight * residual).collect());
            walk.skip_next();
        }
        tracing::debug!(?errors, "errors of outputs by activation and depth");
        Ok(DepthErrors { errors })
    }

    /// The mean square that outputs move by where all activations are polynomials.
    pub fn together(&self, depths: &[u32]) -> f64 {
        self.errors.iter().zip(depths).map(|(errors, &depth)| errors[at(depth)]).sum()
    }

    /// Activations in the order in which a level more, from depth `from` on up to `deepest`, takes
    /// most from the error; each as often as it is raised.
    pub fn raises(&self, from: u32, deepest: u32) -> Vec<usize> {
        let mut depths = vec![from; self.errors.len()];
        let gain = |depths: &[u32], index: usize| {
            let errors = &self.errors[index];
            errors[at(depths[index])] - errors[at(depths[index] + 1)]
        };
        let mut raises = Vec::new();
        loop {
            let open = (0..depths.len()).filter(|&index| depths[index] < deepest);
            // Of equals the first.
            let order = |a: &usize, b: &usize| gain(&depths, *a).total_cmp(&gain(&depths, *b)).then(b.cmp(a));
            let Some(next) = open.max_by(order) else { return raises };
            depths[next] += 1;
            raises.push(next);
        }
    }
}

fn at(depth: u32) -> usize {
    (depth - DEPTHS.start()) as usize
}

/// The least depths, raised as `raises` say.
pub fn raised(count: usize, raises: &[usize]) -> Vec<u32> {
    let mut depths = vec![*DEPTHS.start(); count];
    raises.iter().for_each(|&index| depths[index] += 1);
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_most_is_raised_first() {
        let row = |weight: f64| DEPTHS.map(|depth| weight * 0.25f64.powi(depth as i32)).collect();
        let errors = DepthErrors { errors: vec![row(1.0), row(17.0), row(0.9)] };
        let raises = errors.raises(3, 5);
        assert_eq!(raises, [1, 1, 0, 2, 0, 2]);
        assert_eq!(raised(3, &raises[..3]), [4, 5, 3]);
        let together = errors.together(&[4, 5, 3]);
        assert!((together - (1.0 / 256.0 + 17.0 / 1024.0 + 0.9 / 64.0)).abs() < 1e-15);
        assert_eq!(errors.raises(5, 6), [1, 0, 2]);
        assert!(errors.raises(3, 3).is_empty());
    }
}
