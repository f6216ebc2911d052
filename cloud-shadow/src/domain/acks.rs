//! Whether what is desired has arrived: per field `applied`, `pending` or `refused, because`, from
//! what is reported.
//!
//! A device that just reports a value has applied it. One that wants to say more reports the field
//! as an answer, `{"value": …, "ac": 200, "av": 7, "ad": "text"}`: what it has, a status code, the
//! version of `desired` that it speaks of, and why.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::times::{Stamp, Stamps};
use super::view::HalfView;

#[cfg(test)]
mod tests;

/// What became of a desired field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// The device has it.
    Applied,
    /// Nothing is known yet, or the device says that it is busy with it.
    Pending {
        /// What the device says.
        because: Option<String>,
    },
    /// The device does not take it.
    Refused {
        /// Why not, as it says.
        because: String,
    },
}

/// What became of every field of `desired`, by its pointer.
pub fn acks(desired: &HalfView, reported: Option<&HalfView>) -> BTreeMap<String, Ack> {
    let mut walk = Walk { stamps: desired.times.stamps(), acks: BTreeMap::new() };
    let reported = reported.map(|half| half.document.as_object());
    walk.object("", desired.document.as_object(), reported, None);
    walk.acks
}

/// What a device says of a field.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    value: Option<&'a Value>,
    code: u64,
    version: Option<u64>,
    text: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn read(value: &'a Value) -> Option<Self> {
        let object = value.as_object()?;
        let code = object.get("ac")?.as_u64()?;
        let is_known = |key: &String| matches!(key.as_str(), "value" | "ac" | "av" | "ad");
        let text = object.get("ad").and_then(Value::as_str);
        object.keys().all(is_known).then(|| Self {
            value: object.get("value"),
            code,
            version: object.get("av").and_then(Value::as_u64),
            text,
        })
    }

    /// What it means for a field with this stamp.
    fn judge(self, wanted: &Value, found: Option<&Value>, stamp: Stamp) -> Ack {
        let is_equal = found == Some(wanted);
        let is_late = self.version.is_some_and(|version| version < stamp.version.0);
        let because = self.text.map(str::to_owned);
        match self.code {
            _ if is_late && is_equal => Ack::Applied,
            _ if is_late => Ack::Pending { because: None },
            200..300 if self.code != ACCEPTED && (is_equal || self.value.is_none()) => Ack::Applied,
            0..400 => Ack::Pending { because },
            code => Ack::Refused { because: because.unwrap_or_else(|| format!("code {code}")) },
        }
    }
}

/// The status code of what is begun and not done.
const ACCEPTED: u64 = 202;

struct Walk {
    stamps: Stamps,
    acks: BTreeMap<String, Ack>,
}

impl Walk {
    fn object(
        &mut self,
        at: &str,
        wanted: &Map<String, Value>,
        found: Option<&Map<String, Value>>,
        answer: Option<Answer<'_>>,
    ) {
        for (key, wanted) in wanted {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            let mut found = found.and_then(|object| object.get(key));
            let mut answer = answer;
            if let (None, Some(given)) = (answer, found.and_then(Answer::read))
                && Answer::read(wanted).is_none()
            {
                (answer, found) = (Some(given), given.value);
            }
            if let Some(inner) = wanted.as_object().filter(|inner| !inner.is_empty()) {
                self.object(&at, inner, found.and_then(Value::as_object), answer);
                continue;
            }
            let stamp = self.stamps.take();
            let ack = match answer {
                Some(answer) => answer.judge(wanted, found, stamp),
                None if found == Some(wanted) => Ack::Applied,
                None => Ack::Pending { because: None },
            };
            self.acks.insert(at, ack);
        }
    }
}
