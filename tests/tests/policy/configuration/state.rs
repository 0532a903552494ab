//! A state directory that is full, read-only, lost, damaged or of a newer version.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use intune_filter_tests::{filter::PATIENCE, namespace::run, site::CONFIG};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Site, changed, remove};

/// A mount on the state directory; gone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A file system of its own, of a few pages.
    fn small(path: PathBuf) -> Result<Self> {
        let options = Some("size=256k,mode=0700");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), options)?;
        Ok(Self(path))
    }

    /// Makes a path read-only.
    fn read_only(path: PathBuf) -> Result<Self> {
        let none = None::<&str>;
        mount(Some(&path), &path, none, MsFlags::MS_BIND, none)?;
        let mounted = Self(path);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &mounted.0, none, flags, none)?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nothing to do about a failure: the directory cannot be removed then, which is seen.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Leaves no room in a directory; the file that takes it.
fn fill(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("filling");
    let mut file = fs::File::create(&path)?;
    while file.write_all(&[1; 512]).is_ok() {}
    Ok(path)
}

#[test]
fn a_full_directory_costs_memory_and_nothing_that_filters() -> Result<()> {
    let mut site = Site::create(CONFIG)?;
    let mounted = Mounted::small(site.path("state"))?;
    site.testbed.filter.start()?;
    site.expect_none("state_not_saved")?;
    // Whatever is tried is taken back although nothing can be written.
    let trial = site.other("trial.yaml", &changed())?;
    site.json(&["apply", &trial, "--confirm", "5s"])?;
    let filling = fill(&mounted.0)?;
    site.testbed.filter.daemon()?.wait_for("was not confirmed in time: ", PATIENCE)?;
    site.expect_old()?;
    site.expect_problem("state_not_saved", "No space left")?;
    // What a restart would forget is refused by name.
    let text = site.fail(1, &["apply", &trial])?;
    ensure!(text.contains("configuration.json") && text.contains("No space left"), "{text}");
    site.expect_old()?;
    // The file itself is no such thing.
    site.configure(&changed())?;
    site.json(&["apply"])?;
    site.expect_new()?;
    site.restart()?;
    site.expect_new()?;
    site.expect_problem("state_not_saved", "No space left")?;
    remove(&filling)?;
    site.json(&["reload"])?;
    site.expect_none("state_not_saved")?;
    remove(&site.file())?;
    site.restart()?;
    ensure!(site.origin()? == "last-good", "{}", site.origin()?);
    site.expect_new()?;
    site.testbed.filter.stop()?;
    drop(mounted);
    Ok(())
}

#[test]
fn a_read_only_directory_is_run_from_and_complained_of() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    site.testbed.filter.kill()?;
    let mounted = Mounted::read_only(site.path("state"))?;
    // The same as before is kept already.
    site.testbed.filter.start()?;
    site.expect_old()?;
    site.configure(&changed())?;
    site.json(&["reload"])?;
    site.expect_new()?;
    site.expect_problem("state_not_saved", "Read-only")?;
    site.restart()?;
    site.expect_new()?;
    // What is kept is older, and runs all the same.
    remove(&site.file())?;
    site.restart()?;
    site.expect_old()?;
    site.testbed.filter.kill()?;
    drop(mounted);
    Ok(())
}

#[test]
fn a_directory_that_is_lost_is_made_again() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let state = site.path("state");
    // While it is in use; in one step, since the daemon makes it again.
    fs::rename(&state, site.path("lost"))?;
    let new = site.other("new.yaml", &changed())?;
    site.json(&["apply", &new])?;
    site.expect_none("state_not_saved")?;
    site.restart()?;
    site.expect_new()?;
    remove(&site.file())?;
    site.restart()?;
    site.expect_new()?;
    // While nobody is there: the file alone is left.
    site.testbed.filter.kill()?;
    remove(&state)?;
    site.configure(CONFIG)?;
    site.testbed.filter.start()?;
    site.expect_old()?;
    for name in ["last-good/config.yaml", "last-good/meta.json", "boot.json", "patterns.json"] {
        ensure!(state.join(name).exists(), "no {name}");
    }
    Ok(())
}

#[test]
fn damaged_and_newer_files_are_set_aside_and_never_fatal() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let state = site.path("state");
    let newer = r#"{"format": 99, "version": 99}"#;
    for content in ["{", newer, ""] {
        site.testbed.filter.kill()?;
        for name in ["configuration.json", "boot.json", "patterns.json", "last-good/meta.json"] {
            fs::write(state.join(name), content)?;
        }
        site.testbed.filter.start()?;
        site.expect_old()?;
        ensure!(site.origin()? == "file", "{content}");
        site.expect_problem("state_set_aside", "configuration.json.damaged")?;
        for name in ["configuration.json", "boot.json", "patterns.json", "last-good"] {
            let kept = state.join(format!("{name}.damaged"));
            ensure!(kept.exists(), "{name} was not set aside for {content:?}");
            remove(&kept)?;
        }
        for name in ["boot.json", "patterns.json", "last-good/meta.json"] {
            let now = fs::read_to_string(state.join(name))?;
            ensure!(now != content, "{name} is still {now:?}");
        }
    }
    // With a file that cannot be used either there is nothing to run.
    site.testbed.filter.kill()?;
    fs::write(state.join("last-good/config.yaml"), "cut off")?;
    remove(&site.file())?;
    let (code, output) = site.testbed.filter.fail_to_start()?;
    ensure!(code == Some(3) && output.contains("is not what was written"), "{code:?}: {output}");
    ensure!(output.contains("goes on filtering by the policy before"), "{output}");
    site.expect_old()
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_of_an_apply_comes_back() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    for round in 0..6_u64 {
        let config = if round % 2 == 0 { changed() } else { CONFIG.to_owned() };
        let other = site.other("other.yaml", &config)?;
        let mut apply = site.testbed.filter.command(&["apply", &other])?;
        let mut apply = apply
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        // What it is about when it dies is a matter of chance: what counts is that it comes back.
        thread::sleep(Duration::from_millis(40 * round));
        site.testbed.filter.kill()?;
        apply.wait()?;
        if site.file().exists() {
            remove(&site.file())?;
        }
        site.testbed.filter.start()?;
        ensure!(site.origin()? == "last-good", "round {round}: {}", site.origin()?);
        if site.expect_old().is_err() {
            site.expect_new()?;
        }
        let left = run(Command::new("ls").arg(site.path("state")))?;
        ensure!(!left.contains("last-good.new") && !left.contains("last-good.old"), "{left}");
    }
    Ok(())
}
