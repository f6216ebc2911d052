//! How answers of the cloud become errors.

use reqwest::StatusCode;

use super::*;

#[test]
fn a_refusal_keeps_the_clouds_words_and_lists_the_problems() {
    let body = r#"{"error":{"code":"invalid_app","message":"the app is refused",
        "detail":{"problems":["services.web: needs an image",{"path":"services.db","message":"no"}]}}}"#;
    let refusal = Refusal::from_body(StatusCode::BAD_REQUEST, body);
    assert_eq!(refusal.code, "invalid_app");
    let text = refusal.to_string();
    assert_eq!(text, "the app is refused\n  - services.web: needs an image\n  - services.db: no");
}

#[test]
fn an_answer_that_is_not_ours_is_still_explained() {
    let refusal = Refusal::from_body(StatusCode::BAD_GATEWAY, "<html>no</html>");
    assert_eq!(refusal.message, "the server answered 502 Bad Gateway: <html>no</html>");
}

#[test]
fn keys_keep_their_slashes_and_nothing_else_escapes_the_path() {
    let client = Client::new("http://h:1/base/", None, None).unwrap();
    let request = client.shadow_request(Method::GET, "a/../b", "device/x:1/s?").build().unwrap();
    assert_eq!(
        request.url().as_str(),
        "http://h:1/base/v1/nodes/a%2F..%2Fb/shadows/device/x:1/s%3F"
    );
}

#[test]
fn other_schemes_are_refused() {
    let error = Client::new("ftp://h", None, None).unwrap_err().to_string();
    assert!(error.contains("https://"), "{error}");
    assert!(Client::new("not a url", None, None).is_err());
    for ca in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Client::new("https://h", None, Some(ca.as_bytes())).is_err());
    }
}
