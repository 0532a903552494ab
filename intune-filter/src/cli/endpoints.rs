//! Implements `endpoints list`: shows the catalogue with its sources and the site's overrides.

use std::fmt::Write as _;

use super::{
    args::{Global, ListSelection},
    context,
    error::{ExitStatus, Failure},
    output, service_view,
};
use crate::{
    catalogue::{Address, Catalogue, Datum, Need, Rule, Selector, Service, Status},
    config::Config,
    policy::Services,
    ports::{self, PerProtocol},
    report::{CatalogueService, DatumReport, Endpoints},
};

/// Runs `endpoints list`.
pub(super) fn list(
    global: &Global,
    wanted: &ListSelection,
) -> Result<(ExitStatus, String), Failure> {
    if let Some(edition) = &wanted.edition {
        // The edition is shown as it is: the site's own services and groups are those of another.
        let mut choice = Config::bare(Vec::new());
        choice.choice.edition.clone_from(edition);
        return shown(global, wanted, None, &*context::catalogue(Some(&choice))?);
    }
    let config = context::optional_config(global)?;
    let catalogue = context::catalogue(config.as_ref())?;
    shown(global, wanted, config.as_ref(), &catalogue)
}

fn shown(
    global: &Global,
    wanted: &ListSelection,
    config: Option<&Config>,
    catalogue: &Catalogue,
) -> Result<(ExitStatus, String), Failure> {
    let services = service_view::services(config, catalogue)?;
    let selector = config.map_or_else(Selector::default, |config| {
        Services::of(config, catalogue).0.selector().clone()
    });
    let statuses: Vec<Status> =
        wanted.status.iter().filter_map(|status| status.parse().ok()).collect();
    let mut ids: Option<Vec<&str>> = None;
    for name in wanted.service.iter().chain(&wanted.platform) {
        let is_own = services.iter().find(|service| service.id == *name);
        let named = match is_own {
            Some(own) => vec![own.id.as_str()],
            None => {
                let named = catalogue
                    .resolve(name)
                    .ok_or_else(|| Failure::Usage(format!("unknown service or set {name}")))?;
                named.into_iter().map(|service| service.id.as_str()).collect()
            }
        };
        // Of several services each is shown; the platform narrows these.
        ids = Some(match ids {
            Some(before) if wanted.platform.as_ref() == Some(name) => {
                before.into_iter().filter(|id| named.contains(id)).collect()
            }
            Some(before) => before.into_iter().chain(named).collect(),
            None => named,
        });
    }
    let is_wanted =
        |service: &CatalogueService| ids.as_ref().is_none_or(|ids| ids.contains(&&*service.id));
    let all: Vec<Endpoints> = services
        .iter()
        .filter(|service| is_wanted(service))
        .map(|service| endpoints(service.clone(), catalogue, &selector, &statuses))
        .filter(|one| statuses.is_empty() || !one.data.is_empty())
        .collect();
    let text = if global.json { output::json(&all)? } else { text(&all, !statuses.is_empty()) };
    Ok((ExitStatus::Yes, text))
}

/// Combines the destinations and ports of a service's rules, each once, with the data that have one
/// of the statuses.
fn endpoints(
    mut service: CatalogueService,
    catalogue: &Catalogue,
    selector: &Selector,
    statuses: &[Status],
) -> Endpoints {
    let origin = catalogue.services().iter().find(|one| one.id == service.id);
    let data: Vec<DatumReport> = origin
        .into_iter()
        .flat_map(|origin| origin.rules.iter().map(move |rule| (origin, rule)))
        .flat_map(|(origin, rule)| reports(catalogue, selector, origin, rule))
        .filter(|datum| statuses.is_empty() || statuses.contains(&datum.status))
        .collect();
    if !statuses.is_empty() {
        for rule in &mut service.rules {
            let has = |address: &Address| {
                data.iter().any(|datum| datum.rule == rule.id && datum.address == *address)
            };
            rule.fqdns.retain(|pattern| has(&Address::Fqdn(pattern.clone())));
            rule.cidrs.retain(|cidr| has(&Address::Cidr(*cidr)));
        }
    }
    let rules = &service.rules;
    Endpoints {
        fqdns: rules.iter().flat_map(|rule| rule.fqdns.iter().cloned()).collect(),
        cidrs: rules.iter().flat_map(|rule| rule.cidrs.iter().copied()).collect(),
        ports: PerProtocol::from_fn(|protocol| {
            rules.iter().flat_map(|rule| rule.ports[protocol].iter().copied()).collect()
        }),
        edition: catalogue.edition().name.clone(),
        sets: origin
            .map(|origin| catalogue.sets_of(origin).into_iter().map(ToOwned::to_owned).collect())
            .unwrap_or_default(),
        data,
        service,
    }
}

fn reports<'a>(
    catalogue: &'a Catalogue,
    selector: &'a Selector,
    service: &'a Service,
    rule: &'a Rule,
) -> impl Iterator<Item = DatumReport> {
    let of = rule.destinations_of.as_ref().map_or(&service.id, |id| &id.service);
    catalogue.data(rule).iter().map(move |datum: &Datum| DatumReport {
        rule: service.rule_id(rule).to_string(),
        address: datum.address.clone(),
        taken: selector.takes(catalogue, of, datum),
        status: datum.status,
        need: datum.need,
        role: datum.role,
        from: datum.from.to_string(),
        source: catalogue.edition().cite(&datum.from),
        since: datum.since.clone(),
        until: datum.until.clone(),
        replaced_by: datum.replaced_by.clone(),
        risk: datum.risk,
        when: datum.when.clone(),
    })
}

/// Formats the services; `all` shows what the site does not take too.
fn text(services: &[Endpoints], all: bool) -> String {
    let mut text = String::new();
    if let Some(first) = services.first() {
        let _ = writeln!(text, "edition {}\n", first.edition);
    }
    for Endpoints { service, sets, data, .. } in services {
        let enabled = if service.enabled { "" } else { " (off)" };
        let _ = writeln!(text, "{}{enabled}: {}", service.id, service.title);
        if !sets.is_empty() {
            let _ = writeln!(text, "  sets: {}", sets.join(", "));
        }
        if data.is_empty() {
            let _ = writeln!(text, "  source: {}", service.source);
        }
        if let Some(risk) = &service.risk {
            let _ = writeln!(text, "  risk: {risk}");
        }
        for note in &service.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for rule in &service.rules {
            let _ = writeln!(text, "  {}: {}", rule.id, ports::text(&rule.ports));
            let of_rule: Vec<&DatumReport> =
                data.iter().filter(|datum| datum.rule == rule.id).collect();
            let mut told = 0;
            let names = rule.fqdns.iter().cloned().map(Address::Fqdn);
            for address in names.chain(rule.cidrs.iter().copied().map(Address::Cidr)) {
                let datum = of_rule.iter().find(|datum| datum.taken && datum.address == address);
                let remark = datum.map_or_else(String::new, |datum| remark(datum));
                let _ = writeln!(text, "    {address}{remark}");
                told += 1;
            }
            for datum in of_rule.iter().filter(|datum| all && !datum.taken) {
                let _ = writeln!(text, "    {}{}, not taken", datum.address, remark(datum));
                told += 1;
            }
            if told == 0 && of_rule.is_empty() {
                let _ = writeln!(text, "    (the site has to name its networks)");
            }
        }
        text.push('\n');
    }
    text
}

/// Says what is to be known about a datum.
fn remark(datum: &DatumReport) -> String {
    let mut text = format!("  {}", datum.source);
    if datum.status != Status::Current {
        let _ = write!(text, ", {}", datum.status);
    }
    if let Some(until) = &datum.until {
        let _ = write!(text, " until {until}");
    }
    if let Some(by) = &datum.replaced_by {
        let _ = write!(text, ", replaced by {by}");
    }
    if datum.need == Need::Optional {
        text += ", optional";
    }
    if let Some(role) = datum.role {
        let _ = write!(text, ", {role}");
    }
    if let Some(risk) = datum.risk {
        let _ = write!(text, ", risk {risk}");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Arguments, Command, Endpoints as Action};

    /// What `endpoints list` prints with these arguments, as JSON.
    fn listed(arguments: &[&str]) -> Vec<serde_json::Value> {
        let program = ["intune-filter", "--json", "endpoints", "list"];
        let arguments = Arguments::parse_from(program.iter().chain(arguments));
        let Command::Endpoints { command: Action::List(wanted) } = &arguments.command else {
            panic!("another command")
        };
        let catalogue = Catalogue::edition_named(wanted.edition.as_deref().unwrap_or("latest"));
        let (_, text) = shown(&arguments.global, wanted, None, catalogue.unwrap()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn ids(listed: &[serde_json::Value]) -> Vec<&str> {
        listed.iter().map(|service| service["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn services_editions_platforms_and_statuses_select() {
        let first = listed(&["--edition", "2023-09", "--service", "ntp"]);
        assert_eq!(ids(&first), ["ntp"]);
        assert_eq!(first[0]["edition"], "2023-09");
        assert_eq!(first[0]["sets"], serde_json::json!(["default", "windows"]));
        let data = first[0]["data"].as_array().unwrap();
        assert_eq!(data.len(), 3);
        assert_eq!(data[0]["rule"], "ntp/time");
        assert_eq!(data[0]["address"], "time.windows.com");
        assert!(data[0]["source"].as_str().unwrap().ends_with("(2023-09-19)"), "{}", data[0]);

        // What it has become.
        let now = listed(&["--service", "ntp"]);
        assert!(now.len() >= 2, "{:?}", ids(&now));
        let windows = listed(&["--platform", "windows"]);
        let apple = listed(&["--platform", "apple"]);
        assert!(ids(&windows).contains(&"autopilot") && !ids(&apple).contains(&"autopilot"));
        let both = listed(&["--service", "all", "--platform", "apple"]);
        assert_eq!(ids(&both), ids(&apple));

        let legacy = listed(&["--status", "legacy"]);
        assert!(!legacy.is_empty());
        for service in &legacy {
            assert_eq!(service["fqdns"], serde_json::json!([]), "{service}: nothing is on");
            for datum in service["data"].as_array().unwrap() {
                assert_eq!(datum["status"], "legacy");
                assert_eq!(datum["taken"], false);
            }
        }
    }

    #[test]
    fn every_name_is_printed_with_its_source() {
        let catalogue = Catalogue::builtin();
        let global = Arguments::parse_from(["intune-filter", "status"]).global;
        let wanted = ListSelection { service: vec!["autopilot".into()], ..Default::default() };
        let (_, text) = shown(&global, &wanted, None, catalogue).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with("ztd.dds")).unwrap();
        assert!(line.contains("Autopilot") && line.contains("(20"), "{line}");
        let wanted = ListSelection { status: vec!["legacy".into()], ..Default::default() };
        let (_, text) = shown(&global, &wanted, None, catalogue).unwrap();
        assert!(text.lines().any(|line| line.ends_with(", not taken")), "{text}");
        let wanted = ListSelection { service: vec!["absent".into()], ..Default::default() };
        assert!(matches!(shown(&global, &wanted, None, catalogue), Err(Failure::Usage(_))));
    }
}
