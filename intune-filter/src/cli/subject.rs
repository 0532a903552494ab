//! Finds the policy that `explain` and `match` speak of: the one in force, or that of a file.

use std::{collections::BTreeMap, io, path::Path};

use super::{args::Global, context, error::Failure};
use crate::{
    catalogue::{Catalogue, CatalogueFiles},
    config::{Config, Paths},
    control::{Client, Request},
    daemon::{config_source::last_good::LastGood, reload::previous_bits},
    kernel::Pins,
    policy::{self, Loaded, RuleBits},
    report::{ConfigInForce, Judged},
};

/// Stand-in for a missing configuration: everyone may use the whole catalogue.
const EVERYTHING: &str = "
interfaces: [{name: any}]
clients: [{name: everyone, networks: [0.0.0.0/0, '::/0'], services: [all]}]
dns: {resolvers: ['192.0.2.53']}
";

/// Policy, with what is known of its configuration.
pub(super) struct Subject {
    /// Whether the policy is the one in force.
    pub judged: Judged,
    /// Configuration and catalogue of the policy; `None` if the maps alone tell the policy.
    pub loaded: Option<Loaded>,
    /// Whether a site has written the configuration.
    pub is_configured: bool,
    /// Pins of the policy in force, whether it is the subject or not.
    pub pins: Option<Pins>,
    /// Paths of the instance.
    pub paths: Paths,
    /// Notes for the user about what is judged, and by what.
    pub notes: Vec<String>,
}

impl Subject {
    /// Returns the catalogue: of the configuration, or else the built-in one.
    pub(super) fn catalogue(&self) -> &Catalogue {
        match &self.loaded {
            Some(loaded) => &loaded.catalogue,
            None => Catalogue::builtin(),
        }
    }

    /// Returns the configuration, if a site has written it.
    pub(super) fn config(&self) -> Option<&Config> {
        self.loaded.as_ref().filter(|_| self.is_configured).map(|loaded| &loaded.config)
    }

    fn new(judged: Judged, loaded: Option<Loaded>, pins: Option<Pins>, paths: Paths) -> Self {
        Self { judged, loaded, is_configured: true, pins, paths, notes: Vec::new() }
    }
}

/// Finds the subject: the policy of the file that `--config` names, unless it is in force; without the
/// flag the policy in force, or, while none is, that of the default file or of the whole catalogue.
pub(super) fn find(global: &Global) -> Result<Subject, Failure> {
    let named = global.config.is_some();
    let paths = if named { context::quiet_paths(global) } else { context::paths(global) };
    let (pins, mut notes) = open(&paths.pin_dir)?;
    let bits = pins.as_ref().map_or_else(|| Ok(RuleBits::new()), previous_bits)?;
    let mut doubts = Vec::new();
    let running = pins.as_ref().and_then(|pins| in_force(&paths, pins, &bits, &mut doubts));
    let file = if named || pins.is_none() {
        of_file(global, &bits, running.as_ref())?
    } else {
        File::None
    };
    let mut subject = match file {
        File::Other(file) => Subject::new(Judged::File, Some(*file), pins, paths),
        File::None if pins.is_none() => {
            let everything = policy::load_text(
                "the built-in configuration",
                EVERYTHING,
                |paths| *paths = global.paths(paths),
                &bits,
            )?;
            let subject = Subject::new(Judged::File, Some(everything), pins, paths);
            Subject { is_configured: false, ..subject }
        }
        File::None | File::Same => {
            notes.append(&mut doubts);
            Subject::new(Judged::InForce, running.map(|running| running.loaded), pins, paths)
        }
    };
    subject.notes = notes;
    Ok(subject)
}

/// Configuration file, compared with what is in force.
enum File {
    /// There is none.
    None,
    /// It comes to what is in force.
    Same,
    /// It comes to something else.
    Other(Box<Loaded>),
}

/// Configuration in force, with its text.
struct Running {
    loaded: Loaded,
    text: String,
}

fn digest(loaded: &Loaded) -> String {
    policy::digest(&loaded.config, &loaded.policy)
}

/// Opens the pins, if a policy is in force and they may be read.
fn open(pin_directory: &Path) -> anyhow::Result<(Option<Pins>, Vec<String>)> {
    let pins = Pins::open(pin_directory).or_else(|error| {
        let cause = error.downcast_ref::<io::Error>();
        if cause.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return Ok(None);
        }
        Err(error)
    });
    // A directory of root's alone looks empty to others.
    let may_not = !nix::unistd::geteuid().is_root();
    let notes = |text: &str| vec![text.to_owned()];
    Ok(match pins? {
        Some(pins) if pins.active()?.generation != 0 => (Some(pins), Vec::new()),
        _ if may_not => {
            (None, notes("what is enforced can be seen by root alone: judged by the file"))
        }
        _ => (None, notes("nothing is enforced here: judged by the policy alone")),
    })
}

/// Loads the file that the flag names, or the default file.
fn of_file(global: &Global, bits: &RuleBits, running: Option<&Running>) -> Result<File, Failure> {
    let path = context::config_path(global);
    if global.config.is_none() && !context::has_default_file() {
        return Ok(File::None);
    }
    let text = Config::read_text(&path)?;
    // The same text with the same catalogue needs no comparison.
    if running.is_some_and(|running| running.text == text && running.loaded.files.is_none()) {
        return Ok(File::Same);
    }
    let adjust = |paths: &mut Paths| *paths = global.paths(paths);
    let loaded = policy::load_text(&path.display().to_string(), &text, adjust, bits)?;
    let is_same = running.is_some_and(|running| digest(&running.loaded) == digest(&loaded));
    Ok(if is_same { File::Same } else { File::Other(Box::new(loaded)) })
}

/// Asks the daemon for the configuration in force; without one, takes the last that was applied, if the
/// maps agree with it. `None` if neither tells.
fn in_force(
    paths: &Paths,
    pins: &Pins,
    bits: &RuleBits,
    doubts: &mut Vec<String>,
) -> Option<Running> {
    let adjust = |own: &mut Paths| {
        let catalogue = own.catalogue.take();
        *own = Paths { catalogue, ..paths.clone() };
    };
    let good = LastGood::load(&paths.state_dir).unwrap_or_else(|error| {
        doubts.push(format!("{error:#}"));
        None
    });
    let client = Client::connect(&paths.runtime_dir);
    let is_running = client.is_some();
    let shown = client.and_then(|client| {
        let asked =
            client.ask::<Box<ConfigInForce>>(&Request::Configuration {}, context::REPLY_TIMEOUT);
        asked.inspect_err(|error| doubts.push(format!("the daemon does not tell: {error:#}"))).ok()
    });
    let (file, text, wanted) = match (&shown, &good) {
        (Some(shown), _) => (&shown.file, &shown.text, Some(&shown.digest)),
        (None, Some(good)) => (&good.document.file, &good.document.text, None),
        (None, None) => {
            doubts
                .push("no daemon runs, and no configuration is kept: the maps alone judge".into());
            return None;
        }
    };
    // The site's catalogue on disk may be another one than that in force.
    let kept = good.as_ref().and_then(|good| good.catalogue.clone());
    let from_disk =
        |directory: &Path| CatalogueFiles::read(directory).map_err(|error| error.to_string());
    let from_state = |directory: &Path| kept.clone().map_or_else(|| from_disk(directory), Ok);
    let is_it = |loaded: &Loaded| match wanted {
        Some(wanted) => digest(loaded) == *wanted,
        None => is_pinned(loaded, pins).unwrap_or(false),
    };
    let loaded = policy::load_text_with(file, text, adjust, bits, from_state).ok().filter(is_it);
    let loaded = loaded
        .or_else(|| policy::load_text_with(file, text, adjust, bits, from_disk).ok().filter(is_it));
    match (&loaded, is_running) {
        (Some(_), true) => {}
        (Some(_), false) => doubts.push(
            "no daemon runs: judged by the maps and the configuration that was applied last".into(),
        ),
        (None, _) => {
            doubts.push("the configuration in force cannot be had: the maps alone judge".into())
        }
    }
    loaded.map(|loaded| Running { loaded, text: text.clone() })
}

/// Whether the maps have what a policy has: rules, groups and the networks of destinations.
fn is_pinned(loaded: &Loaded, pins: &Pins) -> anyhow::Result<bool> {
    let policy = &loaded.policy;
    let rules: RuleBits = previous_bits(pins)?;
    let groups: Vec<String> = pins.groups()?.into_iter().flatten().collect();
    let networks: BTreeMap<_, _> = pins.networks()?.into_iter().collect();
    let is_known = policy.rule_bits().iter().all(|(id, bit)| rules.get(id) == Some(bit));
    Ok(is_known
        && policy.groups.iter().map(|group| &group.name).eq(groups.iter())
        && policy.networks().collect::<BTreeMap<_, _>>() == networks)
}
