//! Charts as SVG text. Pure; a chart takes the width that it is given, and its own height.

use super::figures;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// One more than there are lines across.
const TICKS: u32 = 4;
const COLOURS: [&str; 6] = ["#0b6e4f", "#c8553d", "#3a6ea5", "#b8860b", "#7b4b94", "#5f6b6d"];

/// Points that are joined.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A value, and what it is called.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) name: String,
    /// The parts of it, each in the colour of its place.
    pub(super) parts: Vec<f64>,
}

/// What stands at an axis.
pub(super) type Label = fn(f64) -> String;

/// Lines over a common axis from zero; `marks` are upright lines with a name.
pub(super) fn lines(
    title: &str,
    lines: &[Line],
    marks: &[(f64, String)],
    x: Label,
    y: Label,
) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0_f64, f64::max);
    let (right, top) = (most(&mut all().map(|it| it.0)), round_up(most(&mut all().map(|it| it.1))));
    let mut out = open(title, HEIGHT);
    grid(&mut out, right, top, x, y);
    for (at, name) in marks {
        let at = across(*at, right);
        push(
            &mut out,
            &format!(
                "<line class=\"mark\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\"><title>{}</title></line>",
                HEIGHT - BOTTOM,
                escape(name),
            ),
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", across(*px, right), up(*py, top)))
            .collect();
        push(
            &mut out,
            &format!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                points.join(" "),
            ),
        );
    }
    out.push_str("</svg>");
    let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    out.push_str(&legend(&names));
    out
}

/// Upright bars beside each other.
pub(super) fn bars(title: &str, bars: &[Bar], parts: &[&str], y: Label) -> String {
    let whole = |bar: &Bar| bar.parts.iter().sum::<f64>();
    let top = round_up(bars.iter().map(whole).fold(0.0, f64::max));
    let mut out = open(title, HEIGHT);
    grid(&mut out, 0.0, top, |_| String::new(), y);
    let room = (WIDTH - LEFT - RIGHT) / float(bars.len().max(1));
    for (at, bar) in bars.iter().enumerate() {
        let left = LEFT + room * float(at);
        let mut below = 0.0;
        for (part, colour) in bar.parts.iter().zip(COLOURS.iter().cycle()) {
            let (from, to) = (up(below, top), up(below + part, top));
            below += part;
            push(
                &mut out,
                &format!(
                    "<rect x=\"{:.1}\" y=\"{to:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}: {}</title></rect>",
                    left + room * 0.1,
                    room * 0.8,
                    from - to,
                    escape(&bar.name),
                    escape(&y(*part)),
                ),
            );
        }
        // Every second name where there is no room for all.
        if bars.len() <= 12 || at.is_multiple_of(2) {
            push(
                &mut out,
                &format!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    left + room / 2.0,
                    HEIGHT - BOTTOM + 16.0,
                    escape(&bar.name),
                ),
            );
        }
    }
    out.push_str("</svg>");
    out.push_str(&legend(parts));
    out
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n",
        escape(title),
    )
}

fn grid(out: &mut String, right: f64, top: f64, x: Label, y: Label) {
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let (line, value) = (up(top * share, top), top * share);
        push(
            out,
            &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{line:.1}\" x2=\"{:.1}\" y2=\"{line:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                line + 4.0,
                escape(&y(value)),
            ),
        );
        if right > 0.0 {
            let anchor = if tick == TICKS { "end" } else { "middle" };
            push(
                out,
                &format!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    across(right * share, right),
                    HEIGHT - BOTTOM + 16.0,
                    escape(&x(right * share)),
                ),
            );
        }
    }
}

/// The names of the colours; none for a single one without a name.
fn legend(names: &[&str]) -> String {
    let mut out = String::new();
    if names.iter().any(|name| !name.is_empty()) {
        out.push_str("\n<p class=\"legend\">");
        for (name, colour) in names.iter().zip(COLOURS.iter().cycle()) {
            push(
                &mut out,
                &format!("<span><i style=\"background:{colour}\"></i>{}</span>", escape(name)),
            );
        }
        out.push_str("</p>");
    }
    out
}

/// The next value at which an axis may end.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let fits = steps.iter().find(|step| **step * magnitude >= value * 0.999_999);
    fits.copied().unwrap_or(10.0) * magnitude
}

fn across(value: f64, right: f64) -> f64 {
    let share = if right > 0.0 { (value / right).clamp(0.0, 1.0) } else { 0.0 };
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn up(value: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - (value / top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
}

fn float(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn push(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// A text that means nothing to HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    out
}

/// Seconds at an axis.
pub(super) fn seconds(value: f64) -> String {
    format!("{} s", short(value))
}

/// Milliseconds at an axis.
pub(super) fn millis(value: f64) -> String {
    if value >= 1_000.0 { seconds(value / 1_000.0) } else { format!("{} ms", short(value)) }
}

/// Bytes at an axis.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
pub(super) fn bytes(value: f64) -> String {
    figures::bytes(value.max(0.0) as u64)
}

/// A number at an axis.
pub(super) fn short(value: f64) -> String {
    let text = figures::number(value);
    let trimmed =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    trimmed.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_that_holds_everything() {
        for (value, end) in
            [(0.0, 1.0), (0.7, 0.8), (1.0, 1.0), (3.2, 4.0), (97.0, 100.0), (530.0, 800.0)]
        {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn what_sites_and_systems_say_is_no_markup() {
        let line = Line { name: "<b>".to_owned(), points: vec![(0.0, 1.0), (2.0, 3.0)] };
        let marks = [(1.0, "a \"mark\"".to_owned())];
        let svg = lines("a & b", &[line], &marks, seconds, short);
        assert!(svg.contains("&lt;b&gt;") && svg.contains("a &amp; b"), "{svg}");
        assert!(svg.contains("a &quot;mark&quot;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn points_lie_within_the_frame_whatever_they_are() {
        let points = vec![(0.0, -5.0), (10.0, 2.0)];
        let svg = lines("t", &[Line { name: String::new(), points }], &[], seconds, short);
        assert!(svg.contains("points=\"62.0,210.0 628.0,12.0\""), "{svg}");
        assert!(!svg.contains("legend"));
    }
}
