//! Drawings: lines over two axes, by hand, for that is all that we draw.

use std::fmt::Write as _;

use crate::results::{Plot, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c5c5c", "#a6761d"];

/// A plot as an SVG document.
pub(crate) fn draw(plot: &Plot) -> String {
    let points = || plot.series.iter().flat_map(|(_, points)| points.iter());
    let x = Axis::new(points().map(|point| point.0), plot.log_x);
    let y = Axis::new(points().map(|point| point.1), plot.log_y);
    let across = |value| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
    let up = |value| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, more: &str, what: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{}</text>",
            escaped(what)
        );
    };
    text(LEFT, 24.0, "start", "font-size=\"15\" font-weight=\"bold\"", &plot.title);
    text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12.0, "middle", "", &plot.x);
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    text(16.0, middle, "middle", &format!("transform=\"rotate(-90 16 {middle})\""), &plot.y);
    for tick in x.ticks() {
        text(across(tick), HEIGHT - BOTTOM + 18.0, "middle", "", &number(tick));
    }
    for tick in y.ticks() {
        text(LEFT - 8.0, up(tick) + 4.0, "end", "", &number(tick));
    }
    for (at, (name, _)) in plot.series.iter().enumerate() {
        text(WIDTH - RIGHT + 34.0, TOP + 10.0 + 20.0 * at as f64, "start", "", name);
    }
    let mut line = |from: (f64, f64), to: (f64, f64), look: &str| {
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {look}/>",
            from.0, from.1, to.0, to.1
        );
    };
    for tick in y.ticks() {
        line((LEFT, up(tick)), (WIDTH - RIGHT, up(tick)), "stroke=\"#dddddd\"");
    }
    for tick in x.ticks() {
        let foot = HEIGHT - BOTTOM;
        line((across(tick), foot), (across(tick), foot + 5.0), "stroke=\"black\"");
    }
    let corner = (LEFT, HEIGHT - BOTTOM);
    line((LEFT, TOP), corner, "stroke=\"black\"");
    line(corner, (WIDTH - RIGHT, HEIGHT - BOTTOM), "stroke=\"black\"");
    for at in 0..plot.series.len() {
        let (y, colour) = (TOP + 6.0 + 20.0 * at as f64, COLOURS[at % COLOURS.len()]);
        let look = format!("stroke=\"{colour}\" stroke-width=\"3\"");
        line((WIDTH - RIGHT + 10.0, y), (WIDTH - RIGHT + 28.0, y), &look);
    }
    for (at, (_, points)) in plot.series.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<_> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        // Few points are shown as such.
        for point in path.iter().filter(|_| points.len() <= 12) {
            if let Some((x, y)) = point.split_once(',') {
                let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
    }
    svg + "</svg>\n"
}

/// Maps values to 0 to 1.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let usable = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (low, high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if !low.is_finite() {
            return Self { low: if log { 1.0 } else { 0.0 }, high: 10.0, log };
        }
        if log {
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            return Self { low: 10_f64.powf(low), high: 10_f64.powf(high.max(low + 1.0)), log };
        }
        let step = step(high.max(f64::MIN_POSITIVE));
        Self { low: 0.0, high: (high / step).ceil().max(1.0) * step, log }
    }

    fn share(&self, value: f64) -> f64 {
        match self.log {
            true => {
                let value = value.max(self.low);
                (value / self.low).log10() / (self.high / self.low).log10()
            }
            false => (value - self.low) / (self.high - self.low),
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let step = step(self.high);
        (0..=(self.high / step).round() as i32).map(|n| f64::from(n) * step).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten, of which about five make `high`.
fn step(high: f64) -> f64 {
    let rough = high / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough * 0.999);
    times.unwrap_or(10.0) * power
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Axis, draw, step};
    use crate::results::Plot;

    #[test]
    fn an_axis_holds_every_value_and_its_ticks_are_round() {
        let axis = Axis::new([3.0, 420.0].into_iter(), false);
        assert_eq!((axis.share(0.0), axis.ticks().last()), (0.0, Some(&500.0)));
        assert!(axis.share(420.0) < 1.0 && axis.ticks().len() == 6);
        let axis = Axis::new([0.5, 900.0].into_iter(), true);
        assert_eq!(axis.ticks(), [0.1, 1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!([7.0, 30.0, 0.2].map(step).map(|v| (v * 1e6).round() / 1e6), [2.0, 10.0, 0.05]);
    }

    #[test]
    fn names_are_text_and_not_markup() {
        let plot = Plot {
            name: "a".to_owned(),
            title: "a < b & c".to_owned(),
            x: String::new(),
            y: String::new(),
            log_x: false,
            log_y: true,
            series: vec![("<ours>".to_owned(), vec![(0.0, 0.0), (1.0, f64::NAN)])],
        };
        let svg = draw(&plot);
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&lt;ours&gt;"), "{svg}");
    }
}
