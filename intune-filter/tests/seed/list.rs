//! The list of everything that the Intune document prints.

use std::{collections::BTreeSet, str::FromStr};

use intune_filter::{
    catalogue::{Catalogue, Date, Region, Rule, RuleId},
    ports::PortRange,
};
use serde::{Deserialize, Deserializer, de::Error};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub document: String,
    #[serde(deserialize_with = "text")]
    pub date: Date,
    pub sections: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub r#where: String,
    #[serde(default)]
    pub tcp: Vec<PortRange>,
    pub rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub printed: String,
    #[serde(default)]
    pub kind: Kind,
    pub r#as: Option<String>,
    pub protocol: Option<String>,
    pub tcp: Option<Vec<PortRange>>,
    pub udp: Option<Vec<PortRange>>,
    #[serde(default, deserialize_with = "optional_text")]
    pub region: Option<Region>,
    #[serde(default, deserialize_with = "texts")]
    pub by: Vec<RuleId>,
    pub says: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Host,
    Prefix,
    Url,
    Storage,
    Tenant,
    Port,
    Note,
    Link,
}

fn texts<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(from: D) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

fn text<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn optional_text<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    text(from).map(Some)
}

impl Row {
    /// The destination as the catalogue must have it.
    pub fn destination(&self) -> &str {
        self.r#as.as_deref().unwrap_or(self.printed.trim())
    }

    /// A row's own ports, TCP and UDP, else its section's.
    pub fn ports(&self, section: &Section) -> (BTreeSet<PortRange>, BTreeSet<PortRange>) {
        if self.tcp.is_none() && self.udp.is_none() {
            return (section.tcp.iter().copied().collect(), BTreeSet::new());
        }
        let set = |ports: &Option<Vec<PortRange>>| ports.iter().flatten().copied().collect();
        (set(&self.tcp), set(&self.udp))
    }

    pub fn is_destination(&self) -> bool {
        matches!(self.kind, Kind::Host | Kind::Prefix | Kind::Url | Kind::Storage)
    }
}

impl List {
    pub fn read() -> Self {
        serde_yaml::from_str(include_str!("endpoints.yaml")).unwrap()
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }

    pub fn tenants(&self) -> impl Iterator<Item = (&str, Region)> {
        self.rows()
            .filter(|row| row.kind == Kind::Tenant)
            .filter_map(|row| Some((row.printed.as_str(), row.region?)))
    }

    pub fn is_source_of(&self, catalogue: &Catalogue, rule: &Rule) -> bool {
        let Some(from) = &rule.from else { return false };
        let source = &catalogue.edition().sources[&from.source];
        source.title == self.document && source.date.as_ref() == Some(&self.date)
    }
}
