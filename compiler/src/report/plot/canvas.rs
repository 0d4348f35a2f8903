//! Drawing SVG: elements, axes, escaping.

use std::fmt::Write;

/// Predictions.
pub const BLUE: &str = "#0072b2";
/// Bootstraps.
pub const ORANGE: &str = "#e69f00";
/// Measurements.
pub const VERMILLION: &str = "#d55e00";
/// What is there all the time.
pub const GREY: &str = "#bbbbbb";

/// Text as content or attribute of an element.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no other control characters, not even escaped.
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A drawing that grows element by element.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// Where a line of text is anchored.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It starts there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Canvas {
    /// An empty drawing of that size in pixels. Patterns: `url(#hatch)` and `url(#dots)`.
    pub fn new(width: f64, height: f64) -> Self {
        Canvas { width, height, body: String::new() }
    }

    /// A rectangle; `title` is shown where the mouse rests.
    pub fn rect(&mut self, [x, y, w, h]: [f64; 4], fill: &str, stroke: &str, title: &str) {
        // Writing to a String cannot fail.
        let _ = write!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{:.2}" height="{h:.1}" fill="{fill}" stroke="{stroke}">"#,
            w.max(0.0)
        );
        self.close("rect", title);
    }

    /// A polygon.
    pub fn polygon(&mut self, points: &[[f64; 2]], fill: &str, title: &str) {
        let _ = write!(
            self.body,
            r##"<polygon points="{}" fill="{fill}" stroke="#000" stroke-width="0.7">"##,
            list(points)
        );
        self.close("polygon", title);
    }

    /// A triangle that points up, its tip at the point: a bootstrap.
    pub fn triangle(&mut self, [x, y]: [f64; 2], title: &str) {
        self.polygon(&[[x, y], [x - 5.0, y + 9.0], [x + 5.0, y + 9.0]], ORANGE, title);
    }

    /// A small circle.
    pub fn circle(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str, title: &str) {
        let _ = write!(
            self.body,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="#000" stroke-width="0.7">"##
        );
        self.close("circle", title);
    }

    /// An open line through points; `dashes` as SVG has them, empty for a solid one.
    pub fn line(&mut self, points: &[[f64; 2]], colour: &str, width: f64, dashes: &str) {
        let dashes =
            if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
        let _ = writeln!(
            self.body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashes}/>"#,
            list(points)
        );
    }

    /// A line with an arrow head at its end.
    pub fn arrow(&mut self, path: &str, width: f64) {
        let _ = writeln!(
            self.body,
            r##"<path d="{path}" fill="none" stroke="#444" stroke-width="{width}" marker-end="url(#head)"/>"##
        );
    }

    /// A line of text; `size` in pixels.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, size: f64, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{}</text>"#,
            escape(text)
        );
    }

    fn close(&mut self, element: &str, title: &str) {
        if !title.is_empty() {
            let _ = write!(self.body, "<title>{}</title>", escape(title));
        }
        let _ = writeln!(self.body, "</{element}>");
    }

    /// The whole drawing; `name` makes ids of its own on a page, `label` says to those who do not
    /// see it what it shows.
    pub fn finish(self, name: &str, label: &str) -> String {
        let Canvas { width, height, body } = self;
        let body = body.replace("url(#", &format!("url(#{name}-"));
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-label="{}" font-family="system-ui, sans-serif">
<defs>
<pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/><rect width="3" height="6" fill="{VERMILLION}"/></pattern>
<pattern id="{name}-dots" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="{ORANGE}"/><circle cx="3" cy="3" r="1.2" fill="#000"/></pattern>
<marker id="{name}-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#444"/></marker>
</defs>
<rect width="{width:.0}" height="{height:.0}" fill="#fff"/>
{body}</svg>
"##,
            escape(label)
        )
    }
}

fn list(points: &[[f64; 2]]) -> String {
    let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

/// Round numbers from 0 to `end`, about `count` of them.
pub fn ticks(end: f64, count: usize) -> Vec<f64> {
    if !(end > 0.0 && end.is_finite()) {
        return vec![0.0];
    }
    let rough = end / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= end * (1.0 + 1e-9)).collect()
}

/// A tick in words: no more digits than it has.
fn words(tick: f64) -> String {
    let text = format!("{tick:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A rectangle of a drawing with an axis along its left and its bottom, both from 0.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    /// Left, top, width and height in pixels.
    pub frame: [f64; 4],
    /// Ends of the axes.
    pub ends: [f64; 2],
    /// Whether the bottom axis counts things, which have no halves.
    pub counts: bool,
}

impl Axes {
    /// The pixel of a point.
    pub fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let [left, top, width, height] = self.frame;
        [left + width * x / self.ends[0], top + height * (1.0 - y / self.ends[1])]
    }

    /// Draws both axes with ticks, and lines across at those of the left one.
    pub fn draw(&self, canvas: &mut Canvas, [x_title, y_title]: [&str; 2]) {
        let [left, _, width, _] = self.frame;
        for tick in ticks(self.ends[1], 6) {
            let [_, y] = self.at(0.0, tick);
            canvas.line(&[[left, y], [left + width, y]], "#ddd", 1.0, "");
            canvas.text([left - 6.0, y + 4.0], Anchor::End, 12.0, &words(tick));
        }
        self.draw_bottom(canvas, [x_title, y_title]);
    }

    /// Draws both axes, ticks at the bottom only, and lines up from them.
    pub fn draw_rows(&self, canvas: &mut Canvas, x_title: &str) {
        let top = self.frame[1];
        for tick in ticks(self.ends[0], 10).into_iter().skip(1) {
            let [x, y] = self.at(tick, 0.0);
            canvas.line(&[[x, top], [x, y]], "#ddd", 1.0, "");
        }
        self.draw_bottom(canvas, [x_title, ""]);
    }

    fn draw_bottom(&self, canvas: &mut Canvas, [x_title, y_title]: [&str; 2]) {
        let [left, top, width, height] = self.frame;
        let shown = |tick: &f64| !self.counts || tick.fract() == 0.0;
        for tick in ticks(self.ends[0], 10).into_iter().filter(shown) {
            let [x, y] = self.at(tick, 0.0);
            canvas.line(&[[x, y], [x, y + 4.0]], "#000", 1.0, "");
            canvas.text([x, y + 17.0], Anchor::Middle, 12.0, &words(tick));
        }
        canvas.line(&[[left, top], [left, top + height], [left + width, top + height]], "#000", 1.0, "");
        canvas.text([left + width / 2.0, top + height + 34.0], Anchor::Middle, 12.0, x_title);
        canvas.text([left, top - 8.0], Anchor::Start, 12.0, y_title);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        assert_eq!(escape("<a href='x'>&\"\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}");
    }

    #[test]
    fn ticks_are_round_and_end_in_time() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.0, 5), [0.0]);
        assert_eq!(ticks(f64::NAN, 5), [0.0]);
        for end in [0.013, 9.6, 164.0, 3e9] {
            let ticks = ticks(end, 8);
            assert!(
                (4..=9).contains(&ticks.len()) && ticks.iter().all(|tick| *tick <= end * 1.001),
                "{end}: {ticks:?}"
            );
        }
    }

    #[test]
    fn ticks_have_the_digits_they_need() {
        assert_eq!([0.0, 100.0, 0.25, 2.0].map(words), ["0", "100", "0.25", "2"]);
    }

    #[test]
    fn axes_put_zero_at_the_corner() {
        let axes = Axes { frame: [60.0, 30.0, 800.0, 200.0], ends: [10.0, 4.0], counts: false };
        assert_eq!(axes.at(0.0, 0.0), [60.0, 230.0]);
        assert_eq!(axes.at(10.0, 4.0), [860.0, 30.0]);
    }
}
