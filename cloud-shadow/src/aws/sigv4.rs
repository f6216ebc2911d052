//! AWS Signature Version 4, checked: the request as it came, a known key, a fresh date. Pure.

use gnomon_schemas::hex;
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::AccessKeys;
use super::domain::Rejected;

/// What of a request is signed. Headers in lower case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it came, percent codes and all.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

/// How far the client's clock may be off.
const SKEW_S: u64 = 15 * 60;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const END: &str = "aws4_request";

/// Checks the signature in the `authorization` header, and gives back the id of its key.
pub(super) fn verify<'a>(
    request: &Signed<'_>,
    authorization: &'a str,
    keys: &AccessKeys,
    now_s: u64,
) -> Result<&'a str, Rejected> {
    let malformed = || Rejected::Unauthorized("the Authorization header is no AWS signature");
    let fields = authorization.strip_prefix(ALGORITHM).ok_or_else(malformed)?;
    let field = |name: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(malformed)
    };
    let (credential, names) = (field("Credential")?, field("SignedHeaders")?);
    let signature = unhex(field("Signature")?).ok_or_else(malformed)?;
    let (id, scope) = credential.split_once('/').ok_or_else(malformed)?;
    let [day, region, service, END] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(malformed());
    };
    let date = request.header("x-amz-date").unwrap_or_default();
    let names: Vec<&str> = names.split(';').collect();
    if !names.contains(&"host") || !names.contains(&"x-amz-date") || !date.starts_with(day) {
        return Err(Rejected::Unauthorized("host and x-amz-date must be signed, for the same day"));
    }
    let at_s = seconds(&date).ok_or_else(malformed)?;
    if at_s.abs_diff(now_s) > SKEW_S {
        return Err(Rejected::Forbidden("the signature has expired; is the clock right?"));
    }
    let wrong = Rejected::Forbidden("the access key is unknown or the signature does not match");
    let Some(secret) = keys.secret(id) else { return Err(wrong) };
    let canonical = request.canonical(&names);
    let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex::of(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, service, END] {
        let next = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        key = next.as_ref().to_vec();
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    hmac::verify(&key, text.as_bytes(), &signature).map_err(|_| wrong)?;
    Ok(id)
}

impl Signed<'_> {
    /// The value of a header; of several, as they are signed.
    fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let values: Vec<_> = values.map(|(_, value)| words(value)).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn canonical(&self, names: &[&str]) -> String {
        let mut query: Vec<(String, String)> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (encode(&decode(key), ""), encode(&decode(value), "")))
            .collect();
        query.sort();
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let header = |name: &&str| format!("{name}:{}\n", self.header(name).unwrap_or_default());
        let headers: String = names.iter().map(header).collect();
        let (method, path) = (self.method, encode(self.path.as_bytes(), "/"));
        let (query, names, body) =
            (query.join("&"), names.join(";"), hex::of(&Sha256::digest(self.body)));
        format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{body}")
    }
}

/// Undoes percent codes; what is none stays.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut out) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        let mut code = bytes.clone();
        let digits = (code.next().and_then(digit), code.next().and_then(digit));
        if let (b'%', (Some(high), Some(low))) = (byte, digits) {
            out.push(high << 4 | low);
            bytes = code;
        } else {
            out.push(byte);
        }
    }
    out
}

fn encode(bytes: &[u8], safe: &str) -> String {
    let mut out = String::new();
    for byte in bytes {
        let c = char::from(*byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || safe.contains(c) {
            out.push(c);
        } else {
            out.push('%');
            out.push_str(&hex::of(&[*byte]).to_ascii_uppercase());
        }
    }
    out
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
    let pairs = digits.as_chunks::<2>();
    pairs.1.is_empty().then(|| pairs.0.iter().map(|[high, low]| high << 4 | low).collect())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `20261121T123456Z` in seconds since 1970.
fn seconds(date: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let text = date.get(from..to).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        text.and_then(|text| text.parse::<u64>().ok())
    };
    let is_formed = date.len() == 16 && date.get(8..9) == Some("T") && date.ends_with('Z');
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !is_formed || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March: the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_the_calendar_has_them() {
        assert_eq!(seconds("19700101T000000Z"), Some(0));
        assert_eq!(seconds("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(seconds("20240229T000000Z"), Some(1_709_164_800));
        for bad in ["", "20150830T1236000", "20151330T123600Z", "2015083aT123600Z"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    /// The example `get-vanilla` of AWS's test suite.
    #[test]
    fn the_signature_of_aws_is_right_and_any_other_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap();
        let keys = AccessKeys::load(Some(&file)).unwrap();
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let headers: Vec<_> = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let request = Signed { method: "GET", path: "/", query: "", headers: &headers, body: b"" };
        let credential = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let says = |credential: &str, signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, \
                 Signature={signature}"
            )
        };
        let check = |request: &Signed<'_>, says: &str, now| {
            verify(request, says, &keys, now).map(str::to_owned)
        };
        let (right, now) = (says(credential, signature), 1_440_938_160);
        assert_eq!(check(&request, &right, now + SKEW_S).as_deref(), Ok("AKIDEXAMPLE"));
        let refused = [
            check(&request, &right, now + SKEW_S + 1),
            check(&Signed { method: "POST", ..request }, &right, now),
            check(&Signed { path: "/x", ..request }, &right, now),
            check(&Signed { query: "a=1", ..request }, &right, now),
            check(&Signed { body: b"x", ..request }, &right, now),
            check(&request, &says(&credential.replace("AKID", "AKIX"), signature), now),
            check(&request, &says(credential, &signature.replace('5', "6")), now),
        ];
        for refusal in refused {
            assert_eq!(refusal.unwrap_err().code(), 403);
        }
        for bad in ["", "Bearer x", ALGORITHM, &says("a/b", signature), &says(credential, "xyz")] {
            assert_eq!(check(&request, bad, now).unwrap_err().code(), 401, "{bad}");
        }
    }
}
