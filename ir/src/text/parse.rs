//! Parser of the text form. Input may be hostile: every failure is a [`ParseError`] with a line,
//! nesting is bounded, and nothing is allocated from a declared size alone.

use std::collections::HashMap;

use thiserror::Error;

use super::lexer::{Lexer, Token};
use crate::attr::{Attr, AttrError};
use crate::entity::{Const, Value};
use crate::func::{Func, Stage, StageOp, StageType};
use crate::tensor::{Tensor, element_count};

const MAX_NESTING: usize = 32;
const MAX_RANDOM_ELEMENTS: usize = 1 << 24;

/// Where and why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// What was expected.
    pub message: String,
}

/// Tensors that a text names by digest.
///
/// The default is that of hand-written text: no tensors, and `random(seed)` makes some.
#[derive(Clone, Debug, Default)]
pub struct ConstSource {
    by_digest: HashMap<[u8; 32], Tensor>,
    of_file: bool,
}

impl ConstSource {
    /// Makes `tensors` known by their digests.
    pub fn new(tensors: impl IntoIterator<Item = Tensor>) -> Self {
        let by_digest = tensors.into_iter().map(|tensor| (tensor.digest(), tensor)).collect();
        ConstSource { by_digest, of_file: false }
    }

    /// The same for the text of a file, which has its tensors beside it: `random(seed)`, a few
    /// bytes for any number of elements, is an error there.
    pub fn of_file(tensors: impl IntoIterator<Item = Tensor>) -> Self {
        ConstSource { of_file: true, ..ConstSource::new(tensors) }
    }
}

/// Reads one function of stage `S`. Result types are checked against what the ops infer.
pub fn parse_func<S: Stage>(text: &str, source: &ConstSource) -> Result<Func<S>, ParseError> {
    let mut parser = Parser::new(text)?;
    let func = parser.func::<S>(source)?;
    match parser.peek() {
        None => Ok(func),
        Some(token) => Err(parser.error(format!("unexpected `{token}` after the function"))),
    }
}

/// Reads a single attribute.
pub fn parse_attr(text: &str) -> Result<Attr, AttrError> {
    let error = |e: ParseError| AttrError(e.message);
    let mut parser = Parser::new(text).map_err(error)?;
    let attr = parser.attr(0).map_err(error)?;
    if parser.peek().is_some() {
        return Err(AttrError(format!("trailing text in `{text}`")));
    }
    Ok(attr)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to come and its line.
    ahead: Option<(usize, Token)>,
    /// Line of the token before.
    line: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let ahead = lexer.next()?;
        Ok(Parser { lexer, ahead, line: 1 })
    }

    fn peek(&self) -> Option<&Token> {
        self.ahead.as_ref().map(|(_, token)| token)
    }

    /// Error at the token to come, or at the last one of the text.
    fn error(&self, message: impl Into<String>) -> ParseError {
        let line = self.ahead.as_ref().map_or(self.line, |(line, _)| *line);
        ParseError { line, message: message.into() }
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let Some((line, token)) = self.ahead.take() else {
            return Err(self.error("unexpected end of text"));
        };
        self.line = line;
        self.ahead = self.lexer.next()?;
        Ok(token)
    }

    /// Error at the token just read.
    fn unexpected(&self, expected: &str, found: &Token) -> ParseError {
        ParseError { line: self.line, message: format!("expected {expected}, found `{found}`") }
    }

    fn eat(&mut self, symbol: char) -> Result<bool, ParseError> {
        let found = self.peek() == Some(&Token::Symbol(symbol));
        if found { self.next().map(|_| true) } else { Ok(false) }
    }

    fn expect(&mut self, symbol: char) -> Result<(), ParseError> {
        match self.next()? {
            Token::Symbol(found) if found == symbol => Ok(()),
            other => Err(self.unexpected(&format!("`{symbol}`"), &other)),
        }
    }

    fn word(&mut self) -> Result<String, ParseError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(self.unexpected("a word", &other)),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), ParseError> {
        match self.next()? {
            Token::Word(word) if word == keyword => Ok(()),
            other => Err(self.unexpected(&format!("`{keyword}`"), &other)),
        }
    }

    fn value(&mut self, count: usize) -> Result<Value, ParseError> {
        match self.next()? {
            Token::Value(index) if index < count => Ok(Value::new(index)),
            other => Err(self.unexpected("a value defined before", &other)),
        }
    }

    fn attr(&mut self, depth: usize) -> Result<Attr, ParseError> {
        if depth > MAX_NESTING {
            return Err(self.error("attributes are nested too deeply"));
        }
        let first = self.next()?;
        self.attr_from(first, depth)
    }

    /// The attribute that starts with the token `first`, which has been read.
    fn attr_from(&mut self, first: Token, depth: usize) -> Result<Attr, ParseError> {
        match first {
            Token::Int(value) => Ok(Attr::Int(value)),
            Token::Float(value) => Ok(Attr::Float(value)),
            Token::Text(text) => Ok(Attr::Text(text)),
            Token::Word(word) => Ok(Attr::Word(word)),
            Token::Const(index) if index < u32::MAX as usize => Ok(Attr::Const(Const::new(index))),
            Token::Symbol('[') => {
                let mut items = Vec::new();
                while !self.eat(']')? {
                    if !items.is_empty() {
                        self.expect(',')?;
                    }
                    items.push(self.attr(depth + 1)?);
                }
                Ok(Attr::List(items))
            }
            Token::Symbol('{') => Ok(Attr::Record(self.fields(depth)?)),
            other => Err(self.unexpected("an attribute", &other)),
        }
    }

    /// Fields after the opening brace.
    fn fields(&mut self, depth: usize) -> Result<Vec<(String, Attr)>, ParseError> {
        let mut fields = Vec::new();
        while !self.eat('}')? {
            if !fields.is_empty() {
                self.expect(',')?;
            }
            let name = self.word()?;
            self.expect('=')?;
            fields.push((name, self.attr(depth + 1)?));
        }
        Ok(fields)
    }

    /// A type: `word` followed by an attribute list, e.g. `f32[1, 2]` or `ct<...>`; handed to the
    /// stage as text.
    fn type_text(&mut self) -> Result<String, ParseError> {
        let mut text = self.word()?;
        let mut open = 0usize;
        loop {
            match self.peek() {
                Some(Token::Symbol(c @ ('[' | '<' | '{'))) => {
                    open += 1;
                    text.push(*c);
                }
                Some(Token::Symbol(c @ (']' | '>' | '}'))) if open > 0 => {
                    open -= 1;
                    text.push(*c);
                }
                Some(token) if open > 0 => {
                    text.push_str(&token.to_string());
                    if *token == Token::Symbol(',') {
                        text.push(' ');
                    }
                }
                _ => return if open == 0 { Ok(text) } else { Err(self.error("unfinished type")) },
            }
            self.next()?;
            if open == 0 {
                return Ok(text);
            }
        }
    }

    fn ty<S: Stage>(&mut self) -> Result<S::Type, ParseError> {
        let text = self.type_text()?;
        S::Type::parse(&text).map_err(|AttrError(message)| self.error(message))
    }

    fn optional_name(&mut self) -> Result<Option<String>, ParseError> {
        let Some(Token::Text(name)) = self.peek().cloned() else { return Ok(None) };
        self.next()?;
        Ok(Some(name))
    }

    fn tensor(&mut self, source: &ConstSource) -> Result<Tensor, ParseError> {
        let text = self.type_text()?;
        let shape =
            crate::nn::TensorType::parse(&text).map_err(|AttrError(message)| self.error(message))?.shape;
        self.expect('=')?;
        let misfit = |parser: &Self, e: &dyn std::fmt::Display| parser.error(e.to_string());
        match self.next()? {
            Token::Digest(digest) => {
                let bytes =
                    decode_hex(&digest).ok_or_else(|| self.error("a digest has 64 hexadecimal digits"))?;
                let tensor = source.by_digest.get(&bytes).cloned();
                let tensor =
                    tensor.ok_or_else(|| self.error(format!("the data of #{digest} is not at hand")))?;
                tensor.reshaped(shape).map_err(|e| misfit(self, &e))
            }
            Token::Word(word) if word == "random" && source.of_file => Err(self.error(
                "`random` makes constants in hand-written text only, a file has its tensors beside it",
            )),
            Token::Word(word) if word == "random" => {
                self.expect('(')?;
                let seed = match self.next()? {
                    Token::Int(seed) => seed as u64,
                    other => return Err(self.unexpected("a seed", &other)),
                };
                self.expect(')')?;
                let count = element_count(&shape).filter(|&count| count <= MAX_RANDOM_ELEMENTS);
                let count = count.ok_or_else(|| self.error("too many random elements"))?;
                let mut state = seed;
                let data: Vec<f32> = (0..count).map(|_| uniform(&mut state)).collect();
                Tensor::new(shape, data).map_err(|e| misfit(self, &e))
            }
            open @ Token::Symbol('[') => {
                let attr = self.attr_from(open, 0)?;
                let data = <Vec<f64> as crate::attr::AsAttr>::from_attr(Some(&attr));
                let data = data.map_err(|AttrError(message)| self.error(message))?;
                let data: Vec<f32> = data.into_iter().map(|x| x as f32).collect();
                Tensor::new(shape, data).map_err(|e| misfit(self, &e))
            }
            other => Err(self.unexpected("[..], #digest or random(seed)", &other)),
        }
    }

    fn func<S: Stage>(&mut self, source: &ConstSource) -> Result<Func<S>, ParseError> {
        self.keyword("func")?;
        self.keyword(S::NAME)?;
        let mut func = Func::<S>::new(self.word()?);
        self.expect('{')?;
        loop {
            match self.next()? {
                Token::Word(word) if word == "meta" => {
                    let key = self.word()?;
                    self.expect('=')?;
                    let value = self.attr(0)?;
                    func.meta.insert(key, value);
                }
                Token::Word(word) if word == "const" => {
                    let Token::Const(index) = self.next()? else {
                        return Err(self.error("expected a constant id"));
                    };
                    self.expect(':')?;
                    let tensor = self.tensor(source)?;
                    if index != func.consts.len() || func.add_const(tensor).index() != index {
                        return Err(
                            self.error(format!("constant @{index} is out of order or repeats another"))
                        );
                    }
                }
                Token::Word(word) if word == "input" => {
                    let input = self.next()?;
                    self.new_value(&input, func.value_count())?;
                    self.expect(':')?;
                    let ty = self.ty::<S>()?;
                    let name = self.optional_name()?;
                    func.add_input(ty, name.as_deref());
                }
                Token::Word(word) if word == "return" => {
                    let mut outputs = vec![self.value(func.value_count())?];
                    while self.eat(',')? {
                        outputs.push(self.value(func.value_count())?);
                    }
                    func.set_outputs(outputs);
                    self.expect('}')?;
                    return Ok(func);
                }
                result @ Token::Value(_) => self.op(&mut func, result)?,
                other => return Err(self.unexpected("meta, const, input, an op or return", &other)),
            }
        }
    }

    /// Checks that `found`, which has been read, is value number `expected`.
    fn new_value(&self, found: &Token, expected: usize) -> Result<(), ParseError> {
        match found {
            Token::Value(index) if *index == expected => Ok(()),
            other => Err(self.unexpected(&format!("%{expected}, the next value"), other)),
        }
    }

    /// The op whose result is `result`, which has been read.
    fn op<S: Stage>(&mut self, func: &mut Func<S>, result: Token) -> Result<(), ParseError> {
        self.new_value(&result, func.value_count())?;
        self.expect('=')?;
        let mnemonic = self.word()?;
        self.expect('(')?;
        let mut operands = Vec::new();
        while !self.eat(')')? {
            if !operands.is_empty() {
                self.expect(',')?;
            }
            operands.push(self.value(func.value_count())?);
        }
        let attrs = if self.eat('{')? { self.fields(0)? } else { Vec::new() };
        let op = S::Op::from_parts(&mnemonic, &operands, &attrs);
        let op = op.map_err(|AttrError(message)| self.error(format!("{mnemonic}: {message}")))?;
        let declared = if self.eat(':')? { Some(self.ty::<S>()?) } else { None };
        let name = self.optional_name()?;
        let result = func.push_named(op, name.as_deref());
        let result = result.map_err(|message| self.error(format!("{mnemonic}: {message}")))?;
        match declared {
            Some(ty) if ty != *func.ty(result) => {
                Err(self.error(format!("{mnemonic} yields {}, not {}", func.ty(result).print(), ty.print())))
            }
            _ => Ok(()),
        }
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// SplitMix64 (Steele, Lea, Flood 2014), mapped to `[-1, 1)`.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f32 / (1u32 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Nn;
    use crate::text::print_func;

    const PROGRAM: &str = r#"
        func nn small {
          meta note = {a=1, b=[0.5, -inf], c="x \"y\""}
          const @0 : f32[4, 2, 3, 3] = random(7)
          const @1 : f32[4] = [1.0, -2.5, 0.1, 3e-7]
          input %0 : f32[1, 2, 8, 8] "image"
          %1 = conv2d(%0) {weight=@0, bias=@1, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
          %2 = relu(%1) : f32[1, 4, 4, 4] "act"   ; a comment
          %3 = concat(%2, %1) {axis=1}
          %4 = poly(%3) {polynomial={domain=[-1.0, 1.0], chebyshev=[0.25, 0.5, 0.1]}}
          return %4
        }"#;

    #[test]
    fn printing_and_parsing_are_inverse() {
        let func: Func<Nn> = parse_func(PROGRAM, &ConstSource::default()).unwrap();
        let text = print_func(&func);
        let source = ConstSource::new(func.consts.iter().map(|(_, tensor)| tensor.clone()));
        let again: Func<Nn> = parse_func(&text, &source).unwrap();
        assert_eq!(func, again);
        assert_eq!(text, print_func(&again));
    }

    #[test]
    fn errors_name_line_and_cause() {
        let cases = [
            ("%2 = relu(%1)", "%2 = relu(%9)", "defined before"),
            ("relu(%1)", "rely(%1)", "no op `rely`"),
            ("f32[1, 4, 4, 4]", "f32[1, 4, 4, 5]", "yields"),
            ("groups=1}", "groups=3}", "does not fit"),
            ("groups=1}", "groups=1, extra=2}", "unknown or repeated field `extra`"),
            ("random(7)", "#00", "64 hexadecimal"),
            ("return %4", "return", "defined before"),
        ];
        for (from, to, message) in cases {
            let text = PROGRAM.replacen(from, to, 1);
            let error = parse_func::<Nn>(&text, &ConstSource::default()).unwrap_err();
            assert!(error.message.contains(message), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn prefixes_of_a_program_are_errors_not_panics() {
        for end in (0..PROGRAM.len()).filter(|&end| PROGRAM.is_char_boundary(end)) {
            let whole = end + 1 >= PROGRAM.len();
            assert!(whole || parse_func::<Nn>(&PROGRAM[..end], &ConstSource::default()).is_err());
        }
        let deep = format!("{}1", "[".repeat(100_000));
        assert!(parse_attr(&deep).is_err());
    }
}
