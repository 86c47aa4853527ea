//! What the command line is told.

use std::process::Command;

use super::authority::{Authority, Folder};

/// The exit status, and what is said on standard output and standard error.
fn said(flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    let output = command.args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_check_says_what_would_be_done_and_does_nothing() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority
        .server(&["a.example", "b.example"])
        .write(&folder, "a");
    let socket = format!("unix:{}", folder.text("socket"));
    let mut flags = vec!["--check", "--listen", "192.0.2.1:1", "--listen", &socket];
    flags.extend([
        "--tls-listen",
        "192.0.2.1:2",
        "--tls-min-version",
        "1.3",
        "--redirect-https",
    ]);
    flags.extend([
        "--proxy-protocol",
        "10.0.0.0/8",
        "--rate-limit",
        "5",
        "--cache",
        "1MiB",
        "--admin",
        "off",
    ]);
    flags.extend(["--upstream", "http://a.example;weight=2"]);
    flags.extend(pair.iter().map(String::as_str));
    let (status, report, errors) = said(&flags);
    let path = folder.text("socket");
    let expected = format!(
        "\
would listen on http://192.0.2.1:1, PROXY header from 10.0.0.0/8, redirects to https
would listen on unix:{path} (http), mode 0660, PROXY header from 10.0.0.0/8, redirects to https
would listen on https://192.0.2.1:2, TLS 1.3 or later, certificates for a.example b.example, PROXY header from 10.0.0.0/8
would forward to http://a.example;weight=2
would allow an address half of all connections, this machine all
would allow an address 5 requests per second, 5 at once
would keep responses in 1048576 bytes
"
    );
    assert_eq!(
        (status, report.as_str(), errors.as_str()),
        (Some(0), &*expected, "")
    );
    assert!(!super::authority::exists(&folder.path("socket")));
}

#[test]
fn a_socket_that_is_not_passed_is_named() {
    let (status, report, _) = said(&["--check", "--listen", "fd:3"]);
    assert_eq!(status, Some(0));
    let listens = "would listen on fd:3 (http), which is not passed to this process\n";
    assert!(report.contains(listens), "{report}");
}

/// Of listeners that no flag names.
#[test]
fn flags_of_listeners_are_for_all_listeners() {
    let flags = [
        "--check",
        "--proxy-protocol",
        "10.0.0.0/8",
        "--admin",
        "off",
    ];
    let (status, report, errors) = said(&flags);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let listens = "would listen on http://127.0.0.1:8080, PROXY header from 10.0.0.0/8\n";
    assert!(report.starts_with(listens), "{report}");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = Folder::new();
    folder.write("empty.pem", "");
    let empty = folder.text("empty.pem");
    let missing = folder.text("missing.pem");
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert"];
    for (flags, error) in [
        (
            vec!["--listen", "8080"],
            "--listen 8080: must be an address and a port",
        ),
        (
            vec!["--listen", "unix:a"],
            "--listen unix:a: must be an absolute path",
        ),
        (
            vec!["--unix-mode", "888"],
            "--unix-mode 888: must be an octal mode",
        ),
        (
            vec!["--tls-listen", "127.0.0.1:0"],
            "--tls-listen needs --tls-cert",
        ),
        (vec!["--tls-cert", "a"], "each --tls-cert needs a --tls-key"),
        (
            vec!["--redirect-https"],
            "--redirect-https needs --tls-listen",
        ),
        (
            vec!["--redirect-port", "443"],
            "--redirect-port needs --redirect-https",
        ),
        (
            vec!["--redirect-port", "0"],
            "--redirect-port 0: must be a port",
        ),
        (
            vec!["--unix-mode", "0600"],
            "--unix-mode needs a Unix socket",
        ),
        (
            vec!["--head-timeout", "0s"],
            "--head-timeout 0s: must be more than 0",
        ),
        (
            vec!["--idle-timeout", "0s"],
            "--idle-timeout 0s: must be more than 0",
        ),
        (
            vec!["--write-timeout", "0s"],
            "--write-timeout 0s: must be more than 0",
        ),
        (
            vec!["--rate-limit", "off", "--rate-burst", "5"],
            "--rate-burst needs --rate-limit",
        ),
        (
            vec!["--tls-client-optional"],
            "--tls-client-optional needs --tls-client-ca",
        ),
        (
            vec!["--tls-min-version", "1.1"],
            "--tls-min-version 1.1: must be 1.2 or 1.3",
        ),
        (
            vec!["--proxy-protocol", "a"],
            "--proxy-protocol a: must be a network",
        ),
        (vec!["--rate-burst", "5"], "--rate-burst needs --rate-limit"),
        (
            vec!["--cache", "0"],
            "--cache 0: must be a number of bytes, like 65536 or 64KiB",
        ),
        (
            vec!["--rate-limit", "0"],
            "--rate-limit 0: must be 1 or more",
        ),
        (
            vec!["--discover", "a:b"],
            "--discover a:b: must begin with dns:, srv:",
        ),
        (vec!["--discover", "dns:"], "--discover dns:: names nothing"),
        (vec!["--discover", "srv:a b"], "a b"),
        (
            vec!["--dns-server", "127.0.0.1"],
            "--dns-server needs --discover",
        ),
        (vec!["--upstream", "ftp://a"], "ftp://a"),
        (
            [&tls[..], &[&missing, "--tls-key", &empty]].concat(),
            "missing.pem: No such file",
        ),
        (
            [&tls[..], &[&empty, "--tls-key", &empty]].concat(),
            "empty.pem: no certificate in PEM",
        ),
    ] {
        for check in [&["--check"][..], &[]] {
            let (status, _, errors) = said(&[&flags[..], check].concat());
            assert_eq!(status, Some(2), "{flags:?}: {errors}");
            assert!(errors.starts_with("gateway: "), "{errors}");
            assert!(errors.contains(error), "{flags:?}: {errors}");
        }
    }
}
