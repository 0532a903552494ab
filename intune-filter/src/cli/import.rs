//! Implements `endpoints import`: turns a published list into a file of a site's own catalogue.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use intune_filter_ebpf::abi::TransportProtocol;

use super::{
    args::{Global, Import},
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    catalogue::CatalogueFiles,
    import::{self, Gathered, Options, Source},
    policy::hexadecimal,
    ports::PerProtocol,
    report::{Imported, SCHEMA},
    system::{
        atomic_file,
        regular_file::{self, READ_TIMEOUT},
    },
};

/// File of a site's catalogue that names the edition which it adds to.
const EDITION: &str = "edition.yaml";

/// Its content where there is none yet.
const NEW_EDITION: &str = "# A site's own catalogue: what is in this directory is added to an edition.\n\
                           format: 2\nedition: site\nextends: latest\n";

/// Runs `endpoints import`.
pub(super) fn run(global: &Global, list: &Import) -> Result<(ExitStatus, String), Failure> {
    let path = list.file.clone();
    let octets = regular_file::within(READ_TIMEOUT, move || regular_file::read(&path))
        .and_then(|read| read)
        .with_context(|| list.file.display().to_string())?;
    let options = Options {
        form: list.form,
        ports: PerProtocol::from_fn(|protocol| {
            let flags = [(TransportProtocol::Tcp, &list.tcp), (TransportProtocol::Udp, &list.udp)];
            let of = flags.into_iter().find(|(of, _)| *of == protocol);
            of.map(|(_, ports)| ports.clone()).unwrap_or_default()
        }),
        groups: list.only.clone(),
        required_only: list.required_only,
    };
    let gathered = import::read(&list.file.display().to_string(), &octets, &options)
        .map_err(|error| Failure::Configuration(error.to_string()))?;
    let source = source(list, &octets)?;
    let written = import::write(&gathered, &source);
    let Some(directory) = &list.into else {
        return Ok((ExitStatus::Yes, written.text));
    };
    let name = format!("{}.yaml", source.id);
    let has_edition = directory.join(EDITION).exists();
    let path = directory.join(&name);
    if fs::read(&path).is_ok_and(|known| !import::is_ours(&known)) {
        let path = path.display();
        let message =
            format!("{path}: not written by an import, left as it is; choose another --service");
        return Err(Failure::Configuration(message));
    }
    check(directory, &name, &written.text, has_edition)?;
    let at = |path: &Path| path.display().to_string();
    fs::create_dir_all(directory).with_context(|| at(directory))?;
    let files = [(EDITION, NEW_EDITION), (name.as_str(), written.text.as_str())];
    for (name, text) in files.into_iter().skip(usize::from(has_edition)) {
        let path = directory.join(name);
        atomic_file::write_readable(&path, text.as_bytes()).with_context(|| at(&path))?;
    }
    let Gathered { form, read, left, passed_over, .. } = gathered;
    let imported = Imported {
        schema: SCHEMA,
        file: Some(at(&directory.join(name))),
        form: form.to_string(),
        written,
        read,
        repeated: left.repeated,
        unasked: left.unasked,
        optional: left.optional,
        passed_over: passed_over.into_iter().collect(),
    };
    let text = if global.json { output::json(&imported)? } else { text(&imported, directory) };
    Ok((ExitStatus::Yes, text))
}

/// Names the source by the flags, or by the list's file.
fn source(list: &Import, octets: &[u8]) -> Result<Source, Failure> {
    let name = list.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = list.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let id = list.service.clone().unwrap_or_else(|| import::slug(&stem));
    if id.is_empty() || import::slug(&id) != id || format!("{id}.yaml") == EDITION {
        let message =
            format!("--service {id:?}: expected lower-case letters, digits and single hyphens");
        return Err(Failure::Configuration(message));
    }
    let sha256 = hexadecimal(octets);
    let title = list.title.clone().unwrap_or(stem);
    Ok(Source { id, title, date: list.date.clone(), file: name, sha256 })
}

/// Parses the catalogue as it will be: what it refuses is not written.
fn check(directory: &Path, name: &str, text: &str, has_edition: bool) -> Result<(), Failure> {
    let mut files =
        if has_edition { CatalogueFiles::read(directory)? } else { CatalogueFiles::default() };
    let path = directory.join(name);
    files.texts.retain(|(known, _)| *known != path);
    if !has_edition {
        files.texts.push((directory.join(EDITION), NEW_EDITION.to_owned()));
    }
    files.texts.push((path, text.to_owned()));
    files.parse()?;
    Ok(())
}

fn text(imported: &Imported, directory: &Path) -> String {
    let Imported { form, written, read, .. } = imported;
    let mut text = String::new();
    let file = imported.file.as_deref().unwrap_or_default();
    let _ = writeln!(text, "{file}: written, from {read} entries read as {form}");
    let _ = writeln!(
        text,
        "  {} names and {} prefixes in {} rule(s) of {}",
        written.names,
        written.prefixes,
        written.rules,
        written.services.join(", ")
    );
    for (count, words) in [
        (imported.repeated, "repeated on the same ports"),
        (imported.unasked, "not asked for"),
        (imported.optional, "optional, left out"),
    ] {
        if count != 0 {
            let _ = writeln!(text, "  {count} {words}");
        }
    }
    for (pattern, why) in &written.broad {
        let _ = writeln!(text, "  broad: {pattern}: {why}");
    }
    for what in &imported.passed_over {
        let _ = writeln!(text, "  passed over: {what}");
    }
    let directory = directory.display();
    let _ = writeln!(
        text,
        "In force with `paths: {{catalogue: {directory}}}` and the services in a group."
    );
    text
}
