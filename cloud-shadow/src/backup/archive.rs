//! The form of a backup: a line that says what it is, records, a count, and the SHA-256 of all of
//! it, so that a backup that is not whole is never taken for one.

use std::io::{self, ErrorKind, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::rows;

/// What an archive begins with.
const MAGIC: &[u8] = b"gnomon-cloud backup 1\n";

/// The most bytes of a name or key, and of what belongs to it: far more than the cloud writes.
const NAME_BYTES: usize = 64 * 1024;
const CONTENT_BYTES: usize = 64 * 1024 * 1024;

const ROW: u8 = b'r';
const FILE: u8 = b'f';
const END: u8 = b'e';

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A row of the store.
    Row(Vec<u8>, Vec<u8>),
    /// A file of the data folder.
    File(String, Vec<u8>),
}

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(to: W) -> io::Result<Self> {
        let mut writer = Self { to, hash: Sha256::new(), count: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Adds a row of the store.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put_record(ROW, key, value)
    }

    /// Says when the rows are taken that follow; to be called before they are.
    pub fn taken(&mut self, now_ms: u64) -> io::Result<()> {
        self.row(rows::TAKEN, now_ms.to_string().as_bytes())
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put_record(FILE, name.as_bytes(), content)
    }

    /// Ends the archive and gives back what it was written to, and how many records it has.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        self.put(&[END])?;
        self.put(&self.count.to_be_bytes())?;
        let hash = self.hash.finalize();
        self.to.write_all(&hash)?;
        self.to.flush()?;
        Ok((self.to, self.count))
    }

    fn put_record(&mut self, kind: u8, name: &[u8], content: &[u8]) -> io::Result<()> {
        let len = |bytes: &[u8]| {
            let len = u32::try_from(bytes.len());
            len.map(u32::to_be_bytes).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))
        };
        self.put(&[kind])?;
        self.put(&len(name)?)?;
        self.put(&len(content)?)?;
        self.put(name)?;
        self.put(content)?;
        self.count += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}

/// Reads an archive.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Reader<R> {
    /// Opens an archive.
    pub fn new(from: R) -> io::Result<Self> {
        let mut reader = Self { from, hash: Sha256::new(), count: 0 };
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(bad("it does not begin like a backup of this version"));
        }
        Ok(reader)
    }

    /// The next record; `None` at the end, which is there only if everything was as it was
    /// written.
    pub fn record(&mut self) -> io::Result<Option<Record>> {
        let kind = self.bytes(1)?;
        if kind == [END] {
            return self.end().map(|()| None);
        }
        let (name_len, content_len) = (self.number()?, self.number()?);
        if name_len > NAME_BYTES || content_len > CONTENT_BYTES {
            return Err(bad("a record is larger than any that the cloud writes"));
        }
        let (name, content) = (self.bytes(name_len)?, self.bytes(content_len)?);
        self.count += 1;
        match kind.as_slice() {
            [ROW] => Ok(Some(Record::Row(name, content))),
            [FILE] => {
                let name = String::from_utf8(name).map_err(|_| bad("a name is not UTF-8"))?;
                Ok(Some(Record::File(name, content)))
            }
            _ => Err(bad("a record is of no known kind")),
        }
    }

    /// What follows the archive.
    pub fn into_rest(self) -> R {
        self.from
    }

    fn end(&mut self) -> io::Result<()> {
        if self.bytes(8)? != self.count.to_be_bytes() {
            return Err(bad("records are missing"));
        }
        let expected = self.hash.clone().finalize();
        if self.bytes(expected.len())? != expected.as_slice() {
            return Err(bad("its checksum does not match"));
        }
        Ok(())
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX))
    }

    /// Grows with what really comes, not with what is promised.
    fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(len).unwrap_or(u64::MAX);
        (&mut self.from).take(limit).read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(bad("it ends too early"));
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
