//! Reads the services of a file of format 2.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    catalogue::{
        Address, Datum, Need, Provenance, Risk, Role, Rule, RuleId, Service, Sni, Source, Status,
        When,
    },
    yaml::{Fields, Findings, Named, Place, Read, is_list, parsed, word},
};

/// Number of the format.
pub(super) struct Format;

impl Read for Format {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("2") => Some(Self),
            _ => findings.expected(place, "2, the format that this version reads"),
        }
    }
}

/// File of services.
pub(super) struct File {
    /// Documents by their id, of this file's own.
    pub sources: BTreeMap<String, Source>,
    /// Services of the file.
    pub services: Vec<Service>,
}

impl Read for File {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let format = fields.required::<Format>("format", "2");
        let sources = fields.or("sources", Named::default());
        let services = fields.required::<Vec<OneService>>("services", "a list of services");
        fields.close();
        format?;
        let services = services?.into_iter().map(|OneService(service)| service).collect();
        Some(Self { sources: sources.0, services })
    }
}

struct OneService(Service);

impl Read for OneService {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id = fields.required("id", "the service's id");
        let title = fields.required("title", "a name for people");
        let aliases = fields.or("aliases", Vec::new());
        let (risk, notes) = (fields.optional("risk"), fields.or("notes", Vec::new()));
        let rules = fields.required::<Vec<OneRule>>("rules", "a list of rules");
        fields.close();
        let rules = rules?.into_iter().map(|OneRule(rule)| rule).collect();
        Some(Self(Service { id: id?, title: title?, aliases, risk, notes, rules }))
    }
}

struct OneRule(Rule);

impl Read for OneRule {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id: Option<String> = fields.required("id", "the rule's id");
        let aliases: Vec<RuleId> = fields.or("aliases", Vec::new());
        let sni: Option<Sni> = fields.optional("sni");
        let ports = fields.ports().map(|ports| ports.clone().unwrap_or_default());
        let defaults = Life::read(&mut fields);
        let to: Vec<OneDatum> = fields.or("to", Vec::new());
        let destinations_of = fields.optional("destinations_of");
        let site_networks = fields.or("site_networks", false);
        fields.close();
        // Every destination needs a source; the check that follows names the one without.
        let to = to.into_iter().map(|datum| datum.complete(&defaults)).collect();
        Some(Self(Rule {
            id: id?,
            aliases,
            from: defaults.from,
            to,
            destinations_of,
            site_networks,
            sni: sni.unwrap_or_default(),
            ports,
        }))
    }
}

/// Keys that a datum may have, and a rule as their defaults.
struct Life {
    from: Option<Provenance>,
    status: Option<Status>,
    need: Option<Need>,
    role: Option<Role>,
    since: Option<crate::catalogue::Date>,
    until: Option<crate::catalogue::Date>,
    risk: Option<Risk>,
    when: Conditions,
}

impl Life {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            from: fields.optional("from"),
            status: fields.optional("status"),
            need: fields.optional("need"),
            role: fields.optional("role"),
            since: fields.optional("since"),
            until: fields.optional("until"),
            risk: fields.optional("risk"),
            when: fields.or("when", Conditions::default()),
        }
    }

    const fn nothing() -> Self {
        Self {
            from: None,
            status: None,
            need: None,
            role: None,
            since: None,
            until: None,
            risk: None,
            when: Conditions { tenant: None, region: None, cloud: None, country: None, gcc: None },
        }
    }
}

/// Conditions as a rule or datum gives them.
#[derive(Default)]
struct Conditions {
    tenant: Option<OneOrMore<String>>,
    region: Option<OneOrMore<crate::catalogue::Region>>,
    cloud: Option<OneOrMore<crate::catalogue::Cloud>>,
    country: Option<OneOrMore<String>>,
    gcc: Option<True>,
}

impl Read for Conditions {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let conditions = Self {
            tenant: fields.optional("tenant"),
            region: fields.optional("region"),
            cloud: fields.optional("cloud"),
            country: fields.optional("country"),
            gcc: fields.optional("gcc"),
        };
        fields.close();
        Some(conditions)
    }
}

impl Conditions {
    /// Returns the conditions, with those of the rule where the datum has none.
    fn over(&self, rule: &Self) -> When {
        fn values<T: Clone>(own: &Option<OneOrMore<T>>, rule: &Option<OneOrMore<T>>) -> Vec<T> {
            own.as_ref().or(rule.as_ref()).map(|values| values.0.clone()).unwrap_or_default()
        }
        When {
            tenant: values(&self.tenant, &rule.tenant),
            region: values(&self.region, &rule.region),
            cloud: values(&self.cloud, &rule.cloud),
            country: values(&self.country, &rule.country),
            gcc: self.gcc.is_some() || rule.gcc.is_some(),
        }
    }
}

/// Word, or a list of them that is not empty.
struct OneOrMore<T>(Vec<T>);

impl<T: Read> Read for OneOrMore<T> {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        if !is_list(place) {
            return Some(Self(vec![T::read(place, findings)?]));
        }
        let values = Vec::read(place, findings)?;
        if values.is_empty() {
            return findings.expected(place, "at least one value, or no such key");
        }
        Some(Self(values))
    }
}

/// The word `true`: the contrary is to leave the key out.
struct True;

impl Read for True {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("true") => Some(Self),
            _ => findings.expected(place, "true, or no such key"),
        }
    }
}

/// Datum as its file has it.
struct OneDatum {
    address: Address,
    replaced_by: Option<String>,
    own: Life,
}

impl OneDatum {
    /// Completes the datum by its rule's defaults. Without a source it gets an empty one.
    fn complete(self, rule: &Life) -> Datum {
        let own = self.own;
        let nowhere = || Provenance { source: String::new(), section: None };
        Datum {
            address: self.address,
            from: own.from.or_else(|| rule.from.clone()).unwrap_or_else(nowhere),
            status: own.status.or(rule.status).unwrap_or_default(),
            need: own.need.or(rule.need).unwrap_or_default(),
            role: own.role.or(rule.role),
            since: own.since.or_else(|| rule.since.clone()),
            until: own.until.or_else(|| rule.until.clone()),
            replaced_by: self.replaced_by,
            risk: own.risk.or(rule.risk),
            when: own.when.over(&rule.when),
        }
    }
}

impl Read for OneDatum {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        if let Some(text) = word(place) {
            let address = if text.contains('/') {
                Address::Cidr(IpNet::read(place, findings)?)
            } else {
                name(place, findings)?
            };
            return Some(Self { address, replaced_by: None, own: Life::nothing() });
        }
        let mut fields = Fields::open(place, findings)?;
        let fqdn: Option<Name> = fields.optional("fqdn");
        let cidr: Option<IpNet> = fields.optional("cidr");
        let given = [fields.has("fqdn"), fields.has("cidr")];
        let own = Life::read(&mut fields);
        let replaced_by = fields.optional("replaced_by");
        if given[0] == given[1] {
            let found = if given[0] { "both fqdn and cidr" } else { "neither fqdn nor cidr" };
            fields.findings.report(place, format!("{found}, expected one of them"));
        }
        fields.close();
        let address = fqdn.map(|Name(name)| name).or(cidr.map(Address::Cidr));
        Some(Self { address: address?, replaced_by, own })
    }
}

/// Name, pattern or template.
struct Name(Address);

impl Read for Name {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        name(place, findings).map(Self)
    }
}

fn name(place: Place<'_>, findings: &mut Findings) -> Option<Address> {
    if word(place).is_some_and(|text| text.contains(['{', '}'])) {
        return parsed(place, findings, "a name with {domain}, {country} or {tenant}")
            .map(Address::Template);
    }
    Read::read(place, findings).map(Address::Fqdn)
}
