//! A backup is whole or refused.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn archive(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.file("ca.pem", b"key").unwrap();
    for (key, value) in rows {
        writer.row(key, value).unwrap();
    }
    writer.end().unwrap().0
}

fn read(bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut reader = Reader::new(Cursor::new(bytes))?;
    let mut records = Vec::new();
    while let Some(record) = reader.record()? {
        records.push(record);
    }
    Ok(records)
}

fn rows() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec((bytes(), bytes()), 0..6)
}

proptest! {
    #[test]
    fn what_was_written_is_read(rows in rows()) {
        let records = read(&archive(&rows)).unwrap();
        prop_assert_eq!(&records[0], &Record::File("ca.pem".to_owned(), b"key".to_vec()));
        let expected: Vec<_> = rows.into_iter().map(|(key, value)| Record::Row(key, value)).collect();
        prop_assert_eq!(&records[1..], expected);
    }

    #[test]
    fn a_cut_or_a_changed_byte_is_never_missed(
        rows in rows(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX
    ) {
        let whole = archive(&rows);
        let at = at.index(whole.len());
        prop_assert!(read(&whole[..at]).is_err());
        let mut changed = whole;
        changed[at] ^= change;
        prop_assert!(read(&changed).is_err());
    }

    #[test]
    fn rubbish_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
        let begun = [b"gnomon-cloud backup 1\n".as_slice(), &bytes].concat();
        prop_assert!(read(&begun).is_err());
    }
}

#[test]
fn a_promise_of_much_takes_no_memory() {
    let mut bytes = b"gnomon-cloud backup 1\nr".to_vec();
    bytes.extend([0, 0, 0, 1, 3, 255, 255, 255, b'k']);
    assert_eq!(read(&bytes).unwrap_err().to_string(), "it ends too early");
    bytes[27] = 255;
    assert!(read(&bytes).unwrap_err().to_string().contains("larger"));
}
