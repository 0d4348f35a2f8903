//! Einsum of one or two operands, as sums, transposes and a matrix product.

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;
use super::linear::product;
use super::reduce;

pub(super) fn einsum(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let equation: String = node.text_or("equation", "")?.split_whitespace().collect();
    let operands = node.all_inputs()?;
    let unsupported = |node: &Node<'_>| {
        node.unsupported(
            format!("the equation `{equation}`"),
            "use a matrix product of two operands with single letters, none of them twice in one",
        )
    };
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), right.to_string()),
        None => (equation.clone(), implied(&equation)),
    };
    let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let output: Vec<char> = right.chars().collect();
    let plain = |letters: &[char]| {
        let distinct = letters.iter().enumerate().all(|(i, letter)| !letters[..i].contains(letter));
        distinct && letters.iter().all(char::is_ascii_alphabetic)
    };
    let fits = terms.len() == operands.len()
        && terms.iter().zip(&operands).all(|(term, x)| term.len() == node.shape_of(x).len());
    if !fits || !terms.iter().chain([&output]).all(|letters| plain(letters)) {
        return Err(unsupported(node));
    }
    let result = match (&terms[..], &operands[..]) {
        ([term], [x]) => {
            let (x, term) = summed(node, x, term, &output)?;
            arranged(node, &x, &term, &output)?
        }
        ([a, b], [x, y]) => {
            // What only one operand has and the result has not is summed before.
            let wanted = |other: &[char]| [other, &output].concat();
            let (x, a) = summed(node, x, a, &wanted(b))?;
            let (y, b) = summed(node, y, b, &wanted(&a))?;
            contracted(node, [(&x, &a), (&y, &b)], &output)?
        }
        _ => return Err(unsupported(node)),
    };
    Ok(vec![result])
}

/// The result of an equation without an arrow: letters that occur once, in alphabetical order.
fn implied(equation: &str) -> String {
    let once = |letter: &char| equation.matches(*letter).count() == 1 && letter.is_ascii_alphabetic();
    let mut letters: Vec<char> = equation.chars().filter(once).collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

/// `x` summed over the letters that are not `wanted`, and those that are left.
fn summed(
    node: &mut Node<'_>,
    x: &Operand,
    term: &[char],
    wanted: &[char],
) -> Result<(Operand, Vec<char>), ImportError> {
    let axes = (0..term.len()).filter(|&axis| !wanted.contains(&term[axis])).collect();
    let left = term.iter().copied().filter(|letter| wanted.contains(letter)).collect();
    Ok((reduce::sum_over(node, x, axes)?, left))
}

/// `x` with the dimensions `from` in the order `to`.
fn arranged(node: &mut Node<'_>, x: &Operand, from: &[char], to: &[char]) -> Result<Operand, ImportError> {
    let place = |letter: &char| from.iter().position(|other| other == letter);
    match to.iter().map(place).collect::<Option<Vec<usize>>>() {
        Some(permutation) if to.len() == from.len() => node.transpose(x, permutation),
        _ => Err(node.invalid("the result has a letter that no operand has")),
    }
}

/// The product of two operands, summed over the letters that both have and the result has not.
fn contracted(
    node: &mut Node<'_>,
    [(x, a), (y, b)]: [(&Operand, &[char]); 2],
    output: &[char],
) -> Result<Operand, ImportError> {
    let letters = |of: &[char], other: bool, kept: bool, a: &[char]| -> Vec<char> {
        let chosen = |letter: &&char| a.contains(letter) == other && output.contains(letter) == kept;
        of.iter().filter(chosen).copied().collect()
    };
    let (batch, inner) = (letters(a, true, true, b), letters(a, true, false, b));
    let (rows, columns) = (letters(a, false, true, b), letters(b, false, true, a));
    let x = arranged(node, x, a, &[&batch[..], &rows, &inner].concat())?;
    let y = arranged(node, y, b, &[&batch[..], &inner, &columns].concat())?;
    let (x_shape, y_shape) = (node.shape_of(&x), node.shape_of(&y));
    let (outer, first) = x_shape.split_at(batch.len());
    let (rows_shape, inner_shape) = first.split_at(rows.len());
    let columns_shape = &y_shape[batch.len() + inner.len()..];
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let matrices = |of: [&[usize]; 2]| match batch.is_empty() {
        true => of.map(count).to_vec(),
        false => [count(outer), count(of[0]), count(of[1])].to_vec(),
    };
    let x = node.reshape(&x, matrices([rows_shape, inner_shape]))?;
    let y = node.reshape(&y, matrices([inner_shape, columns_shape]))?;
    let result = product(node, &x, &y)?;
    let result = node.reshape(&result, [outer, rows_shape, columns_shape].concat())?;
    arranged(node, &result, &[&batch[..], &rows, &columns].concat(), output)
}
