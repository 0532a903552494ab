//! Lists public servers of DNS over HTTPS, and those that operating systems and browsers know.
//! Queries for their names are attempts to bypass the resolvers, and are counted as such.
//!
//! Such a server is a web server like any other, and can have any name. The list makes attempts
//! visible; clients are kept out since no service has the servers' addresses.

/// Names of the servers in lower case and in order; names below them count too. From the list in
/// Chromium (`net/dns/public/doh_provider_entry.cc`), Firefox's and Windows' defaults, and the
/// operators' own pages.
pub const NAMES: &[&str] = &[
    "adguard-dns.com",
    "anycast.uncensoreddns.org",
    "blitz.ahadns.com",
    "canadianshield.cira.ca",
    "child-noads.joindns4.eu",
    "child.joindns4.eu",
    "cloudflare-dns.com",
    "cloudflare-gateway.com",
    "dns-family.adguard.com",
    "dns-unfiltered.adguard.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.cloudflare.com",
    "dns.comss.one",
    "dns.controld.com",
    "dns.digitale-gesellschaft.ch",
    "dns.google",
    "dns.google.com",
    "dns.levonet.sk",
    "dns.mullvad.net",
    "dns.nextdns.io",
    "dns.quad9.net",
    "dns.switch.ch",
    "dns.twnic.tw",
    "dns.umbrella.com",
    "dns0.eu",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns12.quad9.net",
    "dns9.quad9.net",
    "doh-01.spectrum.com",
    "doh-02.spectrum.com",
    "doh.360.cn",
    "doh.cleanbrowsing.org",
    "doh.cox.net",
    "doh.dns.apple.com",
    "doh.dns.sb",
    "doh.familyshield.opendns.com",
    "doh.libredns.gr",
    "doh.mullvad.net",
    "doh.opendns.com",
    "doh.pub",
    "doh.quickline.ch",
    "doh.sandbox.opendns.com",
    "doh.tiar.app",
    "doh.umbrella.com",
    "doh.xfinity.com",
    "freedns.controld.com",
    "noads.joindns4.eu",
    "odvr.nic.cz",
    "one.one.one.one",
    "ordns.he.net",
    "protective.joindns4.eu",
    "public.dns.iij.jp",
    "unfiltered.joindns4.eu",
    "unicast.uncensoreddns.org",
    "wikimedia-dns.org",
];

/// Whether a name is that of a server, or below one.
#[must_use]
pub fn has(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    NAMES.iter().any(|known| {
        name.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Catalogue,
        config::Config,
        pattern::Pattern,
        policy::{RuleBits, compile},
    };

    #[test]
    fn names_are_legal_and_in_order_and_none_is_below_another() {
        assert!(NAMES.is_sorted_by(|a, b| a < b));
        for name in NAMES {
            let pattern: Pattern = name.parse().unwrap();
            assert_eq!(pattern.names(), [*name]);
            let above = NAMES.iter().filter(|other| name.ends_with(&format!(".{other}")));
            assert_eq!(above.count(), 0, "{name}");
        }
    }

    #[test]
    fn a_name_is_one_of_theirs_by_whole_labels() {
        for name in ["dns.google", "DNS.Google.", "chrome.cloudflare-dns.com", "a.b.dns.nextdns.io"]
        {
            assert!(has(name), "{name}");
        }
        for name in ["google", "xdns.google", "dns.google.example", "nextdns.io", ""] {
            assert!(!has(name), "{name}");
        }
    }

    #[test]
    fn no_service_of_the_catalogue_has_one() {
        let config = "interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24], services: [all]}]
dns: {resolvers: [10.0.0.1]}
";
        let config = Config::parse("test", config).unwrap();
        let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap();
        for name in NAMES {
            assert!(policy.rules_of_name(name).is_empty(), "{name}");
        }
    }
}
