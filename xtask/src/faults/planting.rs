//! Planting: one fault as it is, or all of a file at once, each behind a switch.

use anyhow::{Context, Result, bail, ensure};

use super::list::Fault;

/// Module that the copy of the kernel's library gets for the switches of its faults. [`SWITCH`]
/// names the planted fault; without it no fault is planted.
pub(super) const SWITCHES: &str = "
/// Faults that are planted at run time.
#[cfg(not(target_arch = \"bpf\"))]
mod fault {
    use std::{env, string::String, sync::OnceLock};

    static PLANTED: OnceLock<Option<String>> = OnceLock::new();

    pub(crate) fn is(name: &str) -> bool {
        PLANTED.get_or_init(|| env::var(\"INTUNE_FAULT\").ok()).as_deref() == Some(name)
    }
}
";
/// Environment variable that names the fault of a copy with switches.
pub(super) const SWITCH: &str = "INTUNE_FAULT";

/// Place of a fault's text in its file.
fn place(source: &str, fault: &Fault) -> Result<usize> {
    let once = |text: &str, part: &str| match text.matches(part).count() {
        1 => text.find(part).context("a text that is there is found"),
        0 => bail!("its text stands no more in {}", fault.file),
        count => bail!("its text stands {count} times in {}", fault.file),
    };
    Ok(once(source, fault.within)? + once(fault.within, fault.text)?)
}

/// A source with a fault in it.
pub(super) fn planted(source: &str, fault: &Fault) -> Result<String> {
    let begin = place(source, fault)?;
    let (before, rest) = source.split_at(begin);
    Ok([before, fault.instead, &rest[fault.text.len()..]].concat())
}

/// A source with all of these faults in it, each of which [`SWITCH`] may choose.
pub(super) fn switched(source: &str, faults: &[&Fault]) -> Result<String> {
    let mut places: Vec<(usize, &Fault)> = Vec::new();
    for fault in faults {
        let begin = place(source, fault).with_context(|| fault.name.to_owned())?;
        places.push((begin, fault));
    }
    places.sort_by_key(|(begin, fault)| (*begin, fault.text.len()));
    let mut text = source.to_owned();
    // From the end on, so that places stay what they are.
    for alike in places.chunk_by(|a, b| a.0 == b.0 && a.1.text == b.1.text).rev() {
        let Some(&(begin, first)) = alike.first() else { continue };
        let end = begin + first.text.len();
        let meets = |(other, fault): &(usize, &Fault)| {
            *other < end && begin < other + fault.text.len() && *other != begin
        };
        ensure!(!places.iter().any(meets), "{} and another fault overlap", first.name);
        let mut switch = String::new();
        for (_, fault) in alike {
            let Fault { name, instead, .. } = fault;
            switch += &format!("if crate::fault::is({name:?}) {{ {instead} }} else ");
        }
        switch += &format!("{{ {} }}", first.text);
        let is_statement = first.text.ends_with([';', '}']);
        text.replace_range(begin..end, &if is_statement { switch } else { format!("({switch})") });
    }
    Ok(without_const(text))
}

/// Takes `const` from the functions around switches, which are asked at run time.
fn without_const(mut text: String) -> String {
    let mut rest = text.len();
    while let Some(switch) = text[..rest].rfind("crate::fault::is(") {
        rest = switch;
        if let Some(function) = text[..switch].rfind("fn ")
            && let Some(at) = text[..function].strip_suffix("const ").map(str::len)
        {
            text.replace_range(at..function, "");
            rest -= function - at;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault =
        Fault { name: "swapped", file: "", within: "if a == b {", text: "a == b", instead: "true" };

    #[test]
    fn a_fault_whose_text_is_gone_or_ambiguous_is_an_error() {
        assert_eq!(planted("if a == b {}", &FAULT).ok().as_deref(), Some("if true {}"));
        assert!(planted("if a != b {}", &FAULT).is_err());
        assert!(planted("if a == b {} if a == b {}", &FAULT).is_err());
    }

    #[test]
    fn faults_of_one_text_get_switches_one_behind_the_other() {
        let other = Fault { name: "never", instead: "false", ..FAULT };
        let text = switched("const fn f() { if a == b {} }", &[&FAULT, &other]);
        let expected = "fn f() { if (if crate::fault::is(\"swapped\") { true } else \
                        if crate::fault::is(\"never\") { false } else { a == b }) {} }";
        assert_eq!(text.ok().as_deref(), Some(expected));
    }

    #[test]
    fn faults_that_overlap_are_an_error() {
        let longer = Fault { within: "a == b {", text: "b {", ..FAULT };
        assert!(switched("if a == b {}", &[&FAULT, &longer]).is_err());
    }
}
