//! Reads the types that several files share: lists, text, numbers, addresses, names, ports.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    fields::{Fields, Findings, Place, Read, parsed, scalar},
    tree::Value,
};
use crate::{
    pattern::Pattern,
    ports::{PerProtocol, PortRange},
};

impl Fields<'_, '_> {
    /// The ports of each protocol under the key that is its word, as far as the file names them.
    pub(crate) fn ports(&mut self) -> PerProtocol<Option<Vec<PortRange>>> {
        PerProtocol::from_fn(|protocol| self.optional(protocol.as_str()))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::List(nodes) = &place.node.value else {
            return findings.expected(place, "a list");
        };
        let mut values = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let path = findings.at(node.line, || format!("{}[{index}]", place.path));
            // A refused element is left out: the file is refused anyway.
            values.extend(T::read(Place { node, path: &path }, findings));
        }
        Some(values)
    }
}

impl Read for String {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted } if *quoted || is_text(text) => Some(text.clone()),
            Value::Scalar { text, .. } if !text.is_empty() && !place.node.is_null() => findings
                .expected(place, &format!("text, which would be written in quotes: {text:?}")),
            _ => findings.expected(place, "text"),
        }
    }
}

/// Whether YAML's core schema reads an unquoted scalar as text.
fn is_text(plain: &str) -> bool {
    let special = matches!(
        plain,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
    );
    let digits = plain.trim_start_matches(['+', '-', '.']);
    let number = digits.starts_with(|c: char| c.is_ascii_digit()) && plain.parse::<f64>().is_ok()
        || plain.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).is_ok())
        || plain.strip_prefix("0o").is_some_and(|octal| u64::from_str_radix(octal, 8).is_ok());
    !special && !number && !matches!(digits, "inf" | "Inf" | "INF" | "nan" | "NaN" | "NAN")
}

impl Read for bool {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted: false } if text == "true" => Some(true),
            Value::Scalar { text, quoted: false } if text == "false" => Some(false),
            _ => findings.expected(place, "true or false"),
        }
    }
}

impl Read for u32 {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted: false } if text.bytes().all(|c| c.is_ascii_digit()) => {
                match text.parse() {
                    Ok(number) => Some(number),
                    Err(_) => findings.expected(place, "a whole number below 2^32"),
                }
            }
            _ => findings.expected(place, "a whole number"),
        }
    }
}

impl Read for Pattern {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        String::read(place, findings)?;
        parsed(place, findings, "a host name")
    }
}

impl Read for PortRange {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a port or a range such as 5228-5230")
    }
}

impl Read for IpAddr {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let what = "an address such as 10.20.0.1 or \"fd00:20::1\"";
        let text = scalar(place, findings, what)?;
        match text.parse::<Self>() {
            Ok(address) if address.to_canonical() != address => {
                findings.expected(place, &format!("the address as {}", address.to_canonical()))
            }
            Ok(address) => Some(address),
            Err(_) => findings.expected(place, what),
        }
    }
}

impl Read for IpNet {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let what = "a prefix such as 10.20.0.0/24 or \"fd00:20::/64\"";
        let text = scalar(place, findings, what)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            let whole = Self::from(address);
            return findings.expected(place, &format!("a prefix length: {whole} for one address"));
        }
        let Ok(network) = text.parse::<Self>() else { return findings.expected(place, what) };
        if network != network.trunc() {
            let message = format!("{network} has host bits set, expected {}", network.trunc());
            findings.report(place, message);
            return None;
        }
        if let Self::V6(v6) = network
            && v6.network().to_ipv4_mapped().is_some()
        {
            return findings.expected(place, "an IPv4 prefix in its own notation");
        }
        Some(network)
    }
}
