//! The settings of the system: `/etc/resolv.conf` and `/etc/hosts`.
//!
//! They cannot be others for one test alone, so it runs as a process in namespaces of its own, in which these files are
//! others and the name server has the port 53. Where the system does not permit that, it is skipped.

use std::{
    env, fs,
    io::{Write, stderr},
    net::Ipv4Addr,
    path::Path,
    process::Command,
};

use axum_upstream::{LoadBalance, discover::Dns};

use super::{
    eventually, last_error, names,
    server::{NameServer, Reply},
};

/// Where the process in the namespaces finds the files.
const FOLDER: &str = "AXUM_UPSTREAM_DNS_FILES";

/// What puts the files in the place of those of the system, and runs what follows.
const ENTER: &str = r#"ip link set lo up && mount --bind "$FOLDER/hosts" /etc/hosts &&
    mount --bind "$FOLDER/resolv.conf" /etc/resolv.conf && exec "$@""#;

/// A command that runs in the namespaces.
fn within_namespaces(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "--net", "sh", "-c"])
        .arg(ENTER.replace("$FOLDER", &format!("${FOLDER}")))
        .arg("sh")
        .env(FOLDER, folder);
    command
}

#[test]
fn the_settings_of_the_system_count() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dns-system");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("hosts"),
        "10.1.1.1 listed.test\nfd00::1 listed.test\n",
    )
    .unwrap();
    let settings = "nameserver 127.0.0.1\nsearch example.test\noptions timeout:1 attempts:1\n";
    fs::write(folder.join("resolv.conf"), settings).unwrap();
    let possible = within_namespaces(&folder).arg("true").output();
    match possible {
        Ok(output) if output.status.success() => {}
        other => {
            // Not by a macro, whose output is shown only if the test fails.
            let _ = writeln!(
                stderr(),
                "the settings of the system are not tested: {other:?}"
            );
            return;
        }
    }
    let inside = within_namespaces(&folder)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "system::within_the_namespaces", "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(
        inside.status.success() && said.contains("1 passed"),
        "{said}"
    );
    fs::remove_dir_all(&folder).unwrap();
}

fn follow(url: &str) -> LoadBalance {
    let dns = Dns::addresses(url).unwrap();
    LoadBalance::builder().discover(dns).unwrap()
}

#[tokio::test]
#[ignore = "the test above runs it"]
async fn within_the_namespaces() {
    let Some(folder) = env::var_os(FOLDER) else {
        panic!("these files are not to be touched")
    };
    let server = NameServer::start_at_its_own_port().await;
    server.set_v4("api.example.test", 60, [Ipv4Addr::new(10, 0, 0, 1)]);
    server.set_both("failing.test", &Reply::Fails);
    // By the hosts file, and no name server is asked.
    let listed = follow("http://listed.test:80");
    eventually(|| names(&listed) == ["http://10.1.1.1:80", "http://[fd00::1]:80"]).await;
    assert!(server.asked().is_empty());
    // By the name server, with the search list.
    let searched = follow("http://api:80");
    eventually(|| names(&searched) == ["http://10.0.0.1:80"]).await;
    // They are read again after a failure, and if there is no such name.
    let failing = follow("http://failing.test:80");
    let late = follow("http://late.test:80");
    eventually(|| last_error(&failing).is_some() && last_error(&late).is_some()).await;
    let hosts = Path::new(&folder).join("hosts");
    fs::write(hosts, "10.1.1.2 late.test\n10.1.1.3 failing.test\n").unwrap();
    eventually(|| names(&failing) == ["http://10.1.1.3:80"]).await;
    eventually(|| names(&late) == ["http://10.1.1.2:80"]).await;
}
