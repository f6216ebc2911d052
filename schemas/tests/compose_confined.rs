//! What a service may do, written wrongly: the exact words with which each is refused.

use gnomon_schemas::compose;

/// The errors of a service `web` with these lines, which begin at line 4.
fn service_errors(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    let text = format!("services:\n  web:\n    image: i\n    {lines}\n");
    let files = |_: &str| Err(std::io::Error::other("no such file"));
    match compose::read(&text, &|_| None, &files) {
        Ok(app) => format!("accepted: {}", app.to_value()),
        Err(errors) => errors.in_file("f").to_string(),
    }
}

#[test]
fn what_a_service_may_do_is_named_where_it_is_wrong() {
    for (lines, expected) in CONFINED {
        assert_eq!(service_errors(lines), *expected, "{lines}");
    }
}

const CONFINED: &[(&str, &str)] = &[
    (
        "ports: ['80:80']\ndeploy: { update_config: { order: start-first } }",
        "f:5:39: services.web.deploy.update_config.order: the new copy starts before the old one stops, so it cannot have a fixed host port",
    ),
    (
        "deploy: { update_config: { parallelism: 2 } }",
        "f:4:32: services.web.deploy.update_config.parallelism is not supported",
    ),
    (
        "cap_add:\n  - NET_ADMIM",
        "f:5:9: services.web.cap_add[0] must be a capability such as `NET_ADMIN`, or `ALL`, not `NET_ADMIM`",
    ),
    (
        "cap_add: [CHOWN]\ncap_drop: [KILL, CHOWN]",
        "f:5:22: services.web.cap_drop[1]: is in `cap_add` too",
    ),
    (
        "security_opt: [seccomp=unconfined]",
        "f:4:20: services.web.security_opt[0] must be `no-new-privileges:true` or `no-new-privileges:false`, not `seccomp=unconfined`",
    ),
    (
        "ulimits:\n  files: 3",
        "f:5:7: services.web.ulimits.files is not supported; see `man 2 getrlimit`",
    ),
    (
        "ulimits:\n  nofile: { soft: 9, hard: 3 }",
        "f:5:15: services.web.ulimits.nofile: is more than the limit of 3",
    ),
    (
        "devices:\n  - dev/x",
        "f:5:9: services.web.devices[0] must be a device such as `/dev/ttyUSB0:/dev/tty0:rw`, not `dev/x`",
    ),
    (
        "devices:\n  - /dev/../etc/x",
        "f:5:9: services.web.devices[0]: must be an absolute path without `.`, `..`, `//` or a final `/`",
    ),
];
