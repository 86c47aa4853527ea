//! Line plots as SVG, to be read on light and dark pages.

use std::fmt::Write as _;

pub struct Plot {
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    /// The y axis is logarithmic.
    pub log: bool,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;

/// Told apart by those who do not see all colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#999999", "#d55e00",
];

/// A grey that is read on white and on black.
const INK: &str = "#808080";

impl Plot {
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (left, right) = range(points().map(|point| point.0));
        let (low, high) = range(points().map(|point| self.scaled(point.1)));
        let low = if self.log { low } else { low.min(0.0) };
        let x = |value: f64| LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| {
            HEIGHT - BOTTOM - (self.scaled(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        };

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n"
        );
        let mut text = |at: (f64, f64), anchor: &str, text: &str| {
            writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{text}</text>",
                at.0, at.1
            )
            .unwrap();
        };
        text(
            (LEFT, 20.0),
            "start",
            &format!("{} ({})", self.title, self.y),
        );
        text(
            ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0),
            "middle",
            self.x,
        );
        for tick in self.ticks(low, high) {
            text((LEFT - 8.0, y(tick) + 4.0), "end", &short(tick));
        }
        for tick in steps(left, right) {
            text((x(tick), HEIGHT - BOTTOM + 18.0), "middle", &short(tick));
        }
        for tick in self.ticks(low, high) {
            let (y, end) = (y(tick), WIDTH - RIGHT);
            writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{end}\" stroke=\"{INK}\" stroke-opacity=\".25\"/>"
            )
            .unwrap();
        }
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let path: Vec<_> = series
                .points
                .iter()
                .map(|(at, v)| format!("{:.1} {:.1}", x(*at), y(*v)))
                .collect();
            let path = path.join("L");
            writeln!(
                svg,
                "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            )
            .unwrap();
        }
        for (nth, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let (x, y, name) = (WIDTH - RIGHT + 16.0, TOP + 20.0 * nth as f64, series.name);
            writeln!(
                svg,
                "<path d=\"M{x} {y}h16\" stroke=\"{colour}\" stroke-width=\"3\"/>"
            )
            .unwrap();
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\">{name}</text>",
                x + 22.0,
                y + 4.0
            )
            .unwrap();
        }
        svg + "</svg>\n"
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    /// Where lines go across; `low` and `high` are scaled.
    fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if !self.log {
            return steps(low, high);
        }
        let decades = low.floor() as i32..=high.ceil() as i32;
        let all =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
        all.filter(|tick| (low..=high).contains(&tick.log10()))
            .collect()
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

/// Round numbers between two, some five of them.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| *step >= rough);
    let step = step.unwrap_or(decade);
    let first = (low / step).ceil() as i64;
    (first..)
        .map(|nth| nth as f64 * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .collect()
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
