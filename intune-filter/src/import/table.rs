//! Reads tables as CSV: the web service's, and those of documents.
//!
//! Columns are known by their names, in any order and case; a cell of destinations may hold several,
//! with blanks, commas or `<br>` between. Without a header, columns are destination, port, protocol.

use csv::{ReaderBuilder, StringRecord, Trim};
use intune_filter_ebpf::abi::TransportProtocol;

use super::{
    gather::{Entry, Gathered},
    list::is_remark,
    ports,
};
use crate::ports::Ports;

/// Meaning of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// Destinations.
    Address,
    /// Ports of one protocol.
    Of(TransportProtocol),
    /// Ports with the words of their protocols.
    Ports,
    /// Protocols of the ports.
    Protocol,
    /// Section of the source.
    Section,
    /// Service area.
    Group,
    /// Title of the service area.
    Title,
    /// Whether the source requires it.
    Need,
    /// Says nothing about what to reach.
    Remark,
}

/// Names of columns in lower case, without anything but letters and digits.
const COLUMNS: &[(&str, Column)] = &[
    ("address", Column::Address),
    ("addresses", Column::Address),
    ("host", Column::Address),
    ("hosts", Column::Address),
    ("hostname", Column::Address),
    ("destinationhost", Column::Address),
    ("domain", Column::Address),
    ("domains", Column::Address),
    ("endpoint", Column::Address),
    ("endpoints", Column::Address),
    ("fqdn", Column::Address),
    ("fqdns", Column::Address),
    ("url", Column::Address),
    ("urls", Column::Address),
    ("ip", Column::Address),
    ("ips", Column::Address),
    ("cidr", Column::Address),
    ("subnet", Column::Address),
    ("subnets", Column::Address),
    ("cdn", Column::Address),
    ("tcp", Column::Of(TransportProtocol::Tcp)),
    ("tcpports", Column::Of(TransportProtocol::Tcp)),
    ("udp", Column::Of(TransportProtocol::Udp)),
    ("udpports", Column::Of(TransportProtocol::Udp)),
    ("port", Column::Ports),
    ("ports", Column::Ports),
    ("protocol", Column::Protocol),
    ("protocols", Column::Protocol),
    ("proto", Column::Protocol),
    ("id", Column::Section),
    ("section", Column::Section),
    ("table", Column::Section),
    ("servicearea", Column::Group),
    ("serviceareadisplayname", Column::Title),
    ("required", Column::Need),
    ("need", Column::Need),
    ("type", Column::Need),
];

/// Columns without a header: destination, port, protocol, and the table's number.
const HEADLESS: [Column; 4] = [Column::Address, Column::Ports, Column::Protocol, Column::Section];

/// Characters between cells, of which the first line has the one in use.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Columns of a table, and the number of the first line below its header.
struct Layout {
    columns: Vec<Column>,
    delimiter: u8,
    has_header: bool,
}

/// Whether a text is a table: it has a header, or lines of destination, port and protocol.
pub(super) fn is_table(text: &str) -> bool {
    layout(text).is_some()
}

fn layout(text: &str) -> Option<Layout> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_remark(line));
    let first = lines().next()?;
    DELIMITERS.into_iter().find_map(|delimiter| {
        let cells: Vec<&str> = first.split(char::from(delimiter)).collect();
        let named: Vec<Column> = cells.iter().map(|cell| column(cell)).collect();
        if named.contains(&Column::Address) {
            return Some(Layout { columns: named, delimiter, has_header: true });
        }
        let protocol = cells.get(2).map(|cell| unquoted(cell));
        let is_protocol = TransportProtocol::ALL
            .into_iter()
            .any(|one| protocol.is_some_and(|cell| cell.eq_ignore_ascii_case(one.as_str())));
        (is_protocol && (3..=HEADLESS.len()).contains(&cells.len())).then(|| Layout {
            columns: HEADLESS.into_iter().take(cells.len()).collect(),
            delimiter,
            has_header: false,
        })
    })
}

fn unquoted(cell: &str) -> &str {
    cell.trim().trim_matches('"').trim()
}

fn column(name: &str) -> Column {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let known = COLUMNS.iter().find(|(known, _)| *known == name);
    known.map_or(Column::Remark, |(_, column)| *column)
}

/// Reads the rows.
pub(super) fn read(text: &str, gathered: &mut Gathered) {
    let Some(layout) = layout(text) else {
        let message = "no header that names a column of destinations, such as address,tcpPorts,udpPorts, \
                       and no lines of destination, port, protocol";
        return gathered.fault("", message);
    };
    if text.matches('"').count() % 2 == 1 {
        return gathered.fault("", "an odd number of quotation marks, expected them in pairs");
    }
    // A quotation mark opens a cell only at its beginning, where some lists have a blank.
    let delimiter = char::from(layout.delimiter);
    let text = text.replace(&format!("{delimiter} \""), &format!("{delimiter}\""));
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(layout.delimiter)
        .from_reader(text.as_bytes());
    let mut below_header = !layout.has_header;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => return gathered.fault("", format!("{error}")),
        };
        let line = record.position().map_or(0, csv::Position::line);
        let first = record.get(0).unwrap_or_default();
        if record.iter().all(str::is_empty) || is_remark(first) {
            continue;
        }
        if !below_header {
            below_header = true;
            for (name, meaning) in record.iter().zip(&layout.columns) {
                if *meaning == Column::Remark {
                    gathered.passed_over.insert(format!("column {name:?}"));
                }
            }
            continue;
        }
        let at = format!("line {line}");
        match row(&record, &layout) {
            Ok(row) if row.addresses.is_empty() => {
                gathered.passed_over.insert(format!("{at}, which has a remark and no destination"));
            }
            Ok(row) => row.add(&at, gathered),
            Err(message) => gathered.fault(at, message),
        }
    }
}

/// Row of a table.
#[derive(Default)]
struct Row {
    addresses: Vec<String>,
    ports: Ports,
    group: String,
    title: String,
    section: String,
    is_optional: bool,
}

impl Row {
    fn add(self, at: &str, gathered: &mut Gathered) {
        for address in &self.addresses {
            gathered.add(Entry {
                group: &self.group,
                title: &self.title,
                address,
                ports: self.ports.clone(),
                section: self.section.clone(),
                is_optional: self.is_optional,
                at: at.to_owned(),
            });
        }
    }
}

fn row(record: &StringRecord, layout: &Layout) -> Result<Row, String> {
    let columns = &layout.columns;
    if record.len() != columns.len() {
        return Err(format!(
            "{} cells, expected {} as in the first line",
            record.len(),
            columns.len()
        ));
    }
    let cells = || columns.iter().copied().zip(record.iter());
    // Two stray quotation marks make one cell of whole rows.
    let delimiters = |line: &str| line.matches(char::from(layout.delimiter)).count() + 1;
    for (meaning, cell) in cells() {
        let is_swallowed = |line: &str| columns.len() > 1 && delimiters(line) >= columns.len();
        if meaning != Column::Address && cell.lines().skip(1).any(is_swallowed) {
            return Err("rows inside a cell, expected quotation marks around one cell".to_owned());
        }
    }
    let of = |wanted: Column| {
        cells().find(|(meaning, _)| *meaning == wanted).map(|(_, cell)| cell).unwrap_or_default()
    };
    let mut row = Row {
        group: of(Column::Group).to_owned(),
        title: of(Column::Title).to_owned(),
        section: of(Column::Section).to_owned(),
        ports: ports::with_words(&without_breaks(of(Column::Ports)), of(Column::Protocol))?,
        is_optional: is_optional(of(Column::Need)),
        ..Row::default()
    };
    for protocol in TransportProtocol::ALL {
        let more = ports::numbers(&without_breaks(of(Column::Of(protocol))))?;
        row.ports[protocol].extend(more);
    }
    for (meaning, cell) in cells() {
        if meaning == Column::Address {
            row.addresses.extend(addresses(cell));
        }
    }
    let is_remark =
        cells().any(|(meaning, cell)| meaning == Column::Address && cell.starts_with('('));
    if row.addresses.is_empty() && !is_remark {
        return Err("no destination, expected a name, address or prefix".to_owned());
    }
    Ok(row)
}

/// Whether a source's word says that something is not required.
fn is_optional(need: &str) -> bool {
    let need = need.to_ascii_lowercase();
    ["false", "no", "optional"].iter().any(|word| need.starts_with(word))
}

fn without_breaks(cell: &str) -> String {
    let mut text = cell.to_owned();
    for tag in ["<br>", "<br/>", "<br />", "<BR>", "<BR/>", "<BR />"] {
        text = text.replace(tag, " ");
    }
    text
}

/// Splits a cell into its destinations. Remarks in brackets are passed over.
fn addresses(cell: &str) -> Vec<String> {
    let mut rest = format!(" {}", without_breaks(cell));
    while let Some(open) = rest.find(" (") {
        let Some(length) = rest.get(open..).and_then(|text| text.find(')')) else { break };
        rest.replace_range(open..=open + length, " ");
    }
    rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
        .map(|text| text.trim_matches('`'))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}
