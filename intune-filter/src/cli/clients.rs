//! Implements `clients`: lists each client that has a flow or a denial.
//!
//! Flows are the live ones in the kernel's tables. Denials are those that were reported to the
//! daemon since its start; without a daemon they are unknown.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    flows, output,
};
use crate::{
    config::Paths,
    control::{self, DeniedClients, Request},
    events::{Traffic, ZoneName, denial_stats::Denials},
    report::{Client, LastDenied, LiveFlow},
};

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let paths = context::paths(global);
    let clients = join(&flows::live(&paths)?, denials(&paths)?, Timestamp::now());
    let text = if global.json {
        output::json(&clients)?
    } else if clients.is_empty() {
        "no client has a flow or was denied anything\n".to_owned()
    } else {
        let rows: Vec<[String; 10]> = clients.iter().map(row).collect();
        output::table(
            [
                "CLIENT",
                "ON",
                "GROUP",
                "FLOWS",
                "PACKETS",
                "OUT",
                "IN",
                "DENIED",
                "LAST SEEN",
                "LAST DENIAL",
            ],
            &rows,
        )
    };
    Ok((ExitStatus::Yes, text))
}

/// Asks the daemon for the denials; `None` if no daemon runs.
fn denials(paths: &Paths) -> anyhow::Result<Option<Vec<Denials>>> {
    let Some(daemon) = control::Client::connect_if_allowed(&paths.runtime_dir)? else {
        return Ok(None);
    };
    let denied: DeniedClients = daemon.ask(&Request::Clients {}, context::REPLY_TIMEOUT)?;
    Ok(Some(denied.clients))
}

fn join(flows: &[LiveFlow], denials: Option<Vec<Denials>>, now: Timestamp) -> Vec<Client> {
    let counted = denials.is_some().then_some(0);
    let new = |client: IpAddr, place: &ZoneName, group: &Option<String>, last_seen_s| Client {
        client,
        place: place.clone(),
        group: group.clone(),
        flows: 0,
        traffic: Traffic::default(),
        denied: counted,
        audited: counted,
        last_seen_s,
        last_denied: None,
    };
    let mut clients: BTreeMap<(IpAddr, Option<String>, u16), Client> = BTreeMap::new();
    for LiveFlow { flow, traffic, idle_s, .. } in flows {
        let key = (flow.client, flow.place.interface.clone(), flow.place.vlan);
        let client = clients
            .entry(key)
            .or_insert_with(|| new(flow.client, &flow.place, &flow.group, *idle_s));
        client.flows += 1;
        client.traffic += *traffic;
        client.last_seen_s = client.last_seen_s.min(*idle_s);
    }
    for one in denials.into_iter().flatten() {
        let ago_s = u64::try_from(now.duration_since(one.last).as_secs()).unwrap_or_default();
        let key = (one.client, one.place.interface.clone(), one.place.vlan);
        let client =
            clients.entry(key).or_insert_with(|| new(one.client, &one.place, &one.group, ago_s));
        client.denied = Some(one.denied);
        client.audited = Some(one.audited);
        client.last_seen_s = client.last_seen_s.min(ago_s);
        client.last_denied = Some(LastDenied {
            reason: one.reason,
            destination: one.destination,
            port: one.port,
            protocol: one.protocol,
            name: one.name,
            ago_s,
        });
    }
    clients.into_values().collect()
}

fn row(client: &Client) -> [String; 10] {
    let denial = client.last_denied.as_ref().map(|denied| {
        let destination = denied.destination.map_or_else(String::new, |to| match denied.port {
            Some(port) => format!(" {}", std::net::SocketAddr::new(to, port)),
            None => format!(" {to}"),
        });
        format!("{}{destination}, {} ago", denied.reason, output::seconds(denied.ago_s))
    });
    let Traffic { packets_out, bytes_out, packets_in, bytes_in } = client.traffic;
    [
        client.client.to_string(),
        client.place.to_string(),
        client.group.clone().unwrap_or_else(|| "-".into()),
        client.flows.to_string(),
        (packets_out + packets_in).to_string(),
        output::octets(bytes_out),
        output::octets(bytes_in),
        client.denied.map_or_else(|| "?".into(), |denied| denied.to_string()),
        format!("{} ago", output::seconds(client.last_seen_s)),
        denial.unwrap_or_else(|| "-".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Flow;

    fn place(vlan: u16) -> ZoneName {
        ZoneName { interface: Some("eth1".into()), vlan }
    }

    fn live(client: &str, vlan: u16, idle_s: u64) -> LiveFlow {
        let flow = Flow {
            client: client.parse().unwrap(),
            client_port: 1,
            destination: "192.0.2.1".parse().unwrap(),
            protocol: "tcp".into(),
            port: Some(443),
            name: None,
            service: None,
            group: Some("devices".into()),
            audited: false,
            inbound: false,
            place: place(vlan),
        };
        let traffic = Traffic { packets_out: 1, bytes_out: 10, packets_in: 2, bytes_in: 20 };
        LiveFlow { flow, state: "new", traffic, age_s: 100, idle_s }
    }

    #[test]
    fn flows_and_denials_of_a_client_are_put_together() {
        let now = Timestamp::from_second(1000).unwrap();
        let flows = [live("10.0.0.1", 0, 9), live("10.0.0.1", 0, 4), live("10.0.0.1", 20, 2)];
        let denials = ["10.0.0.1", "10.0.0.2"].map(|client| Denials {
            client: client.parse().unwrap(),
            place: place(0),
            group: None,
            denied: 5,
            audited: 1,
            last: Timestamp::from_second(994).unwrap(),
            reason: "port".into(),
            destination: Some("192.0.2.9".parse().unwrap()),
            port: Some(22),
            protocol: "tcp".into(),
            name: None,
        });
        let clients = join(&flows, Some(denials.into()), now);
        let told: Vec<_> = clients
            .iter()
            .map(|one| (one.client.to_string(), one.place.vlan, one.flows, one.denied))
            .collect();
        let client = |last: u8| format!("10.0.0.{last}");
        assert_eq!(
            told,
            [(client(1), 0, 2, Some(5)), (client(1), 20, 1, Some(0)), (client(2), 0, 0, Some(5))]
        );
        let seen: Vec<_> = clients.iter().map(|one| one.last_seen_s).collect();
        assert_eq!(seen, [4, 2, 6]);
        assert_eq!((clients[0].traffic.packets_in, clients[0].traffic.bytes_out), (4, 20));
        assert_eq!(row(&clients[2])[9], "port 192.0.2.9:22, 6 s ago");
        assert_eq!(join(&flows, None, now)[0].denied, None);
    }
}
