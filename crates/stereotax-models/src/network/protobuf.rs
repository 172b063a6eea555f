//! Walk over the fields of a protobuf message without taking memory for them.
//!
//! A message is a row of fields, each a key (number · 8 + wire type) and a value: a varint (0), eight bytes (1), a
//! length and so many bytes (2), or four bytes (5). Source: the protocol buffers encoding description.

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
    /// The field's bytes with its key.
    pub(super) whole: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], String> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(format!("field {} holds no bytes", self.number)),
        }
    }

    pub(super) fn number_value(&self) -> Result<i64, String> {
        match self.value {
            Value::Number(number) => Ok(number as i64),
            _ => Err(format!("field {} holds no whole number", self.number)),
        }
    }

    pub(super) fn text(&self) -> Result<String, String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| format!("field {} is no text", self.number))
    }

    /// A repeated whole number: packed, or one of many.
    pub(super) fn numbers(&self, into: &mut Vec<i64>) -> Result<(), String> {
        match self.value {
            Value::Number(number) => into.push(number as i64),
            Value::Bytes(bytes) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    into.push(varint(&mut rest)? as i64);
                }
            }
            Value::Fixed => return Err(format!("field {} holds no whole numbers", self.number)),
        }
        Ok(())
    }
}

/// The fields of a message, in order; an error where it is cut short or no message.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = next_field(&mut self.rest);
        if found.is_err() {
            self.rest = &[];
        }
        Some(found)
    }
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, String> {
    let begin = *rest;
    let key = varint(rest)?;
    let number = key >> 3;
    if number == 0 {
        return Err("a field of number 0".into());
    }
    let value = match key & 7 {
        0 => Value::Number(varint(rest)?),
        1 => skip(rest, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| "a length beyond the file".to_owned())?;
            Value::Bytes(skip(rest, length)?)
        }
        5 => skip(rest, 4).map(|_| Value::Fixed)?,
        other => return Err(format!("wire type {other} in field {number}")),
    };
    Ok(Field { number, value, whole: &begin[..begin.len() - rest.len()] })
}

fn skip<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    if n > rest.len() {
        return Err(format!("{n} bytes expected, {} left", rest.len()));
    }
    let (taken, left) = rest.split_at(n);
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = skip(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than ten bytes".into())
}

/// Append a field of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Append a whole number.
pub(super) fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3);
    put_varint(out, value);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_hand() {
        // Field 1 = 150 (the description's own example), field 2 = "testing", field 3 = packed 3, 270.
        let message = [
            0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67, 0x1a, 0x03, 0x03, 0x8e,
            0x02,
        ];
        let found: Vec<Field<'_>> = fields(&message).map(Result::unwrap).collect();
        assert_eq!(found[0].number_value().unwrap(), 150);
        assert_eq!(found[1].text().unwrap(), "testing");
        let mut numbers = Vec::new();
        found[2].numbers(&mut numbers).unwrap();
        assert_eq!(numbers, [3, 270]);
        assert_eq!(found[1].whole, &message[3..12]);
        let mut again = Vec::new();
        put_bytes(&mut again, 2, b"testing");
        assert_eq!(again, &message[3..12]);
    }

    #[test]
    fn cut_messages_end_with_an_error() {
        let message = [0x12, 0x07, 0x74, 0x65];
        for n in 1..message.len() {
            assert!(fields(&message[..n]).any(|f| f.is_err()), "{n}");
        }
        assert!(fields(&[0xff; 11]).next().unwrap().is_err());
        assert!(fields(&[0x00, 0x01]).next().unwrap().is_err());
        // A length of 2⁶³.
        assert!(
            fields(&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])
                .next()
                .unwrap()
                .is_err()
        );
    }
}
