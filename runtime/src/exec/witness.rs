//! Looking at the values of a run.

use fhec_ir::entity::Value;

/// Shown the values of a run. All methods do nothing by default; `()` is the witness that looks at
/// nothing.
pub trait Witness<V> {
    /// `value` was computed, and is `made`. Not called for what was executed together with its
    /// `rescale`.
    fn computed(&mut self, value: Value, made: &V) {
        let _ = (value, made);
    }

    /// Op `next` is the next to run, or the program has ended if there is none of that number.
    /// `live` are the values that it, ops after it and outputs need: with these known
    /// ([`super::execute_from`]), no earlier op is run again.
    fn reached(&mut self, next: usize, live: &[(Value, &V)]) {
        let _ = (next, live);
    }

    /// The run ends here, before its program does ([`super::Control`]): the last chance to keep
    /// what is computed. `next` and `live` are as in [`Self::reached`]. Not called where an op has
    /// used up its operand without a result, which happens to no witness that [keeps](Self::keeps).
    fn stopped(&mut self, next: usize, live: &[(Value, &V)]) {
        let _ = (next, live);
    }

    /// Whether [`Self::stopped`] has a use for what is computed. A run is then not stopped inside
    /// an op that uses its operand up, but after it.
    fn keeps(&self) -> bool {
        false
    }
}

impl<V> Witness<V> for () {}

/// The witness that shows every computed value to a function.
pub struct Seen<F>(F);

/// Shows every computed value to `f`.
pub fn seen<V, F: FnMut(Value, &V)>(f: F) -> Seen<F> {
    Seen(f)
}

impl<V, F: FnMut(Value, &V)> Witness<V> for Seen<F> {
    fn computed(&mut self, value: Value, made: &V) {
        (self.0)(value, made);
    }
}

/// Nobody, or somebody.
impl<V, W: Witness<V>> Witness<V> for Option<W> {
    fn computed(&mut self, value: Value, made: &V) {
        self.iter_mut().for_each(|witness| witness.computed(value, made));
    }

    fn reached(&mut self, next: usize, live: &[(Value, &V)]) {
        self.iter_mut().for_each(|witness| witness.reached(next, live));
    }

    fn stopped(&mut self, next: usize, live: &[(Value, &V)]) {
        self.iter_mut().for_each(|witness| witness.stopped(next, live));
    }

    fn keeps(&self) -> bool {
        self.as_ref().is_some_and(Witness::keeps)
    }
}

/// One after the other.
impl<V, A: Witness<V>, B: Witness<V>> Witness<V> for (&mut A, &mut B) {
    fn computed(&mut self, value: Value, made: &V) {
        self.0.computed(value, made);
        self.1.computed(value, made);
    }

    fn reached(&mut self, next: usize, live: &[(Value, &V)]) {
        self.0.reached(next, live);
        self.1.reached(next, live);
    }

    fn stopped(&mut self, next: usize, live: &[(Value, &V)]) {
        self.0.stopped(next, live);
        self.1.stopped(next, live);
    }

    fn keeps(&self) -> bool {
        self.0.keeps() || self.1.keeps()
    }
}
