//! Runs that end before their programs.

use std::time::{Duration, Instant};

use super::*;

/// Cancels when that many ops have finished.
struct StopAfter<'a>(&'a Control, usize, usize);

impl Observer for StopAfter<'_> {
    fn op_finished(&mut self, index: usize, _: f64) {
        self.2 += 1;
        if index + 1 == self.1 {
            self.0.cancel();
        }
    }
}

/// Keeps what is alive when a run is stopped.
struct Keeper<V>(Option<(usize, BTreeMap<Value, V>)>);

impl<V: Clone> Witness<V> for Keeper<V> {
    fn stopped(&mut self, next: usize, live: &[(Value, &V)]) {
        assert!(self.0.is_none(), "told once");
        self.0 = Some((next, live.iter().map(|&(value, made)| (value, made.clone())).collect()));
    }

    fn keeps(&self) -> bool {
        true
    }
}

#[test]
fn a_run_can_be_cancelled_between_any_two_ops_and_goes_on_from_there() {
    let func = every_op(512, 9);
    let (clear, inputs) = (Clear::new(&func), inputs(&func, 512));
    let whole = execute(&clear, inputs.clone(), &mut ()).unwrap();
    for after in 1..func.ops().len() {
        let control = Control::default();
        let (mut observer, mut keeper) = (StopAfter(&control, after, 0), Keeper(None));
        let known = BTreeMap::new();
        let result = execute_from(&clear, inputs.clone(), known, &control, &mut observer, &mut keeper);
        // The rescale of a pair that is executed together is done with the op before it.
        let Err(ExecError::Cancelled { op }) = result else { panic!("{result:?}") };
        assert!(op == after || op == after + 1, "{op} after {after}");
        assert_eq!(observer.2, op);
        let (next, live) = keeper.0.unwrap();
        assert_eq!(next, op);
        let rest = execute_from(&clear, inputs.clone(), live, &Control::default(), &mut (), &mut ());
        assert_eq!(rest.unwrap(), whole);
    }
}

#[test]
fn a_deadline_ends_a_run() {
    let func = every_op(512, 9);
    let (clear, inputs) = (Clear::new(&func), inputs(&func, 512));
    let run = |deadline| {
        let control = Control::default().with_deadline(deadline);
        execute_from(&clear, inputs.clone(), BTreeMap::new(), &control, &mut (), &mut ())
    };
    assert!(run(Instant::now() + Duration::from_secs(3600)).is_ok());
    match run(Instant::now()) {
        Err(ExecError::DeadlineExceeded { op: 0, overdue }) => assert!(overdue < Duration::from_secs(60)),
        other => panic!("{other:?}"),
    }
}

/// Scalars added to two bundles of many ciphertexts, of which the second is needed no more.
fn two_sums() -> Arc<Func<Ckks>> {
    let mut func: Func<Ckks> = Func::new("two-sums");
    let x = func.add_input(CiphertextType::canonical(64, 512, 3), None);
    let y = func.push(Op::MulScalar { x, factor: 1.0 }).unwrap();
    let y = func.push(Op::Rescale { x: y }).unwrap();
    let z = func.push(Op::LevelDrop { x, level: 2 }).unwrap();
    let sum = func.push(Op::Add { x: y, y: z }).unwrap();
    func.set_outputs(vec![sum]);
    Arc::new(func)
}

/// A cancellation inside a bundle ends the op, unless its operand is used up and somebody wants to
/// go on later.
#[test]
fn a_run_can_be_cancelled_between_ciphertexts() {
    /// Cancels when an op has started.
    struct StopIn<'a>(&'a Control, usize);
    impl Observer for StopIn<'_> {
        fn op_started(&mut self, index: usize) {
            if index == self.1 {
                self.0.cancel();
            }
        }
    }
    let func = two_sums();
    let machine = Machine::new(literal(12, 4, 2, 45), &func);
    let inputs = machine.encrypt(&func, &inputs(&func, 256));
    let session = Session::new(machine.backend(&func, 0).prepared(), Arc::clone(&machine.keys)).unwrap();
    let whole = session.execute(inputs.clone(), &Control::default()).unwrap();
    // By op: whether it takes its operand for the last time.
    for (op, takes) in [(0, false), (1, true), (2, true)] {
        let control = Control::default();
        let mut observer = StopIn(&control, op);
        let known = BTreeMap::new();
        let result = session.execute_from(inputs.clone(), known, &control, &mut observer, &mut ());
        assert_eq!(result, Err(ExecError::Cancelled { op }), "nobody wants to go on");

        let control = Control::default();
        let (mut observer, mut keeper) = (StopIn(&control, op), Keeper(None));
        let known = BTreeMap::new();
        let result = session.execute_from(inputs.clone(), known, &control, &mut observer, &mut keeper);
        let next = op + usize::from(takes);
        assert_eq!(result, Err(ExecError::Cancelled { op: next }));
        let (kept, live) = keeper.0.unwrap();
        assert_eq!(kept, next);
        let rest = session.execute_from(inputs.clone(), live, &Control::default(), &mut (), &mut ()).unwrap();
        assert!(rest == whole, "from op {next}");
    }
}
