//! Elements of the maps that a new policy takes back, and those that it leaves.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use intune_filter::{
    catalogue::Catalogue,
    config::Config,
    daemon::reload,
    kernel::{self, Hook, Kernel, PinDirectory, ZoneMap},
    names::{Names, SavedNames, learning::Learner},
    policy::{Policy, RuleBits, compile},
    system::clock::{self, Clocks},
};
use intune_filter_ebpf::abi::{Flow, FlowKey, RULES, RuleMask, V4, flow_flags};
use intune_filter_tests::{directory::Directory, unreported::Unreported};

const FOREVER: u64 = u64::MAX / 2;

/// The rule of the first service.
const FIRST: RuleMask = RuleMask::of(0);

/// The daemon's part that puts policies into force, without the daemon.
struct Site {
    directory: Directory,
    kernel: Kernel,
    learner: Learner,
}

impl Site {
    fn new(services: &str) -> Result<Self> {
        let directory = Directory::create()?;
        let pins = PinDirectory::new(directory.bpffs());
        let kernel = kernel::load(pins, &[("HOSTS4", 256)], log::LevelFilter::Off, &Hook::ALL)?;
        let policy = compiled(services, &RuleBits::new())?;
        let learner = Learner::new(Names::default(), policy);
        let mut site = Self { directory, kernel, learner };
        site.apply(services, &ZoneMap::new())?;
        Ok(site)
    }

    fn apply(&mut self, services: &str, zones: &ZoneMap) -> Result<Policy> {
        let policy = compiled(services, &reload::previous_bits(&self.kernel.pins())?)?;
        self.learner.set_policy(policy.clone());
        let state = self.directory.path();
        let mut reports = Unreported(&mut self.learner);
        reload::apply(&self.kernel, &policy, zones, &mut reports, state)?;
        Ok(policy)
    }

    /// Has a name lead to an address, in the kernel's table and in the daemon's.
    fn learn(&mut self, name: &str, address: &str) -> Result<()> {
        let address = address.parse()?;
        let policy = self.learner.policy().clone();
        let rules = policy.rules_of_name(name);
        let ids = policy.rules_of(rules).map(|rule| rule.id.to_string());
        self.learner.names_mut().learn(name, address, ids, FOREVER);
        self.kernel.ensure_host(address, rules, FOREVER).map(drop)
    }

    /// The full ids of the rules that the kernel has for an address.
    fn rules_of(&self, address: &str) -> Result<Vec<String>> {
        let host = self.kernel.pins().host(address.parse()?)?;
        let mask = host.map_or(RuleMask::EMPTY, |host| host.rules);
        Ok(self.learner.policy().rules_of(mask).map(|rule| rule.id.to_string()).collect())
    }

    fn flows(&self) -> Result<HashMap<MapData, FlowKey<V4>, Flow>> {
        self.kernel.pins().map("FLOWS4")
    }

    /// A flow by a service's only rule, in a zone; its key.
    fn open(&self, service: &str, zone: u16, flags: u16) -> Result<FlowKey<V4>> {
        let rules = &self.learner.policy().rules;
        let rule = rules.iter().find(|(_, rule)| rule.id.service == service);
        let rule = *rule.context("no such rule")?.0;
        let key =
            FlowKey { zone, client_port: rule.into(), remote_port: flags, ..FlowKey::default() };
        self.flows()?.insert(key, Flow { rule, flags, ..Flow::default() }, 0)?;
        Ok(key)
    }

    fn is_open(&self, key: &FlowKey<V4>) -> Result<bool> {
        Ok(self.flows()?.get(key, 0).is_ok())
    }
}

fn compiled(services: &str, bits: &RuleBits) -> Result<Policy> {
    let names: Vec<&str> =
        services.lines().filter_map(|line| line.split(&['{', ',', ':'][..]).nth(2)).collect();
    let config = format!(
        "interfaces: [{{name: lan}}]\n\
         clients: [{{name: all, networks: [10.0.0.0/24], services: [{}]}}]\n\
         dns: {{resolvers: [10.0.0.1]}}\n\
         services:\n{services}",
        names.join(",")
    );
    let config = Config::parse("test", &config).map_err(anyhow::Error::new)?;
    compile(&config, Catalogue::builtin(), bits).map_err(anyhow::Error::new)
}

/// A line of the configuration's `services`.
fn service(id: &str, fqdns: &str) -> String {
    format!("  - {{id: {id}, tcp: [443], fqdns: [{fqdns}]}}\n")
}

#[test]
fn a_rule_that_is_gone_is_taken_from_addresses_and_flows() -> Result<()> {
    let (web, mail) = (service("web", "\"*.web.test\""), service("mail", "\"*.mail.test\""));
    let mut site = Site::new(&format!("{web}{mail}"))?;
    site.learn("a.web.test", "20.0.0.1")?;
    site.learn("a.mail.test", "20.0.0.1")?;
    site.learn("b.mail.test", "20.0.0.2")?;
    let kept = site.open("web", 1, 0)?;
    let ended = site.open("mail", 1, 0)?;
    // Its rule means nothing: the group was exempt.
    let unruled = site.open("mail", 1, flow_flags::UNRULED)?;

    site.apply(&web, &ZoneMap::new())?;
    assert_eq!(site.rules_of("20.0.0.1")?, ["web/site"]);
    assert_eq!(site.kernel.pins().host("20.0.0.1".parse()?)?.map(|host| host.rules), Some(FIRST));
    assert_eq!(site.kernel.pins().host("20.0.0.2".parse()?)?, None);
    assert!(site.is_open(&kept)? && site.is_open(&unruled)? && !site.is_open(&ended)?);
    let names: Vec<_> = site.learner.names().iter().map(|(name, ..)| name.to_owned()).collect();
    assert_eq!(names, ["a.web.test"]);
    let rules = site.kernel.pins().rules()?;
    assert_eq!(rules.into_iter().flatten().collect::<Vec<_>>(), ["web/site"]);
    Ok(())
}

#[test]
fn an_address_keeps_a_rule_only_by_names_that_still_match() -> Result<()> {
    let mut site = Site::new(&service("web", "a.web.test, b.web.test"))?;
    site.learn("a.web.test", "20.0.0.1")?;
    site.learn("b.web.test", "20.0.0.2")?;
    site.learn("a.web.test", "20.0.0.3")?;
    site.learn("b.web.test", "20.0.0.3")?;
    let flow = site.open("web", 1, 0)?;

    site.apply(&service("web", "b.web.test, c.web.test"), &ZoneMap::new())?;
    assert_eq!(site.kernel.pins().host("20.0.0.1".parse()?)?, None);
    assert_eq!(site.rules_of("20.0.0.2")?, ["web/site"]);
    assert_eq!(site.rules_of("20.0.0.3")?, ["web/site"]);
    assert!(site.is_open(&flow)?, "its rule is still there");
    Ok(())
}

#[test]
fn a_name_whose_answer_has_expired_backs_nothing() -> Result<()> {
    let mut site = Site::new(&service("web", "a.web.test, b.web.test"))?;
    site.learn("a.web.test", "20.0.0.1")?;
    // Longer ago than the daemon's last look at what has expired.
    let rule = ["web/site".to_owned()];
    site.learner.names_mut().learn("b.web.test", "20.0.0.1".parse()?, rule, 1);
    assert_eq!(site.rules_of("20.0.0.1")?, ["web/site"]);

    site.apply(&service("web", "b.web.test"), &ZoneMap::new())?;
    assert_eq!(site.kernel.pins().host("20.0.0.1".parse()?)?, None);
    Ok(())
}

#[test]
fn an_address_lives_no_longer_than_the_names_that_are_left() -> Result<()> {
    let mail = service("mail", "mail.test");
    let mut site = Site::new(&format!("{}{mail}", service("web", "a.web.test, b.web.test")))?;
    let rule = ["web/site".to_owned()];
    let soon = FOREVER / 2;
    for address in ["20.0.0.1", "20.0.0.2"] {
        site.learn("a.web.test", address)?;
        site.learner.names_mut().learn("b.web.test", address.parse()?, rule.clone(), soon);
    }
    // A rule that no known name has given.
    let bit = site.learner.policy().rules_of_name("mail.test");
    site.kernel.ensure_host("20.0.0.2".parse()?, bit, FOREVER)?;

    site.apply(&format!("{}{mail}", service("web", "b.web.test")), &ZoneMap::new())?;
    let expires = |address: &str| -> Result<_> {
        Ok(site.kernel.pins().host(address.parse()?)?.map(|host| host.expires))
    };
    assert_eq!(expires("20.0.0.1")?, Some(soon));
    assert_eq!(expires("20.0.0.2")?, Some(FOREVER));
    assert_eq!(site.rules_of("20.0.0.2")?, ["web/site", "mail/site"]);
    Ok(())
}

#[test]
fn an_address_lives_as_long_as_its_name_though_the_daemon_was_restarted_before() -> Result<()> {
    let mut site = Site::new(&service("web", "a.web.test, b.web.test"))?;
    let address: IpAddr = "20.0.0.1".parse()?;
    // The worst parts of seconds that it may expire in and be saved in.
    let now = clock::boot_time();
    let second = 1_000_000_000;
    let saved_at = (now / second + 1) * second;
    let expires = saved_at + 3600 * second + second - 1;
    site.learner.names_mut().learn("b.web.test", address, ["web/site".to_owned()], expires);
    site.kernel.ensure_host(address, FIRST, expires)?;

    let saved = SavedNames::new(site.learner.names(), Clocks { boot: saved_at, wall: 5_999 });
    let loaded_at = Clocks { boot: saved_at + second / 2, wall: 6_499 };
    let policy = site.learner.policy().clone();
    site.learner = Learner::new(saved.into_names(loaded_at)?, policy);
    site.apply(&service("web", "b.web.test"), &ZoneMap::new())?;
    assert_eq!(site.kernel.pins().host(address)?.map(|host| host.expires), Some(expires));
    assert_eq!(site.rules_of("20.0.0.1")?, ["web/site"]);
    Ok(())
}

#[test]
fn an_address_loses_one_rule_and_keeps_another() -> Result<()> {
    let mail = service("mail", "mail.test");
    let mut site = Site::new(&format!("{}{mail}", service("web", "a.web.test, b.web.test")))?;
    site.learn("a.web.test", "20.0.0.1")?;
    site.learn("mail.test", "20.0.0.1")?;
    site.apply(&format!("{}{mail}", service("web", "b.web.test")), &ZoneMap::new())?;
    assert_eq!(site.rules_of("20.0.0.1")?, ["mail/site"]);
    let names: Vec<_> = site.learner.names().iter().map(|(name, ..)| name.to_owned()).collect();
    assert_eq!(names, ["mail.test"]);
    // And gets it back by an answer alone, not by the pattern's return.
    site.apply(&format!("{}{mail}", service("web", "a.web.test, b.web.test")), &ZoneMap::new())?;
    assert_eq!(site.rules_of("20.0.0.1")?, ["mail/site"]);
    Ok(())
}

#[test]
fn addresses_without_a_known_name_stay_while_no_pattern_goes() -> Result<()> {
    let mut site = Site::new(&service("web", "a.web.test"))?;
    site.kernel.ensure_host("20.0.0.1".parse()?, FIRST, FOREVER)?;
    site.apply(&service("web", "a.web.test, b.web.test"), &ZoneMap::new())?;
    assert_eq!(site.rules_of("20.0.0.1")?, ["web/site"]);
    site.apply(&service("web", "b.web.test"), &ZoneMap::new())?;
    assert_eq!(site.rules_of("20.0.0.1")?, [""; 0]);
    Ok(())
}

#[test]
fn a_bit_that_changes_hands_brings_nothing_with_it() -> Result<()> {
    let many = |first: &str| {
        let mut services = service(first, &format!("{first}.test"));
        for number in 1..RULES {
            let _ =
                write!(services, "{}", service(&format!("s{number}"), &format!("s{number}.test")));
        }
        services
    };
    let mut site = Site::new(&many("old"))?;
    site.learn("old.test", "20.0.0.1")?;
    site.learn("s1.test", "20.0.0.2")?;
    let old = site.open("old", 1, 0)?;
    let policy = site.apply(&many("new"), &ZoneMap::new())?;
    assert_eq!(policy.reused.iter().count(), 1, "192 rules leave no other bit");
    assert_eq!(site.kernel.pins().host("20.0.0.1".parse()?)?, None);
    assert_eq!(site.rules_of("20.0.0.2")?, ["s1/site"]);
    assert!(!site.is_open(&old)?);
    let rules = site.kernel.pins().rules()?;
    assert!(rules.contains(&Some("new/site".into())) && !rules.contains(&Some("old/site".into())));
    // The first install was without the rule, the second one with it.
    assert_eq!(site.kernel.pins().port(443)?, RuleMask::ALL);
    Ok(())
}

#[test]
fn flows_end_when_their_zone_number_means_another_segment() -> Result<()> {
    let web = service("web", "a.web.test");
    let mut site = Site::new(&web)?;
    let zones = |pairs: &[((u32, u32), u32)]| pairs.iter().copied().collect::<ZoneMap>();
    site.apply(&web, &zones(&[((7, 0), 1), ((8, 0), 2), ((9, 0), 3)]))?;
    let (first, second, third) =
        (site.open("web", 1, 0)?, site.open("web", 2, 0)?, site.open("web", 3, 0)?);
    let swapped = zones(&[((7, 0), 2), ((8, 0), 1), ((9, 0), 3)]);
    site.apply(&web, &swapped)?;
    assert!(!site.is_open(&first)? && !site.is_open(&second)?);
    assert!(site.is_open(&third)?);
    let found: ZoneMap = site
        .kernel
        .pins()
        .zones()?
        .into_iter()
        .map(|(key, zone)| ((key.ifindex, key.vlan), zone))
        .collect();
    assert_eq!(found, swapped);
    Ok(())
}

#[test]
fn expired_addresses_go_and_live_ones_stay() -> Result<()> {
    let site = Site::new(&service("web", "a.web.test"))?;
    let address = |last: u8| IpAddr::from([20, 0, 0, last]);
    for last in 0..100 {
        site.kernel.ensure_host(address(last), FIRST, u64::from(last))?;
    }
    assert_eq!(site.kernel.remove_expired_hosts(60, 80)?, 60);
    assert_eq!(site.kernel.pins().host(address(59))?, None);
    assert_eq!(site.kernel.pins().hosts()?.len(), 40);
    for last in 100..250 {
        site.kernel.ensure_host(address(last), FIRST, u64::from(last))?;
    }
    assert_eq!(site.kernel.remove_expired_hosts(60, 80)?, 0, "190 of 256 is not crowded");
    for last in 250..=255 {
        site.kernel.ensure_host(address(last), FIRST, u64::from(last))?;
    }
    assert_eq!(site.kernel.remove_expired_hosts(60, 80)?, 20);
    // What lives is asserted, and never cut; what had expired before does not come back.
    let [second, third] = [70, 191].map(RuleMask::of);
    for (rules, expires) in [(second, u64::MAX / 2), (third, 10)] {
        site.kernel.ensure_host(address(90), rules, expires)?;
    }
    let host = site.kernel.pins().host(address(90))?.context("it is there")?;
    assert_eq!((host.rules, host.expires), (second | third, u64::MAX / 2));
    Ok(())
}
