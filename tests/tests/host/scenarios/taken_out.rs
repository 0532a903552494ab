//! Mutation: each name that a set's promise rests on alone, taken out of the edition, makes its scenarios
//! fail with exactly that name. `INTUNE_SEED` repeats the sample that is taken out end to end.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    catalogue::{Address, Catalogue, CatalogueFiles, Datum, Need, RuleId, Status},
    pattern::Pattern,
};
use intune_filter_tests::{
    cargo::root,
    random::Random,
    resolver::Kind,
    scenarios::{Cloud, Failure, Family, Fixture, HostModel, Site, Step, walk},
};

use super::{
    EDITION, SETS, config,
    end_to_end::{Ways, testbed},
    group,
};

/// Data that are taken out end to end.
const SAMPLE: usize = 30;

/// A name of the edition, at one place of its files.
#[derive(Clone, Debug)]
struct Place {
    rule: RuleId,
    address: String,
    need: Need,
    file: usize,
    octets: std::ops::Range<usize>,
}

/// The edition's files, and the places of the names that sites take without asking for them.
struct Edition {
    files: CatalogueFiles,
    places: Vec<Place>,
}

impl Edition {
    /// Finds each datum by a word in its place: all at once, since words that are no data change nothing.
    fn read() -> Result<Self> {
        let files = CatalogueFiles::read(&root().join("config/catalogue").join(EDITION))?;
        let catalogue = files.parse()?;
        let names: BTreeSet<String> =
            data(&catalogue).map(|(_, datum)| datum.address.to_string()).collect();
        let mut found = Vec::new();
        for (file, (path, text)) in files.texts.iter().enumerate() {
            if !path.ends_with("edition.yaml") {
                let words =
                    words(text).filter(|at| names.contains(&text[at.clone()].to_lowercase()));
                found.extend(words.map(|octets| (file, octets)));
            }
        }
        let marked = with_words(
            &files,
            found.iter().cloned().zip(0..).map(|(at, number)| (at, word(number))),
        );
        let marked = marked.parse().context("the edition with other names")?;
        let mut places = Vec::new();
        for ((rule, datum), (_, marked)) in data(&catalogue).zip(data(&marked)) {
            let number = marked.address.to_string();
            let number =
                number.strip_prefix(WORD).and_then(|rest| rest.split('.').next()?.parse().ok());
            let Some(number) = number else { continue };
            let (file, octets): &(usize, _) = found.get::<usize>(number).context("a place")?;
            if datum.status == Status::Current {
                places.push(Place {
                    rule,
                    address: datum.address.to_string(),
                    need: datum.need,
                    file: *file,
                    octets: octets.clone(),
                });
            }
        }
        ensure!(!places.is_empty(), "no datum was found in the files of {EDITION}");
        Ok(Self { files, places })
    }

    /// The files without some data: each has a name in its place that nothing asks for.
    fn without<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> CatalogueFiles {
        let places = places.into_iter().map(|place| (place.file, place.octets.clone()));
        with_words(&self.files, places.zip(0..).map(|(at, number)| (at, word(number))))
    }
}

const WORD: &str = "taken-out-";

fn word(number: usize) -> String {
    format!("{WORD}{number}.invalid")
}

/// Names and patterns of rules, in the order of the files.
fn data(catalogue: &Catalogue) -> impl Iterator<Item = (RuleId, &Datum)> {
    let rules = catalogue.services().iter().flat_map(|service| {
        service.rules.iter().map(move |rule| (service.rule_id(rule), &rule.to))
    });
    let data = rules.flat_map(|(id, to)| to.iter().map(move |datum| (id.clone(), datum)));
    data.filter(|(_, datum)| !matches!(datum.address, Address::Cidr(_)))
}

/// Whatever is written like a name.
fn words(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.*#{}".contains(c);
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at + text.get(at..)?.find(is_of_name)?;
        let rest = text.get(begin..)?;
        at = begin + rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
        let word = text.get(begin..at)?;
        // A flow mapping around a name.
        let inner = word.trim_start_matches('{');
        let inner = if inner.contains('{') { inner } else { inner.trim_end_matches('}') };
        let begin = begin + word.find(inner)?;
        Some(begin..begin + inner.len())
    })
}

fn with_words(
    files: &CatalogueFiles,
    words: impl Iterator<Item = ((usize, std::ops::Range<usize>), String)>,
) -> CatalogueFiles {
    let mut words: Vec<_> = words.collect();
    // From the last on, so that places before stay where they are.
    words.sort_by_key(|((file, octets), _)| (*file, std::cmp::Reverse(octets.start)));
    let mut files = files.clone();
    for ((file, octets), word) in words {
        files.texts[file].1.replace_range(octets, &word);
    }
    files
}

/// Sites at which services are in force: of each cloud, with every tenant, and of GCC.
fn sites(fixture: &Fixture) -> Vec<Site> {
    let of = |(cloud, gcc)| fixture.site(cloud, None, gcc);
    let clouds = Cloud::ALL.into_iter().map(|cloud| (cloud, false));
    clouds.chain([(Cloud::Worldwide, true)]).map(of).collect()
}

/// A promise at a site: what is in force, and what it has to carry.
struct Promise<'a> {
    services: &'a str,
    site: Site,
    steps: Vec<(String, Vec<Step>)>,
    /// Patterns in force of each place that has some, by its number.
    in_force: BTreeMap<usize, Vec<Pattern>>,
}

/// What became of the scenarios of a promise without a datum.
#[derive(Debug, Default)]
struct Outcome {
    /// Names of steps that the datum matches, whatever else does.
    matched: BTreeSet<String>,
    /// Names of the steps that fail.
    failed: BTreeSet<String>,
}

impl<'a> Promise<'a> {
    /// The promise of services at a site; `None` if they promise nothing there.
    fn of(
        edition: &Edition,
        fixture: &'a Fixture,
        services: &'a str,
        site: Site,
    ) -> Result<Option<Self>> {
        let scenarios = fixture.promised(services, site.cloud, site.gcc).map(|scenario| {
            let steps = scenario.steps_at(&site, &fixture.tenants).into_iter();
            (scenario.id.clone(), steps.filter(Step::is_promised).collect())
        });
        let steps: Vec<(String, Vec<Step>)> = scenarios.collect();
        if steps.is_empty() {
            return Ok(None);
        }
        let model = HostModel::load(&config(services, &site), None)?;
        let rules = &model.policy().rules;
        let mut in_force = BTreeMap::new();
        for (at, place) in edition.places.iter().enumerate() {
            let rule = rules.values().find(|rule| rule.id == place.rule);
            let mut patterns = patterns(&place.address, &site, fixture);
            patterns.retain(|pattern| rule.is_some_and(|rule| rule.fqdns.contains(pattern)));
            if !patterns.is_empty() {
                in_force.insert(at, patterns);
            }
        }
        Ok(Some(Self { services, site, steps, in_force }))
    }

    /// Failures with these files as the catalogue.
    fn failures(&self, files: &CatalogueFiles) -> Result<Vec<Failure>> {
        let config = taken_from("/catalogue", self.services, &self.site);
        let model = HostModel::load(&config, Some(files.clone()))?;
        let walk = |(scenario, steps): &(String, Vec<Step>)| {
            let families = Family::BOTH.into_iter();
            families.flat_map(|family| walk(&model, scenario, family, steps)).collect::<Vec<_>>()
        };
        Ok(self.steps.iter().flat_map(walk).collect())
    }

    /// Takes every name out, in as few rounds as leave no step that misses two.
    fn take_out(&self, edition: &Edition) -> Result<BTreeMap<usize, Outcome>> {
        let names = self.steps.iter().flat_map(|(_, steps)| steps).filter_map(Step::name);
        let names: BTreeSet<&str> = names.collect();
        let of = |(at, patterns): (&usize, &Vec<Pattern>)| {
            let is_matched = |name: &&str| patterns.iter().any(|pattern| pattern.matches(name));
            let matched = names.iter().copied().filter(is_matched).map(str::to_owned).collect();
            (*at, Outcome { matched, failed: BTreeSet::new() })
        };
        let mut outcomes: BTreeMap<usize, Outcome> = self.in_force.iter().map(of).collect();
        let mut left: Vec<usize> = outcomes.keys().copied().collect();
        while !left.is_empty() {
            let mut touched: BTreeSet<String> = BTreeSet::new();
            let (now, later): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|at| {
                let matched = &outcomes[at].matched;
                let apart = matched.is_disjoint(&touched);
                if apart {
                    touched.extend(matched.iter().cloned());
                }
                apart
            });
            let files = edition.without(now.iter().map(|at| &edition.places[*at]));
            for failure in self.failures(&files)? {
                let name = failure.destination.to_string();
                let of = now.iter().find(|at| outcomes[at].matched.contains(&name));
                let of =
                    of.with_context(|| format!("{failure}, and nothing like it was taken out"))?;
                outcomes.get_mut(of).context("a datum")?.failed.insert(name);
            }
            left = later;
        }
        Ok(outcomes)
    }

    /// Rules of other data that match names.
    fn others(&self, edition: &Edition, but: usize, names: &BTreeSet<String>) -> BTreeSet<String> {
        let others = self.in_force.iter().filter(|(at, patterns)| {
            let matches = |name: &String| patterns.iter().any(|pattern| pattern.matches(name));
            **at != but && names.iter().any(matches)
        });
        let of = |(at, _): (&usize, _)| {
            let place: &Place = &edition.places[*at];
            format!("{} of {}", place.address, place.rule)
        };
        others.map(of).collect()
    }
}

fn taken_from(directory: &str, services: &str, site: &Site) -> String {
    format!("paths: {{catalogue: {directory}}}\n{}{}", site.keys(), group(services))
}

/// Patterns that an address of the edition stands for.
fn patterns(address: &str, site: &Site, fixture: &Fixture) -> Vec<Pattern> {
    let tenants: Vec<String> = fixture.tenants.keys().map(|it| it.to_ascii_lowercase()).collect();
    let values =
        [("{tenant}", &tenants), ("{domain}", &site.domains), ("{country}", &site.country)];
    let of = values.into_iter().find(|(placeholder, _)| address.contains(placeholder));
    let filled: Vec<String> = match of {
        Some((placeholder, values)) => {
            values.iter().map(|value| address.replace(placeholder, value)).collect()
        }
        None => vec![address.to_owned()],
    };
    filled.iter().filter_map(|text| text.parse().ok()).collect()
}

#[test]
fn a_name_that_nothing_else_covers_is_missed_by_name() -> Result<()> {
    let start = Instant::now();
    let (edition, fixture) = (Edition::read()?, Fixture::read()?);
    let (mut alone, mut walked, mut of_sets) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut covered = BTreeSet::new();
    let promises: BTreeSet<&String> = fixture.sets.values().flatten().collect();
    for services in promises {
        for site in sites(&fixture) {
            let Some(promise) = Promise::of(&edition, &fixture, services, site)? else { continue };
            for (at, Outcome { matched, failed }) in promise.take_out(&edition)? {
                let place = &edition.places[at];
                if SETS.contains(&services.as_str()) && place.need == Need::Required {
                    of_sets.insert(at);
                }
                if matched.is_empty() {
                    continue;
                }
                walked.insert(at);
                if failed.is_empty() {
                    let others = promise.others(&edition, at, &matched);
                    let what = format!("{} of {}", place.address, place.rule);
                    covered.insert(format!("{services}, {}: {what}: {others:?}", promise.site));
                } else {
                    alone.insert(at);
                }
            }
        }
    }
    println!("covered by other data:");
    covered.iter().for_each(|line| println!("  {line}"));
    let unwalked: Vec<String> = of_sets
        .difference(&walked)
        .map(|at| format!("{} of {}", edition.places[*at].address, edition.places[*at].rule))
        .collect();
    println!(
        "{} names of {EDITION}, {} in force with a scenario that goes there: {} are missed by name when \
         they are taken out, the others are covered everywhere; {:?}",
        edition.places.len(),
        walked.len(),
        alone.len(),
        start.elapsed(),
    );
    ensure!(!alone.is_empty(), "nothing is missed");
    ensure!(
        unwalked.is_empty(),
        "required and in a set, and no scenario goes there:\n{}",
        unwalked.join("\n")
    );
    Ok(())
}

#[test]
fn a_sample_is_missed_by_name_end_to_end() -> Result<()> {
    let start = Instant::now();
    let seed = env::var("INTUNE_SEED").ok().map(|text| text.parse()).transpose()?;
    let seed = seed.unwrap_or_else(|| u64::from(process::id()));
    println!("INTUNE_SEED={seed}");
    let (edition, fixture) = (Edition::read()?, Fixture::read()?);
    let (set, site) = ("default", fixture.site(Cloud::Worldwide, None, false));
    let promise = Promise::of(&edition, &fixture, set, site.clone())?.context("a promise")?;
    let mut missed: Vec<(usize, Outcome)> = promise.take_out(&edition)?.into_iter().collect();
    missed.retain(|(_, outcome)| !outcome.failed.is_empty());
    let mut random = Random::new(seed, "taken out");
    let mut ways = Ways::default();
    promise.steps.iter().for_each(|(_, steps)| ways.add(steps.clone()));
    let testbed = testbed(&ways, config(set, &site), Kind::Dnsmasq)?;
    let servers = testbed.resolver.addresses();
    let is_open = |name: &str| ways.is_open(&testbed.network, servers, name);
    ensure!(missed.len() >= SAMPLE, "{} names are missed", missed.len());
    for round in 0..SAMPLE {
        let (at, outcome) = missed.swap_remove(random.within(0..missed.len() as u32) as usize);
        let place = &edition.places[at];
        let directory = testbed.directory.path().join(format!("edition-{round}"));
        write(&directory, &edition.without([place]))?;
        let directory = directory.display().to_string();
        testbed.filter.configure(&taken_from(&directory, set, &site))?;
        testbed.filter.succeed(&["reload"])?;
        for name in &outcome.failed {
            let what = format!("without {} of {}: {name}", place.address, place.rule);
            ensure!(is_open(name) == [false; 2], "{what} is reached");
        }
        // Another name, of those that are taken out later or never.
        let (_, other) = missed.first().context("another name")?;
        let other = other.failed.first().context("a name")?;
        ensure!(is_open(other) == [true; 2], "without {}: {other} is denied", place.address);
    }
    testbed.filter.configure(&config(set, &site))?;
    testbed.filter.succeed(&["reload"])?;
    let failed = ways.walk(&testbed.network, servers);
    ensure!(failed.is_empty(), "with all of them again:\n{}", failed.join("\n"));
    println!("{SAMPLE} names were taken out, one by one, {:?}", start.elapsed());
    Ok(())
}

fn write(directory: &Path, files: &CatalogueFiles) -> Result<()> {
    fs::create_dir(directory)?;
    for (path, text) in &files.texts {
        fs::write(directory.join(path.file_name().context("a file's name")?), text)?;
    }
    Ok(())
}
