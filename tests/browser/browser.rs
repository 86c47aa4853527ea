//! Chromium without a window, driven through chromedriver.

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, id},
    thread,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder,
    elements::Element,
    error::CmdError,
    wd::{Locator, WebDriverCompatibleCommand},
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::{ParseError, Url};

use crate::servers::Server;

/// How long anything may take that should happen at once or with the next event: much longer than it does, so that a
/// machine with other work passes, too.
pub const SOON: Duration = Duration::from_secs(20);

/// The pause between two looks at the page.
const LOOK: Duration = Duration::from_millis(50);

/// Where the programs are that the tests need.
#[derive(Debug)]
pub struct Programs {
    driver: PathBuf,
    browser: PathBuf,
}

impl Programs {
    /// Looks for them in `PATH`.
    ///
    /// # Errors
    ///
    /// Says what is missing.
    pub fn find() -> Result<Self, String> {
        let found = |names: &[&str]| {
            let path = env::var_os("PATH").unwrap_or_default();
            let folders: Vec<_> = env::split_paths(&path).collect();
            let candidates = names
                .iter()
                .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
            let mut files = candidates.filter(|file| file.is_file());
            files
                .next()
                .ok_or_else(|| format!("no {} in PATH", names.join(", ")))
        };
        Ok(Self {
            driver: found(&["chromedriver"])?,
            browser: found(&["chromium", "google-chrome", "chromium-browser"])?,
        })
    }
}

/// A chromedriver, which ends with its browser when it is dropped.
struct Driver {
    process: Child,
    /// Open as long as the process, which would end at the next line that nothing can take.
    _output: BufReader<ChildStdout>,
    port: u16,
    profile: PathBuf,
}

impl Driver {
    fn start(program: &Path) -> Self {
        let profile = env::temp_dir().join(format!("axum-upstream-browser-{}", id()));
        fs::create_dir_all(&profile).unwrap();
        let mut process = Command::new(program)
            .arg("--port=0")
            // What the browser leaves elsewhere goes away with its profile.
            .env("TMPDIR", &profile)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        let port = loop {
            let before = said.len();
            let read = output.read_line(&mut said).unwrap();
            assert!(read > 0, "chromedriver ended: {said}");
            // "ChromeDriver was started successfully on port 40201."
            let port = said[before..]
                .trim_end()
                .rsplit_once("successfully on port ");
            let port = port.and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if let Some(port) = port {
                break port;
            }
        };
        Self {
            process,
            _output: output,
            port,
            profile,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser is at the other end of a pipe, and ends when that does.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Until then it may still write.
        for _ in 0..40 {
            let _ = fs::remove_dir_all(&self.profile);
            thread::sleep(LOOK);
            if !self.profile.exists() {
                break;
            }
        }
    }
}

/// A command that fantoccini does not know.
#[derive(Debug)]
struct Post {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A browser with one window.
pub struct Browser {
    client: Client,
    // Dropped last.
    _driver: Driver,
}

impl Browser {
    pub async fn start(programs: &Programs) -> Self {
        let driver = Driver::start(&programs.driver);
        let profile = driver.profile.join("profile");
        let capabilities = json!({
            "goog:chromeOptions": {
                "binary": programs.browser,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
                    "--lang=en-US", "--remote-debugging-pipe", format!("--user-data-dir={}", profile.display()),
                ],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
            // The servers with TLS have certificates of their own making.
            "acceptInsecureCerts": true,
            // A prompt that no test has asked for fails the next command.
            "unhandledPromptBehavior": "ignore",
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!()
        };
        let url = format!("http://127.0.0.1:{}", driver.port);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder
            .capabilities(capabilities)
            .connect(&url)
            .await
            .unwrap();
        Self {
            client,
            _driver: driver,
        }
    }

    /// Ends the browser in good order, and chromedriver after it.
    pub async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Opens the status page of a server.
    pub async fn open(&self, server: &Server) {
        self.go_to(&format!("{}/status/", server.url())).await;
    }

    /// Opens a page.
    pub async fn go_to(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Leaves the page, so that nothing of it asks a server that has ended.
    pub async fn leave(&self) {
        self.client.goto("about:blank").await.unwrap();
    }

    /// Runs a function body in the page, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, []).await
    }

    /// Runs a function body with `arguments`.
    pub async fn run_with<const N: usize>(&self, script: &str, arguments: [Value; N]) -> Value {
        let answer = self.client.execute(script, arguments.into()).await;
        answer.unwrap_or_else(|error| panic!("{error}: {script}"))
    }

    /// The text of the first element of this selector, shown or not.
    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.textContent ?? '';";
        let text = self.run_with(script, [selector.into()]).await;
        text.as_str().unwrap().to_owned()
    }

    /// The element of this XPath.
    pub async fn find(&self, path: &str) -> Element {
        let found = self.client.find(Locator::XPath(path)).await;
        found.unwrap_or_else(|error| panic!("{error}: {path}"))
    }

    /// Clicks on an element, as a mouse does: something that covers it would be an error.
    pub async fn click(&self, path: &str) {
        let clicked = self.find(path).await.click().await;
        clicked.unwrap_or_else(|error| panic!("{error}: {path}"));
    }

    /// Writes into a field instead of what it has.
    pub async fn write(&self, path: &str, text: &str) {
        let field = self.find(path).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Whether a script has opened a prompt.
    pub async fn has_prompt(&self) -> bool {
        match self.client.get_alert_text().await {
            Ok(_) => true,
            Err(CmdError::Standard(error)) if error.error() == "no such alert" => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes what has been written to the console since it was asked the last time, by scripts or by the browser.
    pub async fn console(&self) -> Vec<Value> {
        let body = json!({ "type": "browser" });
        let command = Post {
            path: "se/log",
            body,
        };
        let entries = self.client.issue_cmd(command).await.unwrap();
        entries.as_array().unwrap().clone()
    }

    /// Runs a command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        let path = "goog/cdp/execute";
        self.client.issue_cmd(Post { path, body }).await.unwrap();
    }
}

/// Looks until there is what is looked for, and fails with what is there instead.
pub async fn until<T, F>(what: &str, within: Duration, look: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > end => panic!("{what}: not within {within:?}; {seen}"),
            Err(_) => sleep(LOOK).await,
        }
    }
}
