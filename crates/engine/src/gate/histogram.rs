//! Classic histograms of durations as counters: requests that were slower than a bound are those of the
//! bucket `+Inf`, which counts all, without those of the bound's bucket.
//!
//! A histogram ends here: what is read, counted and judged are two selectors of counters, as where a gate
//! gives `good` and `total` itself.

use tidegate_api::Duration;

use super::{
    GateError,
    reading::{GateQuery, Role},
};

/// Bucket of a histogram of durations: it counts the requests that were not slower than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Bound, as the gate gives it.
    pub slower_than: Duration,
    unit: Unit,
}

/// Unit of a histogram, which its name ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// Endings of names, with the unit that they stand for. Prometheus wants seconds; meshes and OpenTelemetry
/// have others, and say so in the name.
const ENDINGS: [(&str, Unit); 6] = [
    ("_milliseconds", Unit::Milliseconds),
    ("_ms", Unit::Milliseconds),
    ("_microseconds", Unit::Microseconds),
    ("_us", Unit::Microseconds),
    ("_nanoseconds", Unit::Nanoseconds),
    ("_ns", Unit::Nanoseconds),
];

/// Endings of the series of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Digits from which on a program may write a number with an exponent, like `1e+06`.
const DIGITS: usize = 7;

/// Returns selectors of the requests that were fast enough, and of all requests. `Err` for a bound of nothing, and for
/// what is no selector of a histogram's name without `le`.
pub fn queries(selector: &str, slower_than: Duration) -> Result<(GateQuery, GateQuery), GateError> {
    if slower_than.as_std().as_millis() == 0 {
        return Err(GateError::SlowerThan);
    }
    let (name, matchers) = parts(selector)?;
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return Err(GateError::HistogramSuffix);
    }
    if labels(matchers)?.contains(&"le") {
        return Err(GateError::HistogramLe);
    }
    let bucket = Bucket {
        slower_than,
        unit: Unit::of(name),
    };
    let query = |role, le: &str| {
        let matchers = if matchers.is_empty() {
            le.to_owned()
        } else {
            format!("{le},{matchers}")
        };
        GateQuery {
            bucket: Some(bucket),
            ..GateQuery::new(role, &format!("{name}_bucket{{{matchers}}}"))
        }
    };
    Ok((
        query(Role::Good, &format!("le=~\"{}\"", bucket.spellings())),
        query(Role::Total, "le=\"+Inf\""),
    ))
}

// === impl Bucket ===

impl Bucket {
    /// Returns the bound as a number in the histogram's unit, like `0.25`.
    pub fn le(&self) -> String {
        let millis = self.slower_than.as_std().as_millis();
        match self.unit {
            Unit::Seconds => {
                let number = format!("{}.{:03}", millis / 1000, millis % 1000);
                let number = number.trim_end_matches('0').trim_end_matches('.');
                number.to_owned()
            }
            Unit::Milliseconds => millis.to_string(),
            Unit::Microseconds => format!("{millis}000"),
            Unit::Nanoseconds => format!("{millis}000000"),
        }
    }

    /// Returns true if a bucket with this bound, in the histogram's unit, is the one.
    pub fn is(&self, le: f64) -> bool {
        // Spellings of one number are parsed to the same bits.
        self.le()
            .parse()
            .is_ok_and(|own: f64| own.total_cmp(&le).is_eq())
    }

    /// Returns the bound of another bucket of the histogram as `slowerThan` has it: `500ms`. One that is no whole
    /// number of milliseconds is given in the histogram's unit.
    pub fn in_words(&self, le: f64) -> String {
        /// Longest time that is given as one, in milliseconds: a day.
        const LONGEST: f64 = 86_400_000.0;
        let millis = le * 1000.0 / self.unit.per_second();
        let whole = millis.round();
        let is_whole = (millis - whole).abs() < 1e-6 * whole;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 1 and a day"
        )]
        if is_whole && (1.0..=LONGEST).contains(&whole) {
            Duration::from_millis(whole as u64).to_string()
        } else {
            format!("le=\"{le}\"")
        }
    }

    /// Returns a regular expression for the spellings of the bound: libraries write 0.25, 0.250, 1, 1.0 and 1e+06,
    /// and Prometheus 3 another than Prometheus 2.
    fn spellings(&self) -> String {
        let number = self.le();
        if let Some((whole, part)) = number.split_once('.') {
            return format!("{whole}[.]{part}0*");
        }
        let plain = format!("{number}([.]0+)?");
        if number.len() < DIGITS {
            return plain;
        }
        let (first, rest) = number.split_at(1);
        let exponent = rest.len();
        let part = match rest.trim_end_matches('0') {
            "" => "([.]0+)?".to_owned(),
            rest => format!("[.]{rest}0*"),
        };
        format!("{plain}|{first}{part}[eE][+]?0*{exponent}")
    }
}

// === impl Unit ===

impl Unit {
    fn of(name: &str) -> Self {
        let mut endings = ENDINGS.into_iter();
        let known = endings.find(|(ending, _)| name.ends_with(ending));
        known.map_or(Self::Seconds, |(_, unit)| unit)
    }

    fn per_second(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
            Self::Nanoseconds => 1e9,
        }
    }
}

/// Returns the name and the matchers of a selector like `name{matchers}`.
fn parts(selector: &str) -> Result<(&str, &str), GateError> {
    let selector = selector.trim();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = selector.find(|c| !is_of_name(c)).unwrap_or(selector.len());
    let (name, rest) = selector.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(GateError::HistogramSelector);
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok((name, ""));
    }
    let inside = rest
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.ok_or(GateError::HistogramSelector)?;
    Ok((name, inside.trim()))
}

/// Returns the names of the labels that matchers are on.
fn labels(matchers: &str) -> Result<Vec<&str>, GateError> {
    let mut labels = Vec::new();
    let mut rest = matchers;
    while let Some(at) = rest.find(['"', '\'', '`', '{', '}']) {
        let (before, quoted) = rest.split_at(at);
        let label = before.trim_start_matches([',', ' ', '\t', '\n', '\r']);
        labels.push(label.trim_end_matches(['=', '!', '~', ' ', '\t', '\n', '\r']));
        let end = end_of_text(quoted).ok_or(GateError::HistogramSelector)?;
        rest = &quoted[end..];
    }
    Ok(labels)
}

/// Returns the end of the text that begins here; `None` where none begins or ends.
fn end_of_text(quoted: &str) -> Option<usize> {
    let mark = quoted
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let mut escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        if c == mark && !escaped {
            return Some(at + c.len_utf8());
        }
        escaped = c == '\\' && !escaped && mark != '`';
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn texts(selector: &str, slower_than: Duration) -> Result<(String, String), GateError> {
        queries(selector, slower_than).map(|(good, total)| (good.text, total.text))
    }

    fn bucket(name: &str, slower_than: &str) -> Bucket {
        let bound = slower_than.parse().expect("a duration");
        let (good, _) = queries(name, bound).expect("a histogram");
        good.bucket.expect("a bucket")
    }

    #[test]
    fn a_histogram_is_two_selectors_of_its_buckets() {
        let whole = texts(
            r#"  http_request_duration_seconds {namespace="{{namespace}}", pod=~"{{pods}}"} "#,
            millis(250),
        );
        assert_eq!(
            whole,
            Ok((
                r#"http_request_duration_seconds_bucket{le=~"0[.]250*",namespace="{{namespace}}", pod=~"{{pods}}"}"#.to_owned(),
                r#"http_request_duration_seconds_bucket{le="+Inf",namespace="{{namespace}}", pod=~"{{pods}}"}"#.to_owned(),
            ))
        );
        let bare = Ok((
            r#"x_bucket{le=~"1([.]0+)?"}"#.to_owned(),
            r#"x_bucket{le="+Inf"}"#.to_owned(),
        ));
        assert_eq!(texts("x", millis(1000)), bare);
        assert_eq!(texts("x{}", millis(1000)), bare);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for (selector, error) in [
            ("", GateError::HistogramSelector),
            (r#"{__name__="x"}"#, GateError::HistogramSelector),
            ("rate(x[5m])", GateError::HistogramSelector),
            (r#"x{a="b"} offset 5m"#, GateError::HistogramSelector),
            (r#"x{a="b"} + y{a="b"}"#, GateError::HistogramSelector),
            (r#"x{a="b}"#, GateError::HistogramSelector),
            (r#"x_bucket{pod="a"}"#, GateError::HistogramSuffix),
            ("x_count", GateError::HistogramSuffix),
            (r#"x{pod="a",le="0.5"}"#, GateError::HistogramLe),
            (r"x{ le =~ '0.5' }", GateError::HistogramLe),
        ] {
            assert_eq!(texts(selector, millis(1000)), Err(error), "{selector}");
        }
        assert_eq!(texts("x", millis(0)), Err(GateError::SlowerThan));
        for selector in [
            r#"x{role="le"}"#,
            r#"x{a="\",le=\"1"}"#,
            r#"x{title!="a",}"#,
            r#"x{a=`\`,scale="le=1"}"#,
        ] {
            assert!(texts(selector, millis(1000)).is_ok(), "{selector}");
        }
    }

    #[test]
    fn the_bound_is_in_the_unit_that_the_name_ends_in() {
        for (name, bound, le) in [
            ("x_seconds", "250ms", "0.25"),
            ("x", "2s", "2"),
            ("x", "1m1s5ms", "61.005"),
            ("x_duration_milliseconds", "250ms", "250"),
            ("x_ms", "1s", "1000"),
            ("x_microseconds", "5ms", "5000"),
            ("x_ns", "1s", "1000000000"),
        ] {
            assert_eq!(bucket(name, bound).le(), le, "{name}");
        }
    }

    #[test]
    fn one_number_is_found_however_it_is_written() {
        for (name, bound, le) in [
            ("x", "250ms", ["0.25", "0.250", "0.25000"]),
            ("x", "1s", ["1", "1.0", "1.000"]),
            ("x", "10s", ["10", "10.0", "10.00"]),
            ("x_us", "1s", ["1000000", "1e+06", "1.0E6"]),
            ("x_ns", "250ms", ["250000000", "2.5e+08", "2.50E8"]),
        ] {
            let bucket = bucket(name, bound);
            for spelling in le {
                assert!(bucket.is(spelling.parse().expect("a number")), "{spelling}");
            }
            assert!(!bucket.is(f64::INFINITY) && !bucket.is(0.025));
        }
    }

    #[test]
    fn other_bounds_are_said_as_they_are_to_be_written() {
        let (seconds, millis) = (bucket("x", "1s"), bucket("x_ms", "1s"));
        assert_eq!(seconds.in_words(0.3), "300ms");
        assert_eq!(seconds.in_words(2.5), "2s500ms");
        assert_eq!(seconds.in_words(0.0005), "le=\"0.0005\"");
        assert_eq!(millis.in_words(10_000.0), "10s");
        assert_eq!(millis.in_words(f64::INFINITY), "le=\"inf\"");
    }
}
