//! A file as a source of endpoints: when it is read, and when it is whole.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::entries::parse;
use crate::{
    clock::after,
    discover::{
        set_reader::{FoundSet, SetSource},
        source_stream::SourceSettings,
    },
    error::BoxError,
    folder_watch::FolderWatch,
    upstream::ClientBuilder,
};

/// How long a file whose last line has no end must stay as it is before it is believed.
const SETTLED: Duration = Duration::from_millis(500);

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// Which file is read, and how.
#[derive(Clone, Debug)]
pub(super) struct FileSettings {
    pub(super) path: PathBuf,
    pub(super) client: ClientBuilder,
    /// The longest time from one look at the file to the next.
    pub(super) interval: Duration,
}

/// A file as a source.
pub(super) struct FileSource {
    settings: FileSettings,
    /// `None` before the first look, and where the folder cannot be watched.
    watch: Option<FolderWatch>,
    /// Whether the last look was a success.
    is_read: bool,
    /// What the last set was made of.
    text: Option<String>,
}

impl SourceSettings for FileSettings {
    type Source = FileSource;

    fn source(&self) -> FileSource {
        FileSource {
            settings: self.clone(),
            watch: None,
            is_read: false,
            text: None,
        }
    }
}

impl SetSource for FileSource {
    async fn next_set(&mut self) -> Result<Option<FoundSet>, BoxError> {
        let interval = self.settings.interval;
        match &self.watch {
            Some(watch) => watch.changed(interval).await,
            None if self.is_read => sleep_until(after(Instant::now(), interval)).await,
            // The cluster has paused.
            None => {}
        }
        self.is_read = false;
        // Before the file is read, so that no change comes in between.
        self.keep_watch();
        let text = self.settled().await?;
        self.is_read = true;
        if self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        // What is no set is read again for its error.
        self.text = None;
        let set = parse(&self.settings.path, &text, &self.settings.client)?;
        self.text = Some(text);
        Ok(Some(set))
    }
}

impl FileSource {
    /// Watches the folder of the file, unless that is watched already.
    fn keep_watch(&mut self) {
        if self.watch.as_ref().is_some_and(|watch| !watch.is_lost()) {
            return;
        }
        self.watch = FolderWatch::around(&self.settings.path);
    }

    /// Reads the file, and waits until it is whole.
    ///
    /// A file that does not end with the end of a line may be one that is being written. The part of a URL that is
    /// there may be a URL itself.
    async fn settled(&self) -> Result<String, BoxError> {
        let mut text = read(self.settings.path.clone()).await?;
        while !text.ends_with('\n') && !text.is_empty() && self.text.as_ref() != Some(&text) {
            sleep(SETTLED).await;
            let again = read(self.settings.path.clone()).await?;
            if again == text {
                break;
            }
            text = again;
        }
        Ok(text)
    }
}

/// Reads a file.
///
/// # Errors
///
/// It cannot be read, is too large or is not UTF-8.
async fn read(path: PathBuf) -> Result<String, BoxError> {
    let shown = path.display().to_string();
    let read = spawn_blocking(move || -> io::Result<String> {
        let mut text = String::new();
        let mut file = File::open(path)?.take(LARGEST + 1);
        match file.read_to_string(&mut text)? as u64 {
            ..=LARGEST => Ok(text),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }
    });
    let text = read.await.map_err(io::Error::other).and_then(|text| text);
    text.map_err(|error| format!("cannot read {shown}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was not changed is not parsed again, and one that is no set is an error each time.
    #[tokio::test]
    async fn what_is_unchanged_is_no_new_set() {
        let path = std::env::temp_dir().join(format!("unchanged-{}.toml", std::process::id()));
        let settings = FileSettings {
            path: path.clone(),
            client: ClientBuilder::default(),
            interval: Duration::from_millis(1),
        };
        let mut source = settings.source();
        let mut found = async |text: &str| {
            std::fs::write(&path, text).unwrap();
            let set = source.next_set().await;
            set.map(|set| set.map(|set| set.endpoints.len())).ok()
        };
        for (text, expected) in [
            ("", None),
            ("endpoints = ['http://a']\n", Some(Some(1))),
            ("endpoints = ['http://a']\n", Some(None)),
            ("endpoints = ['http://a', 'http://b']\n", Some(Some(2))),
            ("endpoints = \n", None),
            ("endpoints = \n", None),
            ("endpoints = ['http://a', 'http://b']\n", Some(Some(2))),
            ("endpoints = []\n", Some(Some(0))),
            ("endpoints = []\n", Some(None)),
        ] {
            assert_eq!(found(text).await, expected, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
