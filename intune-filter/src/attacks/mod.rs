//! Tells which attacks of the threat model's page remain open under a configuration on this machine,
//! and to whom.

use std::fmt;

use serde::Serialize;

use crate::{
    config::{Config, Environment},
    policy::Policy,
};

mod rows;
mod site;
#[cfg(test)]
mod tests;

use rows::{Found, ROWS};
use site::Site;

/// Attack that remains open: a row of the table "What remains open today".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenAttack {
    /// Title of the row.
    pub title: &'static str,
    /// Clients and others who can do it, with what or against whom; empty for any client against any
    /// other.
    pub who: Vec<String>,
    /// Action of a site that closes or narrows it.
    pub helps: &'static str,
    /// Whether it remains in every configuration.
    pub everywhere: bool,
    /// Keys of the configuration that leave it open.
    pub keys: Vec<String>,
}

/// Attacks that remain open, in the order of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OpenAttacks(pub Vec<OpenAttack>);

impl OpenAttacks {
    /// Finds the attacks that remain open under a configuration and its policy on a machine.
    #[must_use]
    pub fn find(config: &Config, policy: &Policy, environment: &Environment) -> Self {
        let site = Site { config, policy, environment };
        let attacks = ROWS.iter().filter_map(|row| {
            let Found { who, keys, helps } = (row.find)(&site)?;
            let helps = helps.unwrap_or(row.helps);
            Some(OpenAttack { title: row.title, who, helps, everywhere: row.everywhere, keys })
        });
        Self(attacks.collect())
    }

    /// Whether an attack is due to a key of the configuration.
    #[must_use]
    pub fn tell_of(&self, key: &str) -> bool {
        self.0.iter().any(|attack| attack.keys.iter().any(|own| own == key))
    }
}

/// Lists the attacks for people: those of every configuration by their titles alone.
impl fmt::Display for OpenAttacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Attacks that remain open (docs/THREAT-MODEL.md says how)")?;
        let (everywhere, here): (Vec<&OpenAttack>, Vec<&OpenAttack>) =
            self.0.iter().partition(|attack| attack.everywhere && attack.who.is_empty());
        for attack in here {
            writeln!(f, "  {}", attack.title)?;
            attack.who.iter().try_for_each(|who| folded(f, who))?;
            folded(f, &format!("what helps: {}", attack.helps))?;
        }
        if !everywhere.is_empty() {
            writeln!(f, "  In every configuration, to any client:")?;
        }
        everywhere.iter().try_for_each(|attack| writeln!(f, "    {}", attack.title))
    }
}

/// Columns of a line at most, unless a word is longer.
const COLUMNS: usize = 98;

/// Writes an indented text in as many lines as it needs, the further ones indented more.
fn folded(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut line = String::from("   ");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > COLUMNS {
            writeln!(f, "{line}")?;
            line = String::from("     ");
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(f, "{line}")
}
