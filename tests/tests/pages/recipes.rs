//! The recipes of CONTRIBUTING, each kept as a patch: it applies, touches as many files as it says at
//! most, builds, and its own tests pass.
//!
//! The short form builds a copy of the tree with all of them, and runs their tables on the host. The
//! long one, which `INTUNE_RECIPES` asks for, builds each alone and runs everything that it brings, in
//! the kernel too. `UPDATE_GOLDEN` writes the patches anew after the tree around them has changed.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::{
    cargo::{cargo, root, target},
    namespace::run,
};

/// Where the patches are.
const PATCHES: &str = "intune-filter/docs/recipes";
/// The file with the version of the layouts, which every change of them raises.
const VERSION: &str = "intune-filter-ebpf/src/abi/mod.rs";
/// Where golden files of JSON are.
const GOLDEN: &str = "intune-filter/tests/json/";
/// Settings of cargo.
const SETTINGS: &str = ".cargo/config.toml";

/// A first change.
struct Recipe {
    /// The patch's name.
    name: &'static str,
    /// The module of tables of packets that it brings.
    table: &'static str,
    /// Files that it touches at most, tests and pages not counted.
    most: usize,
}

const RECIPES: [Recipe; 4] = [
    Recipe { name: "deny-reason", table: "tcp_flags", most: 4 },
    Recipe { name: "configuration-key", table: "whole", most: 7 },
    Recipe { name: "map", table: "quarantine", most: 5 },
    Recipe { name: "transport-protocol", table: "sctp", most: 9 },
];

impl Recipe {
    fn path(&self) -> PathBuf {
        root().join(PATCHES).join(self.name).with_extension("patch")
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.path()).with_context(|| self.path().display().to_string())
    }

    /// The files that it touches.
    fn files(&self) -> Result<BTreeSet<String>> {
        let text = self.text()?;
        let heads = text.lines().filter_map(|line| line.strip_prefix("diff --git a/"));
        Ok(heads.filter_map(|head| Some(head.split_once(" b/")?.0.to_owned())).collect())
    }
}

/// Whether a file is neither a test nor a page.
fn is_counted(path: &str) -> bool {
    let is_test = path.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    !is_test && !path.ends_with(".md")
}

/// A copy of the tree, whose files are written only where they differ, so that what was built of it
/// stays.
struct Copied(PathBuf);

impl Copied {
    fn new(name: &str) -> Result<Self> {
        let copy = Self(target()?.join("recipes").join(name));
        copy.restore()?;
        Ok(copy)
    }

    /// Makes it the tree as it is.
    fn restore(&self) -> Result<()> {
        let (wanted, there) = (files(&root())?, files(&self.0).unwrap_or_default());
        for path in there.difference(&wanted) {
            fs::remove_file(self.0.join(path))?;
        }
        wanted.iter().try_for_each(|path| self.restore_file(path))
    }

    fn restore_file(&self, path: &str) -> Result<()> {
        let (from, to) = (root().join(path), self.0.join(path));
        // Cargo joins the settings of every directory above, the tree's among them.
        let has_settings = path == SETTINGS && self.0.starts_with(root());
        let octets = match path {
            _ if has_settings => Vec::new(),
            "Cargo.toml" | "Cargo.lock" => of_another_version(&fs::read_to_string(&from)?)?,
            _ => fs::read(&from)?,
        };
        if fs::read(&to).is_ok_and(|there| there == octets) {
            return Ok(());
        }
        let directory = to.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory)?;
        fs::write(&to, octets)?;
        // As root, for whoever has the tree.
        for made in to.ancestors().take_while(|made| made.starts_with(&self.0)) {
            own(made)?;
        }
        Ok(())
    }

    /// A command of git's in it, for which the repository around it is none.
    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.0).env("GIT_CEILING_DIRECTORIES", self.0.parent().unwrap_or(&self.0));
        git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        of_owner(git)
    }

    /// Applies a patch, and raises the version of the layouts where the patch does: which one that is
    /// depends on the tree.
    fn apply(&self, recipe: &Recipe, options: &[&str]) -> Result<()> {
        self.apply_but_version(recipe, options)?;
        if recipe.files()?.contains(VERSION) {
            let text = fs::read_to_string(root().join(VERSION))?;
            let (before, rest) = text.split_once("LAYOUT_VERSION: u32 = ").context("no version")?;
            let (version, after) = rest.split_once(';').context("no version")?;
            let next = version.parse::<u32>()? + 1;
            let raised = format!("{before}LAYOUT_VERSION: u32 = {next};{after}");
            fs::write(self.0.join(VERSION), raised)?;
        }
        Ok(())
    }

    fn apply_but_version(&self, recipe: &Recipe, options: &[&str]) -> Result<()> {
        let mut git = self.git();
        let version = format!("--exclude={VERSION}");
        git.args(["apply", "--whitespace=nowarn", &version]).args(options).arg(recipe.path());
        let says = || {
            format!(
                "{} does not apply: try UPDATE_GOLDEN=1 cargo test -p intune-filter-tests --test \
                 pages -- recipes, or mend it by hand",
                recipe.name
            )
        };
        run(&mut git).with_context(says).map(|_| ())
    }

    /// Cargo in it, which builds beside what was built of the tree itself.
    fn cargo(&self, words: &str) -> Result<Command> {
        let mut cargo = cargo();
        cargo.current_dir(&self.0).env("CARGO_TARGET_DIR", target()?);
        let mut words = words.split(' ');
        cargo.args(words.next()).arg("--locked").args(words);
        Ok(of_owner(cargo))
    }

    /// Runs tests, of which so many pass at least.
    fn test(&self, words: &str, least: usize) -> Result<()> {
        let output = run(&mut self.cargo(words)?)?;
        let passed = output.lines().filter_map(|line| line.split_once("test result: ok. "));
        let passed = passed.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok());
        let passed: usize = passed.sum();
        ensure!(
            passed >= least,
            "cargo {words}: {passed} tests passed, expected {least}: {output}"
        );
        Ok(())
    }

    /// Runs a table in the kernel, which root alone can: cargo itself need not be root for that.
    fn test_in_kernel(&self, table: &str) -> Result<()> {
        let words = "test -p intune-filter-tests --test packets --no-run --message-format=json";
        let output = run(&mut self.cargo(words)?)?;
        let mut programs = output.lines().filter_map(|line| {
            line.split_once(r#""executable":""#)?.1.split('"').next().map(Path::new)
        });
        let program = programs.next_back().context("cargo names no program")?;
        let output = run(Command::new(program).arg(format!("tables::{table}::")))?;
        ensure!(output.contains("test result: ok. 1 passed"), "{table}: {output}");
        Ok(())
    }
}

/// Cargo's manifest or lock file with another version of the workspace's packages. Cargo tells path
/// packages of two workspaces in one target directory apart by it alone: what is built of the copy
/// would be taken for what was built of the tree.
fn of_another_version(text: &str) -> Result<Vec<u8>> {
    const PACKAGE: &str = "[[package]]\n";
    let version = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
    let other = concat!("version = \"", env!("CARGO_PKG_VERSION"), "+recipes\"");
    let parts = text.split_inclusive(PACKAGE).map(|part| {
        // A package of the lock file without a source is the workspace's.
        if part.contains("\nsource = ") {
            part.to_owned()
        } else {
            part.replacen(version, other, 1)
        }
    });
    let changed: String = parts.collect();
    ensure!(changed != text, "no package has this one's version");
    Ok(changed.into_bytes())
}

/// The files below a directory, but for what was built and the repository.
fn files(root: &Path) -> Result<BTreeSet<String>> {
    let (mut found, mut left) = (BTreeSet::new(), vec![String::new()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = format!("{directory}{}", entry.file_name().to_string_lossy());
            if matches!(path.as_str(), "target" | ".git") {
                continue;
            }
            if entry.file_type()?.is_dir() {
                left.push(path + "/");
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

/// Who has the tree, where that is not who runs this.
fn owner() -> Option<(u32, u32)> {
    let tree = fs::metadata(root()).ok()?;
    (nix::unistd::geteuid().is_root() && tree.uid() != 0).then(|| (tree.uid(), tree.gid()))
}

fn own(path: &Path) -> Result<()> {
    let Some((user, group)) = owner() else { return Ok(()) };
    chown(path, Some(user), Some(group)).with_context(|| path.display().to_string())
}

/// The command by who has the tree: root's files would be in that one's way.
fn of_owner(mut command: Command) -> Command {
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// One copy, which one test at a time has.
fn copy() -> Result<(Copied, std::sync::MutexGuard<'static, ()>)> {
    static TAKEN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        static WRITTEN: std::sync::OnceLock<()> = std::sync::OnceLock::new();
        if WRITTEN.set(()).is_ok() {
            RECIPES.iter().try_for_each(write_anew)?;
        }
    }
    Ok((Copied::new("tree")?, guard))
}

/// Writes a patch anew for the tree as it is now: places, the version of the layouts, golden files of
/// JSON if it has some.
fn write_anew(recipe: &Recipe) -> Result<()> {
    let copy = Copied::new("tree")?;
    let old = recipe.text()?;
    let golden = format!("--exclude={GOLDEN}*");
    copy.apply(recipe, &[&golden])?;
    if recipe.files()?.iter().any(|path| path.starts_with(GOLDEN)) {
        let mut cargo = copy.cargo("test -p intune-filter --lib golden")?;
        run(cargo.env("UPDATE_GOLDEN", "1"))?;
    }
    let base = Copied::new("base")?;
    let mut git = base.git();
    git.current_dir(base.0.parent().unwrap_or(&base.0));
    git.args(["diff", "--no-index", "--no-color", "-U1", "base", "tree"]);
    // It fails where there is a difference.
    let difference = String::from_utf8(git.output()?.stdout)?;
    let about = old.split_once("diff --git").map_or("", |(about, _)| about);
    let mut text = about.to_owned();
    for line in difference.lines() {
        let is_head = ["diff ", "--- ", "+++ "].iter().any(|head| line.starts_with(head));
        let line = if is_head {
            line.replace(" a/base/", " a/").replace(" b/tree/", " b/").replace(" a/tree/", " a/")
        } else {
            line.to_owned()
        };
        text += &line;
        text.push('\n');
    }
    fs::write(recipe.path(), text)?;
    own(&recipe.path())
}

#[test]
fn a_recipe_touches_few_files_and_applies_alone() -> Result<()> {
    let (copy, _taken) = copy()?;
    for recipe in &RECIPES {
        let mut counted = recipe.files()?;
        counted.retain(|path| is_counted(path));
        let most = recipe.most;
        ensure!(
            !counted.is_empty() && counted.len() <= most,
            "{} touches {} files, and {most} are the most: {counted:#?}",
            recipe.name,
            counted.len()
        );
        println!("{}: {} files of {most}", recipe.name, counted.len());
        copy.apply_but_version(recipe, &["--check"])?;
    }
    Ok(())
}

#[test]
fn every_patch_is_a_recipe() -> Result<()> {
    let there = fs::read_dir(root().join(PATCHES))?.map(|entry| Ok(entry?.path()));
    let there = there.collect::<Result<BTreeSet<PathBuf>>>()?;
    ensure!(there == RECIPES.iter().map(Recipe::path).collect(), "there are {there:?}");
    let page = fs::read_to_string(root().join("intune-filter/docs/CONTRIBUTING.md"))?;
    for recipe in &RECIPES {
        let link = format!("(recipes/{}.patch)", recipe.name);
        ensure!(page.contains(&link), "CONTRIBUTING does not link {link}");
    }
    Ok(())
}

#[test]
fn the_recipes_build_and_do_what_they_say() -> Result<()> {
    let (copy, _taken) = copy()?;
    let table = |recipe: &Recipe| format!("tables::{}::", recipe.table);
    if env::var_os("INTUNE_RECIPES").is_none() {
        for recipe in &RECIPES {
            copy.apply(recipe, &[])?;
        }
        // The kernel's part is compiled for the host alone, and loaded nowhere.
        let object = target()?.join("recipes/object");
        if fs::read(&object).is_ok_and(|there| there != intune_filter::OBJECT) || !object.exists() {
            fs::write(&object, intune_filter::OBJECT)?;
            own(&object)?;
        }
        let tables = RECIPES.each_ref().map(table).join(" ");
        let words = format!("test -p intune-filter-ebpf --test tables -- {tables}");
        let mut cargo = copy.cargo(&words)?;
        cargo.env("INTUNE_BPF_OBJECT", &object);
        let output = run(&mut cargo)?;
        let all = format!("test result: ok. {} passed", RECIPES.len());
        ensure!(output.contains(&all), "{output}");
        return Ok(());
    }
    for recipe in &RECIPES {
        copy.restore()?;
        copy.apply(recipe, &[])?;
        copy.test("test -p intune-filter --lib", 100)?;
        // No patch has the fingerprint of the layouts: it follows from them and from the version.
        let abi = "test -p intune-filter-ebpf --test abi";
        run(copy.cargo(abi)?.env("UPDATE_GOLDEN", "1"))?;
        copy.test(abi, 4)?;
        copy.test(&format!("test -p intune-filter-ebpf --test tables -- {}", table(recipe)), 1)?;
        if nix::unistd::geteuid().is_root() {
            copy.test_in_kernel(recipe.table)?;
        } else {
            bail!("the kernel's part of {} takes root", recipe.name);
        }
    }
    Ok(())
}
