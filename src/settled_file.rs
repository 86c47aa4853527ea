//! Reading a text file that another program may be writing meanwhile.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

/// How long a file whose last line has no end must stay as it is before it is believed.
const SETTLED: Duration = Duration::from_millis(500);

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// Reads a file once it is whole.
///
/// A file that does not end with the end of a line may be one that is being written, and what is there of it may be
/// valid: a shorter URL, or fewer routes. It is read again until it stays the same, unless it is the text that is
/// `known` already.
///
/// # Errors
///
/// Those of [`read_text`].
///
/// # Cancel safety
///
/// Dropping the future has no effect; a read in progress ends on its own.
pub(crate) async fn settled(path: &Path, known: Option<&str>) -> Result<String, String> {
    let mut text = read(path).await?;
    while !text.ends_with('\n') && known != Some(&text) {
        sleep(SETTLED).await;
        let again = read(path).await?;
        if again == text {
            break;
        }
        text = again;
    }
    Ok(text)
}

/// Reads a file on a thread that may block.
async fn read(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    let read = spawn_blocking(move || read_text(&path)).await;
    read.unwrap_or_else(|error| Err(cannot(&error)))
}

/// Reads a file. It blocks meanwhile.
///
/// # Errors
///
/// Why it is no text, without the path: it cannot be read, is larger than 16 MiB or not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(LARGEST + 1);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(cannot(&"it is larger than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })
}

/// Says why a file was not read.
fn cannot(why: &dyn std::fmt::Display) -> String {
    format!("cannot be read: {why}")
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf, process};

    use tokio::{join, time::Instant};

    use super::*;

    /// A file that is removed with the test.
    struct TextFile(PathBuf);

    impl TextFile {
        fn new(name: &str, text: &str) -> Self {
            let file = Self(env::temp_dir().join(format!("settled-{name}-{}", process::id())));
            file.write(text);
            file
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }
    }

    impl Drop for TextFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_that_ends_with_a_line_is_believed_at_once() {
        let file = TextFile::new("whole", "whole\n");
        let start = Instant::now();
        assert_eq!(settled(&file.0, None).await.unwrap(), "whole\n");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    /// In two steps, and at first with nothing in it.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_waited_for() {
        let file = TextFile::new("growing", "");
        let writes = async {
            for text in ["http://a", "http://a.example", "http://a.example\n"] {
                sleep(SETTLED * 9 / 10).await;
                file.write(text);
            }
        };
        let (text, ()) = join!(settled(&file.0, None), writes);
        assert_eq!(text.unwrap(), "http://a.example\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_without_a_last_line_end_has_to_stay_as_it_is() {
        let file = TextFile::new("still", "still");
        for (known, waited) in [
            (None, SETTLED),
            (Some("other"), SETTLED),
            (Some("still"), Duration::ZERO),
        ] {
            let start = Instant::now();
            assert_eq!(settled(&file.0, known).await.unwrap(), "still");
            assert_eq!(start.elapsed(), waited, "{known:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error() {
        let missing = settled(Path::new("/nonexistent/file"), None).await;
        assert!(missing.unwrap_err().starts_with("cannot be read: "));
    }
}
