//! Ops that do the same to every number of a tensor: `scale x + offset`, with constants.

use fhec_ir::{
    entity::Value,
    func::Func,
    nn::{Nn, Op},
    program::Affine,
};

/// The value whose numbers `value` has after a sum, difference, product or quotient with one
/// constant number, and what became of them. Its shape may be another one, with 1s more.
pub fn number_map(func: &Func<Nn>, value: Value) -> Option<(Value, Affine)> {
    let definition = |value: Value| func.ops().iter().find(|data| data.result == value).map(|data| &data.op);
    // A constant that is the same number everywhere.
    let number = |value: Value| {
        let Some(Op::Constant { value }) = definition(value) else { return None };
        let (first, others) = func.consts[*value].data().split_first()?;
        others.iter().all(|other| other == first).then_some(f64::from(*first))
    };
    let plus = |x, offset| (x, Affine { scale: 1.0, offset });
    let times = |x, scale| (x, Affine { scale, offset: 0.0 });
    let (x, map) = match *definition(value)? {
        Op::Add { x, y } => number(y).map(|c| plus(x, c)).or_else(|| number(x).map(|c| plus(y, c))),
        Op::Sub { x, y } => number(y)
            .map(|c| plus(x, -c))
            .or_else(|| number(x).map(|offset| (y, Affine { scale: -1.0, offset }))),
        Op::Mul { x, y } => number(y).map(|c| times(x, c)).or_else(|| number(x).map(|c| times(y, c))),
        Op::Div { x, y } => number(y).map(|c| times(x, c.recip())),
        _ => None,
    }?;
    // A large constant repeats the numbers.
    let count = |value: Value| func.ty(value).shape.iter().product::<usize>();
    (count(x) == count(value)).then_some((x, map))
}

#[cfg(test)]
mod tests {
    use fhec_ir::text::{ConstSource, parse_func};

    use super::*;

    #[test]
    fn maps_of_one_number_are_found_and_others_are_not() {
        let func: Func<Nn> = parse_func(
            "func nn f {
              const @0 : f32[] = [4.0]
              const @1 : f32[1, 3] = [2.0, 2.0, 2.0]
              const @2 : f32[1, 3] = [2.0, 2.0, 3.0]
              const @3 : f32[2, 1, 3] = [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
              const @4 : f32[1, 1, 1] = [0.5]
              const @5 : f32[] = [-1.0]
              input %0 : f32[1, 3]
              %1 = constant() {value=@0}
              %2 = constant() {value=@1}
              %3 = constant() {value=@2}
              %4 = constant() {value=@3}
              %5 = constant() {value=@4}
              %6 = add(%0, %1)
              %7 = add(%2, %0)
              %8 = sub(%0, %1)
              %9 = sub(%1, %0)
              %10 = mul(%0, %1)
              %11 = mul(%5, %0)
              %12 = div(%0, %1)
              %13 = div(%1, %0)
              %14 = mul(%0, %3)
              %15 = add(%0, %4)
              %16 = add(%0, %0)
              %17 = relu(%0)
              %18 = constant() {value=@5}
              %19 = mul(%0, %18)
              return %6
            }",
            &ConstSource::default(),
        )
        .unwrap();
        let found = |value: usize| {
            let value = func.ops().iter().map(|data| data.result).find(|result| result.index() == value);
            number_map(&func, value.unwrap()).map(|(x, Affine { scale, offset })| (x.index(), scale, offset))
        };
        let maps = [
            (6, 1.0, 4.0),
            (7, 1.0, 2.0),
            (8, 1.0, -4.0),
            (9, -1.0, 4.0),
            (10, 4.0, 0.0),
            (11, 0.5, 0.0),
            (12, 0.25, 0.0),
            // What the import makes of a Neg.
            (19, -1.0, 0.0),
        ];
        for (value, scale, offset) in maps {
            assert_eq!(found(value), Some((0, scale, offset)), "%{value}");
        }
        // A constant itself, a quotient by the tensor, numbers that differ, a tensor that grows, no
        // constant at all.
        for value in [1, 13, 14, 15, 16, 17] {
            assert_eq!(found(value), None, "%{value}");
        }
    }
}
