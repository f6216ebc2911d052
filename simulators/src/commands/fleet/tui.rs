//! A live view of a fleet that runs: what it does, how many are there, what the cloud takes. It
//! draws what it is told and decides nothing.

use std::collections::VecDeque;
use std::io::{self, Stdout};

use gnomon_sim::fleet::{Live, News};
use gnomon_sim::report::{PhaseReport, figures};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};
use ratatui::{Frame, Terminal};
use tokio_util::sync::CancellationToken;

/// The samples that are kept: a sample is half a second.
const KEPT: usize = 240;

/// The terminal while the view is on it; it is as it was when this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    view: View,
}

/// What is shown.
pub(super) struct View {
    sites: u32,
    phase: String,
    is_write: bool,
    enrolled: u32,
    live: Live,
    in_sync: VecDeque<u64>,
    probe: VecDeque<u64>,
    cloud: VecDeque<u64>,
    phases: Vec<[String; 6]>,
}

impl Screen {
    /// Takes the terminal; `q` and Ctrl-C there cancel `stop`, and a second time `abort`.
    pub(super) fn open(
        sites: u32,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> io::Result<Self> {
        enable_raw_mode()?;
        let mut stdout = io::stdout();
        execute!(stdout, EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout))?;
        // Ends with the process: a key may never come.
        std::thread::spawn(move || listen(&stop, &abort));
        Ok(Self { terminal, view: View::new(sites) })
    }

    pub(super) fn news(&mut self, news: &News<'_>) {
        self.view.news(news);
        let view = &self.view;
        if let Err(error) = self.terminal.draw(|frame| view.draw(frame)) {
            tracing::warn!(%error, "the view cannot be drawn");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let left = disable_raw_mode().and_then(|()| execute!(io::stdout(), LeaveAlternateScreen));
        if let Err(error) = left {
            tracing::warn!(%error, "the terminal is not as it was; `reset` helps");
        }
    }
}

fn listen(stop: &CancellationToken, abort: &CancellationToken) {
    while let Ok(event) = event::read() {
        let Event::Key(KeyEvent { code, modifiers, .. }) = event else { continue };
        let is_interrupt = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
        if !is_interrupt && code != KeyCode::Char('q') {
            continue;
        }
        if stop.is_cancelled() {
            return abort.cancel();
        }
        stop.cancel();
    }
}

impl View {
    fn new(sites: u32) -> Self {
        Self {
            sites,
            phase: "enrolling".to_owned(),
            is_write: false,
            enrolled: 0,
            live: Live::default(),
            in_sync: VecDeque::new(),
            probe: VecDeque::new(),
            cloud: VecDeque::new(),
            phases: Vec::new(),
        }
    }

    fn news(&mut self, news: &News<'_>) {
        match news {
            News::Enrolled(made) => self.enrolled = *made,
            News::Entered(phase) => {
                self.phase = phase.to_string();
                self.is_write = matches!(phase, gnomon_sim::fleet::Phase::Write(_));
            }
            News::Left(phase) => self.phases.push(row(phase)),
            News::Live(live) => {
                self.live = *live;
                let sample = &live.sample;
                keep(&mut self.in_sync, sample.in_sync.into());
                keep(&mut self.probe, micros(sample.probe_ms.unwrap_or_default()));
                keep(&mut self.cloud, micros(sample.cloud_cores.unwrap_or_default()));
            }
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = [
            Constraint::Length(3),
            Constraint::Length(3),
            Constraint::Length(6),
            Constraint::Length(6),
            Constraint::Min(4),
            Constraint::Length(1),
        ];
        let [head, gauge, above, below, phases, foot] = Layout::vertical(rows).areas(frame.area());
        let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
        self.draw_head(frame, head);
        self.draw_gauge(frame, gauge);
        let [probe, cloud] = halves.areas(below);
        draw_curve(frame, above, "in sync", &self.in_sync);
        draw_curve(frame, probe, "broker: slowest answer", &self.probe);
        draw_curve(frame, cloud, "cloud: CPU", &self.cloud);
        self.draw_phases(frame, phases);
        frame.render_widget(
            Line::from(" q or Ctrl-C: end with a report; twice: without").dim(),
            foot,
        );
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let sample = &self.live.sample;
        let dash = || "-".to_owned();
        let cloud = sample.cloud_bytes.map_or_else(dash, figures::bytes);
        let cores = sample.cloud_cores.map_or_else(dash, |it| format!("{:.0} %", it * 100.0));
        let probe = sample.probe_ms.map_or_else(dash, figures::millis);
        let text = format!(
            " {:.0} s   {} up   cloud {cloud}, {cores}   fleet {}, {:.0} %   probe {probe}",
            sample.at_s,
            sample.up,
            figures::bytes(sample.fleet_bytes),
            sample.fleet_cores * 100.0,
        );
        let block = Block::bordered().title(format!(" {} sites: {} ", self.sites, self.phase));
        frame.render_widget(Paragraph::new(text).block(block), area);
    }

    fn draw_gauge(&self, frame: &mut Frame<'_>, area: Rect) {
        let (title, count) = match () {
            () if self.phases.is_empty() && self.live.sample.up == 0 => ("enrolled", self.enrolled),
            () if self.is_write => ("hold the write", self.live.reached),
            () => ("in sync", self.live.sample.in_sync),
        };
        let ratio = f64::from(count) / f64::from(self.sites.max(1));
        let gauge = Gauge::default()
            .block(Block::bordered().title(format!(" {title} ")))
            .gauge_style(Style::new().green())
            .ratio(ratio.clamp(0.0, 1.0))
            .label(format!("{count} of {}", self.sites));
        frame.render_widget(gauge, area);
    }

    fn draw_phases(&self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height.saturating_sub(3));
        let skipped = self.phases.len().saturating_sub(room);
        let rows = self.phases.iter().skip(skipped).map(|cells| Row::new(cells.clone()));
        let head = ["phase", "complete", "took", "last site", "probe p99", "bytes"];
        let table = Table::new(rows, [Constraint::Fill(1); 6])
            .header(Row::new(head).bold())
            .block(Block::bordered().title(" phases "));
        frame.render_widget(table, area);
    }
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, title: &str, values: &VecDeque<u64>) {
    let room = usize::from(area.width.saturating_sub(2));
    let skipped = values.len().saturating_sub(room);
    let data: Vec<_> = values.iter().skip(skipped).copied().collect();
    let block = Block::bordered().title(format!(" {title} "));
    frame.render_widget(Sparkline::default().block(block).data(&data), area);
}

fn row(phase: &PhaseReport) -> [String; 6] {
    let dash = || "-".to_owned();
    [
        phase.name.clone(),
        if phase.complete {
            "yes".to_owned()
        } else {
            format!("{} of {}", phase.came, phase.awaited)
        },
        figures::seconds(phase.seconds()),
        phase.last_came_s().map_or_else(dash, figures::seconds),
        phase.broker.as_ref().map_or_else(dash, |it| figures::millis(it.p99_ms)),
        figures::bytes(phase.bytes.total()),
    ]
}

fn keep(values: &mut VecDeque<u64>, value: u64) {
    if values.len() == KEPT {
        values.pop_front();
    }
    values.push_back(value);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for a curve")]
fn micros(value: f64) -> u64 {
    (value.max(0.0) * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use gnomon_sim::fleet::Phase;
    use gnomon_sim::report::Sample;
    use ratatui::backend::TestBackend;

    use super::*;

    fn shown(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 26)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_view_shows_where_the_run_is_and_what_was() {
        let mut view = View::new(200);
        view.news(&News::Enrolled(50));
        assert!(shown(&view).contains("50 of 200"));
        view.news(&News::Entered(Phase::StormBack));
        let sample = Sample {
            at_s: 12.0,
            up: 180,
            in_sync: 150,
            cloud_bytes: Some(70_000_000),
            cloud_cores: Some(0.5),
            probe_ms: Some(3.0),
            ..Sample::default()
        };
        view.news(&News::Live(Live { sample, reached: 0 }));
        view.news(&News::Left(&PhaseReport {
            name: "all cut".to_owned(),
            ..PhaseReport::default()
        }));
        let shown = shown(&view);
        for part in
            ["200 sites: all back", "180 up", "cloud 70.0 MB, 50 %", "150 of 200", "all cut"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn a_small_terminal_and_a_long_run_are_no_harm() {
        let mut view = View::new(10);
        for _ in 0..1_000 {
            view.news(&News::Live(Live::default()));
            view.news(&News::Left(&PhaseReport::default()));
        }
        assert_eq!(view.in_sync.len(), KEPT);
        let mut terminal = Terminal::new(TestBackend::new(8, 3)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
    }
}
