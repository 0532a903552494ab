//! iptables with ipset and the same policy: known connections first, then a rule for each class of
//! ports and each of its sets.

use std::{collections::BTreeSet, fmt::Write as _, process::Command};

use anyhow::{Context as _, Result};
use intune_filter::ports::PortRange;

use super::{
    classes::{self, Class},
    conntrack,
    opponent::Opponent,
    site::{CLIENTS, Site},
    wiring::Wiring,
};
use intune_filter_tests::{directory::Directory, namespace::run, network::LAN};

/// Ports that one rule takes at most, of which a range counts for two.
const PORTS: usize = 15;

/// The rules in force.
pub struct Ipset;

impl Ipset {
    /// The version of iptables and what it is built on; an error says why it cannot be had.
    pub fn version() -> Result<String> {
        run(Command::new("ipset").arg("--version")).context("ipset does not run")?;
        run(Command::new("ip6tables").arg("--version")).context("ip6tables does not run")?;
        run(Command::new("iptables").arg("--version")).context("iptables does not run")
    }

    /// Loads the rules.
    pub fn start(wiring: &Wiring, directory: &Directory, site: &Site) -> Result<Self> {
        conntrack::trust_checksums(&wiring.network.gateway)?;
        let classes = classes::of(site);
        let path = directory.write("sets", &sets(&classes))?;
        run(wiring.command("ipset").arg("-file").arg(path).arg("restore"))
            .context("cannot make sets: the kernel may lack ip_set")?;
        for (family, program) in [(0, "iptables-restore"), (1, "ip6tables-restore")] {
            let path = directory.write(program, &rules(&classes, family))?;
            run(wiring.command(program).arg(path))
                .context("cannot load rules: the kernel may lack xt_set or xt_conntrack")?;
        }
        Ok(Self)
    }
}

impl Opponent for Ipset {
    fn forget(&self, wiring: &Wiring) -> Result<()> {
        conntrack::forget(&wiring.network.gateway)
    }
}

fn sets(classes: &[Class]) -> String {
    let mut text = String::new();
    for (number, class) in classes.iter().enumerate() {
        for (family, name) in [(0, "inet"), (1, "inet6")] {
            let _ = writeln!(text, "create networks{family}_{number} hash:net family {name}");
            for network in &class.networks[family] {
                let _ = writeln!(text, "add networks{family}_{number} {network}");
            }
            let _ = writeln!(text, "create learned{family}_{number} hash:ip family {name}");
            for address in &class.learned[family] {
                let _ = writeln!(text, "add learned{family}_{number} {address}");
            }
        }
    }
    text
}

fn rules(classes: &[Class], family: usize) -> String {
    let mut text = format!(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:CLIENTS - [0:0]\n\
         -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
         -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A FORWARD -i {LAN} -s {} -j CLIENTS\n",
        CLIENTS[family]
    );
    for (number, class) in classes.iter().enumerate() {
        for (protocol, ports) in [("tcp", &class.tcp), ("udp", &class.udp)] {
            for ports in groups(ports) {
                for set in ["networks", "learned"] {
                    let _ = writeln!(
                        text,
                        "-A CLIENTS -p {protocol} -m multiport --dports {ports} -m set --match-set \
                         {set}{family}_{number} dst -j ACCEPT"
                    );
                }
            }
        }
    }
    text.push_str("COMMIT\n");
    text
}

/// Groups of ports as the match takes them.
fn groups(ports: &[PortRange]) -> Vec<String> {
    let mut groups = Vec::new();
    let (mut group, mut length) = (BTreeSet::new(), 0);
    for range in ports {
        let takes = if range.first() == range.last() { 1 } else { 2 };
        if length + takes > PORTS {
            groups.push(std::mem::take(&mut group));
            length = 0;
        }
        group.insert(range.to_string().replace('-', ":"));
        length += takes;
    }
    groups.push(group);
    groups.retain(|group| !group.is_empty());
    groups.into_iter().map(|group| Vec::from_iter(group).join(",")).collect()
}
