//! Watches a configuration file that cannot be used, on a thread of its own, since a file system
//! may hang.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

/// Interval at which the files are examined.
const PERIOD: Duration = Duration::from_secs(2);

/// Files of a directory that are examined at most.
const FILES: usize = 256;

/// Watch that reports possible changes of files. The thread ends some time after the watch is
/// dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: mpsc::Receiver<()>,
}

/// State of a path by its metadata, without reading the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// Device, inode, size, and times of the last change of content and of metadata.
    There([i128; 5]),
    Missing(io::ErrorKind),
}

/// Detector of changes that have come to rest.
#[derive(Debug, Default)]
struct Settling {
    last: Option<Vec<Look>>,
    told: Option<Vec<Look>>,
}

impl Settling {
    /// Whether there is a change to report, which two examinations in a row have seen. A file that
    /// is being written may be valid at any moment, and yet incomplete.
    fn look(&mut self, now: Vec<Look>) -> bool {
        let is_steady = self.last.as_ref() == Some(&now);
        let tells = is_steady && self.told.as_ref() != Some(&now);
        if tells {
            self.told = Some(now.clone());
        }
        self.last = Some(now);
        tells
    }
}

impl Watch {
    /// Watches files and, of directories, the files in them. The first state counts as a change,
    /// since earlier changes are unknown.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(paths: Vec<PathBuf>) -> io::Result<Self> {
        let (sender, changes) = mpsc::channel(1);
        thread::Builder::new().name("watch file".to_owned()).spawn(move || {
            let mut settling = Settling::default();
            while !sender.is_closed() {
                let now = paths.iter().flat_map(|path| look_into(path)).collect();
                if settling.look(now) {
                    // A report that is still unread covers this change too.
                    let _ = sender.try_send(());
                }
                thread::sleep(PERIOD);
            }
        })?;
        Ok(Self { changes })
    }

    /// Waits for a change.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

fn look_into(path: &Path) -> Vec<Look> {
    let mut looks = vec![look(path)];
    if let Ok(entries) = fs::read_dir(path) {
        let mut paths: Vec<PathBuf> =
            entries.take(FILES).filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        looks.extend(paths.iter().map(|path| look(path)));
    }
    looks
}

fn look(path: &Path) -> Look {
    const SECOND: i128 = 1_000_000_000;
    match fs::metadata(path) {
        Ok(now) => Look::There([
            now.dev().into(),
            now.ino().into(),
            now.size().into(),
            i128::from(now.mtime()) * SECOND + i128::from(now.mtime_nsec()),
            i128::from(now.ctime()) * SECOND + i128::from(now.ctime_nsec()),
        ]),
        Err(error) => Look::Missing(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_to_a_file_or_in_a_directory_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (file, catalogue) = (directory.path().join("a.yaml"), directory.path().join("c"));
        let look = || [look_into(&file), look_into(&catalogue)].concat();
        let steps: [&dyn Fn(); 6] = [
            &|| fs::write(&file, "one").unwrap(),
            &|| fs::write(&file, "two, longer").unwrap(),
            &|| {
                fs::write(directory.path().join("b"), "two, longer").unwrap();
                fs::rename(directory.path().join("b"), &file).unwrap();
            },
            &|| fs::create_dir(&catalogue).unwrap(),
            &|| fs::write(catalogue.join("a.yaml"), "").unwrap(),
            &|| fs::write(catalogue.join("a.yaml"), "services: []").unwrap(),
        ];
        let mut before = look();
        for (number, step) in steps.iter().enumerate() {
            step();
            let now = look();
            assert_ne!(now, before, "step {number}");
            before = now;
        }
        assert_eq!(look(), before);
    }

    #[test]
    fn a_change_is_told_once_it_stays_for_two_looks() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let mut settling = Settling::default();
        let mut written = |text: Option<&str>| {
            text.into_iter().for_each(|text| fs::write(&file, text).unwrap());
            settling.look(look_into(&file))
        };
        assert!(!written(Some("o")) && written(None) && !written(None));
        // A file that is being written differs in each examination.
        assert!(!written(Some("on")) && !written(Some("one")) && !written(Some("one, ")));
        assert!(written(None) && !written(None));
    }

    #[test]
    fn a_watch_tells_its_first_look_and_every_change() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watch = Watch::start(vec![file.clone()]).unwrap();
            for text in ["one", "two", "three"] {
                tokio::time::timeout(PERIOD * 10, watch.changed()).await.unwrap();
                fs::write(&file, text).unwrap();
            }
        });
    }
}
