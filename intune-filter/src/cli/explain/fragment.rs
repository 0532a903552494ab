//! Prints the difference of two configurations: the keys that change, and of lists whose entries have a
//! `name` or `id`, the entries that do.

use serde_yaml::{Mapping, Value};

use crate::config::Config;

/// Keys by which entries of lists are known.
const NAMES: [&str; 2] = ["name", "id"];

/// Returns the keys of `after` that are not so in `before`, as YAML.
pub(super) fn fragment(before: &Config, after: &Config) -> serde_yaml::Result<String> {
    let (before, after) = (serde_yaml::to_value(before)?, serde_yaml::to_value(after)?);
    let Some(changed) = difference(&before, &after) else { return Ok(String::new()) };
    serde_yaml::to_string(&changed)
}

fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    match (before, after) {
        (Value::Mapping(before), Value::Mapping(after)) => {
            let changed = after.iter().filter_map(|(key, value)| {
                let found = before
                    .get(key)
                    .map_or_else(|| Some(value.clone()), |old| difference(old, value));
                Some((key.clone(), found?))
            });
            Some(Value::Mapping(changed.collect()))
        }
        (Value::Sequence(before), Value::Sequence(after))
            if !after.is_empty() && after.iter().all(|entry| name_of(entry).is_some()) =>
        {
            let changed = after.iter().filter_map(|entry| {
                let (key, name) = name_of(entry)?;
                let old = before.iter().find(|one| name_of(one) == Some((key, name)));
                let Some(old) = old else { return Some(entry.clone()) };
                let Some(Value::Mapping(keys)) = difference(old, entry) else { return None };
                let named = Mapping::from_iter([(key.into(), name.clone())]);
                Some(Value::Mapping(named.into_iter().chain(keys).collect()))
            });
            Some(Value::Sequence(changed.collect()))
        }
        _ => Some(after.clone()),
    }
}

fn name_of(entry: &Value) -> Option<(&'static str, &Value)> {
    NAMES.iter().find_map(|key| Some((*key, entry.get(key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    const CONFIG: &str = "
interfaces: [{name: eth1}]
clients:
- {name: kiosks, networks: [10.0.1.0/24], services: [default]}
- {name: devices, networks: [10.0.0.0/24], services: [default]}
dns: {resolvers: [10.0.0.1]}
";

    #[test]
    fn what_changes_is_named_by_its_entry() {
        let before = Config::parse("test", CONFIG).unwrap();
        let mut after = before.clone();
        after.clients[1].services.push("apple".into());
        after.dns.allow_private.push("10.9.0.0/24".parse().unwrap());
        let text = fragment(&before, &after).unwrap();
        let expected = "\
clients:
- name: devices
  services:
  - default
  - apple
dns:
  allow_private:
  - 10.9.0.0/24
";
        assert_eq!(text, expected);
        after.clients[0].networks.push(Network::OnLink);
        assert!(fragment(&before, &after).unwrap().contains("- name: kiosks\n  networks:\n"));
        assert_eq!(fragment(&before, &before).unwrap(), "");
    }
}
