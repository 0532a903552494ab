//! Says of which veth devices the peer receives nothing that native XDP sends back.

use crate::{
    config::{Config, Mode},
    system::netlink::Snapshot,
};

/// Returns a line for each configured interface with such a peer: why it is judged in generic mode, or
/// what is lost.
pub(super) fn notes(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let deaf = config.interfaces.iter().filter(|wanted| {
        let interface = snapshot.interface(&wanted.name);
        interface.is_some_and(|interface| snapshot.deaf.contains(&interface.index))
    });
    let note = |wanted: &crate::config::Interface| {
        let name = &wanted.name;
        match wanted.mode {
            Mode::Auto => Some(format!(
                "{name} is judged in generic mode: its veth peer has no XDP program, and would not \
                 receive what native XDP sends back"
            )),
            Mode::Native => Some(format!(
                "{name}: its veth peer has no XDP program, and does not receive what native XDP sends \
                 back: denied queries and connections time out; mode auto or generic mends that"
            )),
            Mode::Generic | Mode::Tc => None,
        }
    };
    deaf.filter_map(note).collect()
}
