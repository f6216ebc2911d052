//! How a registry wants to be told who asks: the header `WWW-Authenticate`. Pure.

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token that is given out elsewhere.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    pub(super) fn read(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, service })
    }
}

/// `name="value"` or `name=value`, with commas between them, which values in quotes may hold too.
fn parameters(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name.trim_matches([' ', ',']), value.trim().to_owned()));
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_registries_are_read() {
        assert_eq!(Challenge::read("Basic realm=\"r, s\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("basic"), Some(Challenge::Basic));
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(ToOwned::to_owned),
            })
        };
        let header = r#"Bearer realm="https://a.example/token?x=1,2",service="r.example",scope="repository:a:pull,push",error="x""#;
        let read = Challenge::read(header);
        assert_eq!(read, bearer("https://a.example/token?x=1,2", Some("r.example")));
        assert_eq!(Challenge::read("Bearer realm=https://a"), bearer("https://a", None));
        for bad in ["", "Digest realm=\"r\"", "Bearer", "Bearer service=\"s\"", "Bearer ==,\"="] {
            assert_eq!(Challenge::read(bad), None, "{bad}");
        }
    }
}
