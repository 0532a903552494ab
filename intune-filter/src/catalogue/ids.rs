//! Checks the form of ids and tenant locations.

/// Returns why a text is no id of a service, rule or set.
pub(super) fn fault(id: &str) -> Option<String> {
    let legal = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    (id.is_empty() || id.starts_with('-') || id.ends_with('-') || !id.bytes().all(legal)).then(
        || format!("bad id {id:?}, expected lower-case letters, digits and hyphens between them"),
    )
}

/// Returns why a text is no tenant location.
pub(super) fn fault_of_tenant(tenant: &str) -> Option<String> {
    let legal = |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit();
    (tenant.is_empty() || !tenant.bytes().all(legal))
        .then(|| format!("bad tenant location {tenant:?}, expected one such as AMSUB0502"))
}
