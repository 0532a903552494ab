//! Reads the facts of the documents: what each prints, with section and ports.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use intune_filter::ports::PortRange;

/// Ports as a document gives them; none where it gives none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub tcp: Vec<PortRange>,
    pub udp: Vec<PortRange>,
    /// Every port of both protocols.
    pub any: bool,
}

impl Ports {
    fn read(tcp: &str, udp: &str) -> Self {
        if tcp == "any" {
            return Self { any: true, ..Self::default() };
        }
        let read = |text: &str| -> Vec<PortRange> {
            text.split_whitespace().map(|range| range.parse().unwrap()).collect()
        };
        Self { tcp: read(tcp), udp: read(udp), any: false }
    }

    /// Whether the document gives no ports, so that a name is enough.
    pub fn is_unsaid(&self) -> bool {
        self.tcp.is_empty() && self.udp.is_empty() && !self.any
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, ranges) in [("tcp", &self.tcp), ("udp", &self.udp)] {
            if !ranges.is_empty() {
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                write!(f, " {word} {}", ranges.join(","))?;
            }
        }
        if self.any { f.write_str(" any port") } else { Ok(()) }
    }
}

/// What a document prints.
pub struct Row {
    /// Id of the document among the sources of the edition.
    pub source: String,
    pub section: String,
    /// Name, pattern, template or prefix in lower case, or words in parentheses.
    pub address: String,
    pub ports: Ports,
}

/// Reads every row of every document.
pub fn rows() -> Vec<Row> {
    let directory = path("rows");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let of_file = |file: PathBuf| {
        let source = file.file_stem().unwrap().to_str().unwrap().to_owned();
        records(&fs::read_to_string(file).unwrap()).into_iter().map(move |record| {
            let [section, address, tcp, udp] = &record[..] else { panic!("{source}: {record:?}") };
            let (section, address) = (section.clone(), address.clone());
            Row { source: source.clone(), section, address, ports: Ports::read(tcp, udp) }
        })
    };
    files.into_iter().flat_map(of_file).collect()
}

/// Requirement that edition 2023-09 denies by default.
pub struct Missing {
    pub scenario: String,
    pub service: String,
    pub need: String,
    pub address: String,
    pub ports: Ports,
}

/// Reads the requirements that edition 2023-09 denies by default.
pub fn missing() -> Vec<Missing> {
    let record = |record: Vec<String>| {
        let [scenario, service, need, address, tcp, udp] = record.try_into().unwrap();
        Missing { scenario, service, need, address, ports: Ports::read(&tcp, &udp) }
    };
    table("missing.csv").into_iter().map(record).collect()
}

/// Address of edition 2023-09 that the documents no longer have, or have elsewhere.
pub struct Retired {
    pub address: String,
    pub status: String,
}

/// Reads the addresses of edition 2023-09 that the documents no longer have.
pub fn retired() -> Vec<Retired> {
    let record = |record: Vec<String>| {
        let [_, address, status, _] = record.try_into().unwrap();
        Retired { address, status }
    };
    table("retired.csv").into_iter().map(record).collect()
}

/// Decision on an address that is neither current nor retired, in each cloud.
pub struct Decision {
    /// Status in the edition by cloud; none where the edition has it not.
    pub status: BTreeMap<String, String>,
    /// Services that have it.
    pub services: Vec<String>,
}

/// Reads the decisions by address.
pub fn decisions() -> BTreeMap<String, Decision> {
    let record = |record: Vec<String>| {
        let [address, worldwide, us_government, china, services] = record.try_into().unwrap();
        let clouds = [("worldwide", worldwide), ("us-government", us_government), ("china", china)];
        let status = clouds.map(|(cloud, status)| (cloud.to_owned(), status));
        let services = services.split_whitespace().map(ToOwned::to_owned).collect();
        (address, Decision { status: BTreeMap::from(status), services })
    };
    table("decisions.csv").into_iter().map(record).collect()
}

/// Names whose ports the documents of 2026 have narrowed.
pub struct Narrowed {
    pub service: String,
    pub addresses: Vec<String>,
    pub tcp: Vec<PortRange>,
}

/// Reads what the documents of 2026 have narrowed.
pub fn narrowed() -> Vec<Narrowed> {
    let record = |record: Vec<String>| {
        let [service, addresses, tcp] = record.try_into().unwrap();
        let addresses = addresses.split_whitespace().map(ToOwned::to_owned).collect();
        Narrowed { service, addresses, tcp: Ports::read(&tcp, "").tcp }
    };
    table("narrowed.csv").into_iter().map(record).collect()
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/coverage", name].iter().collect()
}

fn table(name: &str) -> Vec<Vec<String>> {
    records(&fs::read_to_string(path(name)).unwrap())
}

/// Splits a text into records. The first line says where it comes from, the second is the header.
fn records(text: &str) -> Vec<Vec<String>> {
    assert!(text.starts_with("# "), "no source: {text:.40}");
    let records = text.lines().skip(2);
    records.map(|line| line.split(',').map(ToOwned::to_owned).collect()).collect()
}
