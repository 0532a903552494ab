//! Tests of importing: every form, every wrinkle that published files have, and damaged copies.

use proptest::prelude::*;

use super::{Form, Options, Source, read, write};
use crate::ports::Ports;
use intune_filter_ebpf::abi::TransportProtocol::Tcp;

const M365: &str = include_str!("fixtures/m365.json");
const M365_CSV: &str = include_str!("fixtures/m365.csv");
const TAGS: &str = include_str!("fixtures/service_tags.json");
const PAGE: &str = include_str!("fixtures/page.csv");
const HEADLESS: &str = include_str!("fixtures/headless.csv");
const LIST: &str = include_str!("fixtures/list.txt");

fn with_tcp(ports: &[&str]) -> Options {
    let mut all = Ports::default();
    all[Tcp] = ports.iter().map(|port| port.parse().unwrap()).collect();
    Options { ports: all, ..Options::default() }
}

fn source() -> Source {
    Source {
        id: "m365".to_owned(),
        title: "A list".to_owned(),
        date: Some("2026-08-14".parse().unwrap()),
        file: "list.json".to_owned(),
        sha256: "00".to_owned(),
    }
}

/// Lines of an import: service, ports, destination, section, need.
fn lines(octets: &[u8], options: &Options) -> Vec<String> {
    let gathered = read("file", octets, options).unwrap_or_else(|error| panic!("{error}"));
    let left = gathered.left;
    let accounted = gathered.written() + left.repeated + left.unasked + left.optional;
    assert_eq!(gathered.read, accounted, "every entry is accounted for");
    let mut lines = Vec::new();
    for group in &gathered.groups {
        for (ports, destinations) in &group.rules {
            let ports: Vec<String> = ports
                .iter()
                .zip(["tcp", "udp"])
                .flat_map(|(ranges, word)| {
                    ranges.iter().map(move |range| format!("{word}/{range}"))
                })
                .collect();
            for (destination, datum) in destinations {
                let optional = if datum.is_optional { " optional" } else { "" };
                let section = &datum.section;
                lines.push(format!(
                    "{} {} {destination} {section}{optional}",
                    group.id,
                    ports.join(",")
                ));
            }
        }
    }
    lines
}

fn faults(octets: &[u8], options: &Options) -> String {
    read("file", octets, options).expect_err("refused").to_string()
}

#[test]
fn the_web_services_json_is_read_with_its_wrinkles() {
    let read = lines(M365.as_bytes(), &Options::default());
    assert_eq!(
        read,
        [
            "exchange tcp/80,tcp/443 outlook.office.example 1",
            "exchange tcp/80,tcp/443 192.0.2.0/24 1",
            "exchange tcp/80,tcp/443 2001:db8::152/128 1",
            "exchange tcp/143,tcp/587,tcp/993 outlook.office.example 2 optional",
            "common tcp/443,udp/3478-3481 *cdn.onenote.example 26",
            "common tcp/443,udp/3478-3481 autodiscover.*.onmicrosoft.example 26",
        ]
    );
}

#[test]
fn the_web_services_csv_says_the_same_as_its_json() {
    assert_eq!(
        lines(M365_CSV.as_bytes(), &Options::default()),
        lines(M365.as_bytes(), &Options::default())
    );
}

#[test]
fn areas_and_need_select() {
    let options =
        Options { groups: vec!["exchange".to_owned()], required_only: true, ..Options::default() };
    let gathered = read("file", M365.as_bytes(), &options).unwrap();
    assert_eq!((gathered.written(), gathered.left.unasked, gathered.left.optional), (3, 3, 1));
    let options = Options { groups: vec!["MEM".to_owned()], ..Options::default() };
    assert_eq!(
        faults(M365.as_bytes(), &options),
        "file: nothing of \"MEM\" in it, expected one of: Common, Exchange"
    );
}

#[test]
fn service_tags_need_ports() {
    let expected = [
        "azurefrontdoor-microsoftsecurity tcp/443 192.0.2.0/25 AzureFrontDoor.MicrosoftSecurity-1",
        "azurefrontdoor-microsoftsecurity tcp/443 2001:db8:1::/48 AzureFrontDoor.MicrosoftSecurity-1",
    ];
    let mut options = with_tcp(&["443"]);
    options.groups = vec!["AzureFrontDoor.MicrosoftSecurity".to_owned()];
    assert_eq!(lines(TAGS.as_bytes(), &options), expected);
    options.ports = Ports::default();
    let error = faults(TAGS.as_bytes(), &options);
    assert!(
        error.starts_with(
            "file: tag AzureFrontDoor.MicrosoftSecurity, addressPrefixes[0]: 192.0.2.0/25 has no ports"
        ),
        "{error}"
    );
}

#[test]
fn a_documents_table_is_read() {
    assert_eq!(
        lines(PAGE.as_bytes(), &Options::default()),
        [
            " udp/123 time.example 165",
            " tcp/80,tcp/443 *.manage.example 163",
            " tcp/80,tcp/443 manage.example 163",
            " tcp/80,tcp/443 192.0.2.0/25 163",
            " tcp/80,tcp/443 198.51.100.0/24 163",
            " tcp/443 enterpriseenrollment.{domain} cname",
            " tcp/443 intunemaape1.eus.attest.example maa",
        ]
    );
    let gathered = read("file", PAGE.as_bytes(), &Options::default()).unwrap();
    assert!(
        gathered.passed_over.contains("line 7, which has a remark and no destination"),
        "{:?}",
        gathered.passed_over
    );
    assert_eq!(
        lines(HEADLESS.as_bytes(), &Options::default()),
        [" udp/53 192.0.2.53/32 9", " tcp/80,tcp/443 b.example 9", " tcp/443 a.example 9"]
    );
}

#[test]
fn a_plain_list_is_read() {
    let expected = [
        " tcp/443 #-courier.push.example ",
        " tcp/443 *.a.example ",
        " tcp/443 a.example ",
        " tcp/443 192.0.2.0/24 ",
        " tcp/443 2001:db8::1/128 ",
    ];
    let options = with_tcp(&["443"]);
    assert_eq!(lines(LIST.as_bytes(), &options), expected);
    let crlf = LIST.replace('\n', "\r\n");
    assert_eq!(lines(crlf.as_bytes(), &options), expected);
    let utf16: Vec<u8> =
        format!("\u{feff}{crlf}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(lines(&utf16, &options), expected);
}

#[test]
fn faults_have_a_position_and_are_told_together() {
    let list = b"a.example\n192.0.2.1/24\nb ad.example\n\n999.1.1.1\n";
    assert_eq!(
        faults(list, &with_tcp(&["443"])),
        "file: line 2: 192.0.2.1/24 has host bits set, expected 192.0.2.0/24\n\
         file: line 3: bad host name pattern \"b ad.example\": character ' ', expected letters, \
         digits, -, _, * and #\n\
         file: line 5: bad host name pattern \"999.1.1.1\": the last label is a number; an address \
         belongs under cidrs"
    );
    for (text, words) in [
        ("[]", "no name, address or prefix in it"),
        ("", "no name, address or prefix in it"),
        ("[{\"instance\": \"Worldwide\", \"latest\": \"2026081400\"}]", "missing field `id`"),
        (
            "[{\"id\": 5, \"urls\": [\"a.example\"], \"tcpPorts\": \"\"}]",
            "set 5, urls[0]: a.example has no ports; name them by --tcp or --udp",
        ),
        (
            "[{\"id\": 5, \"urls\": [\"a.example\", \"\"], \"tcpPorts\": \"443\"}]",
            "set 5, urls[1]: bad host name pattern \"\": it is empty",
        ),
        (
            "[{\"id\": 5, \"urls\": [\"a.example\"], \"tcpPorts\": \"0\"}]",
            "set 5, tcpPorts: port 0",
        ),
        ("[{\"id\": 5, \"urls\": \"a.example\", \"tcpPorts\": \"443\"}]", "line 1 column"),
        (
            "[{\"id\": 5, \"ips\": [], \"ips\": [\"192.0.2.1\"], \"tcpPorts\": \"443\"}]",
            "duplicate field",
        ),
        ("{\"changeNumber\": 1}", "missing field `values`"),
        ("host,tcpPorts\na.example,443,9", "line 2: 3 cells, expected 2"),
        ("host,tcpPorts\n,443", "line 2: no destination"),
        ("host,tcpPorts\na.example,any", "line 2: bad port \"any\""),
        ("host,tcpPorts,note\na.example,443,\"x\nb.example,443,\"y\n", "rows inside a cell"),
        ("host,ports\na.example,443", "line 2: port 443 of no protocol"),
        ("host,tcpPorts\na.example,\"443\nb.example,443", "odd number of quotation marks"),
    ] {
        let error = faults(text.as_bytes(), &Options::default());
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_is_written_names_its_source() {
    let gathered = read("file", M365.as_bytes(), &Options::default()).unwrap();
    let written = write(&gathered, &source());
    assert_eq!(written.services, ["m365-exchange", "m365-common"]);
    assert_eq!((written.rules, written.names, written.prefixes), (3, 4, 2));
    assert!(
        written
            .text
            .contains("{fqdn: \"outlook.office.example\", from: \"m365#2\", need: optional}"),
        "{}",
        written.text
    );
}

#[test]
fn names_among_strangers_are_told_and_marked() {
    let list =
        "*.blob.core.windows.net\nmine.blob.core.windows.net\n*.azureedge.net\n*.com\na.example\n";
    let gathered = read("file", list.as_bytes(), &with_tcp(&["443"])).unwrap();
    let written = write(&gathered, &source());
    assert_eq!(
        written.broad.keys().collect::<Vec<_>>(),
        ["*.azureedge.net", "*.blob.core.windows.net", "*.com"]
    );
    for line in [
        "{fqdn: \"*.com\", from: \"m365\", risk: over-broad}",
        "{fqdn: \"*.blob.core.windows.net\", from: \"m365\", risk: shared-storage}",
        "{fqdn: \"mine.blob.core.windows.net\", from: \"m365\", risk: shared-storage}",
        "{fqdn: \"*.azureedge.net\", from: \"m365\", risk: shared-cdn}",
        "{fqdn: \"a.example\", from: \"m365\"}",
    ] {
        assert!(written.text.contains(line), "{line}\n{}", written.text);
    }
}

proptest! {
    /// A damaged copy is refused, or read with every entry accounted for; it never ends the program.
    #[test]
    fn damaged_copies_are_refused_or_read(
        file in 0..6_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), 1..4),
    ) {
        let texts = [M365, M365_CSV, TAGS, PAGE, HEADLESS, LIST];
        let mut octets = texts[file].as_bytes().to_vec();
        for (at, kind, octet) in damage {
            if octets.is_empty() { break; }
            let at = at.index(octets.len());
            match kind {
                0 => octets[at] = octet,
                1 => { octets.remove(at); }
                2 => octets.insert(at, octet),
                3 => octets.truncate(at),
                _ => octets[at] ^= 1 << (octet % 8),
            }
        }
        for form in [None, Some(Form::M365), Some(Form::ServiceTags), Some(Form::Table), Some(Form::List)] {
            if let Ok(gathered) = read("file", &octets, &Options { form, ..with_tcp(&["443"]) }) {
                let left = gathered.left;
                let accounted = gathered.written() + left.repeated + left.unasked + left.optional;
                prop_assert_eq!(gathered.read, accounted);
                let _ = write(&gathered, &source());
            }
        }
    }
}
