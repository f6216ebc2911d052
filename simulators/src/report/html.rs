//! A report as one page of HTML that needs nothing else: no network, no script. Pure.

use super::figures::{bytes, count, date, millis, number, seconds};
use super::svg::{self, Bar, Line, escape};
use super::{Latency, PhaseReport, Report};

#[cfg(test)]
mod tests;

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(report: &Report) -> String {
    let title = format!("{} sites", count(u64::from(report.sites)));
    let sections = [
        summary(report),
        charts(report),
        phases(report),
        traffic(report),
        reasons(report),
        facts(report),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Gnomon fleet: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Gnomon fleet: {title}</h1>\n<p>{}, {} long, {}.</p>\n{}</body>\n</html>\n",
        date(report.began_unix_s),
        seconds(report.seconds),
        if report.is_complete() {
            "every phase complete".to_owned()
        } else {
            format!("<strong>not complete</strong> ({})", escape(&report.ended))
        },
        sections.concat(),
    )
}

fn summary(report: &Report) -> String {
    let mut cards = Vec::new();
    for phase in report.phases.iter().filter(|phase| phase.awaited > 0) {
        let all = phase.last_came_s().map_or_else(|| "never".to_owned(), seconds);
        cards.push((format!("{}: last site", phase.name), all));
    }
    if let Some(most) = report.cloud_peak_bytes() {
        cards.push(("cloud: most memory".to_owned(), bytes(most)));
    }
    cards.push(("fleet: most memory".to_owned(), bytes(report.fleet_peak_bytes())));
    let slowest = report.phases.iter().filter_map(|phase| phase.broker.as_ref());
    if let Some(p99) = slowest.map(|broker| broker.p99_ms).reduce(f64::max) {
        cards.push(("broker: worst p99 of a phase".to_owned(), millis(p99)));
    }
    let cards = cards.iter().map(|(name, value)| {
        format!("<div><b>{}</b><span>{}</span></div>\n", escape(value), escape(name))
    });
    format!("<div class=\"cards\">\n{}</div>\n", cards.collect::<String>())
}

fn charts(report: &Report) -> String {
    let samples = &report.samples;
    let line = |name: &str, of: &dyn Fn(&super::Sample) -> Option<f64>| Line {
        name: name.to_owned(),
        points: samples.iter().filter_map(|it| Some((it.at_s, of(it)?))).collect(),
    };
    let marks: Vec<_> =
        report.phases.iter().map(|phase| (phase.begin_s, phase.name.clone())).collect();
    let curves: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| !phase.curve.is_empty())
        .map(|phase| Line { name: phase.name.clone(), points: curve(phase) })
        .collect();
    let fleet = [
        line("in sync", &|it| Some(f64::from(it.in_sync))),
        line("link up", &|it| Some(f64::from(it.up))),
    ];
    let memory = [
        line("cloud", &|it| it.cloud_bytes.map(float)),
        line("fleet", &|it| Some(float(it.fleet_bytes))),
    ];
    let cpu = [line("cloud", &|it| it.cloud_cores), line("fleet", &|it| Some(it.fleet_cores))];
    let probe = [line("", &|it| it.probe_ms)];
    let figures = [
        (
            "Convergence: sites that came, by the time since their phase began",
            svg::lines("convergence", &curves, &[], svg::seconds, svg::short),
        ),
        ("Sites over time", svg::lines("sites", &fleet, &marks, svg::seconds, svg::short)),
        (
            "The broker's slowest answer to the probe",
            svg::lines("probe", &probe, &marks, svg::seconds, svg::millis),
        ),
        ("Memory", svg::lines("memory", &memory, &marks, svg::seconds, svg::bytes)),
        ("Cores in use", svg::lines("cpu", &cpu, &marks, svg::seconds, svg::short)),
    ];
    let figures = figures.iter().map(|(title, chart)| figure(title, chart));
    figures.chain(report.phases.iter().filter_map(histogram)).collect()
}

fn curve(phase: &PhaseReport) -> Vec<(f64, f64)> {
    let points = phase.curve.iter().map(|(at, sites)| (*at, f64::from(*sites)));
    std::iter::once((0.0, 0.0)).chain(points).collect()
}

fn histogram(phase: &PhaseReport) -> Option<String> {
    let took = phase.took.as_ref()?;
    let bars: Vec<_> = took
        .buckets
        .iter()
        .map(|(most, count)| Bar { name: svg::millis(*most), parts: vec![float(*count)] })
        .collect();
    let chart = svg::bars(&phase.name, &bars, &[""], svg::short);
    let title = format!("{}: sites by how long each took (at most)", phase.name);
    Some(figure(&title, &chart))
}

fn figure(title: &str, chart: &str) -> String {
    format!("<figure>\n<figcaption>{}</figcaption>\n{chart}\n</figure>\n", escape(title))
}

fn phases(report: &Report) -> String {
    let heads = [
        "phase",
        "length",
        "sites",
        "p50",
        "p99",
        "last site",
        "broker p50",
        "p99",
        "max",
        "API p99",
        "lost probes",
        "cloud CPU",
        "fleet CPU",
    ];
    let rows = report.phases.iter().map(|phase| {
        let of = |latency: &Option<Latency>, which: fn(&Latency) -> f64| {
            latency.as_ref().map_or_else(|| "–".to_owned(), |it| millis(which(it)))
        };
        let sites = match phase.awaited {
            0 => "–".to_owned(),
            all => format!("{} of {}", count(u64::from(phase.came)), count(u64::from(all))),
        };
        let name = format!("{}{}", phase.name, if phase.complete { "" } else { " (not complete)" });
        vec![
            name,
            seconds(phase.seconds()),
            sites,
            of(&phase.took, |it| it.p50_ms),
            of(&phase.took, |it| it.p99_ms),
            phase.last_came_s().map_or_else(|| "–".to_owned(), seconds),
            of(&phase.broker, |it| it.p50_ms),
            of(&phase.broker, |it| it.p99_ms),
            of(&phase.broker, |it| it.max_ms),
            of(&phase.api, |it| it.p99_ms),
            count(phase.probes_lost),
            phase.cloud_cpu_s.map_or_else(|| "–".to_owned(), seconds),
            seconds(phase.fleet_cpu_s),
        ]
    });
    table("Phases", &heads, rows)
}

fn traffic(report: &Report) -> String {
    let bars: Vec<_> = report
        .phases
        .iter()
        .map(|phase| {
            let bytes = phase.bytes;
            let parts = [bytes.desired, bytes.reported, bytes.overhead()].map(float).to_vec();
            Bar { name: phase.name.clone(), parts }
        })
        .collect();
    let parts = ["desired", "reported", "handshakes, MQTT, signs of life"];
    let chart = svg::bars("bytes", &bars, &parts, svg::bytes);
    let heads = [
        "phase",
        "to sites",
        "from sites",
        "desired",
        "reported",
        "rest",
        "per site",
        "connections",
        "resumed",
        "lost links",
        "failed attempts",
        "malformed",
    ];
    let sites = u64::from(report.sites.max(1));
    let rows = report.phases.iter().map(|phase| {
        let all = phase.bytes;
        vec![
            phase.name.clone(),
            bytes(all.received),
            bytes(all.sent),
            bytes(all.desired),
            bytes(all.reported),
            bytes(all.overhead()),
            bytes(all.total() / sites),
            count(phase.connections),
            count(phase.resumed),
            count(phase.drops),
            count(phase.failed_attempts),
            count(phase.malformed),
        ]
    });
    figure("Bytes by purpose", &chart) + &table("Traffic", &heads, rows)
}

fn reasons(report: &Report) -> String {
    let mut reasons: Vec<_> = report.reasons.iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let rows = reasons.iter().map(|(reason, times)| vec![(*reason).clone(), count(**times)]);
    let mut out = String::new();
    if !reasons.is_empty() {
        out.push_str(&table("Why links were lost or not made", &["reason", "times"], rows));
    }
    if !report.troubles.is_empty() {
        let rows = report.troubles.iter().map(|trouble| vec![trouble.clone()]);
        out.push_str(&table("What went wrong in the run itself", &["trouble"], rows));
    }
    out
}

fn facts(report: &Report) -> String {
    let machine = &report.machine;
    let enrolment = &report.enrolment;
    let mut rows = vec![
        ("program", report.program.clone()),
        (
            "built",
            if machine.is_release { "with optimisation" } else { "without optimisation" }
                .to_owned(),
        ),
        ("processor", machine.processor.clone()),
        ("cores", machine.cores.to_string()),
        ("memory", bytes(machine.memory_bytes)),
        ("kernel", machine.kernel.clone()),
        ("load before the run", number(machine.load_before)),
        ("cloud", if machine.is_shared { "on the same machine" } else { "elsewhere" }.to_owned()),
        (
            "identities",
            format!(
                "{} made, {} read, in {}",
                count(u64::from(enrolment.made)),
                count(u64::from(enrolment.reused)),
                seconds(enrolment.seconds),
            ),
        ),
    ];
    if let Some(bare) = &machine.handshakes {
        let text = format!(
            "{} \u{b5}s in full, {} \u{b5}s resumed, over {} of each",
            number(bare.full_us),
            number(bare.resumed_us),
            count(u64::from(bare.count)),
        );
        rows.push(("CPU of a bare TLS handshake, server's side", text));
    }
    if let Some(says) = &report.cloud_says {
        let text = format!("{} nodes online, {} in sync", count(says.online), count(says.in_sync));
        rows.push(("the cloud's own word at the end", text));
    }
    let settings = report.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let rows = rows.into_iter().chain(settings).map(|(name, value)| vec![name.to_owned(), value]);
    table("Machine and settings", &["what", "value"], rows)
}

fn table(title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        let cells = cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = cells("th", &mut heads.iter().copied());
    let body: String = rows.map(|row| cells("td", &mut row.iter().map(String::as_str))).collect();
    format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n",
        escape(title),
    )
}

#[expect(clippy::cast_precision_loss, reason = "for a chart")]
fn float(value: u64) -> f64 {
    value as f64
}
