//! Implements the commands: arguments, output and exit codes.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

mod advertisements;
mod apply;
mod args;
mod changed_links;
mod changes;
mod check;
mod clients;
mod config;
mod context;
mod deaf_peers;
mod destination;
mod detach;
mod edition_change;
mod endpoints;
mod endpoints_diff;
mod environment;
mod error;
mod events;
mod explain;
mod export;
mod flow_tables;
mod flows;
mod import;
mod judging;
mod listening;
mod match_name;
mod names;
mod output;
mod run;
mod service_view;
mod services;
mod status;
mod subject;
mod unjudged;

use args::{Arguments, Command, ConfigCommand, Endpoints};
pub use error::{ExitStatus, Failure};
#[cfg(test)]
pub(crate) use service_view::of_catalogue as services_of;

use crate::system::logging;

/// Runs the program. Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration invalid, 4 "no".
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet = match arguments.command {
        Command::Run => log::LevelFilter::Info,
        _ => log::LevelFilter::Warn,
    };
    logging::init(match arguments.global.verbose {
        0 => quiet,
        1 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    });
    match dispatch(&arguments) {
        Ok((outcome, text)) => match write(&text) {
            Ok(()) => outcome.into(),
            Err(failure) => told(&failure),
        },
        Err(failure) => {
            if arguments.global.json
                && let Ok(text) = output::json(&failure.report())
                && let Err(failure) = write(&text)
            {
                return told(&failure);
            }
            told(&failure)
        }
    }
}

fn told(failure: &Failure) -> ExitCode {
    logging::failure(&failure.to_string());
    failure.code()
}

/// Writes to standard output. A reader that has closed the pipe is no failure.
fn write(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}

fn dispatch(arguments: &Arguments) -> Result<(ExitStatus, String), Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Run => run::run(global),
        Command::Check { file } => check::run(global, file.as_deref()),
        Command::Apply { file, dry_run: true, .. } => config::dry_run(global, file.as_deref()),
        Command::Apply { file, confirm, .. } => apply::run(global, file.as_deref(), *confirm),
        Command::Reload => apply::reload(global),
        Command::Config { command: ConfigCommand::Show } => config::show(global),
        Command::Config { command: ConfigCommand::Diff { file } } => {
            config::diff(global, file.as_deref())
        }
        Command::Confirm => apply::confirm(global),
        Command::Status => status::run(global),
        Command::Services => services::run(global),
        Command::Names => names::run(global),
        Command::Flows { client } => flows::run(global, client),
        Command::Clients => clients::run(global),
        Command::Events(wanted) => events::run(global, wanted),
        Command::Explain { pcap: Some(file), on, strict, .. } => {
            explain::run_capture(global, file, on.as_deref(), *strict)
        }
        Command::Explain {
            client: Some(client),
            destination: Some(to),
            on,
            strict,
            no_dns,
            ..
        } => {
            let (client, destination, on) = (*client, to, on.as_deref());
            let (strict, no_dns) = (*strict, *no_dns);
            explain::run(global, &explain::Question { client, destination, on, strict, no_dns })
        }
        Command::Explain { .. } => {
            Err(Failure::Usage("no destination, expected CLIENT DST or --pcap FILE".to_owned()))
        }
        Command::Match { name } => match_name::run(global, name),
        Command::Endpoints { command: Endpoints::List(wanted) } => endpoints::list(global, wanted),
        Command::Endpoints { command: Endpoints::Diff { from, to } } => {
            endpoints_diff::run(global, from, to)
        }
        Command::Endpoints { command: Endpoints::Import(list) } => import::run(global, list),
        Command::Endpoints { command: Endpoints::Export(wanted) } => export::run(global, wanted),
        Command::Detach { force } => detach::run(global, *force),
    }
}
