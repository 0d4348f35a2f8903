//! Structural check of a serialized model before it is decoded.
//!
//! The decoder generated for ONNX follows unknown *groups* (an obsolete nesting construct of the
//! wire format) recursively without a bound, so a short hostile file could exhaust the stack, and
//! it builds a large struct for each message of two bytes. This walk visits exactly the messages
//! the decoder will visit, refuses groups, deep nesting and absurd numbers of messages, and knows
//! where a truncated file breaks off.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>; field numbers: `onnx.proto` of
//! ONNX 1.23.

/// Deepest nesting of messages; a plain network needs 6.
const MAX_DEPTH: usize = 40;

/// Most messages in all; a network of a thousand layers has some ten thousand.
const MAX_MESSAGES: usize = 1 << 20;

/// Why bytes cannot be a serialized model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WireError {
    /// The input ends inside the field that begins at `at`.
    Truncated { at: usize },
    /// The field that begins at `at` cannot be.
    Malformed { at: usize, what: &'static str },
}

/// The messages of `onnx.proto`, as far as they contain others.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TypeOfTensor,
    TypeOfElements,
    TypeOfMap,
    Shape,
    Annotation,
    Training,
    Function,
    Leaf,
}

/// What field `field` of `message` holds, if that is a message.
fn child(message: Message, field: u64) -> Option<Message> {
    use Message::*;
    Some(match (message, field) {
        (Model, 7) => Graph,
        (Model, 20) => Training,
        (Model, 25) => Function,
        (Model, 8 | 14) => Leaf,
        (Graph, 1) => Node,
        (Graph, 5) => Tensor,
        (Graph, 11..=13) => ValueInfo,
        (Graph, 14) => Annotation,
        (Graph, 15) => SparseTensor,
        (Graph, 16) => Leaf,
        (Node, 5) => Attribute,
        (Node, 9) => Leaf,
        (Attribute, 5 | 10) => Tensor,
        (Attribute, 6 | 11) => Graph,
        (Attribute, 14 | 15) => Type,
        (Attribute, 22 | 23) => SparseTensor,
        (Tensor, 3 | 13 | 16) => Leaf,
        (SparseTensor, 1 | 2) => Tensor,
        (ValueInfo, 2) => Type,
        (ValueInfo, 4) => Leaf,
        (Type, 1 | 8) => TypeOfTensor,
        (Type, 4 | 9) => TypeOfElements,
        (Type, 5) => TypeOfMap,
        (Type, 7) => Leaf,
        (TypeOfTensor, 2) => Shape,
        (TypeOfElements, 1) => Type,
        (TypeOfMap, 2) => Type,
        (Shape, 1) => Leaf,
        (Annotation, 2) => Leaf,
        (Training, 1 | 2) => Graph,
        (Training, 3 | 4) => Leaf,
        (Function, 7) => Node,
        (Function, 11) => Attribute,
        (Function, 12) => ValueInfo,
        (Function, 9 | 14) => Leaf,
        _ => return None,
    })
}

/// Checks that `bytes` can be a `ModelProto`.
pub(super) fn check(bytes: &[u8]) -> Result<(), WireError> {
    let mut walk = Walk { bytes, messages: 0 };
    walk.message(Message::Model, 0, bytes.len(), 0)
}

struct Walk<'a> {
    bytes: &'a [u8],
    messages: usize,
}

impl Walk<'_> {
    /// Walks the fields of the message at `start..end`.
    fn message(&mut self, message: Message, start: usize, end: usize, depth: usize) -> Result<(), WireError> {
        self.messages += 1;
        if depth > MAX_DEPTH || self.messages > MAX_MESSAGES {
            let what = if depth > MAX_DEPTH { "messages are nested too deeply" } else { "too many messages" };
            return Err(WireError::Malformed { at: start, what });
        }
        let mut position = start;
        while position < end {
            let at = position;
            let malformed = |what| WireError::Malformed { at, what };
            let tag = self.varint(&mut position, end, at)?;
            let (field, wire_type) = (tag >> 3, tag & 7);
            if field == 0 || tag > u64::from(u32::MAX) {
                return Err(malformed("no field has this number"));
            }
            let length = match wire_type {
                0 => {
                    self.varint(&mut position, end, at)?;
                    0
                }
                1 => 8,
                2 => self.varint(&mut position, end, at)?,
                3 | 4 => return Err(malformed("ONNX has no groups")),
                5 => 4,
                _ => return Err(malformed("there is no such wire type")),
            };
            if length > (end - position) as u64 {
                return Err(self.overrun(at, end));
            }
            let next = position + length as usize;
            if let (2, Some(child)) = (wire_type, child(message, field)) {
                self.message(child, position, next, depth + 1)?;
            }
            position = next;
        }
        Ok(())
    }

    fn varint(&self, position: &mut usize, end: usize, at: usize) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            if *position >= end {
                return Err(self.overrun(at, end));
            }
            let byte = self.bytes[*position];
            *position += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed { at, what: "a number is too long" })
    }

    /// The field at `at` reaches beyond `end`: of the file, or only of the message around it.
    fn overrun(&self, at: usize, end: usize) -> WireError {
        match end == self.bytes.len() {
            true => WireError::Truncated { at },
            false => WireError::Malformed { at, what: "a field is longer than the message around it" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_wire_type_pass() {
        // ir_version = 8, a fixed64, a fixed32, an unknown string, an empty graph.
        let bytes =
            [0x08, 8, 0x81, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x85, 0x08, 1, 2, 3, 4, 0x12, 1, b'x', 0x3a, 0];
        assert_eq!(check(&bytes), Ok(()));
        for length in 1..bytes.len() {
            let whole = [2, 12, 18, 21].contains(&length);
            assert_eq!(check(&bytes[..length]).is_ok(), whole, "{length}");
        }
    }

    #[test]
    fn groups_are_refused_at_any_depth() {
        let groups = [0x0b_u8].repeat(100_000);
        assert_eq!(check(&groups), Err(WireError::Malformed { at: 0, what: "ONNX has no groups" }));
        // graph { node { attribute { <group> } } }
        let nested = [0x3a, 6, 0x0a, 4, 0x2a, 2, 0xfb, 0x01];
        assert_eq!(check(&nested), Err(WireError::Malformed { at: 6, what: "ONNX has no groups" }));
    }

    #[test]
    fn nesting_is_bounded() {
        // graph { node { attribute { graph { ... } } } }, built from the inside.
        let mut bytes = Vec::new();
        for level in 0..60 {
            let tag = [0x32, 0x2a, 0x0a][level % 3];
            let mut outer = vec![tag];
            let mut length = bytes.len();
            while length >= 0x80 {
                outer.push(length as u8 | 0x80);
                length >>= 7;
            }
            outer.push(length as u8);
            outer.extend(bytes);
            bytes = outer;
        }
        let length = bytes.len();
        let mut model = vec![0x3a, length as u8 | 0x80, (length >> 7) as u8];
        model.extend(bytes);
        assert!(matches!(check(&model), Err(WireError::Malformed { what, .. }) if what.contains("nested")));
    }

    #[test]
    fn overlong_fields_and_numbers() {
        assert_eq!(check(&[0x08, 8, 0x3a, 10, 0x0a]), Err(WireError::Truncated { at: 2 }));
        let inner = [0x3a, 2, 0x0a, 10, 0x08, 8];
        let what = "a field is longer than the message around it";
        assert_eq!(check(&inner), Err(WireError::Malformed { at: 2, what }));
        let endless = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(check(&endless), Err(WireError::Malformed { at: 0, what: "a number is too long" }));
        assert!(check(&[0x00, 0]).is_err() && check(&[0x0f, 0]).is_err());
    }
}
