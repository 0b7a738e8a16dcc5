//! Plots as SVG: lines on logarithmic axes, readable on light and dark pages.

use std::fmt::Write;

use crate::latency::Latencies;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 50.0;
/// The points of a distribution's curve, in nines: 0 is the low end, 4 is 99.99 %.
const STEPS: u32 = 80;
const MAX_NINES: f64 = 4.0;
/// A curve with fewer points shows each of them.
const FEW: usize = 20;
/// Colours that are distinguishable for everyone, on white and on black.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:16px;font-weight:600}\
.grid{stroke:#8886;stroke-width:1}.line{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#ddd}}";

/// A line of a plot.
#[derive(Debug, Clone)]
pub struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// A curve through these points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }

    /// The curve of a distribution: durations over nines.
    pub fn of(name: &str, latencies: &Latencies) -> Self {
        let point = |step| {
            let nines = f64::from(step) / f64::from(STEPS) * MAX_NINES;
            (nines, latencies.at(1.0 - 10f64.powf(-nines)).max(0.001))
        };
        Self::new(name, (0..=STEPS).map(point).collect())
    }
}

/// A label on the horizontal axis, and its position.
type Tick = (f64, String);

/// A plot.
#[derive(Debug, Clone)]
pub struct Chart {
    title: String,
    horizontal: &'static str,
    vertical: &'static str,
    ticks: Vec<Tick>,
    curves: Vec<Curve>,
}

impl Chart {
    /// A plot of distributions.
    pub fn of_latencies(command: &str, curves: Vec<Curve>) -> Self {
        let ticks = [(0.0, "0 %"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")];
        Self {
            title: format!("{command}: latency"),
            horizontal: "share that took no longer",
            vertical: "ms",
            ticks: ticks.into_iter().map(|(at, label)| (at, label.to_owned())).collect(),
            curves,
        }
    }

    /// A plot of values over counts, both on logarithmic axes.
    pub fn of_series(title: &str, horizontal: &'static str, vertical: &'static str, curves: Vec<Curve>) -> Self {
        let log =
            |curve: Curve| Curve { points: curve.points.into_iter().map(|(x, y)| (x.max(1.0).log10(), y)).collect(), ..curve };
        let curves: Vec<Curve> = curves.into_iter().map(log).collect();
        let (low, high) = range(curves.iter().flat_map(|curve| &curve.points).map(|(x, _)| *x));
        let mut ticks = Vec::new();
        let mut power = low.floor();
        while power <= high.ceil() {
            ticks.push((power, label(10f64.powf(power))));
            power += 1.0;
        }
        Self { title: title.to_owned(), horizontal, vertical, ticks, curves }
    }

    /// The plot as SVG.
    pub fn svg(&self) -> String {
        let xs = self.curves.iter().flat_map(|curve| &curve.points).map(|(x, _)| *x);
        let (left, right) = range(xs.chain(self.ticks.iter().map(|(x, _)| *x)));
        let (low, high) = range(self.curves.iter().flat_map(|curve| &curve.points).map(|(_, y)| y.max(0.001).log10()));
        let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        let across = |x: f64| LEFT + (x - left) / (right - left).max(0.001) * (WIDTH - LEFT - RIGHT);
        let up = |y: f64| HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"24\">{}</text>\n",
            escaped(&self.title)
        );
        for (x, label) in &self.ticks {
            let (x, bottom) = (across(*x), HEIGHT - BOTTOM);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                escaped(label)
            );
        }
        let mut power = low;
        while power <= high {
            let y = up(power);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.0}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                label(10f64.powf(power))
            );
            power += 1.0;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n<text x=\"{:.0}\" y=\"{:.0}\" \
             text-anchor=\"end\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 10.0,
            escaped(self.horizontal),
            LEFT - 8.0,
            TOP - 12.0,
            escaped(self.vertical)
        );
        let mut legend = LEFT;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<String> =
                curve.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(y.max(0.001).log10()))).collect();
            let _ = writeln!(
                svg,
                "<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>\n<rect x=\"{legend:.0}\" y=\"38\" width=\"14\" \
                 height=\"4\" \
                 fill=\"{colour}\"/><text x=\"{:.0}\" y=\"45\">{}</text>",
                points.join(" "),
                legend + 20.0,
                escaped(&curve.name)
            );
            // So few points are separate measurements, and a single one makes no line.
            for (x, y) in curve.points.iter().filter(|_| curve.points.len() < FEW) {
                let (x, y) = (across(*x), up(y.max(0.001).log10()));
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
            }
            legend += 40.0 + 7.5 * f64::from(u16::try_from(curve.name.chars().count()).unwrap_or(u16::MAX));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low.is_finite() { (low, high) } else { (0.0, 1.0) }
}

/// A readable power of ten.
fn label(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else {
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_plot_holds_its_curves_within_its_frame() {
        let mut latencies = Latencies::new().unwrap();
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let svg = Chart::of_latencies("a<b", vec![Curve::of("ackMs", &latencies)]).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a&lt;b: latency"), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark") && svg.contains(">99.9 %<") && svg.contains(">ackMs<"));
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y), "{point}");
        }
    }

    #[test]
    fn a_series_has_a_label_for_each_power_of_ten() {
        let curve = Curve::new("get", vec![(1e3, 1.0), (1e5, 2.0), (1e7, 2.5)]);
        let svg = Chart::of_series("growth", "messages", "ms", vec![curve]).svg();
        assert!([">1000<", ">10k<", ">100k<", ">1M<", ">10M<"].iter().all(|label| svg.contains(label)), "{svg}");
        assert_eq!(svg.matches("<circle ").count(), 3);
        assert!(Chart::of_series("nothing", "", "", Vec::new()).svg().contains("</svg>"));
    }
}
