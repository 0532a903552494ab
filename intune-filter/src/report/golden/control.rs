//! Tests the lines of the control socket: another shape needs another version of the protocol.

use serde::Serialize;

use super::{
    change::{confirmed, full_change, full_preview, shown},
    compare,
    status::{full_daemon, sparse_daemon},
    values::{address, place, time},
};
use crate::{
    control::{
        DeniedClients, EventsFollow, NamesTable, NothingFiltered, Reply, Request, reply_of, to_line,
    },
    events::{EventFilter, Kind, denial_stats::Denials},
    names::{Names, SavedNames},
    system::clock::Clocks,
};

/// Converts a message to JSON without the sender's release, which changes with each release.
fn line(message: &impl Serialize) -> serde_json::Value {
    let line = to_line(message).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let release = value.as_object_mut().unwrap().remove("release");
    assert_eq!(release, Some(env!("CARGO_PKG_VERSION").into()));
    value
}

#[test]
fn requests() {
    let (file, text) = ("/etc/intune-filter/new.yaml".to_owned(), "interfaces: []\n".to_owned());
    let filter = EventFilter {
        kinds: [Kind::Denied, Kind::Learned, Kind::Flows].into(),
        clients: vec!["10.20.0.0/24".parse().unwrap()],
        reasons: ["port".to_owned()].into(),
    };
    let requests = [
        Request::Status {},
        Request::Names {},
        Request::Apply {
            file: file.clone(),
            text: text.clone(),
            confirm_s: Some(60),
            dry_run: true,
        },
        Request::Apply { file, text, confirm_s: None, dry_run: false },
        Request::Reload {},
        Request::Configuration {},
        Request::Confirm {},
        Request::Clients {},
        Request::Events { filter, last: 9, follow: true },
        Request::Events { filter: EventFilter::default(), last: usize::MAX, follow: false },
        Request::Detach {},
    ];
    compare("control-requests", &requests.each_ref().map(line));
    for request in requests {
        let line = to_line(&request).unwrap();
        assert_eq!(crate::control::request_of(&line), Ok(request));
    }
}

#[test]
fn replies() {
    let mut names = Names::default();
    names.learn("a.example", address("192.0.2.1"), ["web/main".to_owned()], 1 << 40);
    let table = SavedNames::new(&names, Clocks { boot: 0, wall: 5_000_000 });
    let denials = Denials {
        client: address("10.20.0.10"),
        place: place(),
        group: Some("devices".into()),
        denied: 5,
        audited: 1,
        last: time(),
        reason: "port".into(),
        destination: Some(address("192.0.2.9")),
        port: Some(22),
        protocol: "tcp".into(),
        name: Some("a.example".into()),
    };
    let bare =
        Denials { group: None, destination: None, port: None, name: None, ..denials.clone() };
    let replies = [
        Reply::Error { error: "a.yaml:3: dns: missing".into(), invalid: true },
        Reply::Status(Box::new(full_daemon())),
        Reply::Status(Box::new(sparse_daemon())),
        Reply::Names(NamesTable { table }),
        Reply::Changed(full_change()),
        Reply::Preview(full_preview()),
        Reply::Configuration(Box::new(shown())),
        Reply::Confirmed(confirmed()),
        Reply::Clients(DeniedClients { clients: vec![denials, bare] }),
        Reply::Events(EventsFollow {}),
        Reply::Detached(NothingFiltered {}),
    ];
    compare("control-replies", &replies.each_ref().map(line));
    for reply in replies {
        let line = String::from_utf8(to_line(&reply).unwrap()).unwrap();
        assert_eq!(reply_of(&line).unwrap(), reply);
    }
}
