//! Tokens of the text form.

use super::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Value(usize),
    Const(usize),
    Digest(String),
    Int(i64),
    Float(f64),
    Text(String),
    Symbol(char),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(word) => f.write_str(word),
            Token::Value(index) => write!(f, "%{index}"),
            Token::Const(index) => write!(f, "@{index}"),
            Token::Digest(digest) => write!(f, "#{digest}"),
            Token::Int(value) => write!(f, "{value}"),
            Token::Float(value) => write!(f, "{value:?}"),
            Token::Text(text) => write!(f, "{text:?}"),
            Token::Symbol(symbol) => write!(f, "{symbol}"),
        }
    }
}

/// Reads tokens one after the other, so that a long text takes no more memory than its longest
/// token.
pub(super) struct Lexer<'a> {
    lines: std::str::Lines<'a>,
    /// What is left of the current line.
    rest: &'a str,
    /// Its number, from 1; 0 before the first.
    line: usize,
}

impl<'a> Lexer<'a> {
    /// At the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { lines: text.lines(), rest: "", line: 0 }
    }

    /// The next token with the number of its line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token)>, ParseError> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some(';') => {
                    let Some(line) = self.lines.next() else { return Ok(None) };
                    self.rest = line;
                    self.line += 1;
                }
                Some(first) => {
                    let (token, rest) =
                        token(self.rest, first).map_err(|message| ParseError { line: self.line, message })?;
                    self.rest = rest;
                    return Ok(Some((self.line, token)));
                }
            }
        }
    }
}

/// The token that `text` starts with, whose first character is `first`, and what follows it.
fn token(text: &str, first: char) -> Result<(Token, &str), String> {
    Ok(match first {
        '"' => {
            let end = closing_quote(text).ok_or("unterminated text")?;
            (Token::Text(unescape(&text[1..end]).ok_or("bad escape")?), &text[end + 1..])
        }
        '%' | '@' | '#' => {
            let word = word_at(&text[1..]);
            let index = || word.parse().map_err(|_| format!("bad index `{first}{word}`"));
            let token = match first {
                '%' => Token::Value(index()?),
                '@' => Token::Const(index()?),
                _ => Token::Digest(word.to_string()),
            };
            (token, &text[1 + word.len()..])
        }
        c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.') => {
            let word = word_at(text);
            (classify(word).ok_or_else(|| format!("cannot read `{word}`"))?, &text[word.len()..])
        }
        '{' | '}' | '[' | ']' | '(' | ')' | '=' | ':' | ',' | '<' | '>' => (Token::Symbol(first), &text[1..]),
        other => return Err(format!("unexpected character `{}`", other.escape_default())),
    })
}

fn word_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '^')));
    &text[..end.unwrap_or(text.len())]
}

fn classify(word: &str) -> Option<Token> {
    if matches!(word, "inf" | "-inf" | "NaN") {
        return word.parse().ok().map(Token::Float);
    }
    let first = word.trim_start_matches(['-', '+']).chars().next()?;
    if !(first.is_ascii_digit() || first == '.') {
        return (word != "-" && word != "+").then(|| Token::Word(word.to_string()));
    }
    if word.contains(['.', 'e', 'E']) {
        return word.parse().ok().map(Token::Float);
    }
    word.parse().ok().map(Token::Int)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(position, c)| {
        let closing = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closing.then_some(position)
    })
}

/// Undoes what `{:?}` does to a string.
fn unescape(text: &str) -> Option<String> {
    let mut result = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next()? {
            'n' => result.push('\n'),
            't' => result.push('\t'),
            'r' => result.push('\r'),
            '0' => result.push('\0'),
            'u' => {
                let code: String = chars.by_ref().skip(1).take_while(|&c| c != '}').collect();
                result.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
            }
            other => result.push(other),
        }
    }
    Some(result)
}
