//! Says of which configured interfaces the name or the place has changed, and what that leaves open.

use crate::{config::Config, system::netlink::Snapshot};

/// Returns a line for each configured interface that was renamed under its programs, or that is a
/// member of a bridge, bond or team.
pub(super) fn notes(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let found =
        config.interfaces.iter().filter_map(|wanted| snapshot.interface(&wanted.name)).flat_map(
            |interface| {
                let name = &interface.name;
                let renamed = interface.renamed.as_ref().map(|now| {
                    format!(
                        "{name} is called {now} now, and goes on being judged; `interfaces` has to \
                         name it {now}, or a restart of the machine finds no {name}"
                    )
                });
                let whole = snapshot.wholes.get(&interface.index);
                let whole = whole.and_then(|whole| snapshot.by_index(*whole));
                let member = whole.filter(|whole| !config.filters(&whole.name)).map(|whole| {
                    let whole = &whole.name;
                    format!(
                        "{name} is a member of {whole}: what comes in by the other members of {whole} \
                         is not judged; with {whole} in `interfaces` in place of {name}, everything \
                         that {whole} hands to the gateway is"
                    )
                });
                renamed.into_iter().chain(member)
            },
        );
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interface;

    #[test]
    fn renamed_interfaces_and_members_are_named() {
        let mut snapshot = Snapshot {
            interfaces: vec![Interface::bare("lan0", 3), Interface::bare("br0", 4)],
            ..Snapshot::default()
        };
        let config = |interfaces: &str| {
            let text = format!(
                "interfaces: [{interfaces}]\nclients: [{{name: a, networks: [10.20.0.0/24]}}]\n\
                 dns: {{resolvers: [10.20.0.1]}}\n"
            );
            Config::parse("config.yaml", &text).unwrap()
        };
        let lan = config("{name: eth1}");
        assert!(notes(&lan, &snapshot).is_empty());
        snapshot.keep_name("eth1", 3);
        let said = notes(&lan, &snapshot);
        assert!(said.len() == 1 && said[0].starts_with("eth1 is called lan0 now"), "{said:?}");
        snapshot.wholes.insert(3, 4);
        let said = notes(&lan, &snapshot);
        assert!(said.len() == 2 && said[1].starts_with("eth1 is a member of br0: "), "{said:?}");
        assert_eq!(notes(&config("{name: eth1}, {name: br0}"), &snapshot).len(), 1);
    }
}
