//! Turns OpenMetrics text into Prometheus' older format, which scrapers get that do not ask for the new
//! one, and `promtool` reads.
//!
//! The formats differ in the names that a counter's and an information's comments have, in the types that
//! there are, and in the end mark.

/// Returns the text in the older format.
pub(super) fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The name depends on the type, which comes with the next line.
            help = rest.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                out += &format!("# HELP {name}{suffix} {help}\n");
            }
            out += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_what_is_exposed() {
        let text = "# HELP a_packets Packets.\n# TYPE a_packets counter\na_packets_total{b=\"c\"} 1\n\
                    # HELP a_build Build.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
                    # HELP a_left_seconds Time left.\n# TYPE a_left_seconds gauge\n\
                    # UNIT a_left_seconds seconds\na_left_seconds 0\n# EOF\n";
        let expected = "# HELP a_packets_total Packets.\n# TYPE a_packets_total counter\n\
                        a_packets_total{b=\"c\"} 1\n# HELP a_build_info Build.\n\
                        # TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
                        # HELP a_left_seconds Time left.\n# TYPE a_left_seconds gauge\n\
                        a_left_seconds 0\n";
        assert_eq!(classic(text), expected);
    }
}
