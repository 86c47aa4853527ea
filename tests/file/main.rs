//! Discovery by a file that is watched.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

#[path = "../support/discovery.rs"]
mod support;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use axum_upstream::{LoadBalance, discover::WatchedFile};
use tokio::time::timeout;

use self::support::{Load, Servers, becomes, endpoints, eventually, failing, fails, names};

/// A folder of its own for a test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-{test}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Puts a file in the place of the one that is there, at once.
    fn replace(&self, file: &str, text: &str) {
        fs::write(self.path("next"), text).unwrap();
        fs::rename(self.path("next"), self.path(file)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A cluster that follows a file by the changes that the system reports, and by nothing else.
fn follow(path: &Path) -> LoadBalance {
    let file = WatchedFile::new(path).interval(Duration::MAX);
    LoadBalance::builder().discover(file).unwrap()
}

#[tokio::test]
async fn lines_are_endpoints() {
    let folder = Folder::new("lines");
    let text = "# two of them\n\nhttp://a:80;weight=3\r\n  http://b \n";
    folder.replace("endpoints", text);
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &["http://a:80", "http://b"]).await;
    assert_eq!(balance.handle().endpoints()[0].weight, 3);
    folder.replace("endpoints", "http://a:80\nhttp://c\n");
    becomes(&balance, &["http://a:80", "http://c"]).await;
    assert_eq!(balance.handle().endpoints()[0].weight, 1);
}

/// A line that is no URL does not take the others along.
#[tokio::test]
async fn a_bad_line_is_skipped() {
    let folder = Folder::new("bad");
    folder.replace(
        "endpoints",
        "http://a\nnonsense\nhttp://b;weight=x\nhttp://c\n",
    );
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &["http://a", "http://c"]).await;
    // With bad lines alone it is as good as empty.
    folder.replace("endpoints", "nonsense\n");
    eventually(|| failing(&balance).is_some()).await;
    assert_eq!(names(&balance), ["http://a", "http://c"]);
}

/// As kubelet mounts a ConfigMap: the file is a link into `..data`, which is a link to a folder, and is replaced.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new("config-map");
    let mount = |version: &str, text: &str| {
        fs::create_dir(folder.path(version)).unwrap();
        fs::write(folder.path(version).join("endpoints"), text).unwrap();
        symlink(version, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    mount("..1", "http://a\n");
    symlink("..data/endpoints", folder.path("endpoints")).unwrap();
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &["http://a"]).await;
    mount("..2", "http://b\n");
    fs::remove_dir_all(folder.path("..1")).unwrap();
    becomes(&balance, &["http://b"]).await;
    mount("..3", "http://c\n");
    becomes(&balance, &["http://c"]).await;
}

/// What is written of a file is no set: half of a URL may be one.
#[tokio::test]
async fn a_file_that_is_half_written_is_waited_for() {
    let folder = Folder::new("half");
    let path = folder.path("endpoints");
    folder.replace("endpoints", "http://10.0.0.1\n");
    let balance = follow(&path);
    becomes(&balance, &["http://10.0.0.1"]).await;
    // Whoever looks all the time sees one set and then the other.
    let seen = async |balance: &LoadBalance, write: &dyn Fn(), last: &[&str]| {
        write();
        let before = names(balance);
        while names(balance) == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(names(balance), last);
    };
    let write = || {
        let mut file = File::create(&path).unwrap();
        file.write_all(b"http://10.0.0.2\nhttp://10.0.0").unwrap();
        let path = path.clone();
        std::thread::spawn(move || {
            // No wait for anything: this is how slowly it is written.
            std::thread::sleep(Duration::from_millis(300));
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b".3:8080\n").unwrap();
        });
    };
    let whole = ["http://10.0.0.2", "http://10.0.0.3:8080"];
    timeout(Duration::from_secs(30), seen(&balance, &write, &whole))
        .await
        .unwrap();
    // A file that stays without an end of its last line is whole.
    fs::write(&path, "http://10.0.0.4").unwrap();
    becomes(&balance, &["http://10.0.0.4"]).await;
}

#[tokio::test]
async fn an_empty_file_is_no_set() {
    let folder = Folder::new("empty");
    folder.replace("endpoints", "http://a\n");
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &["http://a"]).await;
    File::create(folder.path("endpoints")).unwrap();
    fails(&balance, "has no endpoints").await;
    assert_eq!(names(&balance), ["http://a"]);
    folder.replace("endpoints", "http://b\n");
    becomes(&balance, &["http://b"]).await;

    let believing = WatchedFile::new(folder.path("endpoints")).allow_empty();
    let believing: LoadBalance = LoadBalance::builder().discover(believing).unwrap();
    becomes(&believing, &["http://b"]).await;
    folder.replace("endpoints", "# none\n");
    becomes::<&str>(&believing, &[]).await;
    assert_eq!(failing(&believing), None);
}

#[tokio::test]
async fn a_file_that_is_gone_keeps_the_endpoints() {
    let folder = Folder::new("gone");
    folder.replace("endpoints", "http://a\n");
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &["http://a"]).await;
    fs::remove_file(folder.path("endpoints")).unwrap();
    fails(&balance, "cannot be read").await;
    assert_eq!(names(&balance), ["http://a"]);
    fs::write(folder.path("endpoints"), b"http://\xff\n").unwrap();
    fails(&balance, "UTF-8").await;
    folder.replace("endpoints", "http://b\n");
    becomes(&balance, &["http://b"]).await;
}

/// The folder may go and come, too, and need not be there at the start.
#[tokio::test]
async fn a_folder_that_is_gone_is_found_again() {
    let folder = Folder::new("folder");
    let inner = Folder(folder.path("inner"));
    let balance = follow(&inner.path("endpoints"));
    eventually(|| failing(&balance).is_some()).await;
    fs::create_dir(&inner.0).unwrap();
    inner.replace("endpoints", "http://a\n");
    becomes(&balance, &["http://a"]).await;
    fs::rename(&inner.0, folder.path("old")).unwrap();
    eventually(|| failing(&balance).is_some()).await;
    fs::create_dir(&inner.0).unwrap();
    inner.replace("endpoints", "http://b\n");
    becomes(&balance, &["http://b"]).await;
}

/// Where no change is reported, the file is read from time to time.
#[cfg(unix)]
#[tokio::test]
async fn a_file_elsewhere_is_read_from_time_to_time() {
    let (here, there) = (Folder::new("here"), Folder::new("there"));
    there.replace("endpoints", "http://a\n");
    std::os::unix::fs::symlink(there.path("endpoints"), here.path("endpoints")).unwrap();
    let file = WatchedFile::new(here.path("endpoints")).interval(Duration::from_millis(100));
    let balance: LoadBalance = LoadBalance::builder().discover(file).unwrap();
    becomes(&balance, &["http://a"]).await;
    there.replace("endpoints", "http://b\n");
    becomes(&balance, &["http://b"]).await;
}

/// No request is lost while the file changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_the_file_changes() {
    let folder = Folder::new("requests");
    let servers = Servers::start(3).await;
    let urls = &servers.urls;
    folder.replace("endpoints", &format!("{}\n", urls[0]));
    let balance = follow(&folder.path("endpoints"));
    becomes(&balance, &urls[..1]).await;
    let load = Load::start(&balance);
    for nth in 1..6 {
        let set = [&*urls[nth % 3], &*urls[(nth + 1) % 3]];
        folder.replace("endpoints", &format!("{}\n{}\n", set[0], set[1]));
        becomes(&balance, &set).await;
        load.go_on(20).await;
    }
    load.stop().await;
}

/// An array in TOML, of which the entry that is not valid does not take the others along.
#[tokio::test]
async fn an_array_in_toml_is_the_set() {
    let folder = Folder::new("toml");
    folder.replace(
        "a.toml",
        "endpoints = [\n\"http://a\",\n{ url = \"http://b\", weight = 3, priority = 1 },\n\"nonsense\",\n]\n",
    );
    let balance = follow(&folder.path("a.toml"));
    becomes(&balance, &["http://a", "http://b"]).await;
    assert_eq!(endpoints(&balance)[1], ("http://b".to_owned(), 3, 1));
    folder.replace(
        "a.toml",
        "[[endpoints]]\nurl = \"http://b\"\n[[endpoints]]\nurl = \"http://c\"\n",
    );
    becomes(&balance, &["http://b", "http://c"]).await;
    assert_eq!(balance.handle().endpoints()[0].weight, 1);
    // It states that there are none.
    folder.replace("a.toml", "endpoints = []\n");
    becomes::<&str>(&balance, &[]).await;
    assert_eq!(failing(&balance), None);
}

/// A document that is half written, or is none, keeps the last good one.
#[tokio::test]
async fn a_broken_document_keeps_the_endpoints() {
    let folder = Folder::new("toml-broken");
    let whole = "endpoints = [\n\"http://a\",\n\"http://b\",\n]\n";
    folder.replace("a.toml", whole);
    let balance = follow(&folder.path("a.toml"));
    becomes(&balance, &["http://a", "http://b"]).await;
    for (text, error) in [
        ("endpoints = [\n\"http://c\",\n", "unclosed array"),
        ("[[endpoints]]\nurl = \"http://c", "line 2"),
        ("hosts = [\"http://c\"]\n", "unknown field `hosts`"),
        ("endpoints = [7]\n", "has no endpoints"),
    ] {
        fs::write(folder.path("a.toml"), text).unwrap();
        fails(&balance, error).await;
        assert_eq!(names(&balance), ["http://a", "http://b"], "{text}");
    }
    folder.replace("a.toml", "endpoints = [\"http://c\"]\n");
    becomes(&balance, &["http://c"]).await;
}
