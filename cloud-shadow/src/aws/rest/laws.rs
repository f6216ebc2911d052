//! What holds for every path and query of the REST calls.

use proptest::prelude::{prop, prop_assert, prop_assert_eq, prop_assume, proptest};

use super::{Rejected, Uri, decode, parameter, thing_in};

/// A text with some of its bytes as percent codes.
fn encoded(text: &str, coded: &[bool], upper: bool) -> String {
    let code = |(at, byte): (usize, u8)| match (coded.get(at), upper) {
        (Some(true), true) => format!("%{byte:02X}"),
        (Some(true), false) => format!("%{byte:02x}"),
        (Some(false) | None, _) => char::from(byte).to_string(),
    };
    text.bytes().enumerate().map(code).collect()
}

fn query(text: &str) -> Option<Uri> {
    format!("/things/t/shadow?{text}").parse().ok()
}

proptest! {
    #[test]
    fn a_name_is_the_same_however_it_is_encoded(
        name in "[a-zA-Z0-9:_-]{1,128}",
        coded in prop::collection::vec(prop::bool::ANY, 128),
        upper in prop::bool::ANY,
    ) {
        let thing = thing_in(&encoded(&name, &coded, upper)).unwrap();
        prop_assert_eq!(thing.as_str(), name);
    }

    #[test]
    fn what_is_taken_for_a_name_is_one(segment in ".{0,140}|(%[0-9a-fA-F]{2}){0,20}") {
        if let Ok(thing) = thing_in(&segment) {
            let name = thing.as_str();
            prop_assert!((1..=128).contains(&name.len()));
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b)));
            prop_assert_eq!(decode(&segment), name.as_bytes());
        }
    }

    #[test]
    fn a_parameter_is_found_among_others(
        value in "[$a-zA-Z0-9:_-]{1,64}",
        coded in prop::collection::vec(prop::bool::ANY, 64),
        before in "([a-z]{1,5}=[a-z%]{0,5}&)?",
        after in "(&[a-z]{1,5}(=[a-z]{0,5})?)?",
    ) {
        prop_assume!(!before.starts_with("name=") && !after.starts_with("&name="));
        let uri = query(&format!("{before}name={}{after}", encoded(&value, &coded, true)));
        prop_assert_eq!(parameter(&uri.unwrap(), "name").unwrap(), Some(value));
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_refused(a in "[a-z]{0,5}", b in "[a-z]{0,5}") {
        let uri = query(&format!("name={a}&name={b}")).unwrap();
        prop_assert_eq!(parameter(&uri, "name"), Err(Rejected::InvalidParameter("name")));
    }

    #[test]
    fn no_query_makes_it_stumble(text in "[!-~]{0,80}") {
        if let Some(uri) = query(&text)
            && let Ok(Some(value)) = parameter(&uri, "name")
        {
            prop_assert!(text.contains("name="), "{value} came from nowhere");
        }
    }
}
