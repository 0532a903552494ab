//! Finds patterns that match names of strangers: below a public suffix, or on a shared cloud.

use std::fmt;

use super::Pattern;

/// Why a pattern matches names of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broad<'a> {
    /// Every name.
    Everything,
    /// Anyone may register a name below the suffix.
    Public(&'a str),
    /// Anyone may rent a name on the storage.
    Storage(&'a str),
    /// Anyone may rent a name on the CDN or cloud.
    Shared(&'a str),
}

impl fmt::Display for Broad<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("it matches every name"),
            Self::Public(suffix) => write!(f, "anyone may register a name below {suffix}"),
            Self::Storage(suffix) | Self::Shared(suffix) => {
                write!(f, "anyone may have a name on {suffix}")
            }
        }
    }
}

/// Returns why a pattern matches names of strangers, if it does.
#[must_use]
pub fn broad(pattern: &Pattern) -> Option<Broad<'_>> {
    let text = pattern.as_str();
    let (_, after) = text.rsplit_once('*')?;
    let Some((_, suffix)) = after.split_once('.') else {
        // A name of one label is nobody's but the site's.
        let is_label = text.len() > 1 && !text.contains('.');
        return (!is_label).then_some(Broad::Everything);
    };
    if is_public(suffix) {
        return Some(Broad::Public(suffix));
    }
    let below = |name: &str, parent: &str| {
        name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    let holds =
        |clouds: &[&str]| clouds.iter().any(|cloud| suffix == *cloud || below(cloud, suffix));
    if holds(STORAGE) {
        return Some(Broad::Storage(suffix));
    }
    let is_shared = holds(FLAT) || holds(DEEP) || DEEP.iter().any(|cloud| below(suffix, cloud));
    is_shared.then_some(Broad::Shared(suffix))
}

/// Returns the kind of cloud that a name is on, if strangers have names there too: the names below
/// it of an account's own are not told apart.
#[must_use]
pub fn on_shared(name: &str) -> Option<Broad<'_>> {
    let parents = name.match_indices('.').map(|(at, _)| name.get(at + 1..).unwrap_or_default());
    let mut found = parents.filter_map(|parent| {
        let of = |list: &'static [&'static str]| list.contains(&parent);
        match of(STORAGE) {
            true => Some(Broad::Storage(parent)),
            false => (of(FLAT) || of(DEEP)).then_some(Broad::Shared(parent)),
        }
    });
    found.next()
}

/// Whether a suffix is one below which names are registered: a top-level domain, or a usual second
/// level below that of a country.
fn is_public(suffix: &str) -> bool {
    match suffix.split_once('.') {
        None => !OWN.contains(&suffix),
        Some((second, top)) => top.len() == 2 && SECOND.contains(&second),
    }
}

/// Top-level names that nobody registers: RFC 6761, RFC 8375, and what sites use.
const OWN: &[&str] = &[
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "private",
    "test",
];

/// Second levels under which countries register names.
const SECOND: &[&str] = &[
    "ac", "ad", "co", "com", "ed", "edu", "go", "gob", "gov", "gv", "id", "ind", "ltd", "me",
    "mil", "ne", "net", "nhs", "nom", "or", "org", "plc", "sch",
];

/// Storage on which an account's name is one label.
const STORAGE: &[&str] = &[
    "backblazeb2.com",
    "blob.core.chinacloudapi.cn",
    "blob.core.usgovcloudapi.net",
    "blob.core.windows.net",
    "dfs.core.windows.net",
    "digitaloceanspaces.com",
    "file.core.windows.net",
    "linodeobjects.com",
    "queue.core.windows.net",
    "r2.cloudflarestorage.com",
    "r2.dev",
    "storage.googleapis.com",
    "table.core.windows.net",
    "wasabisys.com",
];

/// Clouds and CDNs on which an account's name is one label.
const FLAT: &[&str] = &[
    "akadns.net",
    "akamai.net",
    "akamaiedge.net",
    "akamaihd.net",
    "akamaized.net",
    "amplifyapp.com",
    "appspot.com",
    "azure-api.net",
    "azure-devices.net",
    "azurecr.io",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "b-cdn.net",
    "blogspot.com",
    "cdn77.org",
    "cloudapp.net",
    "cloudflare.net",
    "cloudfront.net",
    "cloudfunctions.net",
    "communication.azure.com",
    "database.windows.net",
    "ddns.net",
    "duckdns.org",
    "edgecastcdn.net",
    "edgekey.net",
    "edgesuite.net",
    "fastly.net",
    "firebaseapp.com",
    "fly.dev",
    "freetls.fastly.net",
    "github.io",
    "githubusercontent.com",
    "gitlab.io",
    "glitch.me",
    "global.ssl.fastly.net",
    "googleusercontent.com",
    "herokuapp.com",
    "llnwd.net",
    "llnwi.net",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.app",
    "ngrok.io",
    "no-ip.org",
    "ondigitalocean.app",
    "onmicrosoft.com",
    "onrender.com",
    "pages.dev",
    "servicebus.windows.net",
    "service.signalr.net",
    "sharepoint.com",
    "surge.sh",
    "systemcdn.net",
    "trafficmanager.net",
    "trycloudflare.com",
    "v0cdn.net",
    "vault.azure.net",
    "vercel.app",
    "web.app",
    "webpubsub.azure.com",
    "wixsite.com",
    "wordpress.com",
    "workers.dev",
];

/// Clouds on which regions and zones stand between their name and an account's.
const DEEP: &[&str] = &[
    "aliyuncs.com",
    "amazonaws.com",
    "amazonaws.com.cn",
    "awsglobalaccelerator.com",
    "azurecontainerapps.io",
    "azurestaticapps.net",
    "cloudapp.azure.com",
    "elasticbeanstalk.com",
    "myqcloud.com",
    "oraclecloud.com",
    "run.app",
    "web.core.windows.net",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_names_are_found() {
        for (pattern, expected) in [
            ("*", Some(Broad::Everything)),
            ("*.*", Some(Broad::Everything)),
            ("a.*", Some(Broad::Everything)),
            ("printer*", None),
            ("*.com", Some(Broad::Public("com"))),
            ("*.*.com", Some(Broad::Public("com"))),
            ("a.*.com", Some(Broad::Public("com"))),
            ("*.co.uk", Some(Broad::Public("co.uk"))),
            ("*.azureedge.net", Some(Broad::Shared("azureedge.net"))),
            ("*.cloudfront.net", Some(Broad::Shared("cloudfront.net"))),
            ("*.blob.core.windows.net", Some(Broad::Storage("blob.core.windows.net"))),
            ("payload*.blob.core.windows.net", Some(Broad::Storage("blob.core.windows.net"))),
            ("*.core.windows.net", Some(Broad::Storage("core.windows.net"))),
            ("*.s3.eu-west-1.amazonaws.com", Some(Broad::Shared("s3.eu-west-1.amazonaws.com"))),
            (
                "*.westeurope.cloudapp.azure.com",
                Some(Broad::Shared("westeurope.cloudapp.azure.com")),
            ),
            ("*.example.com", None),
            ("*.manage.microsoft.com", None),
            ("*.mine.azureedge.net", None),
            ("mine.azureedge.net", None),
            ("#-courier.push.apple.com", None),
            ("#.com", None),
            ("*.co.example", None),
            ("*.test", None),
            ("*.lan", None),
            ("*.co.com", None),
        ] {
            assert_eq!(broad(&pattern.parse().unwrap()), expected, "{pattern}");
        }
    }

    #[test]
    fn shared_clouds_of_names_are_found() {
        for (name, expected) in [
            ("mine.azureedge.net", Some(Broad::Shared("azureedge.net"))),
            ("a.mine.azureedge.net", Some(Broad::Shared("azureedge.net"))),
            ("a.blob.core.windows.net", Some(Broad::Storage("blob.core.windows.net"))),
            ("x.s3.amazonaws.com", Some(Broad::Shared("amazonaws.com"))),
            ("azureedge.net", None),
            ("login.microsoftonline.com", None),
        ] {
            assert_eq!(on_shared(name), expected, "{name}");
        }
    }
}
