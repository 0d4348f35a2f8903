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

/// Splits `text` into tokens with their line numbers (from 1).
pub(super) fn tokenize(text: &str) -> Result<Vec<(usize, Token)>, ParseError> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        let error = |message: String| ParseError { line: line_number, message };
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { break };
            let token;
            match first {
                ';' => break,
                '"' => {
                    let end = closing_quote(rest).ok_or_else(|| error("unterminated text".into()))?;
                    token = Token::Text(unescape(&rest[1..end]).ok_or_else(|| error("bad escape".into()))?);
                    rest = &rest[end + 1..];
                }
                '%' | '@' | '#' => {
                    let word = word_at(&rest[1..]);
                    let index = || word.parse().map_err(|_| error(format!("bad index `{first}{word}`")));
                    token = match first {
                        '%' => Token::Value(index()?),
                        '@' => Token::Const(index()?),
                        _ => Token::Digest(word.to_string()),
                    };
                    rest = &rest[1 + word.len()..];
                }
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.') => {
                    let word = word_at(rest);
                    token = classify(word).ok_or_else(|| error(format!("cannot read `{word}`")))?;
                    rest = &rest[word.len()..];
                }
                '{' | '}' | '[' | ']' | '(' | ')' | '=' | ':' | ',' | '<' | '>' => {
                    token = Token::Symbol(first);
                    rest = &rest[1..];
                }
                other => return Err(error(format!("unexpected character `{other}`"))),
            }
            tokens.push((line_number, token));
        }
    }
    Ok(tokens)
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
