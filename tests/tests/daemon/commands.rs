//! Contract with scripts: the commands' JSON and their exit codes, over a filter that runs.

use anyhow::{Context as _, Result, ensure};
use intune_filter_ebpf::abi::Counted;
use intune_filter_tests::{
    network::{CLIENT, LAN},
    responder::RESPONDER,
    site::{self, WEB, tcp},
    testbed::Testbed,
};
use serde_json::Value;

/// A site whose client has resolved and reached something, and been denied something.
fn busy() -> Result<Testbed> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web, 443))?;
    testbed.expect_denied(tcp(web, 22))?;
    site::eventually("the daemon knows the name", || is_listed(&testbed, WEB[0]))?;
    Ok(testbed)
}

/// Checks that `value` has these keys, of these kinds: `s`tring, `n`umber, `b`ool, `a`rray of
/// strings, `o`bject, or `?` for a string or null.
fn has(value: &Value, keys: &[(&str, char)]) -> Result<()> {
    for (key, kind) in keys {
        let field = value.get(key).with_context(|| format!("no {key:?} in {value:#}"))?;
        let fits = match kind {
            's' => field.is_string(),
            'n' => field.is_u64(),
            'b' => field.is_boolean(),
            'a' => field.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            'o' => field.is_object(),
            _ => field.is_string() || field.is_null(),
        };
        ensure!(fits, "{key:?} is no {kind:?} in {value:#}");
    }
    Ok(())
}

/// Checks every element of a list that may not be empty.
fn each_has(list: &Value, keys: &[(&str, char)]) -> Result<()> {
    let elements = list.as_array().with_context(|| format!("no list: {list:#}"))?;
    ensure!(!elements.is_empty(), "an empty list");
    elements.iter().try_for_each(|element| has(element, keys))
}

#[test]
fn status_tells_what_is_attached_counted_and_full() -> Result<()> {
    let testbed = busy()?;
    let status = testbed.filter.json(&["status"])?;
    has(&status, &[("generation", 'n'), ("counters", 'o'), ("maps", 'o')])?;
    each_has(&status["interfaces"], &[("name", 's'), ("mode", 's'), ("attached", 'b')])?;
    let interface = &status["interfaces"][0];
    ensure!(interface["name"] == LAN && interface["attached"] == true, "{interface:#}");
    ensure!(status["generation"] == 1, "{status:#}");
    for counted in Counted::all() {
        has(&status["counters"], &[(counted.as_str(), 'n')])?;
    }
    for (name, map) in status["maps"].as_object().context("maps is an object")? {
        has(map, &[("entries", 'n'), ("capacity", 'n')]).with_context(|| name.clone())?;
    }
    ensure!(status["maps"]["HOSTS4"]["entries"] == 1, "{:#}", status["maps"]["HOSTS4"]);
    Ok(())
}

#[test]
fn services_and_names_tell_what_was_let_through_and_learned() -> Result<()> {
    let testbed = busy()?;
    let services = testbed.filter.json(&["services"])?;
    let numbers = [("packets", 'n'), ("bytes", 'n'), ("flows", 'n'), ("denied", 'n')];
    each_has(&services, &[("id", 's')])?;
    each_has(&services, &numbers)?;
    let web = services.as_array().and_then(|list| list.iter().find(|one| one["id"] == "web"));
    let web = web.with_context(|| format!("no web in {services:#}"))?;
    ensure!(web["flows"] == 1 && web["denied"].as_u64() >= Some(1), "{web:#}");
    ensure!(web["packets"].as_u64() > Some(4), "{web:#}");

    let names = testbed.filter.json(&["names"])?;
    let keys = [("name", 's'), ("address", 's'), ("services", 'a'), ("expires_in_s", 'n')];
    each_has(&names, &keys)?;
    let mut found = names.as_array().into_iter().flatten();
    ensure!(found.all(|entry| entry["name"] == WEB[0]), "{names:#}");
    Ok(())
}

#[test]
fn names_learned_without_a_daemon_are_listed_by_the_next_one_as_soon_as_asked_again() -> Result<()>
{
    let mut testbed = busy()?;
    testbed.filter.kill()?;
    let [address, _] = testbed.resolve_at(RESPONDER[0], "5.web.test")?;
    testbed.expect_reached(tcp(address, 443))?;
    testbed.filter.start()?;
    testbed.resolve_at(RESPONDER[0], "5.web.test")?;
    site::eventually("the name is listed", || is_listed(&testbed, "5.web.test"))
}

/// Whether `names` lists the name.
fn is_listed(testbed: &Testbed, name: &str) -> Result<bool> {
    let names = testbed.filter.json(&["names"])?;
    Ok(names.as_array().into_iter().flatten().any(|entry| entry["name"] == name))
}

#[test]
fn match_explain_and_endpoints_keep_their_shapes() -> Result<()> {
    let testbed = busy()?;
    let found = testbed.filter.json(&["match", WEB[0]])?;
    has(&found, &[("name", 's')])?;
    each_has(&found["services"], &[("id", 's'), ("pattern", 's'), ("tcp", 'a'), ("udp", 'a')])?;
    ensure!(found["services"][0]["id"] == "web", "{found:#}");
    ensure!(found["services"][0]["pattern"] == "*.web.test", "{found:#}");
    ensure!(found["services"][0]["tcp"] == serde_json::json!(["80", "443"]), "{found:#}");

    let client = CLIENT[0].to_string();
    let told = testbed.filter.json(&["explain", &client, &format!("{}:443", WEB[0])])?;
    has(&told, &[("verdict", 's'), ("reason", 's'), ("service", '?'), ("client_group", '?')])?;
    has(&told["matched"], &[("kind", 's'), ("value", '?')])?;
    ensure!(told["verdict"] == "allow" && told["service"] == "web", "{told:#}");
    ensure!(told["matched"]["kind"] == "name" && told["matched"]["value"] == WEB[0], "{told:#}");

    let listed = testbed.filter.json(&["endpoints", "list"])?;
    let texts = [("id", 's'), ("title", 's'), ("enabled", 'b'), ("region", '?')];
    each_has(&listed, &texts)?;
    each_has(&listed, &[("fqdns", 'a'), ("cidrs", 'a'), ("tcp", 'a'), ("udp", 'a')])?;
    let listed = listed.as_array().into_iter().flatten();
    let enabled: Vec<_> = listed.filter(|entry| entry["enabled"] == true).collect();
    ensure!(enabled.len() == 3, "the site has enabled three services: {enabled:#?}");
    Ok(())
}

#[test]
fn exit_codes_tell_no_from_failure_and_misuse() -> Result<()> {
    let testbed = busy()?;
    let client = CLIENT[0].to_string();
    let code =
        |arguments: &[&str]| Ok::<_, anyhow::Error>(testbed.filter.run(arguments)?.status.code());
    for (expected, arguments) in [
        (0, &["explain", &client, "192.0.2.5:631"][..]),
        (4, &["explain", &client, "192.0.2.80:443"]),
        (0, &["match", WEB[0]]),
        (4, &["match", "www.unlisted.test"]),
        (2, &["explain", &client]),
        (2, &["no-such-command"]),
        (2, &["explain", "not-an-address", "192.0.2.80"]),
    ] {
        let found = code(arguments)?;
        ensure!(found == Some(expected), "{arguments:?}: expected {expected}, got {found:?}");
    }
    testbed.filter.configure("interfaces: [")?;
    let found = code(&["check"])?;
    ensure!(found == Some(3), "check of what is no YAML: expected 3, got {found:?}");
    Ok(())
}
