//! The rows of halves. They are read and written as they lie: a document goes from the row into
//! memory, and back, without being taken apart.

use gnomon_schemas::cbor::{Build, Scan, ScanError};
use gnomon_schemas::document::{Packed, ReadPackedError};
use gnomon_schemas::version::{Seq, Version};

/// A half as a writer keeps it.
#[derive(Debug, PartialEq)]
pub(crate) struct WriterHalfRow {
    pub(crate) version: Version,
    pub(crate) seq: Seq,
    pub(crate) document: Option<Packed>,
    pub(crate) base: Option<BaseRow>,
}

/// A document that the reader holds while its position is in `from..until`.
#[derive(Debug, PartialEq)]
pub(crate) struct BaseRow {
    pub(crate) version: Version,
    pub(crate) from: Seq,
    pub(crate) until: Seq,
    pub(crate) document: Packed,
}

/// A half as a reader keeps it.
#[derive(Debug, PartialEq)]
pub(crate) struct ReaderHalfRow {
    pub(crate) version: Version,
    pub(crate) document: Packed,
}

/// Why the row of a half could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadHalfError {
    /// It is not encoded as it was written.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// What should be a document is none.
    #[error(transparent)]
    Document(#[from] ReadPackedError),
    /// A field is missing.
    #[error("the row lacks a field")]
    Lacking,
}

/// The fields of a row, whichever there are; unknown ones are passed over.
#[derive(Default)]
struct Fields {
    version: Version,
    seq: Seq,
    from: Seq,
    until: Seq,
    document: Option<Packed>,
    base: Option<Box<Self>>,
}

impl Fields {
    fn read(value: &[u8]) -> Result<Self, ReadHalfError> {
        let mut scan = Scan::new(value);
        let fields = Self::scan(&mut scan, true)?;
        scan.end()?;
        Ok(fields)
    }

    fn scan(scan: &mut Scan<'_>, may_have_base: bool) -> Result<Self, ReadHalfError> {
        let mut fields = Self::default();
        for _ in 0..scan.map()? {
            match scan.text()? {
                "v" => fields.version = Version(scan.unsigned()?),
                "s" => fields.seq = Seq(scan.unsigned()?),
                "f" => fields.from = Seq(scan.unsigned()?),
                "u" => fields.until = Seq(scan.unsigned()?),
                _ if scan.null() => {}
                "d" => fields.document = Some(Packed::next(scan)?),
                "b" if may_have_base => {
                    fields.base = Some(Box::new(Self::scan(scan, false)?));
                }
                _ => drop(scan.item()?),
            }
        }
        Ok(fields)
    }
}

impl WriterHalfRow {
    pub(crate) fn read(value: &[u8]) -> Result<Self, ReadHalfError> {
        let Fields { version, seq, document, base, .. } = Fields::read(value)?;
        let base = base.map(|base| BaseRow::from_fields(*base)).transpose()?;
        Ok(Self { version, seq, document, base })
    }

    pub(crate) fn encode(
        version: Version,
        seq: Seq,
        document: Option<&Packed>,
        base: Option<&BaseRow>,
    ) -> Vec<u8> {
        let build = Build::default().map(4).text("v").unsigned(version.0);
        let build = build.text("s").unsigned(seq.0).text("d");
        let build = match document {
            Some(document) => build.raw(document.as_cbor()),
            None => build.null(),
        };
        let build = build.text("b");
        let Some(base) = base else { return build.null().finish() };
        let build = build.map(4).text("v").unsigned(base.version.0).text("f");
        let build = build.unsigned(base.from.0).text("u").unsigned(base.until.0);
        build.text("d").raw(base.document.as_cbor()).finish()
    }
}

impl BaseRow {
    fn from_fields(fields: Fields) -> Result<Self, ReadHalfError> {
        let Fields { version, from, until, document, .. } = fields;
        let document = document.ok_or(ReadHalfError::Lacking)?;
        Ok(Self { version, from, until, document })
    }
}

impl ReaderHalfRow {
    pub(crate) fn read(value: &[u8]) -> Result<Self, ReadHalfError> {
        let Fields { version, document, .. } = Fields::read(value)?;
        Ok(Self { version, document: document.ok_or(ReadHalfError::Lacking)? })
    }

    pub(crate) fn encode(version: Version, document: &Packed) -> Vec<u8> {
        let build = Build::default().map(2).text("v").unsigned(version.0);
        build.text("d").raw(document.as_cbor()).finish()
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::document::Document;
    use serde_json::json;

    use super::*;

    fn packed(n: u64) -> Packed {
        Packed::from(&Document::from_value(json!({ "n": n, "deep": { "a": [1.5, "x"] } })).unwrap())
    }

    #[test]
    fn a_half_survives_its_row() {
        let base = || BaseRow {
            version: Version(300),
            from: Seq(7),
            until: Seq(70_000),
            document: packed(1),
        };
        for (document, base) in
            [(Some(packed(2)), Some(base())), (Some(packed(2)), None), (None, Some(base()))]
        {
            let bytes =
                WriterHalfRow::encode(Version(301), Seq(9), document.as_ref(), base.as_ref());
            let row = WriterHalfRow { version: Version(301), seq: Seq(9), document, base };
            assert_eq!(WriterHalfRow::read(&bytes).unwrap(), row);
            for end in 0..bytes.len() {
                WriterHalfRow::read(&bytes[..end]).unwrap_err();
            }
        }
        let bytes = ReaderHalfRow::encode(Version(5), &packed(3));
        let row = ReaderHalfRow { version: Version(5), document: packed(3) };
        assert_eq!(ReaderHalfRow::read(&bytes).unwrap(), row);
    }

    /// What version 0.1 has written: the fields, their names and their order.
    #[test]
    fn a_row_lies_on_the_disk_as_it_always_did() {
        let document = Packed::from(&Document::from_value(json!({ "a": 1 })).unwrap());
        let bytes = WriterHalfRow::encode(Version(1), Seq(2), Some(&document), None);
        assert_eq!(bytes, b"\xa4\x61v\x01\x61s\x02\x61d\xa1\x61a\x01\x61b\xf6");
        let bytes = ReaderHalfRow::encode(Version(1), &document);
        assert_eq!(bytes, b"\xa2\x61v\x01\x61d\xa1\x61a\x01");
    }
}
