//! Implements `endpoints export`: writes services for other programs, and says what a form loses.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    args::{Export, Global},
    context,
    error::{ExitStatus, Failure},
    output, service_view,
};
use crate::{
    export::{self, File, is_ours, units},
    report::{CatalogueService, Exported, ExportedFile, SCHEMA},
    system::atomic_file,
};

/// Runs `endpoints export`.
pub(super) fn run(global: &Global, wanted: &Export) -> Result<(ExitStatus, String), Failure> {
    let config = context::optional_config(global)?;
    let catalogue = context::catalogue(config.as_ref())?;
    let services = service_view::services(config.as_ref(), &catalogue)?;
    let ids = |name: &str| -> Option<Vec<String>> {
        let services = catalogue.resolve(name)?;
        Some(services.into_iter().map(|service| service.id.clone()).collect())
    };
    let services = select(services, &wanted.services, ids)?;
    let edition = &catalogue.edition().name;
    let mut files = Vec::new();
    for unit in units(&services) {
        files.extend(export::export(wanted.form, &unit, edition));
    }
    let removed = write(&wanted.into, wanted.form, &files)?;
    let exported = Exported {
        schema: SCHEMA,
        directory: wanted.into.display().to_string(),
        files: files.iter().map(of_file).collect(),
        removed: removed.iter().map(|path| path.display().to_string()).collect(),
    };
    let text = if global.json { output::json(&exported)? } else { text(&exported) };
    Ok((ExitStatus::Yes, text))
}

/// Returns the services with the given names, or those that a group may use.
fn select(
    all: Vec<CatalogueService>,
    names: &[String],
    ids: impl Fn(&str) -> Option<Vec<String>>,
) -> Result<Vec<CatalogueService>, Failure> {
    if names.is_empty() {
        return Ok(all.into_iter().filter(|service| service.enabled).collect());
    }
    let mut wanted = BTreeSet::new();
    for name in names {
        if all.iter().any(|service| service.id == *name) {
            wanted.insert(name.clone());
        } else if let Some(ids) = ids(name) {
            wanted.extend(ids);
        } else {
            let known: Vec<&str> = all.iter().map(|service| service.id.as_str()).collect();
            let known = known.join(", ");
            let message = format!("unknown service {name:?}, expected a set or one of: {known}");
            return Err(Failure::Configuration(message));
        }
    }
    Ok(all.into_iter().filter(|service| wanted.contains(&service.id)).collect())
}

/// Writes the files, then removes those of an earlier export that are not among them.
fn write(directory: &Path, form: export::Form, files: &[File]) -> Result<Vec<PathBuf>, Failure> {
    let at = |path: &Path| path.display().to_string();
    fs::create_dir_all(directory).with_context(|| at(directory))?;
    for file in files {
        let path = directory.join(&file.name);
        if let Ok(text) = fs::read(&path)
            && !is_ours(&text)
        {
            let message = format!("{}: not written by an export, left as it is", path.display());
            return Err(anyhow::Error::msg(message).into());
        }
    }
    for file in files {
        let path = directory.join(&file.name);
        atomic_file::write_readable(&path, file.text.as_bytes()).with_context(|| at(&path))?;
    }
    let mut removed = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| at(directory))? {
        let path = entry.with_context(|| at(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_of_form = form.endings().iter().any(|ending| name.ends_with(ending));
        if is_of_form
            && files.iter().all(|file| file.name != name)
            && fs::read(&path).is_ok_and(|text| is_ours(&text))
        {
            fs::remove_file(&path).with_context(|| at(&path))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

fn of_file(file: &File) -> ExportedFile {
    ExportedFile {
        name: file.name.clone(),
        losses: file.losses.iter().map(ToString::to_string).collect(),
    }
}

fn text(exported: &Exported) -> String {
    let mut text = String::new();
    for file in &exported.files {
        let _ = writeln!(text, "{}/{}", exported.directory, file.name);
        for loss in &file.losses {
            let _ = writeln!(text, "  {loss}");
        }
    }
    for path in &exported.removed {
        let _ = writeln!(text, "{path}: removed, of an earlier export");
    }
    let count = exported.files.len();
    let _ = writeln!(text, "{count} {}", if count == 1 { "file" } else { "files" });
    text
}
