//! Defines the command line.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use intune_filter_ebpf::abi::REASONS;
use ipnet::IpNet;

use super::destination::Destination;
use crate::{
    catalogue::{Catalogue, Date, LATEST_WORD, Status},
    config::{DurationError, Paths, Seconds},
    export, import,
    ports::PortRange,
};

/// Lets a network reach what Microsoft Intune needs, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "intune-filter", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    /// Flags of every command
    #[command(flatten)]
    pub global: Global,
    /// Command to run
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// The configuration [default: /etc/intune-filter/config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Directory for state that outlives a reboot [default: /var/lib/intune-filter]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory of the control socket [default: /run/intune-filter]
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// Directory of the pinned BPF objects [default: /sys/fs/bpf/intune-filter]
    #[arg(long, global = true, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
}

impl Global {
    /// Returns the configured paths, with those of flags in their place.
    #[must_use]
    pub(super) fn paths(&self, configured: &Paths) -> Paths {
        let or = |flag: &Option<PathBuf>, path: &PathBuf| flag.as_ref().unwrap_or(path).clone();
        Paths {
            state_dir: or(&self.state_dir, &configured.state_dir),
            runtime_dir: or(&self.runtime_dir, &configured.runtime_dir),
            pin_dir: or(&self.pin_dir, &configured.pin_dir),
            catalogue: configured.catalogue.clone(),
        }
    }
}

/// Command of the program.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon: attach, enforce, and keep everything in step
    Run,
    /// Check a configuration and print a summary of its policy
    Check {
        /// The configuration, instead of --config
        file: Option<PathBuf>,
    },
    /// Put a new configuration into force
    Apply {
        /// The configuration, instead of --config
        file: Option<PathBuf>,
        /// Go back to the configuration before, unless `confirm` follows within this time: 60s, 5m
        #[arg(long, value_name = "TIME", value_parser = patience)]
        confirm: Option<Seconds>,
        /// Show what would open and close, and which flows and names would end; change nothing
        #[arg(long, conflicts_with = "confirm")]
        dry_run: bool,
    },
    /// Have the daemon load the configuration file again
    Reload,
    /// Show the configuration in force, or what another one would change
    Config {
        /// Configuration to show
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Keep the configuration that `apply --confirm` has put into force
    Confirm,
    /// Show what is enforced, where, and how full the maps are
    Status,
    /// Show the services in force and their traffic
    Services,
    /// Show the learned addresses and the names that led to them
    Names,
    /// Show the flows that are open
    Flows {
        /// Only flows of a client or a network of clients
        #[arg(long, value_name = "ADDRESS|NETWORK", value_parser = network)]
        client: Vec<IpNet>,
    },
    /// Show the clients that have flows or were denied something
    Clients,
    /// Show denials, learned names, and flows that were opened or have ended
    Events(EventSelection),
    /// Tell whether a client may reach a destination, why, and what would allow it: by the policy in force, or
    /// under --config FILE
    Explain {
        /// The client's address
        #[arg(required_unless_present = "pcap", requires = "destination")]
        client: Option<IpAddr>,
        /// An address or a name, then the port and the protocol if they are not 443 and TCP:
        /// 192.0.2.1, [2001:db8::1]:443/tcp, login.example:80, time.example:123/udp, 192.0.2.1/icmp
        #[arg(value_name = "DST[:PORT[/PROTO]]")]
        destination: Option<Destination>,
        /// Follow the packets of a capture instead (pcap or pcapng, 1 GiB at most; - is the standard input)
        #[arg(long, value_name = "FILE", conflicts_with_all = ["client", "destination", "no_dns"])]
        pcap: Option<PathBuf>,
        /// The interface, or INTERFACE.VLAN, that the client is behind
        #[arg(long, value_name = "INTERFACE")]
        on: Option<String>,
        /// Exit by what the policy says, without audit and warm-up
        #[arg(long)]
        strict: bool,
        /// Do not ask the resolvers for a name
        #[arg(long)]
        no_dns: bool,
    },
    /// Show the services whose patterns match a name
    Match {
        /// The host name
        name: String,
    },
    /// Show the endpoint catalogue
    Endpoints {
        /// Action on the catalogue
        #[command(subcommand)]
        command: Endpoints,
    },
    /// Remove programs, links and pins: nothing is filtered afterwards
    Detach {
        /// Remove them even if they are held by a daemon that cannot be asked
        #[arg(long)]
        force: bool,
    },
}

/// Selection of events; all events by default.
#[derive(Clone, Debug, Args)]
pub(super) struct EventSelection {
    /// Follow new events; without --last, show new events only
    #[arg(short, long)]
    pub follow: bool,
    /// Show this many of the last events that the daemon has kept [default: all]
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub last: Option<usize>,
    /// Denied packets
    #[arg(long)]
    pub denied: bool,
    /// Learned names
    #[arg(long)]
    pub learned: bool,
    /// Flows that were opened or have ended
    #[arg(long)]
    pub flows: bool,
    /// Only events of a client or a network of clients
    #[arg(long, value_name = "ADDRESS|NETWORK", value_parser = network)]
    pub client: Vec<IpNet>,
    /// Only packets denied for a reason
    #[arg(long, value_parser = reasons())]
    pub reason: Vec<String>,
}

/// Parses a prefix, or an address as a prefix of full length.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("expected an address or a network, not {text}"))
}

/// Returns the words for reasons of denials.
fn reasons() -> PossibleValuesParser {
    REASONS.iter().filter(|reason| reason.denies()).map(|reason| reason.as_str()).into()
}

/// Configuration to show.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration in force with its defaults, as YAML that applies again
    Show,
    /// Tell what a configuration would open, close and set
    Diff {
        /// The configuration, instead of --config
        file: Option<PathBuf>,
    },
}

/// Action on the catalogue.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Endpoints {
    /// List every service with its destinations, ports and sources
    List(ListSelection),
    /// Compare two editions: what came, what went, and changed ports
    Diff {
        /// The one edition
        #[arg(value_parser = editions())]
        from: String,
        /// The other edition
        #[arg(value_parser = editions(), default_value = LATEST_WORD)]
        to: String,
    },
    /// Turn a published list of endpoints into a file of a site's own catalogue
    Import(Import),
    /// Write services for other programs, one file for each service and set of ports
    Export(Export),
}

/// Selection of services and data; all by default.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ListSelection {
    /// Only services with these ids or aliases, or in these sets
    #[arg(long, value_name = "ID|SET")]
    pub service: Vec<String>,
    /// The services of this edition, in place of the configuration's
    #[arg(long, value_parser = editions())]
    pub edition: Option<String>,
    /// Only what the documents have, no longer have, or never had
    #[arg(long, value_parser = statuses())]
    pub status: Vec<String>,
    /// Only services for devices of this kind
    #[arg(long, value_parser = ["windows", "apple", "android"])]
    pub platform: Option<String>,
}

/// Returns the words for built-in editions.
fn editions() -> PossibleValuesParser {
    Catalogue::editions().chain([LATEST_WORD]).collect::<Vec<_>>().into()
}

/// Returns the words for the status of data.
fn statuses() -> PossibleValuesParser {
    Status::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>().into()
}

/// List to import.
#[derive(Clone, Debug, Args)]
pub(super) struct Import {
    /// The list: the Microsoft 365 web service's JSON or CSV, Azure's service tags, a document's
    /// table as CSV, or a plain list of names, addresses and prefixes
    pub file: PathBuf,
    /// Form of the list [default: found by its content]
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub form: Option<import::Form>,
    /// TCP ports of destinations that come without ports: 443 or 80,443
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub tcp: Vec<PortRange>,
    /// UDP ports of destinations that come without ports
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub udp: Vec<PortRange>,
    /// Take only this service area or service tag
    #[arg(long, value_name = "AREA|TAG")]
    pub only: Vec<String>,
    /// Leave out what the list calls optional
    #[arg(long)]
    pub required_only: bool,
    /// Id of the service, of the source and of the file [default: made of the list's name]
    #[arg(long, value_name = "ID")]
    pub service: Option<String>,
    /// Title of the list for people [default: the list's name]
    #[arg(long)]
    pub title: Option<String>,
    /// Day of the list: 2026-08-14
    #[arg(long)]
    pub date: Option<Date>,
    /// Directory of the site's catalogue, for `paths.catalogue` [default: print the file]
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
}

/// Services to export.
#[derive(Clone, Debug, Args)]
pub(super) struct Export {
    /// Form of the files
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub form: export::Form,
    /// Services or sets [default: those that a group may use]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Directory of the files; those of an earlier export in this form are replaced
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
}

/// Parses a time to confirm from 1 s to 1 d: a longer one would be no safeguard.
fn patience(text: &str) -> Result<Seconds, String> {
    let patience: Seconds = text.parse().map_err(|error: DurationError| error.to_string())?;
    match patience.0 {
        1..=86_400 => Ok(patience),
        _ => Err(format!("{text} is out of range, expected 1s to 1d")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_time_to_confirm_in_has_a_unit_and_bounds() {
        let parse = |time: &str| {
            let arguments =
                Arguments::try_parse_from(["intune-filter", "apply", "a.yaml", "--confirm", time]);
            match arguments.ok()?.command {
                Command::Apply { confirm, dry_run: false, .. } => confirm,
                _ => None,
            }
        };
        assert_eq!(parse("60s"), Some(Seconds(60)));
        assert_eq!(parse("1d"), Some(Seconds(86_400)));
        for time in ["60", "0s", "2d", "a.yaml"] {
            assert_eq!(parse(time), None, "{time}");
        }
        let both = ["intune-filter", "apply", "--confirm", "60s", "--dry-run"];
        assert!(Arguments::try_parse_from(both).is_err(), "nothing would wait for it");
    }

    #[test]
    fn flags_win_over_the_configurations_paths() {
        let arguments =
            Arguments::parse_from(["intune-filter", "status", "--pin-dir", "/p", "--json"]);
        assert!(arguments.global.json);
        let paths = arguments.global.paths(&Paths::default());
        assert_eq!(paths.pin_dir, PathBuf::from("/p"));
        assert_eq!(paths.state_dir, Paths::default().state_dir);
    }
}
