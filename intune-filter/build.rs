//! Builds the BPF object with a compiler of its own and puts it where the library embeds it from, and
//! lists the files of the catalogue's editions for it.
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use object::{
    build::elf::{Builder, Section, SectionData},
    elf::SHT_STRTAB,
};

#[path = "../xtask/src/toolchain.rs"]
#[expect(dead_code, reason = "some of it serves only to install what this script runs")]
mod toolchain;

/// The sources of the object, relative to the workspace.
const SOURCES: [&str; 6] = [
    "intune-filter-ebpf/src",
    "intune-filter-ebpf/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "xtask/src/toolchain.rs",
];

/// The order of an edition's files, as people look for services; others come behind.
const ORDER: [&str; 11] = [
    "edition",
    "core",
    "identity",
    "certificates",
    "windows",
    "updates",
    "apps",
    "support",
    "security",
    "apple",
    "android",
];

/// What only a debugger reads. A start would read it too.
const DEBUGGING: &[&str] = &[".debug_"];
/// The same, and what only the verifier reads: a line for each instruction.
const DESCRIBING: &[&str] = &[".debug_", ".BTF.ext"];

fn main() -> ExitCode {
    for name in ["INTUNE_BPF_OBJECT", "INTUNE_BPF_RUSTC", "INTUNE_BPF_LINKER"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Sentence(message)) => {
            // Cargo fails the build after this line, and shows nothing else of the script.
            println!("cargo::error={message}");
            ExitCode::SUCCESS
        }
        // Cargo shows what the compiler said.
        Err(Failure::Compiler) => ExitCode::FAILURE,
    }
}

enum Failure {
    /// All that there is to know.
    Sentence(String),
    /// The compiler has said why on standard error.
    Compiler,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Sentence(message)
    }
}

fn run() -> Result<(), Failure> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().unwrap_or(&manifest);
    let embedded = [("intune-filter-bpf", DEBUGGING), ("intune-filter-maps", DESCRIBING)];
    let embed = |object: &Path| {
        embedded.iter().try_for_each(|(name, left_out)| strip(object, &out.join(name), left_out))
    };

    list_editions(&workspace.join("config/catalogue"), &out.join("editions.rs"))?;

    // A machine without the compiler embeds an object that was built elsewhere.
    if let Some(prebuilt) = env::var_os("INTUNE_BPF_OBJECT") {
        let prebuilt = PathBuf::from(prebuilt);
        println!("cargo::rerun-if-changed={}", prebuilt.display());
        return embed(&prebuilt);
    }
    for path in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    // OUT_DIR is TARGET/PROFILE/build/NAME/out. The nested cargo cannot share the directory
    // that the outer one has locked, and build, test and clippy can share this one.
    let target = out.ancestors().nth(4).unwrap_or(&out).join("bpf");
    build(workspace, &target)?;
    embed(&target.join(toolchain::TARGET).join("bpf/intune-filter-bpf"))
}

/// Writes the editions with their files as a constant: each folder is one, each `*.yaml` a file of it.
fn list_editions(catalogue: &Path, to: &Path) -> Result<(), String> {
    let sorted = |directory: &Path| {
        println!("cargo::rerun-if-changed={}", directory.display());
        let entries = fs::read_dir(directory)
            .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        Ok::<_, String>(paths)
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = String::from("const EDITIONS: &[Builtin] = &[\n");
    for edition in sorted(catalogue)?.iter().filter(|path| path.is_dir()) {
        text += &format!("    ({:?}, &[\n", name(edition));
        let mut files = sorted(edition)?;
        let rank = |file: &PathBuf| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            ORDER.iter().position(|known| *known == stem).unwrap_or(ORDER.len())
        };
        files.sort_by_key(rank);
        for file in files.iter().filter(|path| path.extension() == Some("yaml".as_ref())) {
            let prepared = to.with_file_name(format!("{}-{}.json", name(edition), name(file)));
            prepare(file, &prepared)?;
            text += &format!("        ({:?}, include_str!({prepared:?})),\n", name(file));
        }
        text += "    ]),\n";
    }
    text += "];\n";
    fs::write(to, text).map_err(|error| format!("cannot write {}: {error}", to.display()))
}

/// Turns a file of YAML into JSON, which is read faster at each start.
fn prepare(file: &Path, to: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed={}", file.display());
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| told(&error))?;
    let value: serde_yaml::Value = serde_yaml::from_str(&text).map_err(|error| told(&error))?;
    let json = serde_json::to_string(&value).map_err(|error| told(&error))?;
    fs::write(to, json).map_err(|error| format!("cannot write {}: {error}", to.display()))
}

fn build(workspace: &Path, target: &Path) -> Result<(), Failure> {
    let compiler = toolchain::compiler()?;
    let linker = toolchain::linker()?;
    for program in [&compiler.rustc, &linker] {
        println!("cargo::rerun-if-changed={}", program.display());
    }
    let mut cargo = Command::new(toolchain::cargo_for(&compiler, variable("CARGO")?));
    cargo.current_dir(workspace).args(["build", "--locked", "--package", "intune-filter-ebpf"]);
    cargo.args(["--features", "bpf", "--bin", "intune-filter-bpf", "--target-dir"]).arg(target);
    toolchain::use_for(&mut cargo, &compiler, &linker);
    // Whose registers a program's context holds, should the host not be the target.
    cargo.env("AYA_BPF_TARGET_ARCH", variable("CARGO_CFG_TARGET_ARCH")?);
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::Compiler),
        Err(error) => Err(format!("cannot run {}: {error}", cargo.get_program().display()).into()),
    }
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set: this script is run by cargo"))
}

/// Copies an object without the sections whose names begin as said, and what relocates them.
fn strip(from: &Path, to: &Path, left_out: &[&str]) -> Result<(), Failure> {
    let read = fs::read(from);
    let stripped = read.map_err(|error| error.to_string()).and_then(|octets| {
        let mut object = Builder::read(octets.as_slice()).map_err(|error| error.to_string())?;
        for section in &mut object.sections {
            let name = section.name.as_slice();
            let name = name.strip_prefix(b".rel").unwrap_or(name);
            section.delete = left_out.iter().any(|start| name.starts_with(start.as_bytes()));
        }
        object.delete_orphans();
        // LLVM has the names of sections in one with those of symbols.
        let named = |section: &Section<'_>| matches!(section.data, SectionData::SectionString);
        if !object.sections.iter().any(named) {
            let names = object.sections.add();
            names.name = b".shstrtab".as_slice().into();
            names.sh_type = SHT_STRTAB;
            names.data = SectionData::SectionString;
        }
        let mut stripped = Vec::new();
        object.write(&mut stripped).map_err(|error| error.to_string())?;
        fs::write(to, stripped).map_err(|error| error.to_string())
    });
    stripped.map_err(|error| format!("cannot embed {}: {error}", from.display()).into())
}
