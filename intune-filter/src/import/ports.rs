//! Parses ports as lists write them: numbers and ranges, with words of protocols or without.

use intune_filter_ebpf::abi::TransportProtocol;

use crate::ports::{PortRange, Ports, protocols};

/// Parses numbers and ranges with commas between and blanks anywhere around them. An empty text has
/// none: what that means is the caller's.
///
/// # Errors
/// Something is neither; the message names it.
pub(super) fn numbers(text: &str) -> Result<Vec<PortRange>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split([',', ';']).map(range).collect()
}

fn range(text: &str) -> Result<PortRange, String> {
    let text: String = match text.split_once('-') {
        Some((first, last)) => format!("{}-{}", first.trim(), last.trim()),
        None => text.trim().to_owned(),
    };
    text.parse().map_err(|error| format!("{error}"))
}

/// Parses ports with the words of their protocols, such as `TCP: 80, 443 UDP: 123`,
/// `TCP, UDP/5228-5230` or, where `protocol` says which, `443`.
///
/// # Errors
/// A word is neither a protocol nor a port, or a port has no protocol.
pub(super) fn with_words(text: &str, protocol: &str) -> Result<Ports, String> {
    let given = words(protocol)?;
    let mut ports = Ports::default();
    let mut named: Vec<TransportProtocol> = given;
    // Whether the next word of a protocol joins those before it.
    let mut joins = false;
    for token in tokens(text) {
        if let Some(word) = word(&token) {
            if !joins {
                named.clear();
            }
            named.push(word);
            joins = true;
            continue;
        }
        if matches!(token.to_ascii_lowercase().as_str(), "and" | "or") {
            continue;
        }
        joins = false;
        let port = range(&token)?;
        if named.is_empty() {
            return Err(format!("port {port} of no protocol, expected {}", protocols(" or ")));
        }
        for protocol in &named {
            if !ports[*protocol].contains(&port) {
                ports[*protocol].push(port);
            }
        }
    }
    Ok(ports)
}

/// Splits a text into words of protocols and ports, and closes up ranges with blanks.
fn tokens(text: &str) -> Vec<String> {
    let closed = text.split('-').map(str::trim).collect::<Vec<_>>().join("-");
    closed
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '/' | '*' | '&' | '+'))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

fn word(token: &str) -> Option<TransportProtocol> {
    TransportProtocol::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(token))
}

/// Parses a column of protocols, such as `TCP` or `TCP, UDP`.
fn words(text: &str) -> Result<Vec<TransportProtocol>, String> {
    tokens(text)
        .iter()
        .filter(|token| !matches!(token.to_ascii_lowercase().as_str(), "and" | "or"))
        .map(|token| {
            let error = || format!("unknown protocol {token:?}, expected {}", protocols(" or "));
            word(token).ok_or_else(error)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{numbers, with_words};
    use intune_filter_ebpf::abi::TransportProtocol::{Tcp, Udp};

    fn text(ranges: &[crate::ports::PortRange]) -> String {
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_and_ranges_are_read() {
        for (written, read) in [
            ("443", "443"),
            ("80,443", "80 443"),
            ("443, 80, 3544, 7680", "443 80 3544 7680"),
            ("5228-5230", "5228-5230"),
            (" 5228 - 5230 ; 443", "5228-5230 443"),
            ("", ""),
            ("  ", ""),
        ] {
            assert_eq!(
                numbers(written).map(|ports| text(&ports)),
                Ok(read.to_owned()),
                "{written}"
            );
        }
        for written in ["0", "80,,443", "80,", "443-80", "65536", "any", "*", "80 443", "SSH"] {
            assert!(numbers(written).is_err(), "{written}");
        }
    }

    #[test]
    fn words_give_each_port_its_protocols() {
        for (written, protocol, tcp, udp) in [
            ("**TCP:** 80, 443", "", "80 443", ""),
            ("TCP: 80, 443 UDP: 123", "", "80 443", "123"),
            ("TCP/443", "", "443", ""),
            ("TCP, UDP/5228-5230", "", "5228-5230", "5228-5230"),
            ("TCP and UDP: 443 TCP: 80", "", "443 80", "443"),
            ("53", "UDP", "", "53"),
            ("443, 80", "TCP, UDP", "443 80", "443 80"),
            ("", "TCP", "", ""),
        ] {
            let ports = with_words(written, protocol).unwrap();
            assert_eq!(
                (text(&ports[Tcp]), text(&ports[Udp])),
                (tcp.into(), udp.into()),
                "{written}"
            );
        }
        for (written, protocol) in
            [("443", ""), ("HTTPS", ""), ("TCP: any", ""), ("443", "SCTP"), ("TCP: 0", "")]
        {
            assert!(with_words(written, protocol).is_err(), "{written} {protocol}");
        }
    }
}
