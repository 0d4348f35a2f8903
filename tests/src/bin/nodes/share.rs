//! One op after the other on several machines.

use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::OpData;
use fhec_ir::linear_map::LinearMap;
use fhec_ir::program::Program;
use fhec_passes::analysis::cost::{CostTable, RingShape};
use fhec_passes::analysis::linear_cost::{LinearPrices, Rotations, counts};

/// Seconds of a network between machines.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    bytes_per_second: f64,
}

/// Until the first byte is there: once per exchange.
const LATENCY: f64 = 1e-4;

impl Network {
    /// Of full duplex links of so many gigabits per second, at their nominal rate.
    pub fn of_gigabits(gigabits: f64) -> Self {
        Network { bytes_per_second: gigabits * 1e9 / 8.0 }
    }

    fn seconds(&self, bytes: u64) -> f64 {
        if bytes == 0 { 0.0 } else { LATENCY + bytes as f64 / self.bytes_per_second }
    }
}

/// A run of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// From the encrypted image to the answer.
    pub seconds: f64,
    /// Of it, seconds in which ciphertexts are exchanged.
    pub transfer: f64,
    /// Bytes that the busiest machine receives.
    pub received_bytes: u64,
}

/// The machine that has ciphertext `index` of `all`: neighbours are together.
fn owner(index: usize, all: usize, machines: usize) -> usize {
    index * machines / all
}

/// Most ciphertexts of `all` on one machine.
fn most(all: usize, machines: usize) -> usize {
    all.div_ceil(machines)
}

/// A run of `program` on so many machines.
///
/// Ops on each ciphertext by itself, bootstraps and polynomials among them, take as long as on the
/// machine with most of them. A linear map is cut in a grid: machines of a row make the same
/// ciphertexts of the result, each of a part of the operand's, and add up; the best grid is taken.
/// Seconds are the plan's; a part of a map takes the share of its rotations and products.
pub fn on_machines(program: &Program, machines: usize, network: Network) -> Run {
    let schedule = &program.schedule;
    let params = &program.interface.params;
    let (ring, costs) = (RingShape::of(params), CostTable::default());
    let bytes = |ty: &CiphertextType| ring.ciphertext_bytes(usize::from(ty.size), params.limbs(ty.level));
    let mut run = Run::default();
    for (data, row) in schedule.ops().iter().zip(&program.plan.ops) {
        let result = schedule.ty(data.result);
        let part = match operand(data, program) {
            Some((map, baby_step, x)) if !map.is_of_constants(&schedule.consts) && machines > 1 => {
                let rotations = map.rotations(&schedule.consts);
                let prices = LinearPrices::at(&costs, ring, params.limbs(x.level));
                let seconds = |rotations: &Rotations| {
                    let counts = counts(rotations, map.input.period, baby_step);
                    prices.of_map(map, &schedule.consts, &counts)
                };
                let whole = seconds(&rotations);
                let vectors = (result.vectors, x.vectors);
                let grids = (0..=machines.ilog2()).map(|log| 1 << log);
                let parts = grids.map(|rows| {
                    let grid = Grid { rows, columns: machines / rows, vectors };
                    let busiest = grid.parts(&rotations).map(|part| seconds(&part)).fold(0.0, f64::max);
                    let (fetched, added) = grid.exchanged(&rotations);
                    let received = fetched * bytes(&x) + added * bytes(result);
                    let transfer =
                        network.seconds(fetched * bytes(&x)) + network.seconds(added * bytes(result));
                    let share = if whole > 0.0 { busiest / whole } else { 1.0 };
                    Run { seconds: row.seconds * share + transfer, transfer, received_bytes: received }
                });
                parts.min_by(|a, b| a.seconds.total_cmp(&b.seconds)).unwrap_or_default()
            }
            _ => {
                let share = most(result.vectors, machines) as f64 / result.vectors as f64;
                Run { seconds: row.seconds * share, ..Run::default() }
            }
        };
        run.seconds += part.seconds;
        run.transfer += part.transfer;
        run.received_bytes += part.received_bytes;
    }
    run
}

/// A linear map with its baby step and the type of its operand.
fn operand<'p>(data: &'p OpData<Ckks>, program: &Program) -> Option<(&'p LinearMap, usize, CiphertextType)> {
    match &data.op {
        Op::LinearMap { x, map, baby_step } => Some((map, *baby_step, *program.schedule.ty(*x))),
        _ => None,
    }
}

/// Machines as rows of the result's ciphertexts and columns of the operand's.
#[derive(Clone, Copy, Debug)]
struct Grid {
    rows: usize,
    columns: usize,
    /// Ciphertexts of the result, and of the operand.
    vectors: (usize, usize),
}

impl Grid {
    fn cell(&self, (output, input): (usize, usize)) -> (usize, usize) {
        (owner(output, self.vectors.0, self.rows), owner(input, self.vectors.1, self.columns))
    }

    /// What each machine does of a map.
    fn parts(&self, rotations: &Rotations) -> impl Iterator<Item = Rotations> {
        let mut parts = vec![Rotations::new(); self.rows * self.columns];
        for (&pair, list) in rotations {
            let (row, column) = self.cell(pair);
            parts[row * self.columns + column].insert(pair, list.clone());
        }
        parts.into_iter()
    }

    /// Most ciphertexts that one machine receives, or sends if that is more: of the operand, and of
    /// the result's parts.
    fn exchanged(&self, rotations: &Rotations) -> (u64, u64) {
        let machines = self.rows * self.columns;
        let (mut fetched, mut added) = (Traffic::new(machines), Traffic::new(machines));
        let pairs = || rotations.keys().map(|&pair| (pair, self.cell(pair)));
        // A machine of the grid has the number of its row's ciphertexts, which are spread likewise.
        let machine = |(row, column): (usize, usize)| row * self.columns + column;
        let mut inputs: Vec<(usize, usize)> =
            pairs().map(|((_, input), cell)| (input, machine(cell))).collect();
        inputs.sort_unstable();
        inputs.dedup();
        for (input, to) in inputs {
            fetched.moves(owner(input, self.vectors.1, machines), to);
        }
        let mut outputs: Vec<(usize, usize)> =
            pairs().map(|((output, _), cell)| (output, machine(cell))).collect();
        outputs.sort_unstable();
        outputs.dedup();
        for (output, from) in outputs {
            added.moves(from, owner(output, self.vectors.0, machines));
        }
        (fetched.most(), added.most())
    }
}

/// Ciphertexts that machines send and receive.
struct Traffic {
    sent: Vec<u64>,
    received: Vec<u64>,
}

impl Traffic {
    fn new(machines: usize) -> Self {
        Traffic { sent: vec![0; machines], received: vec![0; machines] }
    }

    fn moves(&mut self, from: usize, to: usize) {
        if from != to {
            self.sent[from] += 1;
            self.received[to] += 1;
        }
    }

    fn most(&self) -> u64 {
        self.sent.iter().chain(&self.received).copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(outputs: usize, inputs: usize) -> Rotations {
        (0..outputs).flat_map(|o| (0..inputs).map(move |i| ((o, i), vec![0, 1]))).collect()
    }

    #[test]
    fn a_grid_does_all_of_a_map_once_and_counts_what_moves() {
        let rotations = dense(4, 8);
        for rows in [1, 2, 4] {
            let grid = Grid { rows, columns: 4 / rows, vectors: (4, 8) };
            let mut all = Rotations::new();
            for part in grid.parts(&rotations) {
                let before = all.len();
                let more = part.len();
                all.extend(part);
                assert_eq!(all.len(), before + more);
            }
            assert_eq!(all, rotations);
        }
        // Four machines: each makes one ciphertext of eight, of which it has two.
        assert_eq!(Grid { rows: 4, columns: 1, vectors: (4, 8) }.exchanged(&rotations), (6, 0));
        // Each adds its part to three others' ciphertexts, and three add to its own.
        assert_eq!(Grid { rows: 1, columns: 4, vectors: (4, 8) }.exchanged(&rotations), (0, 3));
        // A map that stays within ciphertexts moves nothing.
        let own: Rotations = (0..4).map(|i| ((i, i), vec![0])).collect();
        assert_eq!(Grid { rows: 4, columns: 1, vectors: (4, 4) }.exchanged(&own), (0, 0));
        // One machine needs nobody.
        assert_eq!(Grid { rows: 1, columns: 1, vectors: (4, 8) }.exchanged(&rotations), (0, 0));
    }

    #[test]
    fn neighbours_are_together_and_no_machine_has_too_many() {
        let owners: Vec<usize> = (0..10).map(|i| owner(i, 10, 4)).collect();
        assert_eq!(owners, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
        assert_eq!(most(10, 4), 3);
    }
}
