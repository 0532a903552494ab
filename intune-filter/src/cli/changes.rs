//! Formats changes of the policy line by line for `apply`, `reload` and `config diff`.

use std::fmt::Write as _;

use crate::{
    config::OtherVlan,
    policy::{Difference, Grant, Leaf, Setting},
};

/// Lines of each kind printed for people.
const LINES: usize = 40;

/// Formats the traffic that opens and closes, changed settings, VLANs that are cut off, and the numbers
/// of ended flows and names.
pub(super) fn changes(
    difference: &Difference,
    denied_vlans: &[OtherVlan],
    flows_ended: usize,
    names_forgotten: usize,
) -> String {
    let mut text = String::new();
    add(&mut text, '+', &difference.opens, grant);
    add(&mut text, '-', &difference.closes, grant);
    add(&mut text, '~', &difference.settings, setting);
    add(&mut text, '!', denied_vlans, cut_off);
    if flows_ended + names_forgotten > 0 {
        let _ = writeln!(text, "{flows_ended} flows end, {names_forgotten} names are forgotten");
    }
    text
}

fn add<T>(text: &mut String, sign: char, all: &[T], line: fn(&T) -> String) {
    for one in all.iter().take(LINES) {
        let _ = writeln!(text, "{sign} {}", line(one));
    }
    if all.len() > LINES {
        let _ = writeln!(text, "{sign} and {} more (--json has all)", all.len() - LINES);
    }
}

fn grant(grant: &Grant) -> String {
    let clients = grant.clients.as_ref().map(|clients| format!(" ({clients})"));
    let mut text =
        format!("{}{} to {}", grant.group, clients.unwrap_or_default(), grant.destination);
    for (protocol, ports) in grant.ports.iter() {
        if !ports.is_empty() {
            let _ = write!(text, " {} {}", protocol.as_str(), ports.join(" "));
        }
    }
    text
}

/// Says whom the denial of a VLAN cuts off.
pub(super) fn cut_off(vlan: &OtherVlan) -> String {
    format!("{vlan} is denied: who manages the gateway by it is cut off")
}

fn setting(setting: &Setting) -> String {
    let text = |value: &Leaf| match value {
        Leaf::Nothing => "nothing".to_owned(),
        Leaf::Text(text) => text.clone(),
        other => other.to_string(),
    };
    let Setting { key, from, to } = setting;
    format!("{key}: {}, until now {}", text(to), text(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::PerProtocol;

    fn grant(group: &str, destination: &str) -> Grant {
        Grant {
            group: group.into(),
            clients: None,
            destination: destination.into(),
            ports: PerProtocol::default(),
        }
    }

    #[test]
    fn changes_are_told_line_by_line() {
        let difference = Difference {
            opens: vec![Grant {
                ports: serde_json::from_str(r#"{"tcp":["80","443"],"udp":["443"]}"#).unwrap(),
                ..grant("devices", "*.web.test")
            }],
            closes: vec![Grant {
                clients: Some("10.0.0.0/24 on lan".into()),
                ..grant("guests", "any")
            }],
            settings: vec![Setting {
                key: "region".into(),
                from: Leaf::Nothing,
                to: Leaf::Text("europe".into()),
            }],
        };
        let office = OtherVlan { interface: "eth1".into(), vlan: 30, device: "office".into() };
        assert_eq!(
            changes(&difference, &[office], 2, 1),
            "+ devices to *.web.test tcp 80 443 udp 443\n\
             - guests (10.0.0.0/24 on lan) to any\n\
             ~ region: europe, until now nothing\n\
             ! VLAN 30 on eth1 (device office) is denied: who manages the gateway by it is cut off\n\
             2 flows end, 1 names are forgotten\n"
        );
        let opens = vec![grant("g", "d"); LINES + 7];
        let many = changes(&Difference { opens, ..Difference::default() }, &[], 0, 0);
        assert_eq!(many.lines().count(), LINES + 1);
        assert!(many.ends_with("+ and 7 more (--json has all)\n"), "{many}");
    }
}
