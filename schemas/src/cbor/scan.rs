//! A walk over the bytes of CBOR that this project has written itself: rows of a store, packed
//! documents. It copies nothing, and takes only the deterministic encoding of what JSON can say,
//! so that equal values have equal bytes; what comes over a wire is decoded elsewhere.

use half::f16;
use serde_json::{Map, Number, Value};

use super::canonical::{DOUBLE, HALF, SINGLE, float_len};
use crate::limits;

/// Why bytes are not in the deterministic encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not deterministic CBOR, {left} bytes before the end: {what}")]
pub struct ScanError {
    /// What was expected or is wrong.
    pub what: &'static str,
    /// How many bytes were not read yet.
    pub left: usize,
}

/// What is left of the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

/// The major types.
pub(super) const UNSIGNED: u8 = 0;
pub(super) const NEGATIVE: u8 = 1;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
const SIMPLE: u8 = 7;

/// The initial byte of null.
pub(super) const NULL: u8 = 0xf6;

impl<'a> Scan<'a> {
    /// A walk over these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that were not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails if bytes are left.
    pub const fn end(self) -> Result<(), ScanError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("bytes follow the item")) }
    }

    /// Reads the head of a map: how many entries follow.
    pub fn map(&mut self) -> Result<usize, ScanError> {
        self.count(MAP, "a map is expected")
    }

    /// Reads a text.
    pub fn text(&mut self) -> Result<&'a str, ScanError> {
        let len = self.count(TEXT, "a text is expected")?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    /// Reads a number that is not negative.
    pub fn unsigned(&mut self) -> Result<u64, ScanError> {
        match self.head()? {
            (UNSIGNED, number) => Ok(number),
            _ => Err(self.error("a number is expected")),
        }
    }

    /// Reads `null`, if it is next.
    pub fn null(&mut self) -> bool {
        let found = self.rest.strip_prefix(&[NULL]);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Passes over one item, checks it, and gives back its bytes. There may be no null in it.
    pub fn item(&mut self) -> Result<&'a [u8], ScanError> {
        let start = self.rest;
        self.check(limits::DOCUMENT_DEPTH + 1)?;
        let len = start.len() - self.rest.len();
        start.get(..len).ok_or_else(|| self.error("the bytes end"))
    }

    /// Reads one item as the JSON value that it stands for.
    pub fn value(&mut self) -> Result<Value, ScanError> {
        self.value_within(limits::DOCUMENT_DEPTH + 1)
    }

    /// Reads a map as a JSON object.
    pub fn object(&mut self) -> Result<Map<String, Value>, ScanError> {
        self.object_within(limits::DOCUMENT_DEPTH)
    }

    /// Goes to what stands at a place: the names of members, the numbers of elements.
    pub fn find(mut self, steps: &[String]) -> Result<Option<Self>, ScanError> {
        for step in steps {
            match self.head()? {
                (MAP, entries) => {
                    if !self.find_member(entries, step)? {
                        return Ok(None);
                    }
                }
                (ARRAY, items) => {
                    let Some(at) = index(step).filter(|at| *at < items) else { return Ok(None) };
                    for _ in 0..at {
                        self.check(limits::DOCUMENT_DEPTH)?;
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(self))
    }

    fn find_member(&mut self, entries: u64, name: &str) -> Result<bool, ScanError> {
        for _ in 0..entries {
            if self.text()? == name {
                return Ok(true);
            }
            self.check(limits::DOCUMENT_DEPTH)?;
        }
        Ok(false)
    }

    fn check(&mut self, depth: usize) -> Result<(), ScanError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.error("nests too deep"))?;
        if self.scalar_float()?.is_some() {
            return Ok(());
        }
        match self.head()? {
            (UNSIGNED, _) => Ok(()),
            (NEGATIVE, number) => self.negative(number).map(drop),
            (TEXT, len) => {
                let bytes = self.take(self.length(len)?)?;
                std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8")).map(drop)
            }
            (ARRAY, items) => (0..self.length(items)?).try_for_each(|_| self.check(depth)),
            (MAP, entries) => {
                let mut last = None;
                for _ in 0..self.length(entries)? {
                    last = Some(self.key(last)?);
                    self.check(depth)?;
                }
                Ok(())
            }
            (SIMPLE, value) => self.boolean(value).map(drop),
            _ => Err(self.error("an item has no counterpart in JSON")),
        }
    }

    fn value_within(&mut self, depth: usize) -> Result<Value, ScanError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.error("nests too deep"))?;
        if let Some(number) = self.scalar_float()? {
            return Ok(Value::Number(number));
        }
        let before = self.rest;
        match self.head()? {
            (UNSIGNED, number) => Ok(number.into()),
            (NEGATIVE, number) => Ok(self.negative(number)?.into()),
            (TEXT, _) => {
                self.rest = before;
                Ok(self.text()?.into())
            }
            (ARRAY, items) => {
                let items = (0..self.length(items)?).map(|_| self.value_within(depth));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            (MAP, _) => {
                self.rest = before;
                self.object_within(depth).map(Value::Object)
            }
            (SIMPLE, value) => Ok(self.boolean(value)?.into()),
            _ => Err(self.error("an item has no counterpart in JSON")),
        }
    }

    fn object_within(&mut self, depth: usize) -> Result<Map<String, Value>, ScanError> {
        let mut object = Map::new();
        let mut last = None;
        for _ in 0..self.map()? {
            let key = self.key(last)?;
            last = Some(key);
            object.insert(key.to_owned(), self.value_within(depth)?);
        }
        Ok(object)
    }

    /// Reads a key, which comes after the last one.
    fn key(&mut self, last: Option<&str>) -> Result<&'a str, ScanError> {
        let key = self.text()?;
        if key.len() > limits::OBJECT_KEY_BYTES {
            return Err(self.error("a key is too long"));
        }
        match last {
            Some(last) if super::key_order(last, key).is_ge() => {
                Err(self.error("the keys are not in their order"))
            }
            Some(_) | None => Ok(key),
        }
    }

    /// Reads a floating point number, if one is next.
    fn scalar_float(&mut self) -> Result<Option<Number>, ScanError> {
        let len = match self.rest.first() {
            Some(&HALF) => 3,
            Some(&SINGLE) => 5,
            Some(&DOUBLE) => 9,
            Some(_) | None => return Ok(None),
        };
        let bytes = self.take(len)?.get(1..).unwrap_or_default();
        let number = if let Ok(half) = <[u8; 2]>::try_from(bytes) {
            f16::from_be_bytes(half).to_f64()
        } else if let Ok(single) = <[u8; 4]>::try_from(bytes) {
            f64::from(f32::from_be_bytes(single))
        } else {
            f64::from_be_bytes(bytes.try_into().map_err(|_| self.error("a bad float"))?)
        };
        if float_len(number) != len {
            return Err(self.error("a float is not in its shortest form"));
        }
        Number::from_f64(number).map(Some).ok_or_else(|| self.error("a float is not finite"))
    }

    /// Reads an initial byte and the number that belongs to it, in its shortest form.
    fn head(&mut self) -> Result<(u8, u64), ScanError> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.error("the bytes end"))?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(self.error("a length is not definite")),
        };
        let number =
            self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let least = match width {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if number < least {
            return Err(self.error("a number is not in its shortest form"));
        }
        Ok((major, number))
    }

    fn count(&mut self, major: u8, what: &'static str) -> Result<usize, ScanError> {
        match self.head()? {
            (found, count) if found == major => self.length(count),
            _ => Err(self.error(what)),
        }
    }

    /// A count of bytes or items, of which each has a byte at least.
    fn length(&self, count: u64) -> Result<usize, ScanError> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        count.ok_or_else(|| self.error("the bytes end"))
    }

    fn negative(&self, number: u64) -> Result<i64, ScanError> {
        let number = i64::try_from(number).map_err(|_| self.error("a number is too low"))?;
        Ok(-1 - number)
    }

    const fn boolean(&self, value: u64) -> Result<bool, ScanError> {
        match value {
            20 => Ok(false),
            21 => Ok(true),
            _ => Err(self.error("null or an unknown simple value")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ScanError> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| self.error("the bytes end"))?;
        self.rest = rest;
        Ok(taken)
    }

    const fn error(&self, what: &'static str) -> ScanError {
        ScanError { what, left: self.rest.len() }
    }
}

/// Writes what [`Scan`] reads.
#[derive(Debug, Default)]
pub struct Build(Vec<u8>);

impl Build {
    /// The head of a map of so many entries.
    #[must_use]
    pub fn map(self, entries: u64) -> Self {
        self.head(MAP, entries)
    }

    /// The head of an array of so many items.
    #[must_use]
    pub fn array(self, items: u64) -> Self {
        self.head(ARRAY, items)
    }

    /// A text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let mut build = self.head(TEXT, text.len() as u64);
        build.0.extend_from_slice(text.as_bytes());
        build
    }

    /// A number.
    #[must_use]
    pub fn unsigned(self, number: u64) -> Self {
        self.head(UNSIGNED, number)
    }

    /// An item that is encoded already.
    #[must_use]
    pub fn raw(mut self, item: &[u8]) -> Self {
        self.0.extend_from_slice(item);
        self
    }

    /// Null.
    #[must_use]
    pub fn null(self) -> Self {
        self.raw(&[NULL])
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(mut self, major: u8, number: u64) -> Self {
        put_head(&mut self.0, major, number);
        self
    }
}

/// Writes an initial byte and the number that belongs to it, in its shortest form.
pub(super) fn put_head(buffer: &mut Vec<u8>, major: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let (info, width) = match number {
        0..24 => {
            let [.., small] = bytes;
            return buffer.push(major << 5 | small);
        }
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    buffer.push(major << 5 | info);
    buffer.extend(bytes.iter().skip(bytes.len() - width));
}

/// How many bytes that are.
pub(super) const fn head_len(number: usize) -> usize {
    match number {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// The number of an element, as JSON pointers write it.
fn index(step: &str) -> Option<u64> {
    let is_number = step.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = step == "0" || !step.starts_with('0');
    step.parse().ok().filter(|_| is_number && is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_encoding_is_taken() {
        let bad: [(&[u8], &str); 12] = [
            (&[], "nothing"),
            (&[0x18, 0x17], "23 in two bytes"),
            (&[0x61], "a text that ends"),
            (&[0x61, 0xff], "a text that is no UTF-8"),
            (&[0xf6], "null"),
            (&[0xf7], "undefined"),
            (&[0x41, 0x00], "bytes"),
            (&[0xc0, 0x60], "a tag"),
            (&[0x9f, 0xff], "an array without an end"),
            (&[0xa2, 0x61, b'b', 1, 0x61, b'a', 2], "keys out of order"),
            (&[0xa2, 0x61, b'a', 1, 0x61, b'a', 2], "a key twice"),
            (&[0xfa, 0x3f, 0xc0, 0, 0], "1.5 in four bytes"),
        ];
        for (bytes, what) in bad {
            assert!(Scan::new(bytes).item().is_err(), "{what} was passed over");
            assert!(Scan::new(bytes).value().is_err(), "{what} was read");
        }
        for bytes in [[0x81; 1000].as_slice(), &[0x9b, 0, 0, 0, 1, 0, 0, 0, 0]] {
            assert!(Scan::new(bytes).item().is_err() && Scan::new(bytes).value().is_err());
        }
    }

    #[test]
    fn what_is_built_is_read() {
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX] {
            let bytes = Build::default().map(2).text("n").unsigned(number).text("x").null();
            let bytes = bytes.finish();
            let mut scan = Scan::new(&bytes);
            assert_eq!((scan.map(), scan.text()), (Ok(2), Ok("n")));
            assert_eq!((scan.unsigned(), scan.text(), scan.null()), (Ok(number), Ok("x"), true));
            scan.end().unwrap();
        }
    }
}
