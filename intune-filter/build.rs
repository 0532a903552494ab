//! Builds the BPF object with a compiler of its own and puts it where the library embeds it from.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What cargo, clippy and rustup export to build scripts and would mislead the nested build.
const LEAKS: [&str; 10] = [
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "LLVM_PROFILE_FILE",
];
const LEAK_PREFIXES: [&str; 4] = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_CFG_", "CARGO_FEATURE_"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = manifest.parent().expect("the crate is in a workspace");
    let object = out.join("intune-filter-bpf");

    for name in ["INTUNE_BPF_OBJECT", "INTUNE_BPF_RUSTC"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in [
        "intune-filter-ebpf/src",
        "intune-filter-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }

    // A machine without bpf-linker embeds an object that was built elsewhere.
    if let Some(prebuilt) = env::var_os("INTUNE_BPF_OBJECT") {
        fs::copy(&prebuilt, &object).expect("INTUNE_BPF_OBJECT names the object to embed");
        return;
    }
    // OUT_DIR is TARGET/PROFILE/build/NAME/out. The nested cargo cannot share the directory
    // that the outer one has locked, and build, test and clippy can share this one.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("bpf");
    build(workspace, &target_dir);
    fs::copy(target_dir.join("bpfel-unknown-none/bpf/intune-filter-bpf"), &object)
        .expect("the build above made the object");
}

fn build(workspace: &Path, target_dir: &Path) {
    let rustc = env::var_os("INTUNE_BPF_RUSTC").unwrap_or_else(|| "/usr/bin/rustc".into());
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--package", "intune-filter-ebpf"])
        .args(["--bin", "intune-filter-bpf", "--profile", "bpf"])
        .args(["--target", "bpfel-unknown-none", "--target-dir"])
        .arg(target_dir);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if LEAKS.contains(&text.as_ref()) || LEAK_PREFIXES.iter().any(|p| text.starts_with(p)) {
            cargo.env_remove(&name);
        }
    }
    // aya-ebpf uses feature(asm_experimental_arch).
    cargo.env("RUSTC", &rustc).env("RUSTC_BOOTSTRAP", "1");
    let status = cargo.status().expect("cargo runs");
    assert!(
        status.success(),
        "the BPF object did not build ({status}): `cargo xtask setup` installs its compiler \
         ({}) and linker (bpf-linker)",
        rustc.display()
    );
}
