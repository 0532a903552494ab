//! Reads the JSON of Azure's service tags: prefixes by tag, without ports.

use serde::Deserialize;

use super::gather::{Entry, Gathered};

/// File of a cloud.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tags {
    change_number: u64,
    values: Vec<Tag>,
}

/// Tag of a service, in a region or in all.
#[derive(Debug, Deserialize)]
struct Tag {
    name: String,
    properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    change_number: Option<u64>,
    address_prefixes: Vec<String>,
}

/// Tags in a file that are taken without naming them: a cloud's whole file has thousands, which would
/// open most of that cloud.
const UNNAMED_MAX: usize = 8;

/// Reads the tags.
pub(super) fn read(text: &str, gathered: &mut Gathered) {
    let tags: Tags = match serde_json::from_str(text) {
        Ok(tags) => tags,
        Err(error) => {
            return gathered.fault("", format!("{error}; expected a file of service tags"));
        }
    };
    if tags.values.len() > UNNAMED_MAX && !gathered.selects() {
        let message = format!("{} tags, expected --only TAG for those to take", tags.values.len());
        return gathered.fault("", message);
    }
    for Tag { name, properties } in &tags.values {
        let number = properties.change_number.unwrap_or(tags.change_number);
        if properties.address_prefixes.is_empty() {
            gathered.passed_over.insert(format!("tag {name:?} without prefixes"));
        }
        for (index, address) in properties.address_prefixes.iter().enumerate() {
            gathered.add(Entry {
                group: name,
                address,
                section: format!("{name}-{number}"),
                at: format!("tag {name}, addressPrefixes[{index}]"),
                ..Entry::default()
            });
        }
    }
}
