//! What of Kubernetes YAML is taken, how, and what is refused with which words.

use serde_json::json;

use super::*;

const SHOP: &str = r#"# A shop.
---
apiVersion: v1
kind: Secret
metadata: { name: key }
stringData:
  password: hunter2
data:
  user: c2hv
    cA==
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  creationTimestamp: null
  labels: &labels { app: web }
spec:
  replicas: 2
  selector: { matchLabels: *labels }
  template:
    metadata: { labels: *labels }
    spec:
      containers: [{ name: web, image: "web:1", args: ["yes", "1"] }]
      volumes: [{ name: key, secret: { secretName: key, defaultMode: 0400 } }]
status: {}
---
"#;

fn wrong(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn many_documents_become_one_service_and_secrets_are_sealed() {
    let app = read(SHOP).unwrap();
    let service = &app.services[&SERVICE.parse().unwrap()];
    let keys: Vec<_> = service.manifests.keys().map(String::as_str).collect();
    assert_eq!(keys, ["Deployment.apps/web", "Secret/key"]);
    let web = service.manifests["Deployment.apps/web"].as_value();
    assert_eq!(web["metadata"], json!({ "name": "web", "labels": { "app": "web" } }));
    assert_eq!(web["spec"]["template"]["spec"]["volumes"][0]["secret"]["defaultMode"], 256);
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["args"], json!(["yes", "1"]));
    let name = &service.manifest_secrets["Secret/key"];
    assert_eq!(
        app.secrets[name].content.expose(),
        r#"{"password":"aHVudGVyMg==","user":"c2hvcA=="}"#
    );
    assert!(!format!("{app:?}").contains("aHVudGVyMg"));
    let again = AppSpec::from_document(&app.to_value()).unwrap();
    assert_eq!(again.revision(), app.revision());
}

#[test]
fn the_order_of_documents_and_lists_of_objects_make_no_difference() {
    let parts: Vec<_> = SHOP.split("---\n").skip(1).filter(|it| !it.is_empty()).collect();
    let turned = format!("{}---\n{}", parts[1], parts[0]);
    assert_eq!(read(&turned).unwrap().revision(), read(SHOP).unwrap().revision());
    let object = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [object("a"), object("b")] });
    let written = format!("{}\n---\n{}", object("a"), object("b"));
    assert_eq!(read(&list.to_string()).unwrap(), read(&written).unwrap());
}

#[test]
fn another_secret_is_another_revision() {
    let (one, two) = (read(SHOP).unwrap(), read(&SHOP.replace("hunter2", "swordfish")).unwrap());
    let service = SERVICE.parse().unwrap();
    assert_ne!(one.service_digest(&service), two.service_digest(&service));
}

#[test]
fn a_chart_is_refused_with_advice() {
    for text in [
        "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: '{{ .Release.Name }}' }\n",
        "{{- if .Values.on }}\napiVersion: v1\nkind: Pod\n{{- end }}\n",
    ] {
        assert!(is_meant(text), "{text}");
        assert!(wrong(text).contains("helm template"), "{}", wrong(text));
    }
    // Braces in what a file holds are nobody's template.
    let alert = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { a: '{{ $x }}' }\n";
    assert!(read(alert).is_ok());
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n";
    assert_eq!(wrong(twice), "5:1: ConfigMap a is there twice; the first begins on line 1");
    let unclear =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  on: yes\n  at: 08\n";
    let said = wrong(unclear);
    assert!(
        said.starts_with("5:7: data.on is `yes`") && said.contains("6:7: data.at is `08`"),
        "{said}"
    );
    assert_eq!(wrong("---\n# nothing\n---\n"), "1:1: the file holds no Kubernetes object");
    let open = "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\ndata: { key: hunter2! }\n";
    assert!(wrong(open).contains("base64") && !wrong(open).contains("hunter2"), "{}", wrong(open));
}

#[test]
fn plain_texts_are_read_as_kubectl_reads_them() {
    for (text, value) in [
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("-3", json!(-3)),
        ("1.0", json!(1)),
        ("1e3", json!(1000)),
        ("1.5", json!(1.5)),
        ("0", json!(0)),
        ("1.2.3", json!("1.2.3")),
        ("100m", json!("100m")),
        ("True", json!(true)),
        ("2001-01-01", json!("2001-01-01")),
        ("-", json!("-")),
    ] {
        assert_eq!(scalar::read(text, true).unwrap(), value, "{text}");
    }
    for text in ["yes", "Off", "089", ".inf"] {
        assert!(scalar::read(text, true).is_err(), "{text}");
        assert_eq!(scalar::read(text, false).unwrap(), json!(text));
    }
}

#[test]
fn an_app_of_manifests_has_no_settings_of_containers() {
    let mut document = read(SHOP).unwrap().to_value();
    document["services"][SERVICE]["image"] = json!("web:1");
    let refused = AppSpec::from_document(&document).unwrap_err().to_string();
    assert!(refused.contains("consists of Kubernetes manifests"), "{refused}");
    let mut document = read(SHOP).unwrap().to_value();
    let manifests = document["services"][SERVICE]["manifests"].as_object_mut().unwrap();
    let web = manifests.remove("Deployment.apps/web").unwrap();
    manifests.insert("Deployment.apps/other".to_owned(), web);
    let refused = AppSpec::from_document(&document).unwrap_err().to_string();
    assert!(refused.contains("must stand at the key"), "{refused}");
}
