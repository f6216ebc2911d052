//! Requests that nobody wrote: whatever comes is answered, a refusal is typed and changes nothing.

use std::sync::LazyLock;

use gnomon_cloud::http::description;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Api, Cloud};

/// A request.
#[derive(Debug, Clone)]
struct Shot {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

/// The paths of the description, and those of the AWS face; streams that have no end are left out.
static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let description: Value = serde_json::from_str(description()).unwrap();
    let native = description["paths"].as_object().unwrap().keys().cloned();
    let native = native.filter(|path| path != "/v1/watch" && path != "/v1/backup");
    let aws = ["/things/{thing}/shadow", "/api/things/shadow/ListNamedShadowsForThing/{thing}"];
    native.chain(aws.map(str::to_owned)).collect()
});

const METHODS: [&str; 7] = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// Names that exist, names that could, and what is none.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("site-1".to_owned()),
        2 => Just("node".to_owned()),
        2 => Just("device/pump-7".to_owned()),
        2 => "[a-z0-9-]{1,20}",
        1 => "(%[0-9a-fA-F]{2}|[a-zA-Z0-9._~:@!$&'()*+,;=/-]){0,40}",
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| encoded(&bytes)),
    ]
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"))
}

fn path() -> impl Strategy<Value = String> {
    let filled = (prop::sample::select(PATHS.clone()), prop::collection::vec(segment(), 3));
    let filled = filled.prop_map(|(template, names)| {
        let mut names = names.into_iter();
        let part = |part: &str| {
            if part.starts_with('{') { names.next().unwrap_or_default() } else { part.to_owned() }
        };
        template.split('/').map(part).collect::<Vec<_>>().join("/")
    });
    prop_oneof![9 => filled, 1 => segment().prop_map(|name| format!("/{name}"))]
}

fn query() -> impl Strategy<Value = String> {
    let names = [
        "limit",
        "pointer",
        "half",
        "before",
        "after",
        "version",
        "at_ms",
        "from",
        "to",
        "label",
        "where",
        "tag",
        "node",
        "metadata",
        "acks",
        "name",
        "pageSize",
        "nextToken",
        "strange",
    ];
    let value = prop_oneof![
        "[0-9]{1,25}",
        "-?[0-9]{1,3}(\\.[0-9])?",
        segment(),
        Just("true".to_owned()),
        Just("desired".to_owned()),
        Just(encoded(br#"{"pointer":"/price","equals":1}"#)),
        Just(encoded(b"/a/b~1c")),
        Just(encoded(&b"[".repeat(300))),
    ];
    prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..3).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    })
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "if-match",
        "if-none-match",
        "if-field",
        "content-type",
        "traceparent",
        "range",
        "x-amz-date",
        "expect",
        "accept",
    ]);
    let value = prop_oneof![
        Just(b"\"1\"".to_vec()),
        Just(b"*".to_vec()),
        Just(b"W/\"1\"".to_vec()),
        Just(b"\"99999999999999999999999\"".to_vec()),
        Just(br#"{"pointer": "/a", "absent": true}"#.to_vec()),
        Just(b"application/merge-patch+json; charset=utf-8".to_vec()),
        Just(b"text/html".to_vec()),
        // What may stand in a header at all.
        prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..40),
    ];
    prop::collection::vec((name, value), 0..3)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "labels",
            "writes",
            "node",
            "key",
            "patch",
            "put",
            "delete",
            "version",
            "tags",
            "ttl_s",
            "token",
            "csr_pem",
            "name",
            "role",
            "state",
            "desired",
            "reported",
            "if_version",
            "conditions",
            "uses",
            "clientToken",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => json_value().prop_map(|value| value.to_string().into_bytes()),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (json_value(), any::<prop::sample::Index>()).prop_map(|(value, cut)| {
            let text = value.to_string().into_bytes();
            let end = cut.index(text.len());
            text[..end].to_vec()
        }),
        1 => (1..5000_usize).prop_map(|depth| [b"{\"a\":".repeat(depth), b"1".to_vec(), b"}".repeat(depth)].concat()),
        1 => "[0-9]{1,400}(e[0-9]{1,9})?".prop_map(|number| format!("{{\"n\":{number}}}").into_bytes()),
    ]
}

fn shot() -> impl Strategy<Value = Shot> {
    let parts = (prop::sample::select(METHODS.to_vec()), path(), query(), headers(), body());
    parts.prop_map(|(method, path, query, headers, body)| Shot {
        method,
        path,
        query,
        headers,
        body,
    })
}

/// Fires, and says what is wrong with the answer.
async fn fire(api: &Api, shot: &Shot) -> Result<(), String> {
    let target = format!("{}?{}", shot.path, shot.query);
    let method: Method = shot.method.parse().unwrap();
    let mut request = api.request(method, &target).body(shot.body.clone());
    for (name, value) in &shot.headers {
        request = request.header(*name, value.as_slice());
    }
    let before = state(api).await;
    // What the client itself does not send is no request.
    let Ok(request) = request.build() else { return Ok(()) };
    let response = reqwest::Client::new().execute(request).await.map_err(|it| format!("{it:?}"))?;
    let (status, head) = (response.status(), shot.method == "HEAD");
    let text = response.text().await.map_err(|error| error.to_string())?;
    if status.is_server_error() {
        return Err(format!("{status}: {text}"));
    }
    if status.is_client_error() {
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let is_typed = answer["error"]["code"].is_string() || answer["message"].is_string();
        if !head && !is_typed {
            return Err(format!("{status} without a code: {text}"));
        }
        let after = state(api).await;
        if before != after {
            return Err(format!("{status}, and yet {before} became {after}"));
        }
    }
    Ok(())
}

/// Everything of the node that a refused request could change.
async fn state(api: &Api) -> Value {
    let response = api.request(Method::GET, "/v1/nodes/site-1/shadows").send().await.unwrap();
    let mut all: Value = response.json().await.unwrap();
    let shadows = all["shadows"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let lasting = |mut shadow: Value| {
        for half in ["desired", "reported"] {
            if let Some(half) = shadow[half].as_object_mut() {
                half.remove("age_ms");
            }
        }
        shadow
    };
    Value::Array(shadows.into_iter().map(lasting).collect())
}

#[test]
fn whatever_is_asked_is_answered_and_a_refusal_is_typed_and_changes_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cloud = runtime.block_on(Cloud::with_node());
    runtime.block_on(cloud.api.patch("/v1/nodes/site-1/shadows/node", &json!({ "a": 1 })));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(400);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let fired = TestRunner::new(config).run(&shot(), |shot| {
        runtime.block_on(fire(&cloud.api, &shot)).map_err(TestCaseError::fail)
    });
    fired.unwrap();
    runtime.block_on(async {
        // It may have been deleted, with an answer that says so.
        let node = cloud.api.request(Method::GET, "/v1/nodes").send().await.unwrap();
        assert!(node.status().is_success());
        cloud.stop().await;
    });
}
