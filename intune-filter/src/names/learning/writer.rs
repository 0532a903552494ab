//! Schedules the saves of the table of names: often enough that a power cut costs little, seldom
//! enough for flash memory, and on a thread of their own.

use std::{
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::learner::{Change, Learner};
use crate::{names, system::clock};

/// Delay of the first save after a start: a gateway that restarts again and again loses no more.
const FIRST: Duration = Duration::from_secs(60);

/// Interval between saves while new names are learned.
const LEARNED: Duration = Duration::from_secs(300);

/// Interval between saves while answers only prolong bindings that the file has.
const PROLONGED: Duration = Duration::from_secs(3600);

/// Octets per second written on average at most: 340 MiB a day, whatever the table's size.
const PACE: u64 = 4096;

/// Writer that saves the table of names on a thread of its own.
#[derive(Debug)]
pub(crate) struct NamesWriter {
    directory: PathBuf,
    /// Earliest next save, with new names and without.
    due: [Instant; 2],
    writing: Option<JoinHandle<Result<()>>>,
}

impl NamesWriter {
    /// Returns a writer into a directory, from `now` on.
    #[must_use]
    pub(crate) fn new(directory: PathBuf, now: Instant) -> Self {
        Self { directory, due: [now + FIRST, now + PROLONGED], writing: None }
    }

    /// Starts a save if the table has changed and its time has come.
    pub(crate) fn look(&mut self, learner: &mut Learner, now: Instant) -> Result<()> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.wait()?;
        let is_due = match learner.change() {
            Change::None => false,
            Change::Prolonged => now >= self.due[1],
            Change::Learned => now >= self.due[0],
        };
        if !is_due {
            return Ok(());
        }
        let text = names::to_text(learner.names(), clock::clocks())?;
        learner.saved();
        self.due = due_after(now, text.len() as u64);
        let directory = self.directory.clone();
        let write = move || names::save(&directory, &text);
        let writing = thread::Builder::new().name("save names".to_owned()).spawn(write);
        self.writing = Some(writing.context("cannot start a thread that saves the names")?);
        Ok(())
    }

    /// Saves a changed table at once, on the caller's thread.
    pub(crate) fn finish(&mut self, learner: &mut Learner) -> Result<()> {
        // The table of a running save is older: wait for its end, then save again.
        let written = self.wait();
        if written.is_ok() && learner.change() == Change::None {
            return Ok(());
        }
        names::save(&self.directory, &names::to_text(learner.names(), clock::clocks())?)?;
        learner.saved();
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.join().unwrap_or_else(|_| Err(anyhow!("the thread that saves the names failed")))
    }
}

fn due_after(now: Instant, octets: u64) -> [Instant; 2] {
    let pace = Duration::from_secs(octets / PACE);
    [LEARNED, PROLONGED].map(|pause| now + pause.max(pace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::Catalogue, config::Config, names::Names, policy::compile};

    const CONFIG: &str = "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24], services: [site]}]
dns: {resolvers: [10.0.0.1]}
services: [{id: site, fqdns: ['*.test'], tcp: [443]}]
";

    fn learner() -> Learner {
        let config = Config::parse("test", CONFIG).unwrap();
        let policy = compile(&config, Catalogue::builtin(), &Default::default()).unwrap();
        Learner::new(Names::default(), policy)
    }

    fn learn(learner: &mut Learner, name: &str) {
        let rules = ["site/site".to_owned()];
        learner.note(name, "20.0.0.1".parse().unwrap(), rules, u64::MAX / 2);
    }

    /// Whether the file has been written by a time; removes the file afterwards.
    fn is_saved(saver: &mut NamesWriter, learner: &mut Learner, at: Instant) -> bool {
        saver.look(learner, at).unwrap();
        saver.wait().unwrap();
        std::fs::remove_file(saver.directory.join(names::FILE_NAME)).is_ok()
    }

    #[test]
    fn new_names_are_saved_soon_and_new_times_seldom() {
        let directory = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (mut saver, mut learner) =
            (NamesWriter::new(directory.path().into(), start), learner());
        assert!(!is_saved(&mut saver, &mut learner, start + PROLONGED), "there is nothing");
        learn(&mut learner, "a.test");
        assert!(!is_saved(&mut saver, &mut learner, start + FIRST / 2));
        let first = start + FIRST;
        assert!(is_saved(&mut saver, &mut learner, first));
        assert!(!is_saved(&mut saver, &mut learner, first + PROLONGED), "nothing has changed");
        learn(&mut learner, "a.test");
        assert!(!is_saved(&mut saver, &mut learner, first + LEARNED));
        assert!(is_saved(&mut saver, &mut learner, first + PROLONGED));
        let second = first + PROLONGED;
        learn(&mut learner, "b.test");
        assert!(!is_saved(&mut saver, &mut learner, second + LEARNED / 2));
        assert!(is_saved(&mut saver, &mut learner, second + LEARNED));
    }

    #[test]
    fn an_end_saves_at_once_and_only_what_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(names::FILE_NAME);
        let mut saver = NamesWriter::new(directory.path().into(), Instant::now());
        let mut learner = learner();
        saver.finish(&mut learner).unwrap();
        assert!(!path.exists());
        learn(&mut learner, "a.test");
        saver.finish(&mut learner).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_large_table_waits_longer() {
        let now = Instant::now();
        assert_eq!(due_after(now, 50_000), [now + LEARNED, now + PROLONGED]);
        let half_an_hour = Duration::from_secs(1800);
        assert_eq!(due_after(now, 1800 * PACE), [now + half_an_hour, now + PROLONGED]);
    }
}
