//! Constants, enums and names of layouts, read from the source of the contract.

use std::fs;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/abi");

/// Returns the files of the contract, ordered by name, without comments and tests.
fn files() -> Vec<(String, Vec<String>)> {
    let mut files: Vec<_> = fs::read_dir(SOURCES)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let lines = text.lines().filter(code).map(str::to_owned).collect();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), lines)
        })
        .collect();
    files.sort();
    files
}

/// Returns public constants with their values, and public enums with their numbers.
pub fn constants() -> String {
    let mut text = String::new();
    for (file, lines) in files() {
        let mut lines = lines.iter();
        while let Some(line) = lines.next() {
            let line = line.trim();
            let is_function = line.starts_with("pub const fn");
            let end = match line {
                _ if line.starts_with("pub const ") && !is_function => ';',
                _ if line.starts_with("pub enum ") && !line.contains('$') => '}',
                _ if line.starts_with("pub mod ") && line.ends_with('{') => '{',
                _ => continue,
            };
            let mut whole = line.to_owned();
            while !whole.ends_with(end) {
                let Some(more) = lines.next() else { break };
                whole = format!("{whole} {}", more.trim());
            }
            // Left out: the version, items that the macro of the vocabulary writes, lists of items
            // that are here already, and enums without numbers.
            let other = ["LAYOUT_VERSION", "$", ": &["].iter().any(|word| whole.contains(word));
            if !other && (end != '}' || whole.contains(" = ")) {
                text += &format!("{file}: {whole}\n");
            }
        }
    }
    text
}

/// Returns the names of the types whose layout is asserted.
pub fn layouts() -> Vec<String> {
    let mut names = Vec::new();
    for (_, lines) in files() {
        let text = lines.join("\n");
        for call in text.split("\nlayout!(").skip(1) {
            let name = call.trim_start().split(|letter: char| !letter.is_alphanumeric()).next();
            names.push(name.unwrap_or_default().to_owned());
        }
    }
    names
}
