//! nftables with the same policy: known connections first, then ports in verdict maps, networks and
//! learned addresses in sets.

use std::fmt::{Display, Write as _};

use anyhow::Result;
use intune_filter::ports::PortRange;

use super::{
    classes::{self, Class},
    conntrack,
    opponent::Opponent,
    site::{CLIENTS, Site},
    wiring::Wiring,
};
use intune_filter_tests::{directory::Directory, namespace::run, network::LAN};

/// The ruleset in force.
pub struct Nftables;

impl Nftables {
    /// Loads the ruleset.
    pub fn start(wiring: &Wiring, directory: &Directory, site: &Site) -> Result<Self> {
        conntrack::trust_checksums(&wiring.network.gateway)?;
        let path = directory.write("rules.nft", &ruleset(&classes::of(site)))?;
        run(wiring.command("nft").arg("-f").arg(path))?;
        Ok(Self)
    }
}

impl Opponent for Nftables {
    fn forget(&self, wiring: &Wiring) -> Result<()> {
        conntrack::forget(&wiring.network.gateway)
    }
}

fn ruleset(classes: &[Class]) -> String {
    let [clients4, clients6] = CLIENTS;
    let mut text = "table inet filter {\n".to_owned();
    for (number, class) in classes.iter().enumerate() {
        for (family, kind) in [(0, "ipv4_addr"), (1, "ipv6_addr")] {
            let name = ["4", "6"][family];
            set(
                &mut text,
                &format!("networks{name}_{number}"),
                kind,
                true,
                &class.networks[family],
            );
            set(&mut text, &format!("learned{name}_{number}"), kind, false, &class.learned[family]);
        }
    }
    ports(&mut text, "tcp_ports", classes, |class| &class.tcp);
    ports(&mut text, "udp_ports", classes, |class| &class.udp);
    for number in 0..classes.len() {
        let _ = writeln!(
            text,
            "chain class_{number} {{\n\
             ip daddr @networks4_{number} accept\n\
             ip daddr @learned4_{number} accept\n\
             ip6 daddr @networks6_{number} accept\n\
             ip6 daddr @learned6_{number} accept\n}}"
        );
    }
    let _ = writeln!(
        text,
        "chain clients {{\n\
         ip saddr != {clients4} drop\n\
         ip6 saddr != {clients6} drop\n\
         tcp dport vmap @tcp_ports\n\
         udp dport vmap @udp_ports\n}}\n\
         chain forward {{\n\
         type filter hook forward priority filter; policy drop;\n\
         ct state vmap {{ established : accept, related : accept, invalid : drop }}\n\
         iif {LAN} jump clients\n}}\n}}"
    );
    text
}

fn set<T: Display>(text: &mut String, name: &str, kind: &str, ranges: bool, elements: &[T]) {
    let _ = writeln!(text, "set {name} {{\ntype {kind}");
    if ranges {
        text.push_str("flags interval\n");
    }
    list(text, elements.iter().map(T::to_string));
}

fn ports(text: &mut String, name: &str, classes: &[Class], of: impl Fn(&Class) -> &Vec<PortRange>) {
    let _ = writeln!(text, "map {name} {{\ntype inet_service : verdict\nflags interval");
    let elements = classes.iter().enumerate().flat_map(|(number, class)| {
        of(class).iter().map(move |range| format!("{range} : jump class_{number}"))
    });
    list(text, elements);
}

fn list(text: &mut String, elements: impl Iterator<Item = String>) {
    let elements: Vec<String> = elements.collect();
    if !elements.is_empty() {
        let _ = writeln!(text, "elements = {{ {} }}", elements.join(", "));
    }
    text.push_str("}\n");
}
