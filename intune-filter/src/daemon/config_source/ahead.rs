//! Reads files for a change of the configuration ahead of the daemon's loop, on one thread with a
//! time limit: a file system that does not respond blocks that thread alone.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout_at},
};

use crate::{
    catalogue::CatalogueFiles,
    config::{Config, writable_by_others},
    system::regular_file,
    yaml::{FileError, FileErrors},
};

/// Files that have been read for a change.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    /// Text of the configuration file.
    pub text: Result<String, FileErrors>,
    /// Reason why users other than root can change the file, if they can.
    pub writable: Option<String>,
    /// Directory and files of the site's catalogue.
    pub catalogue: Option<(PathBuf, Result<CatalogueFiles, String>)>,
    /// Reason why no other catalogue has been read.
    failed: String,
}

impl Ahead {
    /// Returns a result without any file, for a reason.
    fn failed(file: &Path, why: String) -> Self {
        let message = format!("cannot read: {why}");
        let error = FileError::new(None, "", message);
        let text = Err(FileErrors::new(file.display().to_string(), vec![error]));
        Self { text, writable: None, catalogue: None, failed: why }
    }

    /// Returns the catalogue's files from a directory.
    ///
    /// # Errors
    /// The files cannot be read, or were not read in time.
    pub(crate) fn catalogue(&self, directory: &Path) -> Result<CatalogueFiles, String> {
        match &self.catalogue {
            Some((read, files)) if read == directory => files.clone(),
            _ => Err(format!("{}: {}", directory.display(), self.failed)),
        }
    }
}

/// Files to be read.
#[derive(Clone, Debug)]
pub(crate) struct ReadRequest {
    /// Path of the configuration file.
    pub file: PathBuf,
    /// Text of the configuration whose catalogue is needed, if it is not the file's.
    pub text: Option<String>,
}

impl ReadRequest {
    /// Describes the files in words.
    fn what(&self) -> String {
        let file = self.file.display();
        match self.text {
            Some(_) => format!("{file} or a site's catalogue"),
            None => format!("{file} or its catalogue"),
        }
    }

    /// Reads the files, and sends each part as soon as it is read.
    fn read(self, parts: &UnboundedSender<Part>) {
        let other = self.text.is_some();
        let catalogue = |text: &str| {
            let config = Config::parse_part("", text).0;
            if let Some(directory) = config.and_then(|config| config.paths.catalogue) {
                let files = CatalogueFiles::read_here(&directory);
                let files = files.map_err(|error| error.to_string());
                let _ = parts.send(Part::Catalogue(directory, files));
            }
        };
        if let Some(text) = &self.text {
            catalogue(text);
        }
        let read = Config::read_text_here(&self.file);
        let own = read.as_ref().ok().filter(|_| !other).cloned();
        let _ = parts.send(Part::Text(read));
        let _ = parts.send(Part::Writable(writable_by_others(&self.file)));
        if let Some(text) = own {
            catalogue(&text);
        }
    }
}

enum Part {
    Text(Result<String, FileErrors>),
    Writable(Option<String>),
    Catalogue(PathBuf, Result<CatalogueFiles, String>),
}

/// Reader of files for one errand after another.
pub(crate) struct Reader<E> {
    waiting: VecDeque<(E, ReadRequest)>,
    current: Option<Current<E>>,
    /// Description of the thread's files; outlives the errand if the thread hangs.
    busy: Arc<Mutex<Option<String>>>,
    patience: Duration,
}

struct Current<E> {
    errand: E,
    ahead: Ahead,
    parts: UnboundedReceiver<Part>,
    until: Instant,
}

impl<E> Default for Reader<E> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            current: None,
            busy: Arc::default(),
            patience: regular_file::READ_TIMEOUT,
        }
    }
}

impl<E> Reader<E> {
    /// Queues an errand whose files are to be read.
    pub(crate) fn begin(&mut self, errand: E, wanted: ReadRequest) {
        self.waiting.push_back((errand, wanted));
    }

    /// Whether there is an errand of a kind that has not been returned yet.
    pub(crate) fn has(&self, is_such: impl FnMut(&E) -> bool) -> bool {
        let waiting = self.waiting.iter().map(|(errand, _)| errand);
        self.current.iter().map(|current| &current.errand).chain(waiting).any(is_such)
    }

    /// Waits for the next errand whose files have been read, or cannot be; forever if there is
    /// none. Cancelling the wait loses nothing.
    pub(crate) async fn next(&mut self) -> (E, Ahead) {
        loop {
            let Some(current) = &mut self.current else {
                match self.waiting.pop_front() {
                    Some((errand, wanted)) => self.current = Some(self.start(errand, wanted)),
                    None => std::future::pending().await,
                }
                continue;
            };
            match timeout_at(current.until, current.parts.recv()).await {
                Ok(Some(Part::Text(text))) => current.ahead.text = text,
                Ok(Some(Part::Writable(why))) => current.ahead.writable = why,
                Ok(Some(Part::Catalogue(directory, catalogue))) => {
                    current.ahead.catalogue = Some((directory, catalogue));
                }
                Ok(None) | Err(_) => {
                    if let Some(Current { errand, ahead, .. }) = self.current.take() {
                        return (errand, ahead);
                    }
                }
            }
        }
    }

    fn start(&self, errand: E, wanted: ReadRequest) -> Current<E> {
        let (sender, parts) = unbounded_channel();
        let file = wanted.file.clone();
        let why = self.read(wanted, sender).err();
        let why = why.unwrap_or_else(|| regular_file::no_answer(self.patience).to_string());
        let until = Instant::now() + self.patience;
        Current { errand, ahead: Ahead::failed(&file, why), parts, until }
    }

    /// Starts the thread, unless an earlier one hangs.
    fn read(&self, wanted: ReadRequest, parts: UnboundedSender<Part>) -> Result<(), String> {
        let busy = Arc::clone(&self.busy);
        let mut held = lock(&self.busy);
        if let Some(what) = &*held {
            return Err(format!(
                "nothing is read before an earlier attempt has come back, to read {what}: its file \
                 system does not answer"
            ));
        }
        *held = Some(wanted.what());
        drop(held);
        let read = move || {
            wanted.read(&parts);
            // Cleared before the parts end, which the loop waits for.
            lock(&busy).take();
            drop(parts);
        };
        let started = thread::Builder::new().name("read".to_owned()).spawn(read);
        started.map(drop).map_err(|error| {
            lock(&self.busy).take();
            error.to_string()
        })
    }
}

fn lock(busy: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        fs::{OpenOptions, Permissions},
        io::Write as _,
        os::unix::fs::PermissionsExt as _,
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test)
    }

    fn wanted(file: &Path, text: Option<&str>) -> ReadRequest {
        ReadRequest { file: file.to_owned(), text: text.map(str::to_owned) }
    }

    /// Returns a configuration with its catalogue in this directory.
    fn with_catalogue(directory: &Path) -> String {
        format!("paths: {{catalogue: {}}}\n", directory.display())
    }

    #[test]
    fn the_file_and_the_catalogue_that_it_names_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, catalogue) =
            (directory.path().join("config.yaml"), directory.path().join("site"));
        fs::create_dir(&catalogue).unwrap();
        fs::write(catalogue.join("a.yaml"), "services: []").unwrap();
        let text = with_catalogue(&catalogue);
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let mut reader = Reader::default();
        reader.begin(1, wanted(&file, None));
        reader.begin(2, wanted(&file, Some("another: text")));
        assert!(reader.has(|errand| *errand == 2));
        run(async {
            let (errand, ahead) = reader.next().await;
            assert_eq!((errand, ahead.text.clone().unwrap()), (1, text));
            assert_eq!(ahead.catalogue(&catalogue).unwrap().texts.len(), 1);
            assert!(ahead.writable.unwrap().contains("config.yaml"));
            let (errand, ahead) = reader.next().await;
            assert_eq!(errand, 2);
            assert!(ahead.text.is_ok() && ahead.catalogue.is_none());
        });
        assert!(!reader.has(|_| true));
    }

    #[test]
    fn one_thread_is_left_behind_and_no_second_one_started_until_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        fs::write(&file, "text").unwrap();
        let mut reader = Reader { patience: Duration::from_millis(50), ..Reader::default() };
        // Reading it hangs like a file system that has gone away.
        let hung = directory.path().join("hung");
        mkfifo(&hung, Mode::S_IRWXU).unwrap();
        let (opened, path) = (Arc::clone(&reader.busy), hung.clone());
        *lock(&reader.busy) = Some("/mnt/config.yaml".to_owned());
        let thread = thread::spawn(move || {
            drop(fs::File::open(path).unwrap());
            lock(&opened).take();
        });
        run(async {
            reader.begin((), wanted(&file, None));
            let ((), ahead) = reader.next().await;
            let error = ahead.text.unwrap_err().to_string();
            assert!(
                error.contains("to read /mnt/config.yaml: its file system does not"),
                "{error}"
            );

            OpenOptions::new().write(true).open(&hung).unwrap().write_all(b"").unwrap();
            thread.join().unwrap();
            reader.begin((), wanted(&file, None));
            assert_eq!(reader.next().await.1.text.unwrap(), "text");
        });
    }

    #[test]
    fn what_takes_too_long_is_an_error_and_what_was_read_before_it_counts() {
        let (sender, parts) = unbounded_channel();
        let ahead = Ahead::failed(Path::new("a.yaml"), "slow".to_owned());
        let until = Instant::from_std(std::time::Instant::now() + Duration::from_millis(20));
        let current = Some(Current { errand: (), ahead, parts, until });
        let mut reader = Reader { current, ..Reader::default() };
        let _ = sender.send(Part::Text(Ok("text".to_owned())));
        let ((), ahead) = run(reader.next());
        assert_eq!(ahead.text.as_deref().unwrap(), "text");
        let error = ahead.catalogue(Path::new("/site")).unwrap_err();
        assert_eq!(error, "/site: slow");
    }
}
