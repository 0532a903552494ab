//! Parses one destination as lists write it: a name, a pattern, a template, an address, a prefix.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::pattern::Pattern;

/// Placeholders of the site's own values, as lists write them and as a catalogue does, with a value
/// to try a template by.
const PLACEHOLDERS: [(&str, &str, &str); 3] = [
    ("domain", "{domain}", "site.example"),
    ("site-domain", "{domain}", "site.example"),
    ("country", "{country}", "de"),
];

/// Brackets around a placeholder.
const BRACKETS: [(char, char); 3] = [('<', '>'), ('[', ']'), ('{', '}')];

/// Destination of an imported entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// Name or pattern, or a template of one with `{domain}` or `{country}`.
    Name(String),
    /// Prefix; an address is one of full length.
    Network(IpNet),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Destination {
    /// Parses a destination. Quotes around it, and a scheme before a name without a path, are taken
    /// off: documents print some hosts as addresses of pages.
    ///
    /// # Errors
    /// The text is no destination; the message says why.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_matches(['"', '\'', '`']).trim();
        if let Some(network) = network(text)? {
            return Ok(Self::Network(network));
        }
        let bare = without_scheme(text)?;
        let (template, tried) = fill(bare)?;
        let pattern: Pattern = tried.parse().map_err(|error| format!("{error}"))?;
        Ok(Self::Name(if template == bare.to_ascii_lowercase() && !template.contains('{') {
            pattern.as_str().to_owned()
        } else {
            template
        }))
    }
}

/// Parses an address or prefix; `None` for what does not look like one.
fn network(text: &str) -> Result<Option<IpNet>, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Some(address.into()));
    }
    let Some((address, _)) = text.split_once('/') else { return Ok(None) };
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    if !address.contains(':') && !digits(address) || text.contains("://") {
        return Ok(None);
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| format!("bad prefix {text:?}, expected one such as 192.0.2.0/24"))?;
    if network != network.trunc() {
        return Err(format!("{network} has host bits set, expected {}", network.trunc()));
    }
    Ok(Some(network))
}

fn without_scheme(text: &str) -> Result<&str, String> {
    let lower = text.to_ascii_lowercase();
    let Some(scheme) = ["https://", "http://"].into_iter().find(|one| lower.starts_with(one))
    else {
        return Ok(text);
    };
    let rest = text.get(scheme.len()..).unwrap_or_default();
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains('/') {
        return Err(format!("{text:?} has a path, expected a host name alone"));
    }
    Ok(host)
}

/// Writes each placeholder of a name as a catalogue does; also returns the name with values in their
/// place, by which it can be judged.
fn fill(name: &str) -> Result<(String, String), String> {
    let (mut template, mut tried) = (name.to_ascii_lowercase(), name.to_ascii_lowercase());
    for (open, close) in BRACKETS {
        for (word, written, value) in PLACEHOLDERS {
            let placeholder = format!("{open}{word}{close}");
            tried = tried.replace(&placeholder, value);
            template = template.replace(&placeholder, written);
        }
    }
    match tried.find(['<', '[', '{']) {
        Some(_) => {
            Err(format!("unknown placeholder in {name:?}, expected {{domain}} or {{country}}"))
        }
        None => Ok((template, tried)),
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;

    #[test]
    fn destinations_are_read_as_lists_write_them() {
        for (text, expected) in [
            ("Login.Example", "login.example"),
            ("*.manage.example", "*.manage.example"),
            ("*cdn.onenote.net", "*cdn.onenote.net"),
            ("autodiscover.*.onmicrosoft.com", "autodiscover.*.onmicrosoft.com"),
            ("#-courier.push.example", "#-courier.push.example"),
            (" name.example. ", "name.example"),
            ("`name.example`", "name.example"),
            ("'https://intunemaape1.eus.attest.example'", "intunemaape1.eus.attest.example"),
            ("https://name.example/", "name.example"),
            ("EnterpriseEnrollment.<domain>", "enterpriseenrollment.{domain}"),
            ("accounts.google.[country]", "accounts.google.{country}"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(
                Destination::parse(text).map(|one| one.to_string()),
                Ok(expected.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for (text, words) in [
            ("", "empty"),
            ("192.0.2.1/24", "host bits set, expected 192.0.2.0/24"),
            ("2001:db8::1/32", "host bits"),
            ("2159.27.255.224/29", "bad prefix"),
            ("192.0.2.0/33", "bad prefix"),
            ("192.0.2.0/", "bad prefix"),
            ("10.0.0.256", "number"),
            ("swdc02-mscdn.manage.microsoft<.com", "placeholder"),
            ("storage.<tenant>.example", "placeholder"),
            ("https://name.example/path", "path"),
            ("name.example/path", "host name alone"),
            ("na me.example", "character"),
            ("(tunnel server)", "character"),
            (".example", "label is empty"),
            ("naïve.example", "ASCII"),
        ] {
            let error = Destination::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
