//! A file as a source of endpoints: when it is read.

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::entries::parse;
use crate::{
    clock::after,
    discover::{
        set_reader::{FoundSet, SetSource},
        source_stream::SourceSettings,
    },
    error::BoxError,
    folder_watch::FolderWatch,
    settled_file::settled,
    upstream::ClientBuilder,
};

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
        let path = &self.settings.path;
        let text = settled(path, self.text.as_deref()).await;
        let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
        self.is_read = true;
        if self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        // What is no set is read again for its error.
        self.text = None;
        let set = parse(path, &text, &self.settings.client)?;
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
