//! Reads catalogues of format 1, which have no edition file: sources stand at services and rules.

mod check;
mod document;

use std::collections::BTreeMap;

use self::{
    check::check,
    document::{Document, Source as Place},
};
use super::{
    Address, Catalogue, CatalogueError, DEFAULT_SET, Datum, Edition, Need, Provenance, Rule,
    Service, Sni, Source, Status, When, edition::SITE,
};
use crate::yaml::Text;

/// Parses and checks the files as one catalogue.
pub(super) fn parse<'a>(
    files: impl IntoIterator<Item = (&'a str, Text<'a>)>,
) -> Result<Catalogue, CatalogueError> {
    let documents = files
        .into_iter()
        .map(|(name, text)| Document::parse(name, text))
        .collect::<Result<Vec<_>, _>>()?;
    let tenants = check(&documents)?;
    let mut reader = Reader::default();
    let services = documents.into_iter().flat_map(|document| document.services);
    let services = services.map(|service| reader.service(service)).collect();
    let Reader { sources, sets } = reader;
    let name = SITE.to_owned();
    let edition = Edition { name, sources, ..Edition::default() };
    Ok(Catalogue { edition, services, sets, tenants })
}

/// Collects the sources and sets of the services.
#[derive(Default)]
struct Reader {
    sources: BTreeMap<String, Source>,
    sets: BTreeMap<String, Vec<String>>,
}

impl Reader {
    fn service(&mut self, service: document::Service) -> Service {
        let default = service.default.then(|| DEFAULT_SET.to_owned());
        for set in default.into_iter().chain(service.sets) {
            self.sets.entry(set).or_default().push(service.id.clone());
        }
        let from = self.place(&service.source);
        let rules = service.rules.into_iter().map(|rule| self.rule(rule, &from)).collect();
        Service {
            id: service.id,
            title: service.title,
            aliases: service.aliases,
            risk: service.risk,
            notes: service.notes,
            rules,
        }
    }

    /// Names a document by its title, and where several of one title differ, by the date too.
    fn place(&mut self, place: &Place) -> Provenance {
        let source = Source {
            title: place.document.clone(),
            date: place.date.clone(),
            url: None,
            read: None,
        };
        let mut id = place.document.clone();
        if self.sources.get(&id).is_some_and(|known| *known != source) {
            let date = place.date.as_ref().map_or("undated".to_owned(), ToString::to_string);
            id = format!("{id} ({date})");
        }
        self.sources.insert(id.clone(), source);
        Provenance { source: id, section: Some(place.section.clone()) }
    }

    fn rule(&mut self, rule: document::Rule, of_service: &Provenance) -> Rule {
        let from = rule.source.map_or_else(|| of_service.clone(), |place| self.place(&place));
        let datum = |address, when: &When| Datum {
            address,
            from: from.clone(),
            status: Status::default(),
            need: Need::default(),
            role: None,
            since: None,
            until: None,
            replaced_by: None,
            risk: None,
            when: when.clone(),
        };
        let everywhere = (When::default(), rule.fqdns, rule.cidrs);
        let selected = rule.selected.into_iter().map(|part| {
            let when = When { tenant: part.tenants, region: vec![part.region], ..When::default() };
            (when, part.fqdns, part.cidrs)
        });
        let mut to = Vec::new();
        for (when, fqdns, cidrs) in std::iter::once(everywhere).chain(selected) {
            to.extend(fqdns.into_iter().map(|pattern| datum(Address::Fqdn(pattern), &when)));
            to.extend(cidrs.into_iter().map(|cidr| datum(Address::Cidr(cidr), &when)));
        }
        Rule {
            id: rule.id,
            aliases: Vec::new(),
            from: Some(from),
            to,
            destinations_of: rule.destinations_of,
            site_networks: rule.site_networks,
            sni: Sni::default(),
            ports: rule.ports,
        }
    }
}
